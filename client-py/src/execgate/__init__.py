"""execgate: safe, stateful shell sessions for AI agents.

>>> from execgate import Client
>>> with Client(address, token=token) as c, c.session() as s:
...     _ = s.run("cd /tmp; export GREETING=hello")
...     print(s.run("echo $GREETING from $PWD").stdout, end="")
hello from /tmp
"""

from ._requests import OPEN, Stdin
from ._resume import Resume
from ._trace import Trace, TraceHeaders
from .aio import AsyncClient, AsyncExecStream, AsyncSession
from .budget import Budget, BudgetReport
from .client import Client
from .enums import (
    Cause,
    Channel,
    CheckpointMode,
    ExecutionState,
    GapReason,
    LaunchFailure,
    ObservedBy,
    OnDisconnect,
    OnShellExit,
    OverflowAction,
    SessionState,
    SignalKind,
    TimeoutAction,
)
from .errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    ClientClosed,
    CommandFailed,
    ConfigurationError,
    ConnectFailed,
    DeadlineExceeded,
    Disconnected,
    ExecgateError,
    ExecutionForgotten,
    FailedPrecondition,
    FieldViolation,
    FileChanged,
    FileError,
    FileIncomplete,
    FileMissing,
    FileRedacted,
    InternalError,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    PolicyDenied,
    ResourceExhausted,
    SessionBusy,
    SessionEnded,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from .events import Event, EventKind, Finished, Gap, Notice, Output, Started
from .files import FileRead, FileWritten
from .info import (
    Capabilities,
    Closed,
    EndedProcess,
    ExecutionInfo,
    ReadOutput,
    SessionInfo,
    Verdict,
)
from .options import MoreExecutionOptions, MoreSessionOptions
from .outcome import (
    ChannelTotals,
    Ending,
    Exited,
    LaunchFailed,
    Lost,
    Outcome,
    Signal,
    Signaled,
    Usage,
)
from .result import Result
from .session import Session
from .stream import ExecStream
from .text import TextDecoder

__version__ = "0.1.0"

__all__ = [
    "OPEN",
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "AsyncExecStream",
    "AsyncSession",
    "Budget",
    "BudgetReport",
    "Cancelled",
    "Capabilities",
    "Cause",
    "Channel",
    "ChannelTotals",
    "CheckpointMode",
    "Client",
    "ClientClosed",
    "Closed",
    "CommandFailed",
    "ConfigurationError",
    "ConnectFailed",
    "DeadlineExceeded",
    "Disconnected",
    "EndedProcess",
    "Ending",
    "Event",
    "EventKind",
    "ExecStream",
    "ExecgateError",
    "ExecutionForgotten",
    "ExecutionInfo",
    "ExecutionState",
    "Exited",
    "FailedPrecondition",
    "FieldViolation",
    "FileChanged",
    "FileError",
    "FileIncomplete",
    "FileMissing",
    "FileRead",
    "FileRedacted",
    "FileWritten",
    "Finished",
    "Gap",
    "GapReason",
    "InternalError",
    "InvalidArgument",
    "LaunchFailed",
    "LaunchFailure",
    "Lost",
    "MoreExecutionOptions",
    "MoreSessionOptions",
    "NotFound",
    "Notice",
    "ObservedBy",
    "OnDisconnect",
    "OnShellExit",
    "OutOfRange",
    "Outcome",
    "Output",
    "OverflowAction",
    "PermissionDenied",
    "PolicyDenied",
    "ReadOutput",
    "ResourceExhausted",
    "Result",
    "Resume",
    "Session",
    "SessionBusy",
    "SessionEnded",
    "SessionInfo",
    "SessionState",
    "Signal",
    "SignalKind",
    "Signaled",
    "Started",
    "Stdin",
    "TextDecoder",
    "TimeoutAction",
    "Trace",
    "TraceHeaders",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Usage",
    "Verdict",
]
