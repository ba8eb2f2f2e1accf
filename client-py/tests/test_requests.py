"""Keyword arguments become the requests they speak of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from execgate import Budget, OnDisconnect, OnShellExit, Stdin
from execgate._requests import (
    ExecutionOptions,
    SessionOptions,
    create_session_request,
    exec_request,
    run_request,
)
from execgate.v1 import exec_pb2, execution_pb2, policy_pb2, session_pb2, target_pb2, types_pb2


def test_nothing_said_is_nothing_sent() -> None:
    empty = exec_pb2.ExecRequest(session_id="s", spec=execution_pb2.ExecutionSpec(script="true"))
    assert exec_request("s", "", "true", ExecutionOptions()) == empty
    assert create_session_request(SessionOptions()) == session_pb2.CreateSessionRequest()


def test_everything_said_of_a_command_is_sent() -> None:
    options = ExecutionOptions(
        timeout=1.5,
        stdin="in",
        env={"A": "1"},
        cwd="/tmp",  # noqa: S108 - only a name
        secrets={"TOKEN": "deploy"},
        queue_if_busy=True,
        expected_generation=0,
        on_disconnect=OnDisconnect.CANCEL,
    )
    budget = Budget(max_bytes=5, head=1, tail=2, grep="x", before=3, after=4, invert=True)
    assert run_request("s", "e", ["ls", "-l"], options, budget) == exec_pb2.RunRequest(
        session_id="s",
        execution_id="e",
        spec=execution_pb2.ExecutionSpec(
            argv=execution_pb2.Argv(arguments=["ls", "-l"]),
            timeout=Duration(seconds=1, nanos=500_000_000),
            inline=execution_pb2.InlineStdin(data=b"in"),
            env={"A": "1"},
            cwd="/tmp",  # noqa: S108 - only a name
            secrets=[types_pb2.SecretReference(name="deploy", variable="TOKEN")],
        ),
        queue_if_busy=True,
        expected_generation=0,
        on_disconnect=execution_pb2.ON_DISCONNECT_CANCEL,
        output_budget=types_pb2.OutputBudget(
            max_bytes=5,
            head_tail=types_pb2.HeadTailLines(head=1, tail=2),
            grep=types_pb2.Grep(
                pattern="x", before=3, after=4, mode=types_pb2.GREP_MODE_NOT_MATCHING
            ),
        ),
    )


def test_open_stdin_is_not_an_empty_one() -> None:
    specs = [
        exec_request("s", "", "cat", ExecutionOptions(stdin=stdin)).spec
        for stdin in (None, b"", Stdin.OPEN)
    ]
    assert [spec.WhichOneof("stdin") for spec in specs] == [None, "inline", "open"]


def test_everything_said_of_a_session_is_sent() -> None:
    options = SessionOptions(
        target=target_pb2.SshTarget(profile="build"),
        shell="dash",
        env={"A": "1"},
        terminal=(30, 100),
        labels={"agent": "7"},
        timeout=timedelta(minutes=1),
        idle_ttl=5,
        session_id="s",
        deny=["curl"],
        allow=("git", "make"),
        on_shell_exit=OnShellExit.LOST,
        secrets=["deploy"],
    )
    assert create_session_request(options) == session_pb2.CreateSessionRequest(
        session_id="s",
        ssh=target_pb2.SshTarget(profile="build"),
        shell="dash",
        env={"A": "1"},
        terminal=session_pb2.Terminal(size=types_pb2.TerminalSize(rows=30, columns=100)),
        policy=policy_pb2.SessionPolicy(allow_programs=["git", "make"], deny_programs=["curl"]),
        default_timeout=Duration(seconds=60),
        idle_ttl=Duration(seconds=5),
        on_shell_exit=session_pb2.ON_SHELL_EXIT_LOST,
        secrets=[types_pb2.SecretReference(name="deploy")],
        labels={"agent": "7"},
    )


def test_one_name_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(TypeError, match="deny"):
        create_session_request(SessionOptions(deny="rm"))
