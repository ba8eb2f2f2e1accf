"""Planning a put: what to run, and what its result means."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from .. import _calls
from .._requests import OPEN, ExecutionOptions
from .._stdin import MAX_PIECE_BYTES
from .._time import Seconds
from ..enums import OnDisconnect
from ..errors import FileError
from ..result import Result
from .source import OpenSource
from .transfer import (
    PUT_FAILURES,
    SHELL,
    FileWritten,
    check_path,
    failure,
    read_mode,
    script,
    words,
)

#: Random bytes in a temporary file's name.
_NONCE_BYTES = 16


@dataclass(frozen=True)
class PutOptions:
    """How to put a file; `Session.put` says what the fields mean."""

    mode: int | None = None
    parents: bool = True
    timeout: Seconds | None = None


class Put:
    """One put of one source."""

    def __init__(self, source: OpenSource, path: str, options: PutOptions) -> None:
        self.source = source
        self._path = check_path(path)
        self._options = options

    @property
    def inline(self) -> bool:
        """Whether all of it goes along with the command, in one round trip."""
        return self.source.size <= MAX_PIECE_BYTES

    def start(self, session_id: str) -> _calls.StreamCall:
        """The call that starts it."""
        source, options = self.source, self._options
        command = [
            *(SHELL, "-c", script("put.sh"), "execgate-put"),
            *(self._path, str(source.size), source.sha256),
            "" if options.mode is None else f"{options.mode:o}",
            "" if source.mode is None else f"{source.mode:o}",
            "parents" if options.parents else "",
            secrets.token_hex(_NONCE_BYTES),
        ]
        execution = ExecutionOptions(
            timeout=options.timeout,
            stdin=source.read(0, source.size) if self.inline else OPEN,
            # Nobody could write what is missing: it would wait for its time limit.
            on_disconnect=OnDisconnect.CANCEL,
        )
        return _calls.execute(session_id, command, execution)

    def finish(self, result: Result) -> FileWritten:
        """What was written."""
        failed = failure("put", self._path, result, PUT_FAILURES)
        if failed is not None:
            raise failed
        size, mode, check = words(result, "execgate-put")
        return FileWritten(
            path=self._path,
            size=int(size),
            sha256=self.source.sha256,
            mode=read_mode(mode),
            verified=check == "sha256",
        )

    def shrunk(self) -> FileError:
        """The error for a local file that became shorter while it was sent."""
        return FileError(
            f"cannot put {self._path!r}: the source became shorter while it was sent",
            reason="FILE_SIZE_MISMATCH",
            path=self._path,
        )
