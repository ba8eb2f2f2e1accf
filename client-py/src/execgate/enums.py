"""The enums of the API, as Python enums.

Each member is its own name as a string. A number that this client does not know, from
a newer server, becomes `UNSPECIFIED`.
"""

from __future__ import annotations

from enum import Enum
from typing import Generic, Protocol, TypeVar

from .v1 import (
    capabilities_pb2,
    checkpoint_pb2,
    events_pb2,
    execution_pb2,
    outcome_pb2,
    session_pb2,
    types_pb2,
)


class _Named(str, Enum):
    def __str__(self) -> str:
        return str(self.value)


class Channel(_Named):
    """A stream of output bytes."""

    UNSPECIFIED = "UNSPECIFIED"
    STDOUT = "STDOUT"
    """Standard output."""
    STDERR = "STDERR"
    """Standard error."""
    TERMINAL = "TERMINAL"
    """Both, through the session's terminal."""
    BACKGROUND = "BACKGROUND"
    """What arrived between commands."""


class Cause(_Named):
    """Why an execution ended."""

    UNSPECIFIED = "UNSPECIFIED"
    EXITED = "EXITED"
    """By itself."""
    SHELL_EXITED = "SHELL_EXITED"
    """The session's shell ended with it (`exit`, `set -e`, `exec`)."""
    SIGNALED_BY_REQUEST = "SIGNALED_BY_REQUEST"
    """A signal that a caller sent."""
    TIMEOUT = "TIMEOUT"
    """Its time limit."""
    CANCELLED = "CANCELLED"
    """Its caller went away and `on_disconnect` is CANCEL, or before it started."""
    OUTPUT_LIMIT = "OUTPUT_LIMIT"
    """It wrote more than it may."""
    OOM = "OOM"
    """The kernel ran out of memory."""
    SESSION_CLOSED = "SESSION_CLOSED"
    """Its session was closed."""
    TARGET_STOPPED = "TARGET_STOPPED"
    """Its machine or container stopped."""
    TRANSPORT_LOST = "TRANSPORT_LOST"
    """The connection to its target broke."""
    SERVER_RESTARTED = "SERVER_RESTARTED"
    """The server ended while it ran."""
    SHELL_BROKEN = "SHELL_BROKEN"
    """Its shell no longer answers: stopped, replaced, or its framing broken."""
    LAUNCH_FAILED = "LAUNCH_FAILED"
    """It could not be launched."""


class ObservedBy(_Named):
    """Who vouches for an outcome."""

    UNSPECIFIED = "UNSPECIFIED"
    KERNEL = "KERNEL"
    """The kernel, to the server, as the parent of the process."""
    SHELL = "SHELL"
    """The session's shell; a hostile command can lie about itself through it."""
    SSHD = "SSHD"
    """The SSH server."""
    DOCKERD = "DOCKERD"
    """The Docker daemon."""
    NOBODY = "NOBODY"
    """Nobody: the outcome is lost, or the server's own conclusion."""


class LaunchFailure(_Named):
    """Why a command never ran."""

    UNSPECIFIED = "UNSPECIFIED"
    NOT_FOUND = "NOT_FOUND"
    PERMISSION = "PERMISSION"
    NOT_EXECUTABLE = "NOT_EXECUTABLE"
    CWD_MISSING = "CWD_MISSING"
    TOO_LONG = "TOO_LONG"
    RESOURCES = "RESOURCES"
    OTHER = "OTHER"


class GapReason(_Named):
    """Why output is missing from a stream."""

    UNSPECIFIED = "UNSPECIFIED"
    EVICTED = "EVICTED"
    """Retained output reached its bound and the oldest was dropped."""
    STORAGE_FAILED = "STORAGE_FAILED"
    """Retained output could not be written to disk."""


class SessionState(_Named):
    """A place in the life of a session."""

    UNSPECIFIED = "UNSPECIFIED"
    STARTING = "STARTING"
    READY = "READY"
    RUNNING = "RUNNING"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"
    LOST = "LOST"


class Role(_Named):
    """What a caller may do with the things of others."""

    UNSPECIFIED = "UNSPECIFIED"
    AGENT = "AGENT"
    OBSERVER = "OBSERVER"
    OPERATOR = "OPERATOR"


class ExecutionState(_Named):
    """A place in the life of an execution."""

    UNSPECIFIED = "UNSPECIFIED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    FINISHED = "FINISHED"


class OnDisconnect(_Named):
    """What becomes of a command when nobody follows it any more."""

    UNSPECIFIED = "UNSPECIFIED"
    DETACH = "DETACH"
    """It runs on, its output is retained (the default)."""
    CANCEL = "CANCEL"
    """It is cancelled."""


class OnShellExit(_Named):
    """What happens when a session's shell ends by itself."""

    UNSPECIFIED = "UNSPECIFIED"
    RESTART = "RESTART"
    """A new shell; a notice says what was lost (the default)."""
    LOST = "LOST"
    """The session is lost."""


class TimeoutAction(_Named):
    """What happens when a command reaches its time limit."""

    UNSPECIFIED = "UNSPECIFIED"
    LADDER = "LADDER"
    """SIGINT, a grace period, SIGTERM, a grace period, SIGKILL (the default)."""
    KILL = "KILL"
    """SIGKILL at once."""
    NOTIFY = "NOTIFY"
    """Only a notice; the command runs on."""


class OverflowAction(_Named):
    """What happens when output exceeds what the server retains."""

    UNSPECIFIED = "UNSPECIFIED"
    BACKPRESSURE = "BACKPRESSURE"
    """The command is slowed (the default)."""
    EVICT = "EVICT"
    """The oldest output is dropped, which readers see as a gap."""


class CheckpointMode(_Named):
    """When the server makes checkpoints by itself."""

    UNSPECIFIED = "UNSPECIFIED"
    OFF = "OFF"
    AUTO = "AUTO"
    """Before each command that may write."""
    EVERY = "EVERY"
    """Before each command."""


class CheckpointTrigger(_Named):
    """What made a checkpoint."""

    UNSPECIFIED = "UNSPECIFIED"
    REQUESTED = "REQUESTED"
    """A caller."""
    BEFORE_EXECUTION = "BEFORE_EXECUTION"
    """A command that was about to run."""
    BEFORE_RESTORE = "BEFORE_RESTORE"
    """A restore that was about to happen."""


class OmissionReason(_Named):
    """Why a checkpoint does not hold a file."""

    UNSPECIFIED = "UNSPECIFIED"
    BUILD_OUTPUT = "BUILD_OUTPUT"
    """Tools make it anew."""
    IGNORED = "IGNORED"
    """The caller's patterns."""
    SECRET = "SECRET"  # noqa: S105 - a reason, no password
    """It may hold secrets; nothing can include it."""
    TOO_LARGE = "TOO_LARGE"
    SPECIAL_FILE = "SPECIAL_FILE"
    """A socket, device or fifo."""
    UNREADABLE = "UNREADABLE"
    CHANGING = "CHANGING"
    """It changed while it was being read, each time it was tried."""


class ChangeKind(_Named):
    """How a file differs."""

    UNSPECIFIED = "UNSPECIFIED"
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    MODE_CHANGED = "MODE_CHANGED"
    TYPE_CHANGED = "TYPE_CHANGED"


class FileType(_Named):
    """What a file is."""

    UNSPECIFIED = "UNSPECIFIED"
    REGULAR = "REGULAR"
    DIRECTORY = "DIRECTORY"
    SYMLINK = "SYMLINK"


class SignalKind(_Named):
    """A signal that can be sent to an execution."""

    UNSPECIFIED = "UNSPECIFIED"
    INT = "INT"
    """To the foreground process group, as Ctrl-C sends it."""
    TERM = "TERM"
    KILL = "KILL"
    HUP = "HUP"
    QUIT = "QUIT"
    USR1 = "USR1"
    USR2 = "USR2"
    TSTP = "TSTP"
    CONT = "CONT"


_Member = TypeVar("_Member", bound=_Named)
# Generated enums number their values with types of their own, all of them ints.
_Number = TypeVar("_Number", bound=int)


class _Wrapper(Protocol[_Number]):
    """A generated enum."""

    def items(self) -> list[tuple[str, _Number]]:
        """Its names and numbers."""


class Wire(Generic[_Member, _Number]):
    """The two directions between an enum here and the one on the wire."""

    def __init__(self, members: type[_Member], wrapper: _Wrapper[_Number], prefix: str) -> None:
        names = {f"{prefix}_{member.name}": member for member in members}
        pairs = [(names[name], number) for name, number in wrapper.items() if name in names]
        self._numbers = dict(pairs)
        self._members = {int(number): member for member, number in pairs}
        self._unspecified = members["UNSPECIFIED"]

    def read(self, number: int) -> _Member:
        """The member with that number."""
        return self._members.get(number, self._unspecified)

    def write(self, member: _Member) -> _Number:
        """The number of that member."""
        return self._numbers[member]


CHANNEL = Wire(Channel, types_pb2.Channel, "CHANNEL")
CAUSE = Wire(Cause, outcome_pb2.Cause, "CAUSE")
OBSERVED_BY = Wire(ObservedBy, outcome_pb2.ObservedBy, "OBSERVED_BY")
LAUNCH_FAILURE = Wire(LaunchFailure, outcome_pb2.LaunchFailure, "LAUNCH_FAILURE")
GAP_REASON = Wire(GapReason, events_pb2.GapReason, "GAP_REASON")
SESSION_STATE = Wire(SessionState, session_pb2.SessionState, "SESSION_STATE")
ROLE = Wire(Role, capabilities_pb2.Role, "ROLE")
EXECUTION_STATE = Wire(ExecutionState, execution_pb2.ExecutionState, "EXECUTION_STATE")
ON_DISCONNECT = Wire(OnDisconnect, execution_pb2.OnDisconnect, "ON_DISCONNECT")
ON_SHELL_EXIT = Wire(OnShellExit, session_pb2.OnShellExit, "ON_SHELL_EXIT")
TIMEOUT_ACTION = Wire(TimeoutAction, execution_pb2.TimeoutAction, "TIMEOUT_ACTION")
OVERFLOW_ACTION = Wire(OverflowAction, execution_pb2.OverflowAction, "OVERFLOW_ACTION")
CHECKPOINT_MODE = Wire(CheckpointMode, types_pb2.CheckpointMode, "CHECKPOINT_MODE")
CHECKPOINT_TRIGGER = Wire(CheckpointTrigger, checkpoint_pb2.CheckpointTrigger, "CHECKPOINT_TRIGGER")
OMISSION_REASON = Wire(OmissionReason, checkpoint_pb2.OmissionReason, "OMISSION_REASON")
CHANGE_KIND = Wire(ChangeKind, checkpoint_pb2.ChangeKind, "CHANGE_KIND")
FILE_TYPE = Wire(FileType, checkpoint_pb2.FileType, "FILE_TYPE")
SIGNAL_KIND = Wire(SignalKind, types_pb2.SignalKind, "SIGNAL_KIND")
