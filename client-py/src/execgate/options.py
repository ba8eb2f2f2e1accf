"""Keyword arguments that are needed now and then, for every kind of client."""

from __future__ import annotations

from typing import TypedDict

from ._requests import Secrets, Target
from ._time import Seconds
from .budget import Budget
from .enums import CheckpointMode, OnDisconnect, OnShellExit, OverflowAction, TimeoutAction
from .v1 import fence_pb2


class MoreExecutionOptions(TypedDict, total=False):
    """Further keyword arguments of `Session.run` and `Session.exec`."""

    execution_id: str
    """An id of the caller's own, 1 to 64 of `[a-z0-9_-]`: a retry with the same id
    follows the execution that exists and never runs the command twice. Default: a random
    one, chosen on this side, so that the client's own retries are harmless."""
    queue_if_busy: bool
    """Waits for its turn while another script runs, instead of SessionBusy."""
    expected_generation: int | None
    """Refuses to run in any other generation of the session's shell."""
    on_disconnect: OnDisconnect
    """What becomes of it when nobody follows it any more. Default: it runs on."""
    timeout_action: TimeoutAction
    """What happens at the time limit. Default: SIGINT, SIGTERM, SIGKILL in turn."""
    grace_period: Seconds | None
    """Time between two of those steps. Default: 2 seconds."""
    secrets: Secrets
    """Registered secrets for its environment: names, or `{variable: name}`."""
    overflow: OverflowAction
    """What happens when its output exceeds what the server retains."""
    checkpoint: CheckpointMode
    """Whether a checkpoint is made before it. Default: as the session says."""
    resume: bool | Seconds | None
    """What happens when the connection breaks while it runs: True goes on by itself, for a
    minute without progress, a time for so long, False not at all. Default: the client's."""


class MoreSessionOptions(TypedDict, total=False):
    """Further keyword arguments of `Client.session`."""

    target: Target | None
    """Where the shell runs. Default: the server's own machine."""
    max_lifetime: Seconds | None
    """Age at which it is closed, whatever it does."""
    policy: str
    """Name of an operator's policy that judges in addition to the default one."""
    policy_toml: str
    """A policy of its own, which can only narrow the operator's."""
    budget: Budget | None
    """Output budget of `run` where it names none."""
    fence: fence_pb2.FenceRequirement | None
    """Isolation that it must have."""
    on_shell_exit: OnShellExit
    """What happens when the shell ends by itself. Default: a new one."""
    keep_background: bool
    """Leaves its processes alive when it is closed."""
    secrets: Secrets
    """Registered secrets for its environment: names, or `{variable: name}`."""
    workspace: str
    """Directory whose files checkpoints cover."""
    checkpoints: CheckpointMode
    """When checkpoints are made by themselves. Default: never."""
    from_checkpoint: str
    """Checkpoint to begin with."""
