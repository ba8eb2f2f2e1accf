"""The fault suite: what breaks, how it is broken, what has to hold, and what was measured.

`make faults` runs all rows in full and prints the table of docs/faults.md; the tests run a
short form of each. A row starts a server of its own, breaks something, and raises where its
criterion does not hold. After each row nothing may be left: no process of a session, no dead
child, no record of a command without its outcome.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from running_server import LIMIT_SECONDS, Server, find_binary
from watching import Mark, descriptors, resident_bytes, threads, until_no_zombies

from execgate import Client, ExecgateError, OnDisconnect, Session
from execgate.v1 import (
    audit_pb2,
    checkpoint_pb2,
    exec_pb2,
    execution_pb2,
    session_pb2,
)
from execgate.v1.audit_pb2_grpc import AuditServiceStub
from execgate.v1.checkpoint_pb2_grpc import CheckpointServiceStub
from execgate.v1.exec_pb2_grpc import ExecServiceStub
from execgate.v1.session_pb2_grpc import SessionServiceStub

MEGABYTE = 1024 * 1024

#: Its seed is printed, so that what failed can be had again.
SEED = int(os.environ.get("FAULTS_SEED") or time.time())
CHANCE = random.Random(SEED)  # noqa: S311 - nothing secret


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    method: str
    criterion: str
    run: Callable[[World], str]


#: How a session is answered whose server is gone.
LOST = {"SESSION_LOST", "SESSION_ENDED", "SESSION_EXPIRED"}

ROWS: list[Row] = []


def row(method: str, criterion: str) -> Callable[[Callable[[World], str]], Callable[[World], str]]:
    """Enters a fault into the table."""

    def enter(run: Callable[[World], str]) -> Callable[[World], str]:
        ROWS.append(Row(run.__name__.replace("_", " "), method, criterion, run))
        return run

    return enter


class World:
    """A server to be broken, and the mark of all that its sessions start."""

    def __init__(self, folder: Path, *, full: bool) -> None:
        self.folder = folder
        self.full = full
        self.mark = Mark("fault")
        self.config = ""
        self._server: Server | None = None

    def many(self, short: int, full: int) -> int:
        """How often, in the short form and in full."""
        return full if self.full else short

    @property
    def server(self) -> Server:
        """The server, started at first use."""
        if self._server is None:
            self._server = Server(self.folder, self.config)
        return self._server

    def restart(self) -> float:
        """Starts another one on the same data; how long that took."""
        begun = time.monotonic()
        self._server = Server(self.folder, self.config)
        return time.monotonic() - begun

    @contextlib.contextmanager
    def session(self, **options: Any) -> Iterator[Session]:
        """A session that carries the mark."""
        with self.server.client() as client, client.session(env=self.mark.env, **options) as opened:
            yield opened

    def finish(self) -> None:
        """Nothing may be left."""
        server = self.server
        with server.client() as client:
            for info in client.sessions():
                with contextlib.suppress(ExecgateError):
                    client.get_session(info.session_id).close()
            unfinished = unfinished_commands(client)
        left = self.mark.until_gone()
        dead = until_no_zombies(server.process.pid)
        server.stop()
        assert not left, f"orphans: {left}"
        assert not dead, f"zombies: {dead}"
        assert not unfinished, f"commands without an outcome: {unfinished}"


def records(client: Client) -> list[Any]:
    """The whole audit log."""
    return list(client.audit_records())


def unfinished_commands(client: Client) -> set[str]:
    """Executions with an intent and no outcome."""
    intents, outcomes = set(), set()
    for record in records(client):
        name = record.WhichOneof("body")
        if name == "execution_intent":
            intents.add(record.execution_id)
        elif name in {"execution_outcome", "execution_abandoned"}:
            outcomes.add(record.execution_id)
    return intents - outcomes


@row(
    "SIGKILL at random moments while four sessions run commands; a new server on the same data",
    "every command that ran has an intent; every answer is in the record; sessions are LOST "
    "with a reason; nothing runs on; start ≤ 2 s",
)
def server_killed(world: World) -> str:
    ran = world.folder / "ran"
    ran.touch(mode=0o666)
    ran.chmod(0o666)
    world.folder.chmod(0o755)
    answered: list[str] = []
    starts = []
    rounds = world.many(4, 50)
    for _ in range(rounds):
        client = world.server.client()
        opened = [client.session(env=world.mark.env) for _ in range(4)]

        def work(session: Session) -> None:
            with contextlib.suppress(ExecgateError):
                while True:
                    name = f"e{os.urandom(8).hex()}"
                    session.run(f"echo {name} >>{ran}", execution_id=name, resume=False)
                    answered.append(name)

        workers = [threading.Thread(target=work, args=(session,)) for session in opened]
        for worker in workers:
            worker.start()
        time.sleep(CHANCE.uniform(0.05, 0.4))
        world.server.kill()
        for worker in workers:
            worker.join()
        starts.append(world.restart())
        with world.server.client() as again:
            for session in opened:
                with pytest.raises(ExecgateError) as error:
                    again.get_session(session.id).run("true")
                assert error.value.reason in LOST, error.value
        client.close()
        assert not world.mark.until_gone()
    with world.server.client() as client:
        log = records(client)
    intents = {r.execution_id for r in log if r.WhichOneof("body") == "execution_intent"}
    outcomes = {r.execution_id for r in log if r.WhichOneof("body") == "execution_outcome"}
    did_run = set(ran.read_text().split())
    assert did_run <= intents, f"ran unrecorded: {did_run - intents}"
    assert set(answered) <= outcomes, "an answer is not in the record"
    assert max(starts) < 2, starts
    return (
        f"{rounds} kills, {len(did_run)} commands ran, {len(answered)} answered, 0 unrecorded; "
        f"start {statistics.median(starts):.2f} s, slowest {max(starts):.2f} s"
    )


CLIENT = """\
import sys
from execgate import Client, OnDisconnect
with Client(sys.argv[1], token=sys.argv[2]) as client:
    session = client.get_session(sys.argv[3])
    with session.exec("echo begun; sleep 300", on_disconnect=OnDisconnect[sys.argv[4]],
                      execution_id=sys.argv[5]) as stream:
        for event in stream:
            if event.stdout:
                print("begun", flush=True)
"""


@row(
    "SIGKILL of a client that follows a command, with each `on_disconnect`",
    "CANCEL ends the command, DETACH lets it run and others attach; the shell survives both",
)
def client_killed(world: World) -> str:
    took = 0.0
    with world.session() as session:
        for action in (OnDisconnect.CANCEL, OnDisconnect.DETACH):
            execution = f"{action.name.lower()}-1"
            server = world.server
            words = (server.address, server.token, session.id, action.name, execution)
            client = subprocess.Popen(
                [sys.executable, "-c", CLIENT, *words],
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            assert client.stdout is not None
            assert client.stdout.readline() == b"begun\n"
            client.kill()
            client.wait()
            client.stdout.close()
            begun = time.monotonic()
            if action is OnDisconnect.CANCEL:
                result = session.attach(execution).result()
                took = time.monotonic() - begun
                assert result.exit_code != 0
            else:
                with session.attach(execution) as stream:
                    assert next(event.stdout for event in stream if event.stdout) == b"begun\n"
                    stream.signal("TERM")
                    stream.result()
            assert session.run("echo here", queue_if_busy=True).stdout == "here\n"
    return f"cancelled command over {took:.2f} s after its client died; detached one attached"


@row(
    "a fork bomb in a session, others work beside it",
    "the session's limit on processes holds; commands of another session answer; all is gone "
    "when it is closed",
)
def fork_bomb(world: World) -> str:
    world.config = "[policy]\nname = 'open'\n[fence.profiles.default]\nprocesses = 200\n"
    with world.session() as bomb, world.session() as other:
        stream = bomb.exec("b() { b | b & }; b; sleep 30", timeout=world.many(3, 20))
        times = []
        end = time.monotonic() + world.many(3, 20)
        while time.monotonic() < end:
            begun = time.monotonic()
            assert other.run("echo fine").stdout == "fine\n"
            times.append(time.monotonic() - begun)
        most = len(world.mark.alive())
        stream.close()
    left = world.mark.until_gone()
    assert not left, f"{len(left)} left"
    assert most <= 450, most
    return (
        f"up to {most} processes; {len(times)} commands beside it, median "
        f"{statistics.median(times) * 1000:.1f} ms, slowest {max(times) * 1000:.0f} ms"
    )


@row(
    "a command that takes memory without end, in a profile of 64 MiB",
    "it is ended, or refused memory; the server's own memory does not grow; the session says so",
)
def memory_hog(world: World) -> str:
    world.config = "[fence.profiles.default]\nmemory_bytes = 67108864\n"
    with world.session() as session:
        pid = world.server.process.pid
        before = resident_bytes(pid)
        result = session.run(
            "head -c 2000000000 /dev/zero | tail; echo ${PIPESTATUS[*]}", timeout=60
        )
        grown = resident_bytes(pid) - before
        assert result.stdout.split()[-1:] != ["0"], result.stdout[-100:]
        assert session.run("echo here", queue_if_busy=True).stdout == "here\n"
        assert grown < 32 * MEGABYTE, grown
    return f"{result.stdout.strip() or result.outcome}; the server grew by {grown // 1024} KiB"


@row(
    "`yes` for a minute that nobody reads, and one that is read",
    "the server's memory stays bounded; other sessions answer; cancelling ends it",
)
def flood(world: World) -> str:
    seconds = world.many(3, 60)
    with world.session() as session, world.session() as other:
        pid = world.server.process.pid
        other.run("true")
        before = resident_bytes(pid)
        unread = session.exec("yes", timeout=seconds, resume=False)
        times, most = [], 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.monotonic()
            other.run("true")
            times.append(time.monotonic() - begun)
            most = max(most, resident_bytes(pid) - before)
            time.sleep(0.05)
        unread.close()
        total = 0
        with session.exec("yes", timeout=seconds, queue_if_busy=True) as stream:
            for event in stream:
                total += len(event.stdout)
        assert session.run("echo here", queue_if_busy=True).stdout == "here\n"
    assert most < 96 * MEGABYTE, most
    return (
        f"{seconds} s each; memory +{most // MEGABYTE} MiB; read {total / 1e6 / seconds:.0f} MB/s; "
        f"beside it median {statistics.median(times) * 1000:.1f} ms"
    )


@row(
    "one line of a gigabyte, through Run and its budget",
    "counted to the byte; the answer is as large as the budget; memory stays bounded",
)
def long_line(world: World) -> str:
    size = world.many(100, 1000) * 1_000_000
    with world.session() as session:
        pid = world.server.process.pid
        before = resident_bytes(pid)
        begun = time.monotonic()
        result = session.run(f"head -c {size} /dev/zero | tr '\\0' x", timeout=300)
        took = time.monotonic() - begun
        grown = resident_bytes(pid) - before
        assert result.exit_code == 0
        assert result.truncated
        assert len(result.stdout) < 200_000
        last = session.run("echo here").stdout
    assert last == "here\n"
    assert grown < 96 * MEGABYTE, grown
    return f"{size // 1_000_000} MB in {took:.1f} s; memory +{grown // MEGABYTE} MiB"


@row(
    "a limit of 256 descriptors for the server, and sessions until it refuses",
    "the refusal is typed; sessions that are open work on; when some are closed others open",
)
def descriptors_exhausted(world: World) -> str:
    world.config = "[sessions]\nmax = 4000\n[quotas]\nsessions = 4000\n"
    # Inherited by the server; its own binary may raise the soft limit up to the hard one.
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    world_server = _with_descriptors(world, 256)
    with world_server.client() as client:
        opened: list[Session] = []
        refusal = None
        while refusal is None and len(opened) < 1000:
            try:
                opened.append(client.session(env=world.mark.env))
            except ExecgateError as error:
                refusal = error
        assert refusal is not None
        works = sum(session.run("echo $((6 * 7))").stdout == "42\n" for session in opened[:20])
        assert works == min(20, len(opened))
        for session in opened[: len(opened) // 2]:
            session.close()
        again = client.session(env=world.mark.env)
        assert again.run("echo again").stdout == "again\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    return f"{len(opened)} sessions, then {refusal.reason}; half closed, the next one opened"


def _with_descriptors(world: World, most: int) -> Server:
    server = world.server
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (most, most))
    return server


@row(
    "ten thousand commands in one session",
    "each answers; memory, descriptors and threads stay as they were; the last are as fast as "
    "the first",
)
def many_commands(world: World) -> str:
    count = world.many(1000, 10_000)
    with world.session() as session:
        pid = world.server.process.pid
        for _ in range(200):
            session.run("true")
        before = (descriptors(pid), threads(pid), resident_bytes(pid))
        times = []
        for number in range(count):
            begun = time.monotonic()
            result = session.run(f"echo {number}")
            times.append(time.monotonic() - begun)
            assert result.stdout == f"{number}\n"
        after = (descriptors(pid), threads(pid), resident_bytes(pid))
    tenth = count // 10
    first, last = statistics.median(times[:tenth]), statistics.median(times[-tenth:])
    assert after[0] <= before[0] + 2, (before, after)
    assert after[1] <= before[1] + 2, (before, after)
    grown = after[2] - before[2]
    assert grown < 24 * MEGABYTE, grown
    return (
        f"{count} commands; memory +{grown // 1024} KiB, descriptors {before[0]} -> {after[0]}, "
        f"threads {before[1]} -> {after[1]}; last tenth {last / first:.2f} x the first"
    )


@row(
    "a reader that takes a piece and sleeps, of 200 MB",
    "the command waits for it, nothing is lost, and other sessions answer",
)
def slow_reader(world: World) -> str:
    size = world.many(20, 200) * 1_000_000
    with world.session() as session, world.session() as other:
        total, times, pieces = 0, [], 0
        with session.exec(f"head -c {size} /dev/zero", timeout=300) as stream:
            for event in stream:
                total += len(event.stdout)
                pieces += 1
                if pieces % 50 == 0:
                    begun = time.monotonic()
                    other.run("true")
                    times.append(time.monotonic() - begun)
                    time.sleep(0.02)
            result = stream.result()
    assert (total, result.exit_code) == (size, 0)
    return f"{size // 1_000_000} MB whole; beside it slowest {max(times) * 1000:.0f} ms"


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame of HTTP/2."""
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing or compression (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def headers(path: bytes) -> bytes:
    """The headers of a call."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    return b"".join(literal(name, value) for name, value in fields)


def dial(world: World) -> socket.socket:
    """A connection without a client."""
    host, port = world.server.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), LIMIT_SECONDS)


@row(
    "HTTP/2 rapid reset: streams opened and reset at once, on several connections",
    "the server cuts them off or outlasts them; memory stays bounded; others answer meanwhile",
)
def rapid_reset(world: World) -> str:
    count = world.many(20_000, 1_000_000)
    with world.session() as session:
        pid = world.server.process.pid
        before = resident_bytes(pid)
        block = headers(b"/execgate.v1.SessionService/ListSessions")
        sent = cut = 0
        times = []
        while sent < count:
            raw = dial(world)
            raw.settimeout(5)
            try:
                raw.sendall(PREFACE + frame(4, 0, 0))
                for start in range(1, 20_000, 200):
                    burst = b"".join(
                        frame(1, 4, stream, block) + frame(3, 0, stream, (8).to_bytes(4, "big"))
                        for stream in range(start, start + 200, 2)
                    )
                    raw.sendall(burst)
                    sent += 100
            except OSError:
                cut += 1
            finally:
                raw.close()
            begun = time.monotonic()
            session.run("true")
            times.append(time.monotonic() - begun)
        grown = resident_bytes(pid) - before
    assert grown < 64 * MEGABYTE, grown
    return (
        f"{sent} streams, {cut} connections cut off; memory +{grown // MEGABYTE} MiB; beside it "
        f"slowest {max(times) * 1000:.0f} ms"
    )


@row(
    "random bytes as HTTP/2 and as protobuf messages, to every method",
    "each gets an error of its protocol, and the server lives",
)
def malformed(world: World) -> str:
    dice = CHANCE
    connections = world.many(200, 20_000)
    messages = world.many(1000, 100_000)
    world.server  # noqa: B018 - started before it is spoken to
    for _ in range(connections):
        raw = dial(world)
        with contextlib.suppress(OSError):
            start = PREFACE if dice.random() < 0.7 else b""
            raw.sendall(
                start
                + frame(
                    dice.randrange(12),
                    dice.randrange(256),
                    dice.randrange(8),
                    dice.randbytes(dice.randrange(200)),
                )
            )
            raw.sendall(dice.randbytes(dice.randrange(2000)))
        raw.close()
    channel = grpc.insecure_channel(world.server.address)
    metadata = (("authorization", f"Bearer {world.server.token}"),)
    methods = list(unary_methods())
    codes: dict[str, int] = {}
    for _ in range(messages):
        call = channel.unary_unary(dice.choice(methods), lambda data: data, lambda data: data)
        try:
            call(dice.randbytes(dice.randrange(1, 60)), metadata=metadata, timeout=LIMIT_SECONDS)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        codes[code] = codes.get(code, 0) + 1
    channel.close()
    assert world.server.process.poll() is None
    assert not {"UNKNOWN", "DEADLINE_EXCEEDED", "UNAVAILABLE"} & set(codes), codes
    with world.session() as session:
        assert session.run("echo fine").stdout == "fine\n"
    said = ", ".join(f"{code} {number}" for code, number in sorted(codes.items()))
    return f"{connections} connections, {messages} messages: {said}"


def unary_methods() -> Iterator[str]:
    """The paths of all unary methods that take ids."""
    services = [session_pb2, exec_pb2, checkpoint_pb2, audit_pb2]
    for module in services:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if not method.server_streaming and not method.client_streaming:
                    yield f"/{service.full_name}/{method.name}"


@row(
    "another principal's ids, and random ones, in every call that takes one",
    "both get the identical answer; nothing is told or touched",
)
def foreign_ids(world: World) -> str:
    server = world.server
    keys = [_key(server, name) for name in ("first", "second")]
    channel = grpc.insecure_channel(server.address)
    stubs: list[Any] = [
        SessionServiceStub(channel),
        ExecServiceStub(channel),
        CheckpointServiceStub(channel),
        AuditServiceStub(channel),
    ]
    first, second = ((("authorization", f"Bearer {key}"),) for key in keys)
    sessions, execs = stubs[0], stubs[1]
    request = session_pb2.CreateSessionRequest(env=world.mark.env)
    own = sessions.CreateSession(request, metadata=first, timeout=LIMIT_SECONDS).session.session_id
    run = exec_pb2.RunRequest(
        session_id=own, execution_id="mine", spec=execution_pb2.ExecutionSpec(script="echo secret")
    )
    execs.Run(run, metadata=first, timeout=LIMIT_SECONDS)
    unknown = "".join(CHANCE.choice("abcdefghijkmnpqrstuvwxyz") for _ in own)
    calls = 0
    for method, message in calls_with_a_session():
        for stub in stubs:
            if hasattr(stub, method):
                answers = [
                    _answer(getattr(stub, method), message(session), second, session)
                    for session in (own, unknown)
                ]
                assert answers[0] == answers[1], (method, answers)
                assert answers[0][0] != "OK", method
                calls += 1
    look = session_pb2.GetSessionRequest(session_id=own)
    still = sessions.GetSession(look, metadata=first, timeout=LIMIT_SECONDS).session
    assert still.session_id == own
    close = session_pb2.CloseSessionRequest(session_id=own)
    sessions.CloseSession(close, metadata=first, timeout=LIMIT_SECONDS)
    channel.close()
    return f"{calls} calls: a foreign session's answer is an unknown one's, to the byte"


def _key(server: Server, name: str) -> str:
    command = [find_binary(), "key", "--data-dir", str(server.data_dir), "create", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def calls_with_a_session() -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Every call whose request names a session, with a request that is good otherwise."""
    spec = execution_pb2.ExecutionSpec(script="true")
    for module in (session_pb2, exec_pb2, checkpoint_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                fields = method.input_type.fields_by_name
                if "session_id" not in fields or method.name in {
                    "CreateSession",
                    "ListCheckpoints",
                }:
                    continue
                if method.client_streaming or method.name == "EvaluatePolicy":
                    continue
                known: dict[str, Any] = {"execution_id": "mine", "spec": spec}
                more = {key: value for key, value in known.items() if key in fields}

                def message(session: str, kind: Any = method.input_type, more: Any = more) -> Any:
                    return kind._concrete_class(session_id=session, **more)

                yield method.name, message


def _answer(method: Any, request: Any, metadata: Any, session: str) -> tuple[str, str, bytes]:
    try:
        answer = method(request, metadata=metadata, timeout=LIMIT_SECONDS)
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        details = b"".join(
            bytes(item.value)
            for item in error.trailing_metadata() or ()
            if item.key == "grpc-status-details-bin"
        )
        hidden = (session, "ID")
        return (
            error.code().name,
            (error.details() or "").replace(*hidden),
            # The entries of a map come in any order.
            bytes(sorted(details.replace(session.encode(), b"ID"))),
        )
    return ("OK", "", b"")


@row(
    "the data directory on a file system of 8 MiB, filled up while a command runs",
    "AUDIT_UNAVAILABLE, and nothing runs; with room again a new server goes on with a whole log",
)
def disk_full(world: World) -> str:
    world.config = "[audit]\nsegment_bytes = 65536\n"
    data = world.folder / "data"
    data.mkdir(mode=0o700)
    subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", str(data)], check=True
    )
    try:
        with world.server.client() as client:
            session = client.session(env=world.mark.env)
            session.run("true")
            filler = data / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            refused = None
            marker = world.folder / "ran"
            for _ in range(20_000):
                try:
                    session.run("true", resume=False)
                except ExecgateError as error:
                    refused = error
                    break
            assert refused is not None, "it never said that the log is full"
            assert refused.reason == "AUDIT_UNAVAILABLE", refused
            with contextlib.suppress(ExecgateError):
                session.run(f"touch {marker}", resume=False)
            assert not marker.exists()
        filler.unlink()
        world.server.process.send_signal(signal.SIGTERM)
        world.server.process.wait(LIMIT_SECONDS)
        started = world.restart()
        with world.session() as session:
            assert session.run("echo again").stdout == "again\n"
        world.finish()
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(data)], check=True)
    return f"{refused.reason}; after that nothing ran; a new server after {started:.2f} s"


def perform(chosen: Row, *, full: bool) -> str:
    """Runs a row; what was measured."""
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        world = World(Path(folder), full=full)
        try:
            measured = chosen.run(world)
            if world.server.process.poll() is None:
                world.finish()
        except BaseException:
            if world._server is not None:
                world.server.process.kill()
            raise
        return measured


def main() -> None:
    """Runs the rows and prints their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="only those whose name holds one of these words")
    parser.add_argument("--quick", action="store_true", help="the short form")
    arguments = parser.parse_args()
    print(f"seed {SEED}", file=sys.stderr)  # noqa: T201
    print("| fault | how | what has to hold | measured |\n|---|---|---|---|")  # noqa: T201
    failed = 0
    for chosen in ROWS:
        if arguments.rows and not any(word in chosen.name for word in arguments.rows):
            continue
        try:
            measured = perform(chosen, full=not arguments.quick)
        except (Exception, pytest.fail.Exception) as error:
            failed += 1
            measured = f"**failed**: {type(error).__name__}: {error}"[:300]
        line = (chosen.name, chosen.method, chosen.criterion, measured)
        print("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |", flush=True)  # noqa: T201
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
