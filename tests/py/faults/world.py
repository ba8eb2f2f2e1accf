"""A server to be broken, the table of faults, and what must not be left after one."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from running_server import LIMIT_SECONDS, Server, find_binary
from watching import Mark, until_no_zombies

from execgate import Client, Ending, ExecgateError, Session
from execgate.v1 import audit_pb2, session_pb2
from execgate.v1.audit_pb2_grpc import AuditServiceStub
from execgate.v1.session_pb2_grpc import SessionServiceStub

MEGABYTE = 1024 * 1024

#: Its seed is printed, so that what failed can be had again.
SEED = int(os.environ.get("FAULTS_SEED") or time.time())
CHANCE = random.Random(SEED)  # noqa: S311 - nothing secret

#: What the server takes to give a silent connection up: `connections.keep_alive` and
#: `keep_alive_timeout`, and what a busy machine may add.
GIVEN_UP_SECONDS = 30 + 20 + 15

#: How a session is answered whose server or target is gone.
LOST = {"SESSION_LOST", "SESSION_ENDED", "SESSION_EXPIRED"}


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    method: str
    criterion: str
    run: Callable[[World], str]
    waits: bool
    """Whether it mostly waits, so that others may run beside it."""


ROWS: list[Row] = []


def row(
    method: str, criterion: str, *, waits: bool = False
) -> Callable[[Callable[[World], str]], Callable[[World], str]]:
    """Enters a fault into the table."""

    def enter(run: Callable[[World], str]) -> Callable[[World], str]:
        ROWS.append(Row(run.__name__.replace("_", " "), method, criterion, run, waits))
        return run

    return enter


class World:
    """A server to be broken, and the mark of all that its sessions start."""

    def __init__(self, folder: Path, *, full: bool) -> None:
        self.folder = folder
        self.full = full
        self.mark = Mark("fault")
        self.config = ""
        self.variables: dict[str, str] = {}
        """More of the server's environment."""
        self.wrapper: Sequence[str] = ()
        """What starts the server, as `strace` does."""
        self.arguments: Sequence[str] = ()
        """More of the server's arguments."""
        self._server: Server | None = None
        self._undo = contextlib.ExitStack()

    def many(self, short: int, full: int) -> int:
        """How often, in the short form and in full."""
        return full if self.full else short

    def __enter__(self) -> World:
        return self

    def __exit__(self, *raised: object) -> None:
        """Ends what was started for it, the server first."""
        if self._server is not None and self._server.process.poll() is None:
            self._server.kill()
        self._undo.close()

    def own(self, thing: Any) -> Any:
        """Keeps something that has a `close` until the row is over, and returns it."""
        self._undo.callback(thing.close)
        return thing

    @property
    def is_started(self) -> bool:
        """Whether there is a server that runs."""
        return self._server is not None and self._server.process.poll() is None

    @property
    def server(self) -> Server:
        """The server, started at first use."""
        if self._server is None:
            self._server = self._start()
        return self._server

    def restart(self) -> float:
        """Starts another one on the same data; how long that took."""
        begun = time.monotonic()
        self._server = self._start()
        return time.monotonic() - begun

    def _start(self) -> Server:
        return Server(
            self.folder,
            self.config,
            self.variables,
            wrapper=self.wrapper,
            arguments=self.arguments,
        )

    @contextlib.contextmanager
    def session(self, **options: Any) -> Iterator[Session]:
        """A session that carries the mark."""
        with self.server.client() as client, client.session(env=self.mark.env, **options) as opened:
            yield opened

    def created(self, client: Client, **fields: Any) -> Session:
        """The same with the fields of CreateSessionRequest."""
        request = session_pb2.CreateSessionRequest(env=self.mark.env, **fields)
        with self.raw() as (channel, metadata):
            create = SessionServiceStub(channel).CreateSession
            answer = create(request, metadata=metadata, timeout=LIMIT_SECONDS)
        return client.get_session(answer.session.session_id)

    @contextlib.contextmanager
    def raw(self) -> Iterator[tuple[grpc.Channel, tuple[tuple[str, str], ...]]]:
        """A channel for the generated stubs, and the metadata that says who calls."""
        with grpc.insecure_channel(self.server.address) as channel:
            yield channel, (("authorization", f"Bearer {self.server.token}"),)

    def key(self, name: str) -> str:
        """An API key of somebody of this name."""
        data = str(self.server.data_dir)
        command = [find_binary(), "key", "--data-dir", data, "create", name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

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
        self.verify()
        server.stop()
        assert not left, f"orphans: {left}"
        assert not dead, f"zombies: {dead}"
        assert not unfinished, f"commands without an outcome: {unfinished}"

    def verify(self) -> None:
        """The audit log is whole."""
        with self.raw() as (channel, metadata):
            verify = AuditServiceStub(channel).VerifyAuditLog
            request = audit_pb2.VerifyAuditLogRequest()
            found = verify(request, metadata=metadata, timeout=LIMIT_SECONDS)
        assert found.valid, found


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


def ended(session: Session, execution: str) -> Ending:
    """How a command ended, once it has: without following it, which would keep it."""
    end = time.monotonic() + GIVEN_UP_SECONDS
    while (ending := session.execution(execution).ending) is None:
        assert time.monotonic() < end, "it runs on"
        time.sleep(0.02)
    return ending


def only_root() -> None:
    """Says that a row is not tried by others."""
    if os.geteuid() != 0:
        pytest.skip("only root can")


def perform(chosen: Row, *, full: bool) -> str:
    """Runs a row; what was measured."""
    # A short path, as that of a Unix socket has to be.
    with (
        tempfile.TemporaryDirectory(prefix="execgate-") as folder,
        World(Path(folder), full=full) as world,
    ):
        measured = chosen.run(world)
        if world.is_started:
            world.finish()
        return measured
