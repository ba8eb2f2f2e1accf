"""What both directions share: the scripts, their failures, and what a transfer gives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .. import errors
from ..outcome import Exited
from ..result import Result

#: The shell that runs the scripts; any POSIX shell will do.
SHELL = "/bin/sh"

#: Bytes of each channel that are kept of a transfer besides the file: its last words.
MAX_WORDS_BYTES = 64 * 1024


@dataclass(frozen=True)
class FileWritten:
    """A file that was put into a session."""

    path: str
    size: int
    sha256: str
    mode: int | None
    """Its permissions. None: the target cannot tell."""
    verified: bool
    """Whether its SHA-256 was checked there. False: the target has no `sha256sum`, and only
    its size was."""


@dataclass(frozen=True)
class FileRead:
    """A file that was gotten out of a session."""

    path: str
    size: int
    """How many bytes arrived."""
    sha256: str
    """Of the bytes that arrived."""
    mode: int | None
    """Its permissions. None: the target cannot tell."""
    verified: bool
    """Whether the SHA-256 is that of the file. False: the target has no `sha256sum`, and
    only its size was compared, or the bytes were redacted."""
    redactions: int = 0
    """How many places the server hid; more than 0 only with `redacted_ok`."""


#: Kinds and reasons of failures by a script's exit codes; put.sh and get.sh explain them.
Failures = dict[int, tuple[type[errors.FileError], str]]

_FAILURES: Failures = {
    65: (errors.FileError, "FILE_NOT_REGULAR"),
    66: (errors.FileMissing, "FILE_NOT_FOUND"),
    68: (errors.FileError, "FILE_SIZE_MISMATCH"),
    69: (errors.FileError, "FILE_HASH_MISMATCH"),
    71: (errors.FileError, "FILE_WRITE_FAILED"),
    72: (errors.FileError, "FILE_LINK_LOOP"),
}
PUT_FAILURES: Failures = {
    **_FAILURES,
    67: (errors.FileError, "FILE_NOT_WRITABLE"),
    70: (errors.FileError, "FILE_WRITE_FAILED"),
}
GET_FAILURES: Failures = {
    **_FAILURES,
    67: (errors.FileError, "FILE_NOT_READABLE"),
    70: (errors.FileError, "FILE_READ_FAILED"),
}


@cache
def script(name: str) -> str:
    """A script as it is sent: without the comments, which audit records need not repeat."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return "".join(f"{line}\n" for line in lines if line.strip())


def check_path(path: str) -> str:
    """A path that can be sent."""
    if not isinstance(path, str):
        raise TypeError(f"the path in the session is a str, not {type(path).__name__}")
    if not path or "\0" in path:
        raise ValueError(f"{path!r} is no path")
    return path


def words(result: Result, prefix: str) -> list[str]:
    """What a script reports of itself: the words of its last line."""
    text = result.stdout if prefix == "execgate-put" else result.stderr
    last = text.rstrip("\n").rpartition("\n")[2]
    if not last.startswith(f"{prefix} "):
        raise errors.InternalError(f"{prefix} ended without its report: {last!r}")
    return last.split(" ")[1:]


def failure(
    verb: str,
    path: str,
    result: Result,
    kinds: Failures,
) -> errors.FileError | None:
    """The error for a script that failed. None: it did not."""
    if result.ok:
        return None
    kind, reason = errors.FileError, "FILE_TRANSFER_FAILED"
    said = _last_words(result)
    if result.timed_out:
        reason, said = "FILE_TIMEOUT", "its time limit was reached"
    elif isinstance(result.outcome, Exited):
        kind, reason = kinds.get(result.outcome.code, (kind, reason))
    return kind(f"cannot {verb} {path!r}: {said}", reason=reason, path=path, result=result)


def _last_words(result: Result) -> str:
    lines = [line for line in result.stderr.splitlines() if line]
    if not lines:
        return result.how
    # Programs explain what the script then sums up: `cat: …: Permission denied`.
    own = lines[-1].partition(": ")[2] if lines[-1].startswith("execgate-") else lines[-1]
    return f"{own} ({lines[-2]})" if len(lines) > 1 else own


def read_mode(text: str) -> int | None:
    """Permissions as a script reports them."""
    return None if text == "-" else int(text, 8)
