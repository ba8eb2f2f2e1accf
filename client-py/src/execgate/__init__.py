"""execgate: safe, stateful shell sessions for AI agents.

>>> from execgate import Client
>>> with Client(address, token=token) as c, c.session() as s:
...     _ = s.run("cd /tmp; export GREETING=hello")
...     print(s.run("echo $GREETING from $PWD").stdout, end="")
hello from /tmp
"""

from ._requests import Stdin
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
    FailedPrecondition,
    FieldViolation,
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
from .info import Capabilities, Closed, EndedProcess, ExecutionInfo, SessionInfo, Verdict
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
    "Aborted",
    "AlreadyExists",
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
    "ExecutionInfo",
    "ExecutionState",
    "Exited",
    "FailedPrecondition",
    "FieldViolation",
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
    "ResourceExhausted",
    "Result",
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
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Usage",
    "Verdict",
]
