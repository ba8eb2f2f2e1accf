"""The end in good order, the start after a bad one, and what a service manager sees."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from running_server import Server, find_binary
from watching import Mark

from execgate import Cause
from execgate.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
)

#: Far above what anything here takes, in seconds.
LIMIT_SECONDS = 60.0
#: What a server that is hurried may take on a machine that has much else to do, in seconds.
HURRY_SECONDS = 15.0
#: After so long without a sign of life a service manager would start the server anew.
WATCHDOG_SECONDS = 0.6

#: Answers of grpc.health.v1.
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"

OPEN = "[policy]\nname = 'open'\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory for a server; its path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        yield Path(folder)


def until(holds: Callable[[], bool]) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def begin(server: Server, script: str, mark: Mark | None = None) -> Iterator[Any]:
    """The events of a command that runs, from its first output on."""
    session = server.client().session(env=mark.env if mark else {})
    events = iter(session.exec(script))
    next(event for event in events if event.stdout)
    return events


def terminate(server: Server) -> None:
    """Says stop, and waits until the server says that it does not serve any more."""
    channel = grpc.insecure_channel(server.address)
    # `HealthCheckResponse` is one number; its package is not among those of the tests.
    watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
    watched = watch(b"", timeout=LIMIT_SECONDS)
    assert next(watched) == SERVING
    server.process.send_signal(signal.SIGTERM)
    assert next(watched) == NOT_SERVING
    channel.close()


def until_ended(server: Server) -> None:
    """Waits for a good end: exit code 0, and a log that verifies."""
    assert server.process.wait(LIMIT_SECONDS) == 0, server.log()
    command = [find_binary(), "audit", "verify", str(server.data_dir)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    server.stop()


def test_a_command_that_ends_within_the_grace_is_delivered_whole(folder: Path) -> None:
    server = Server(folder, config="[drain]\ngrace = '5m'\ndeliver = '1m'\n")
    channel = grpc.insecure_channel(server.address)
    metadata = (("authorization", f"Bearer {server.token}"),)
    audits: Any = audit_pb2_grpc.AuditServiceStub(channel)
    tail = audits.TailAuditRecords(audit_pb2.TailAuditRecordsRequest(), metadata=metadata)
    events = begin(server, "echo started; sleep 3; seq 1 300000; (exit 7)")
    terminate(server)
    sessions: Any = session_pb2_grpc.SessionServiceStub(channel)
    request = session_pb2.CreateSessionRequest()
    # The client of this repository would come again until it is taken.
    with pytest.raises(grpc.RpcError) as refused:
        sessions.CreateSession(request, metadata=metadata, timeout=LIMIT_SECONDS)
    draining: Any = refused.value
    assert draining.code() is grpc.StatusCode.UNAVAILABLE
    assert b"SERVER_DRAINING" in dict(draining.trailing_metadata())["grpc-status-details-bin"]
    # What there is can still be asked about.
    (session,) = sessions.ListSessions(
        session_pb2.ListSessionsRequest(), metadata=metadata, timeout=LIMIT_SECONDS
    ).sessions
    assert session.state == session_pb2.SESSION_STATE_RUNNING
    rest = list(events)
    output = b"".join(event.stdout or b"" for event in rest)
    assert output == b"".join(b"%d\n" % number for number in range(1, 300_001))
    assert rest[-1].exit_code == 7
    # Whoever follows the log has all of it, and is told why that ends.
    kinds: list[str] = []

    def follow() -> None:
        for answer in tail:
            if answer.HasField("record"):
                kinds.append(answer.record.WhichOneof("body"))

    with pytest.raises(grpc.RpcError) as ended:
        follow()
    error: Any = ended.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert kinds[-1] == "session_closed"
    channel.close()
    until_ended(server)


def test_one_that_is_longer_is_ended_and_its_stream_says_so(folder: Path) -> None:
    server, mark = Server(folder, config="[drain]\ngrace = '300ms'\n"), Mark("longer")
    events = begin(server, "(setsid sleep 600 &) ; echo started; sleep 600", mark)
    terminate(server)
    assert list(events)[-1].ending.cause == Cause.SESSION_CLOSED
    until_ended(server)
    assert mark.until_gone() == []


def test_a_second_signal_hurries(folder: Path) -> None:
    server, mark = Server(folder, config="[drain]\ngrace = '10m'\ndeliver = '10m'\n"), Mark("hurry")
    events = begin(server, "trap '' INT TERM; echo started; sleep 600", mark)
    terminate(server)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(LIMIT_SECONDS) == 0
    assert time.monotonic() - began < HURRY_SECONDS
    del events
    until_ended(server)
    assert mark.until_gone() == []


def children(pid: int) -> list[int]:
    """The children of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def sleepers(word: str) -> list[int]:
    """The processes with this word in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words:
                found.append(int(folder.name))
    return found


def detach(word: str) -> str:
    """A script whose children leave it in every way, their environment too."""
    return (
        f"(setsid sleep {word} >/dev/null 2>&1 &); "
        f"(setsid env -i setsid sh -c 'exec sleep {word}' >/dev/null 2>&1 </dev/null &); "
        f"nohup sleep {word} >/dev/null 2>&1 & echo started; sleep {word}"
    )


def test_sessions_that_were_are_lost_with_a_reason(folder: Path) -> None:
    first = Server(folder)
    session = first.client().session()
    session.run("true")
    first.kill()
    server = Server(folder)
    channel = grpc.insecure_channel(server.address)
    stub: Any = session_pb2_grpc.SessionServiceStub(channel)
    metadata = (("authorization", f"Bearer {server.token}"),)
    (listed,) = stub.ListSessions(session_pb2.ListSessionsRequest(), metadata=metadata).sessions
    request = session_pb2.GetSessionRequest(session_id=listed.session_id)
    assert stub.GetSession(request, metadata=metadata).session == listed
    assert (listed.state, listed.end.reason) == (
        session_pb2.SESSION_STATE_LOST,
        session_pb2.SESSION_END_REASON_SERVER_RESTARTED,
    )
    assert listed.end.detail == "the server ended without closing it"
    # To anybody else it is as unknown as ever.
    request = session_pb2.GetSessionRequest(session_id="never")
    with pytest.raises(grpc.RpcError) as unknown:
        stub.GetSession(request, metadata=metadata)
    error: Any = unknown.value
    assert error.code() is grpc.StatusCode.NOT_FOUND
    channel.close()
    server.stop()


def test_nothing_is_left_of_a_killed_server(folder: Path) -> None:
    server = Server(folder, config=OPEN)
    begin(server, detach("98711"))
    until(lambda: len(sleepers("98711")) >= 4)
    server.kill()
    # Its launchers see to that, without another start.
    until(lambda: not sleepers("98711"))


def test_what_outlived_the_launchers_too_is_ended_at_the_next_start(folder: Path) -> None:
    server = Server(folder, config=OPEN)
    begin(server, detach("98712"))
    until(lambda: len(sleepers("98712")) >= 4)
    launchers = children(server.process.pid)
    for launcher in launchers:
        os.kill(launcher, signal.SIGSTOP)
    server.kill()
    for launcher in launchers:
        os.kill(launcher, signal.SIGKILL)
    until(lambda: all(has_ended(launcher) for launcher in launchers))
    assert len(sleepers("98712")) >= 2
    again = Server(folder, config=OPEN)
    until(lambda: not sleepers("98712"))
    with again.client() as client, client.session() as session:
        assert session.run("echo on").stdout == "on\n"
    again.stop()


def test_what_was_to_be_kept_is_left_alone(folder: Path) -> None:
    server = Server(folder, config=OPEN)
    with server.client() as client, client.session(keep_background=True) as session:
        session.run("setsid sleep 98713 >/dev/null 2>&1 </dev/null &")
        until(lambda: bool(sleepers("98713")))
    server.kill()
    again = Server(folder, config=OPEN)
    kept = sleepers("98713")
    for pid in kept:
        os.kill(pid, signal.SIGKILL)
    assert len(kept) == 1
    again.stop()


class Manager:
    """A service manager's end."""

    def __init__(self, folder: Path) -> None:
        path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(LIMIT_SECONDS)
        micros = str(int(WATCHDOG_SECONDS * 1_000_000))
        self.variables = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": micros}

    def any(self) -> list[str]:
        """The next message, in lines."""
        return self._socket.recv(4096).decode().splitlines()

    def next(self) -> list[str]:
        """The next one that is no sign of life."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while (message := self.any()) == ["WATCHDOG=1"]:
            assert time.monotonic() < deadline
        return message

    def sees_life(self) -> bool:
        """Whether a sign of life comes within its time, several times over."""
        self._socket.settimeout(WATCHDOG_SECONDS / 10)
        try:
            while True:
                self.any()
        except TimeoutError:
            pass
        self._socket.settimeout(WATCHDOG_SECONDS * 2)
        try:
            return self.any() == ["WATCHDOG=1"]
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(LIMIT_SECONDS)

    def close(self) -> None:
        """Lets go of the socket."""
        self._socket.close()


def test_a_service_manager_is_told_what_it_needs(folder: Path) -> None:
    manager = Manager(folder)
    server = Server(folder, config="[local]\nenv_allow = ['*']\n", variables=manager.variables)
    assert manager.next() == ["READY=1", "STATUS=serving"]
    until(manager.sees_life)
    server.process.send_signal(signal.SIGHUP)
    reloading = manager.next()
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=")
    assert manager.next() == ["READY=1", "STATUS=serving"]
    # What does not run shows no life.
    server.process.send_signal(signal.SIGSTOP)
    assert not manager.sees_life()
    server.process.send_signal(signal.SIGCONT)
    until(manager.sees_life)
    # And sessions know nothing of it.
    with server.client() as client, client.session() as session:
        env = session.run("env").stdout
    assert "NOTIFY_SOCKET" not in env
    assert "WATCHDOG" not in env
    server.process.send_signal(signal.SIGTERM)
    stopping = manager.next()
    assert stopping[0] == "STOPPING=1"
    assert stopping[1].startswith("EXTEND_TIMEOUT_USEC=")
    assert stopping[2] == "STATUS=draining"
    until_ended(server)
    manager.close()
