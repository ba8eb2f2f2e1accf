"""From keyword arguments to requests, for every kind of client.

Checks nothing that the server checks: its errors name the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Union

from ._time import Seconds, to_duration
from .budget import Budget, write_budget
from .enums import (
    CHECKPOINT_MODE,
    ON_DISCONNECT,
    ON_SHELL_EXIT,
    OVERFLOW_ACTION,
    TIMEOUT_ACTION,
    CheckpointMode,
    OnDisconnect,
    OnShellExit,
    OverflowAction,
    TimeoutAction,
)
from .v1 import (
    exec_pb2,
    execution_pb2,
    fence_pb2,
    policy_pb2,
    session_pb2,
    target_pb2,
    types_pb2,
)

#: A script for the session's shell, or a program and its arguments beside it.
Command = Union[str, Sequence[str]]

#: Where a session runs.
Target = Union[target_pb2.LocalTarget, target_pb2.SshTarget, target_pb2.DockerTarget]

#: Registered secrets: their names, or variables and the names that go into them.
Secrets = Union[Iterable[str], Mapping[str, str]]


class Stdin(Enum):
    """A standard input that is not given in full."""

    OPEN = "open"
    """Fed by `ExecStream.write_stdin` while the command runs."""


#: `Stdin.OPEN`.
OPEN = Stdin.OPEN

Input = Union[bytes, str, Stdin, None]


@dataclass(frozen=True)
class ExecutionOptions:
    """How to run one command; `Session.exec` says what the fields mean."""

    timeout: Seconds | None = None
    timeout_action: TimeoutAction = TimeoutAction.UNSPECIFIED
    grace_period: Seconds | None = None
    stdin: Input = None
    env: Mapping[str, str] | None = None
    cwd: str = ""
    secrets: Secrets = ()
    execution_id: str = ""
    queue_if_busy: bool = False
    expected_generation: int | None = None
    on_disconnect: OnDisconnect = OnDisconnect.UNSPECIFIED
    overflow: OverflowAction = OverflowAction.UNSPECIFIED
    checkpoint: CheckpointMode = CheckpointMode.UNSPECIFIED
    resume: bool | Seconds | None = None


def execution_spec(command: Command, options: ExecutionOptions) -> execution_pb2.ExecutionSpec:
    """What to run and under which conditions."""
    spec = execution_pb2.ExecutionSpec(
        timeout=to_duration(options.timeout),
        timeout_action=TIMEOUT_ACTION.write(options.timeout_action),
        grace_period=to_duration(options.grace_period),
        env=options.env,
        cwd=options.cwd,
        secrets=_secrets(options.secrets),
        overflow=OVERFLOW_ACTION.write(options.overflow),
        checkpoint=CHECKPOINT_MODE.write(options.checkpoint),
    )
    if isinstance(command, str):
        spec.script = command
    else:
        spec.argv.CopyFrom(execution_pb2.Argv(arguments=command))
    stdin = options.stdin
    if stdin is Stdin.OPEN:
        spec.open.CopyFrom(execution_pb2.OpenStdin())
    elif stdin is not None and not isinstance(stdin, Stdin):
        data = stdin.encode() if isinstance(stdin, str) else bytes(stdin)
        spec.inline.CopyFrom(execution_pb2.InlineStdin(data=data))
    return spec


def exec_request(
    session_id: str, execution_id: str, command: Command, options: ExecutionOptions
) -> exec_pb2.ExecRequest:
    """A request to start a command and follow it."""
    return exec_pb2.ExecRequest(
        session_id=session_id,
        execution_id=execution_id,
        spec=execution_spec(command, options),
        queue_if_busy=options.queue_if_busy,
        expected_generation=options.expected_generation,
        on_disconnect=ON_DISCONNECT.write(options.on_disconnect),
    )


def run_request(
    session_id: str,
    execution_id: str,
    command: Command,
    options: ExecutionOptions,
    budget: Budget | None,
) -> exec_pb2.RunRequest:
    """A request to run a command to its end."""
    return exec_pb2.RunRequest(
        session_id=session_id,
        execution_id=execution_id,
        spec=execution_spec(command, options),
        queue_if_busy=options.queue_if_busy,
        expected_generation=options.expected_generation,
        on_disconnect=ON_DISCONNECT.write(options.on_disconnect),
        output_budget=write_budget(budget),
    )


@dataclass(frozen=True)
class SessionOptions:
    """How to make a session; `Client.session` says what the fields mean."""

    target: Target | None = None
    shell: str = ""
    cwd: str = ""
    env: Mapping[str, str] | None = None
    terminal: bool | tuple[int, int] = False
    labels: Mapping[str, str] | None = None
    timeout: Seconds | None = None
    idle_ttl: Seconds | None = None
    max_lifetime: Seconds | None = None
    session_id: str = ""
    policy: str = ""
    policy_toml: str = ""
    deny: Iterable[str] = ()
    allow: Iterable[str] = ()
    budget: Budget | None = None
    fence: fence_pb2.FenceRequirement | None = None
    on_shell_exit: OnShellExit = OnShellExit.UNSPECIFIED
    keep_background: bool = False
    secrets: Secrets = ()
    workspace: str = ""
    checkpoints: CheckpointMode = CheckpointMode.UNSPECIFIED
    from_checkpoint: str = ""


@dataclass(frozen=True)
class SessionChanges:
    """What is to change in a live session; None stays as it is."""

    labels: Mapping[str, str] | None = None
    timeout: Seconds | None = None
    idle_ttl: Seconds | None = None
    budget: Budget | None = None


def create_session_request(options: SessionOptions) -> session_pb2.CreateSessionRequest:
    """A request for a session."""
    request = session_pb2.CreateSessionRequest(
        session_id=options.session_id,
        shell=options.shell,
        cwd=options.cwd,
        env=options.env,
        terminal=_terminal(options.terminal),
        workspace=options.workspace,
        from_checkpoint=options.from_checkpoint,
        policy=_policy(options),
        output_budget=write_budget(options.budget),
        default_timeout=to_duration(options.timeout),
        idle_ttl=to_duration(options.idle_ttl),
        max_lifetime=to_duration(options.max_lifetime),
        fence=options.fence,
        on_shell_exit=ON_SHELL_EXIT.write(options.on_shell_exit),
        keep_background=options.keep_background,
        secrets=_secrets(options.secrets),
        labels=options.labels,
        checkpoints=CHECKPOINT_MODE.write(options.checkpoints),
    )
    if isinstance(options.target, target_pb2.LocalTarget):
        request.local.CopyFrom(options.target)
    elif isinstance(options.target, target_pb2.SshTarget):
        request.ssh.CopyFrom(options.target)
    elif isinstance(options.target, target_pb2.DockerTarget):
        request.docker.CopyFrom(options.target)
    return request


def _terminal(terminal: bool | tuple[int, int]) -> session_pb2.Terminal | None:
    if isinstance(terminal, bool):
        return session_pb2.Terminal() if terminal else None
    rows, columns = terminal
    return session_pb2.Terminal(size=types_pb2.TerminalSize(rows=rows, columns=columns))


def _policy(options: SessionOptions) -> policy_pb2.SessionPolicy | None:
    policy = policy_pb2.SessionPolicy(
        name=options.policy,
        allow_programs=_names("allow", options.allow),
        deny_programs=_names("deny", options.deny),
        toml=options.policy_toml,
    )
    return policy if policy.ByteSize() else None


def _names(argument: str, names: Iterable[str]) -> list[str]:
    # A str is an iterable of str too: deny="rm" would deny `r` and `m`.
    if isinstance(names, str):
        raise TypeError(f"{argument} is a list of names, not one name")
    return list(names)


def _secrets(secrets: Secrets) -> list[types_pb2.SecretReference]:
    if isinstance(secrets, Mapping):
        return [
            types_pb2.SecretReference(name=name, variable=variable)
            for variable, name in secrets.items()
        ]
    return [types_pb2.SecretReference(name=name) for name in _names("secrets", secrets)]
