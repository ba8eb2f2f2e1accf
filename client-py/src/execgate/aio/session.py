"""A session: one live shell."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from .. import _calls, _checkpoint_calls
from .._calls import OutputSelection
from .._checkpoint_calls import RestoreOptions
from .._requests import Command, ExecutionOptions, Input, SessionChanges
from .._resume import Resume
from .._time import Seconds
from ..budget import Budget
from ..checkpoints import Checkpoint, FileChange, Restored
from ..enums import Channel, ExecutionState, SignalKind
from ..errors import ExecgateError, NotFound, SessionEnded
from ..files.get import MAX_HELD_BYTES, GetOptions
from ..files.put import PutOptions
from ..files.source import Source
from ..files.target import Target
from ..files.transfer import FileRead, FileWritten
from ..info import Closed, ExecutionInfo, ReadOutput, SessionInfo, Verdict
from ..result import Result
from ..text import decode
from .connection import AsyncConnection
from .files import get_file, put_file
from .opening import OpeningStream
from .stream import AsyncExecStream

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..options import MoreExecutionOptions


class AsyncSession:
    """A live shell on a target. What a command changes there stays for the next one.

    Made by `AsyncClient.session`. The methods and their arguments are those of
    `execgate.Session`, which explains them. Tasks may share it.
    """

    def __init__(self, connection: AsyncConnection, info: SessionInfo) -> None:
        self._connection = connection
        self._info = info

    @property
    def id(self) -> str:
        """Its id."""
        return self._info.session_id

    @property
    def created(self) -> SessionInfo:
        """The session as it was when this object was made; `info()` asks anew."""
        return self._info

    def __repr__(self) -> str:
        return f"<execgate.AsyncSession {self.id}>"

    async def run(
        self,
        command: Command,
        *,
        timeout: Seconds | None = None,
        stdin: Input = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        budget: Budget | None = None,
        **more: Unpack[MoreExecutionOptions],
    ) -> Result:
        """Runs a command to its end. A non-zero exit, a signal and a timeout are results."""
        options = ExecutionOptions(timeout=timeout, stdin=stdin, env=env, cwd=cwd, **more)
        return await self._connection.run(_calls.run(self.id, command, options, budget))

    def exec(
        self,
        command: Command,
        *,
        timeout: Seconds | None = None,
        stdin: Input = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        **more: Unpack[MoreExecutionOptions],
    ) -> OpeningStream:
        """Starts a command and follows it, event by event.

        `async for event in s.exec(...)`, or `async with s.exec(...) as stream`, or
        `stream = await s.exec(...)`.
        """
        options = ExecutionOptions(timeout=timeout, stdin=stdin, env=env, cwd=cwd, **more)
        call = _calls.execute(self.id, command, options)
        return OpeningStream(AsyncExecStream.open(self._connection, self.id, call))

    def attach(
        self,
        execution_id: str,
        *,
        offsets: Mapping[Channel, int] | None = None,
        resume: Resume | None = None,
    ) -> OpeningStream:
        """Follows an execution that runs or has finished, from the given offsets on."""
        call = _calls.attach(self.id, execution_id, offsets, resume)
        return OpeningStream(AsyncExecStream.open(self._connection, self.id, call))

    async def evaluate(self, command: Command) -> Verdict:
        """Says how the policy would judge a command, without running it."""
        return await self._connection.call(_calls.evaluate(self.id, command))

    async def info(self) -> SessionInfo:
        """The session as the server knows it now."""
        return await self._connection.call(_calls.get_session(self.id))

    async def execution(self, execution_id: str) -> ExecutionInfo:
        """One of its executions."""
        return await self._connection.call(_calls.get_execution(self.id, execution_id))

    def executions(self) -> AsyncIterator[ExecutionInfo]:
        """Its executions that are still kept, newest first."""
        return self._connection.listing(_calls.list_executions(self.id))

    async def read_output(
        self,
        execution_id: str,
        channel: Channel = Channel.STDOUT,
        *,
        offset: int | None = None,
        limit: int = 0,
        wait: Seconds | None = None,
        budget: Budget | None = None,
    ) -> ReadOutput:
        """Reads output that is retained, after the fact, without running anything again."""
        selection = OutputSelection(channel, offset, limit, wait, budget)
        return await self._connection.call(_calls.read_retained(self.id, execution_id, selection))

    async def put(
        self,
        source: Source,
        path: str,
        *,
        mode: int | None = None,
        parents: bool = True,
        timeout: Seconds | None = None,
    ) -> FileWritten:
        """Puts a file into the session: whole and checked, or not at all."""
        options = PutOptions(mode, parents, timeout)
        return await put_file(self._connection, self.id, source, path, options)

    async def get(
        self,
        path: str,
        target: Target,
        *,
        redacted_ok: bool = False,
        timeout: Seconds | None = None,
    ) -> FileRead:
        """Gets a file out of the session, byte for byte."""
        return await get_file(
            self._connection, self.id, path, target, GetOptions(redacted_ok, timeout)
        )

    async def write_file(
        self,
        path: str,
        content: bytes | str,
        *,
        mode: int | None = None,
        parents: bool = True,
        timeout: Seconds | None = None,
    ) -> FileWritten:
        """Puts these bytes, or this text as UTF-8, into a file; otherwise as `put`."""
        data = content.encode() if isinstance(content, str) else content
        return await self.put(data, path, mode=mode, parents=parents, timeout=timeout)

    async def read_file(
        self,
        path: str,
        *,
        redacted_ok: bool = False,
        timeout: Seconds | None = None,
        max_bytes: int = MAX_HELD_BYTES,
    ) -> bytes:
        """All of a file, in memory, up to `max_bytes`; otherwise as `get`."""
        into = io.BytesIO()
        options = GetOptions(redacted_ok, timeout, max_bytes)
        await get_file(self._connection, self.id, path, into, options)
        return into.getvalue()

    async def read_text(
        self,
        path: str,
        *,
        redacted_ok: bool = False,
        timeout: Seconds | None = None,
        max_bytes: int = MAX_HELD_BYTES,
    ) -> str:
        """All of a file as text; bytes that are not UTF-8 become U+FFFD."""
        return decode(
            await self.read_file(
                path, redacted_ok=redacted_ok, timeout=timeout, max_bytes=max_bytes
            )
        )

    async def checkpoint(
        self,
        *,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        paths: Iterable[str] = (),
        ignore: Iterable[str] = (),
    ) -> Checkpoint:
        """Saves the files of its workspace as they are now."""
        call = _checkpoint_calls.create_checkpoint(self.id, description, labels, paths, ignore)
        return await self._connection.call(call)

    def diff(
        self,
        checkpoint_id: str,
        *,
        paths: Iterable[str] = (),
        max_patch_bytes: int = 0,
    ) -> AsyncIterator[FileChange]:
        """What differs between a checkpoint of its workspace and the files as they are now."""
        return self._connection.answers(
            _checkpoint_calls.diff_checkpoint(checkpoint_id, "", self.id, paths, max_patch_bytes)
        )

    async def restore(
        self,
        checkpoint_id: str,
        *,
        paths: Iterable[str] = (),
        dry_run: bool = False,
        keep_unknown: bool = False,
        while_running: bool = False,
    ) -> Restored:
        """Brings its workspace back to a checkpoint, and saves what was there before."""
        options = RestoreOptions(paths, dry_run, keep_unknown, while_running)
        call = _checkpoint_calls.restore_checkpoint(checkpoint_id, self.id, options)
        return await self._connection.call(call)

    async def signal(
        self, execution_id: str, signal: SignalKind | str = SignalKind.INT
    ) -> ExecutionState:
        """Sends a signal to one of its executions; returns the state right after."""
        call = _calls.signal(self.id, execution_id, SignalKind(signal))
        return await self._connection.call(call)

    async def update(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        timeout: Seconds | None = None,
        idle_ttl: Seconds | None = None,
        budget: Budget | None = None,
    ) -> SessionInfo:
        """Changes its labels and defaults while it lives, and returns it as it is then.

        Args:
            labels: Replace all labels.
            timeout: Time limit of commands that name none, from the next one on.
            idle_ttl: Time without a command after which it is closed.
            budget: What `run` returns where it names none.
        """
        changes = SessionChanges(labels, timeout, idle_ttl, budget)
        return await self._connection.call(_calls.update_session(self.id, changes))

    async def resize(self, rows: int, columns: int) -> tuple[int, int]:
        """Changes the size of its terminal, and returns the one it has then."""
        return await self._connection.call(_calls.resize(self.id, rows, columns))

    async def close(self) -> Closed:
        """Ends it and everything it started, and says what that was."""
        return await self._connection.call(_calls.close_session(self.id))

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # As in the sync session.
        if value is None:
            with contextlib.suppress(NotFound, SessionEnded):
                await self.close()
        else:
            with contextlib.suppress(ExecgateError):
                await self._connection.once(_calls.close_session(self.id))
