"""Planning a get: what to run, what arrives, and whether that is the file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO

from .. import _calls
from .._requests import ExecutionOptions
from .._time import Seconds
from ..enums import Channel, OnDisconnect
from ..errors import FileChanged, FileError, FileIncomplete, FileRedacted
from ..events import Event, Output
from ..result import Result
from .transfer import GET_FAILURES, SHELL, FileRead, check_path, failure, read_mode, script, words

#: Bytes of a file that is held in memory as a whole, unless a caller says otherwise.
MAX_HELD_BYTES = 16 * 1024 * 1024

#: Bytes that are gathered before they are written to a file.
_FLUSH_BYTES = 1024 * 1024


@dataclass(frozen=True)
class GetOptions:
    """How to get a file; `Session.get` says what the fields mean."""

    redacted_ok: bool = False
    timeout: Seconds | None = None
    max_bytes: int | None = None
    """Most bytes that are taken. None: any number."""


class Get:
    """One get, into an open binary file."""

    def __init__(self, path: str, into: IO[bytes], options: GetOptions) -> None:
        self._path = check_path(path)
        self._into = into
        self._options = options
        self._digest = hashlib.sha256()
        self._size = 0
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0

    def start(self, session_id: str) -> _calls.StreamCall:
        """The call that starts it."""
        command = [SHELL, "-c", script("get.sh"), "execgate-get", self._path]
        options = ExecutionOptions(timeout=self._options.timeout, on_disconnect=OnDisconnect.CANCEL)
        return _calls.execute(session_id, command, options)

    def take(self, event: Event) -> bool:
        """Takes an event. True: `flush` is to be called."""
        if not isinstance(event, Output) or event.channel is not Channel.STDOUT:
            return False
        self._digest.update(event.data)
        self._size += len(event.data)
        limit = self._options.max_bytes
        if limit is not None and self._size > limit:
            raise FileError(
                f"cannot get {self._path!r}: it has more than {limit} bytes; get it into a file",
                reason="FILE_TOO_LARGE",
                path=self._path,
            )
        self._gathered.append(event.data)
        self._gathered_bytes += len(event.data)
        return self._gathered_bytes >= _FLUSH_BYTES

    def flush(self) -> None:
        """Writes what was gathered."""
        self._into.write(b"".join(self._gathered))
        self._gathered.clear()
        self._gathered_bytes = 0

    def finish(self, result: Result) -> FileRead:
        """What arrived, if it is the file."""
        failed = failure("get", self._path, result, GET_FAILURES)
        if failed is not None:
            raise failed
        size, mode, sha256 = words(result, "execgate-get")
        sent = [t for t in result.ending.channels if t.channel is Channel.STDOUT]
        redactions = sum(totals.redactions for totals in sent)
        # The channel's own count is that of the bytes after redaction.
        whole = self._size == sum(totals.total_bytes for totals in sent)
        if redactions and not self._options.redacted_ok:
            raise self._error(
                FileRedacted,
                f"the server hid {redactions} secrets in it (redacted_ok=True takes it so)",
                result,
            )
        if not whole:
            raise self._error(FileIncomplete, "not all of it arrived", result)
        same = sha256 in ("-", self._digest.hexdigest()) and int(size) == self._size
        if not redactions and not same:
            raise self._error(FileChanged, "it changed while it was read", result)
        return FileRead(
            path=self._path,
            size=self._size,
            sha256=self._digest.hexdigest(),
            mode=read_mode(mode),
            verified=not redactions and sha256 != "-",
            redactions=redactions,
        )

    def _error(self, kind: type[FileError], text: str, result: Result) -> FileError:
        reason = {
            FileRedacted: "FILE_REDACTED",
            FileIncomplete: "FILE_INCOMPLETE",
            FileChanged: "FILE_CHANGED",
        }[kind]
        message = f"cannot get {self._path!r}: {text}"
        return kind(message, reason=reason, path=self._path, result=result)
