"""A session: one live shell."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from . import _calls, _checkpoint_calls
from ._calls import OutputSelection
from ._checkpoint_calls import RestoreOptions
from ._connection import Connection
from ._files import get_file, put_file
from ._requests import Command, ExecutionOptions, Input, SessionChanges
from ._resume import Resume
from ._time import Seconds
from .budget import Budget
from .checkpoints import Checkpoint, FileChange, Restored
from .enums import Channel, ExecutionState, SignalKind
from .errors import ExecgateError, NotFound, SessionEnded
from .files.get import MAX_HELD_BYTES, GetOptions
from .files.put import PutOptions
from .files.source import Source
from .files.target import Target
from .files.transfer import FileRead, FileWritten
from .info import Closed, ExecutionInfo, ReadOutput, SessionInfo, Verdict
from .result import Result
from .stream import ExecStream
from .text import decode

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import MoreExecutionOptions


class Session:
    r"""A live shell on a target. What a command changes there stays for the next one.

    Made by `Client.session`. As a context manager it is closed at the end; otherwise it
    lives until `close()` or its idle time. Threads may share it.

    >>> s.run("cd /tmp; export A=1; f() { echo hi; }").ok
    True
    >>> s.run("f; echo $A; pwd").stdout
    'hi\n1\n/tmp\n'
    """

    def __init__(self, connection: Connection, info: SessionInfo) -> None:
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
        return f"<execgate.Session {self.id}>"

    def run(
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
        r"""Runs a command to its end. A non-zero exit, a signal and a timeout are results.

        >>> s.run("false").exit_code
        1
        >>> s.run("echo $GREETING", env={"GREETING": "hello"}).stdout
        'hello\n'
        >>> s.run("sleep 60", timeout=0.2).timed_out
        True

        Args:
            command: A script for the session's shell, or a program and its arguments,
                `["git", "status"]`, which run beside the shell and leave no state behind.
                A server that cannot do that yet answers Unimplemented.
            timeout: The command's own time limit; partial output is kept. Default: the
                session's.
            stdin: Its standard input. Default: empty. A server that cannot give it any yet
                answers Unimplemented.
            env: Variables for this command only.
            cwd: Where it runs. For a script a `cd` before it, which stays.
            budget: What of the output to return. Default: the session's.
            more: See `MoreExecutionOptions`.

        Raises:
            PolicyDenied: The policy denies it; nothing was started.
            SessionBusy: Another script runs.
            Disconnected: The connection broke and did not come back; the command may
                still run. Up to then the call is repeated, which never runs it twice.
        """
        options = ExecutionOptions(timeout=timeout, stdin=stdin, env=env, cwd=cwd, **more)
        return self._connection.run(_calls.run(self.id, command, options, budget))

    def exec(
        self,
        command: Command,
        *,
        timeout: Seconds | None = None,
        stdin: Input = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        **more: Unpack[MoreExecutionOptions],
    ) -> ExecStream:
        """Starts a command and follows it, event by event, as things happen.

        Returns when it has started, so with `queue_if_busy` when its turn has come. When the
        connection breaks, the stream attaches again where it was: see `resume`.

        >>> for event in s.exec("for i in 1 2 3; do echo $i; done"):
        ...     _ = sys.stdout.write(event.stdout.decode())
        1
        2
        3

        Args:
            command: As in `run`.
            timeout: As in `run`.
            stdin: As in `run`; `Stdin.OPEN` lets `ExecStream.write_stdin` feed it.
            env: As in `run`.
            cwd: As in `run`.
            more: See `MoreExecutionOptions`.

        Raises:
            PolicyDenied: The policy denies it; nothing was started.
            SessionBusy: Another script runs.
        """
        options = ExecutionOptions(timeout=timeout, stdin=stdin, env=env, cwd=cwd, **more)
        return ExecStream(self._connection, self.id, _calls.execute(self.id, command, options))

    def attach(
        self,
        execution_id: str,
        *,
        offsets: Mapping[Channel, int] | None = None,
        resume: Resume | None = None,
    ) -> ExecStream:
        """Follows an execution that runs or has finished, from the given offsets on.

        Args:
            execution_id: The execution.
            offsets: Where to begin, those of `ExecStream.offsets`. Default: at 0.
            resume: As in `MoreExecutionOptions`.
        """
        call = _calls.attach(self.id, execution_id, offsets, resume)
        return ExecStream(self._connection, self.id, call)

    def evaluate(self, command: Command) -> Verdict:
        """Says how the policy would judge a command, without running it."""
        return self._connection.call(_calls.evaluate(self.id, command))

    def info(self) -> SessionInfo:
        """The session as the server knows it now."""
        return self._connection.call(_calls.get_session(self.id))

    def execution(self, execution_id: str) -> ExecutionInfo:
        """One of its executions."""
        return self._connection.call(_calls.get_execution(self.id, execution_id))

    def executions(self) -> Iterator[ExecutionInfo]:
        """Its executions that are still kept, newest first."""
        return self._connection.listing(_calls.list_executions(self.id))

    def read_output(
        self,
        execution_id: str,
        channel: Channel = Channel.STDOUT,
        *,
        offset: int | None = None,
        limit: int = 0,
        wait: Seconds | None = None,
        budget: Budget | None = None,
    ) -> ReadOutput:
        """Reads output that is retained, after the fact, without running anything again.

        Args:
            execution_id: The execution. Empty for the session's BACKGROUND channel.
            channel: Which output.
            offset: First byte. Default: the oldest that is retained.
            limit: Most bytes to return, up to 1 MiB. Default: 1 MiB.
            wait: Waits up to this long for a first byte, if there is none yet.
            budget: Chooses from all that is retained, instead of a range of bytes.

        Raises:
            OutOfRange: There is no such byte yet, or it is no longer retained.
        """
        selection = OutputSelection(channel, offset, limit, wait, budget)
        return self._connection.call(_calls.read_retained(self.id, execution_id, selection))

    def put(
        self,
        source: Source,
        path: str,
        *,
        mode: int | None = None,
        parents: bool = True,
        timeout: Seconds | None = None,
    ) -> FileWritten:
        r"""Puts a file into the session: whole and checked, or not at all.

        One command beside the session's shell, so it works while another one runs. The
        bytes go to a temporary file beside the target, are counted and hashed there, and
        renamed over it; a symbolic link is written through.

        >>> s.put(b"#!/bin/sh\necho hi\n", "/tmp/execgate-docs/hi", mode=0o755).size
        18
        >>> s.run("/tmp/execgate-docs/hi").stdout
        'hi\n'

        Args:
            source: Bytes, the path of a local file, or a file object opened in binary mode
                (read from where it stands). For text see `write_file`.
            path: Where to; relative to the session's directory.
            mode: Its permissions. Default: those of the file that is replaced, else those
                of the local file, else 0666 without the session's umask.
            parents: Makes directories that are missing.
            timeout: Time limit of the whole. Default: the session's.

        Raises:
            FileError: It could not be written; the old file is as it was.
            PolicyDenied: The policy denies a program that writes it (`sh`, `cat`, `chmod`,
                `mkdir`, `mv`, `sha256sum`, ...).
        """
        return put_file(self._connection, self.id, source, path, PutOptions(mode, parents, timeout))

    def get(
        self,
        path: str,
        target: Target,
        *,
        redacted_ok: bool = False,
        timeout: Seconds | None = None,
    ) -> FileRead:
        r"""Gets a file out of the session, byte for byte.

        >>> _ = s.write_file("/tmp/execgate-docs/notes", "one\ntwo\n")
        >>> into = io.BytesIO()
        >>> s.get("/tmp/execgate-docs/notes", into).verified, into.getvalue()
        (True, b'one\ntwo\n')

        Args:
            path: The file; relative to the session's directory.
            target: The path of a local file, which is replaced as a whole, with the file's
                permissions, or not at all; or a file object opened in binary mode.
            redacted_ok: Takes the bytes as they come if the server hides secrets in them.
            timeout: Time limit of the whole. Default: the session's.

        Raises:
            FileMissing: There is no such file.
            FileChanged: It changed while it was read.
            FileRedacted: The server hid a secret that is in it.
            FileIncomplete: Not all of it arrived.
            FileError: It could not be read.
        """
        return get_file(self._connection, self.id, path, target, GetOptions(redacted_ok, timeout))

    def write_file(
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
        return self.put(data, path, mode=mode, parents=parents, timeout=timeout)

    def read_file(
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
        get_file(self._connection, self.id, path, into, options)
        return into.getvalue()

    def read_text(
        self,
        path: str,
        *,
        redacted_ok: bool = False,
        timeout: Seconds | None = None,
        max_bytes: int = MAX_HELD_BYTES,
    ) -> str:
        r"""All of a file as text; bytes that are not UTF-8 become U+FFFD.

        >>> s.write_file("/tmp/execgate-docs/naïve", "naïve\n").verified
        True
        >>> s.read_text("/tmp/execgate-docs/naïve")
        'naïve\n'
        """
        return decode(
            self.read_file(path, redacted_ok=redacted_ok, timeout=timeout, max_bytes=max_bytes)
        )

    def checkpoint(
        self,
        *,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        paths: Iterable[str] = (),
        ignore: Iterable[str] = (),
    ) -> Checkpoint:
        """Saves the files of its workspace as they are now.

        Args:
            description: What it is for.
            labels: Labels to find it by.
            paths: Only these, relative to the workspace. Default: all.
            ignore: Patterns of files to leave out, as in a .gitignore; a `!` pattern brings
                build output back, never secrets.
        """
        call = _checkpoint_calls.create_checkpoint(self.id, description, labels, paths, ignore)
        return self._connection.call(call)

    def diff(
        self,
        checkpoint_id: str,
        *,
        paths: Iterable[str] = (),
        max_patch_bytes: int = 0,
    ) -> Iterator[FileChange]:
        """What differs between a checkpoint of its workspace and the files as they are now.

        Args:
            checkpoint_id: The checkpoint to compare from.
            paths: Only these, relative to the workspace. Default: all.
            max_patch_bytes: Most bytes of unified diff for each file, up to 1 MiB. Default:
                no text, only what changed.
        """
        return self._connection.answers(
            _checkpoint_calls.diff_checkpoint(checkpoint_id, "", self.id, paths, max_patch_bytes)
        )

    def restore(
        self,
        checkpoint_id: str,
        *,
        paths: Iterable[str] = (),
        dry_run: bool = False,
        keep_unknown: bool = False,
        while_running: bool = False,
    ) -> Restored:
        """Brings its workspace back to a checkpoint, and saves what was there before.

        Args:
            checkpoint_id: The checkpoint.
            paths: Only these, relative to the workspace. Default: all.
            dry_run: Changes nothing, and says exactly what would change.
            keep_unknown: Leaves files that the checkpoint does not know.
            while_running: Does it although commands run in the workspace.
        """
        options = RestoreOptions(paths, dry_run, keep_unknown, while_running)
        call = _checkpoint_calls.restore_checkpoint(checkpoint_id, self.id, options)
        return self._connection.call(call)

    def signal(
        self, execution_id: str, signal: SignalKind | str = SignalKind.INT
    ) -> ExecutionState:
        """Sends a signal to one of its executions; returns the state right after.

        As `ExecStream.signal`, for an execution that nobody here follows.
        """
        call = _calls.signal(self.id, execution_id, SignalKind(signal))
        return self._connection.call(call)

    def update(
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
        return self._connection.call(_calls.update_session(self.id, changes))

    def resize(self, rows: int, columns: int) -> tuple[int, int]:
        """Changes the size of its terminal, and returns the one it has then."""
        return self._connection.call(_calls.resize(self.id, rows, columns))

    def close(self) -> Closed:
        """Ends it and everything it started, and says what that was."""
        return self._connection.call(_calls.close_session(self.id))

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What ended by itself need not be closed, and an error under way must not be hidden
        # by the one that follows from it, nor be kept waiting for.
        if value is None:
            with contextlib.suppress(NotFound, SessionEnded):
                self.close()
        else:
            with contextlib.suppress(ExecgateError):
                self._connection.once(_calls.close_session(self.id))
