"""Programs, their input and their signals, through both clients."""

from __future__ import annotations

import hashlib

import pytest

from execgate import (
    OPEN,
    Budget,
    Cause,
    Channel,
    Client,
    ExecutionState,
    Exited,
    FailedPrecondition,
    LaunchFailed,
    LaunchFailure,
    ObservedBy,
    OutOfRange,
    Session,
    Signaled,
)

#: Longest time a test command may take, in seconds.
PATIENCE_SECONDS = 20.0


def test_program_is_run_as_it_is_with_its_exit_code_from_the_kernel(session: Session) -> None:
    session.run("cd /tmp; export SEEN=yes; hidden=no")
    result = session.run(["printf", "%s|", "a b", "$HOME", "*", ""])
    assert (result.stdout, result.stderr) == ("a b|$HOME|*||", "")
    assert (result.outcome, result.ending.observed_by) == (Exited(0), ObservedBy.KERNEL)
    told = session.run(["sh", "-c", "pwd; echo $SEEN ${hidden-unset}; exit 3"])
    assert (told.stdout, told.exit_code) == ("/tmp\nyes unset\n", 3)
    killed = session.run(["sh", "-c", "kill -9 $$"])
    assert isinstance(killed.outcome, Signaled)
    assert str(killed.signal) == "SIGKILL"


def test_program_that_cannot_be_launched_says_why(session: Session) -> None:
    session.run("cd $(mktemp -d); : > plain")
    for argv, failure in [
        (["no-such-program"], LaunchFailure.NOT_FOUND),
        (["./plain"], LaunchFailure.PERMISSION),
    ]:
        result = session.run(argv, env={"PATH": "/usr/bin:/bin"})
        assert isinstance(result.outcome, LaunchFailed)
        assert result.outcome.failure is failure
        assert (result.exit_code, result.ok) == (None, False)


def test_programs_run_beside_a_script_and_each_other(session: Session) -> None:
    with session.exec("sleep 60") as script:
        streams = [session.exec(["sh", "-c", f"echo {n}; cat"], stdin=OPEN) for n in range(3)]
        for number, stream in enumerate(streams):
            stream.write_stdin(f"in {number}\n", eof=True)
        assert [s.result().stdout for s in streams] == [f"{n}\nin {n}\n" for n in range(3)]
        script.signal()
        assert script.result().cause is Cause.SIGNALED_BY_REQUEST


@pytest.mark.parametrize("command", ["cat", ["cat"]])
def test_input_given_in_full_is_read_to_its_end(session: Session, command: str) -> None:
    data = bytes(range(256)) * 100
    assert session.run(command, stdin=data).stdout_bytes == data
    assert session.exec(command, stdin=b"").result().stdout_bytes == b""
    assert session.run("echo the shell is as it was").stdout == "the shell is as it was\n"


@pytest.mark.parametrize("command", ["cat", ["cat"]])
def test_open_input_is_a_conversation(session: Session, command: str) -> None:
    stream = session.exec(command, stdin=OPEN, timeout=PATIENCE_SECONDS)
    for line in (b"one\n", b"two\n"):
        stream.write_stdin(line)
        seen = b""
        while seen != line:
            seen += next(stream).stdout
    assert stream.write_stdin(b"wo\n", offset=5) == 8
    stream.close_stdin()
    assert stream.result().stdout == "one\ntwo\n"
    with pytest.raises(FailedPrecondition):
        stream.write_stdin(b"late")


def test_long_input_waits_for_its_reader(session: Session) -> None:
    data = bytes(range(256)) * 4096 * 5
    stream = session.exec(["sha256sum"], stdin=OPEN, timeout=PATIENCE_SECONDS)
    assert stream.write_stdin(data, eof=True) == len(data)
    assert stream.result().stdout.split()[0] == hashlib.sha256(data).hexdigest()


def test_interpreter_is_driven_line_by_line(session: Session) -> None:
    stream = session.exec(["python3", "-iqu"], stdin=OPEN, timeout=PATIENCE_SECONDS)
    stream.write_stdin("x = 6 * 7\nprint('answer', x)\n")
    seen = b""
    while b"answer 42\n" not in seen:
        seen += next(stream).stdout
    stream.close_stdin()
    assert stream.result().exit_code == 0


def test_signal_ends_what_it_is_sent_to_and_nothing_else(session: Session) -> None:
    session.run("kept=1")
    program = ["sh", "-c", "echo up; exec sleep 60"]
    for command, name, signal in [
        (program, "TERM", "SIGTERM"),
        ("sh -c 'echo up; exec sleep 60'", "INT", "SIGINT"),
        (program, "KILL", "SIGKILL"),
    ]:
        stream = session.exec(command, timeout=PATIENCE_SECONDS)
        seen = b""
        while seen != b"up\n":
            seen += next(stream).stdout
        stream.signal(name)
        result = stream.result()
        assert (str(result.signal), result.cause) == (signal, Cause.SIGNALED_BY_REQUEST)
        assert session.execution(stream.execution_id).state is ExecutionState.FINISHED
    assert session.run("echo $kept").stdout == "1\n"


def test_terminal_has_the_size_it_is_given(client: Client) -> None:
    with client.session(terminal=(20, 70)) as session:
        before = session.run("stty size; echo err >&2")
        assert (before.terminal, before.stdout, before.stderr) == ("20 70\r\nerr\r\n", "", "")
        assert session.resize(30, 100) == (30, 100)
        assert session.run("stty size").terminal == "30 100\r\n"
    with client.session() as session, pytest.raises(FailedPrecondition) as caught:
        session.resize(30, 100)
    assert caught.value.reason == "NO_TERMINAL"


def test_output_can_be_read_afterwards(session: Session) -> None:
    result = session.run("seq 1 1000; echo err >&2")
    whole = session.read_output(result.execution_id)
    assert (whole.data, whole.complete) == (result.stdout_bytes, True)
    part = session.read_output(result.execution_id, offset=4, limit=4)
    assert (part.data, part.offset, part.next_offset) == (b"3\n4\n", 4, 8)
    assert session.read_output(result.execution_id, Channel.STDERR).data == b"err\n"
    last = session.read_output(result.execution_id, budget=Budget(tail=1))
    assert last.data.endswith(b"1000\n")
    assert last.budget is not None
    assert (last.budget.kept_lines, last.budget.total_lines) == (1, 1000)
    with pytest.raises(OutOfRange) as caught:
        session.read_output(result.execution_id, offset=10_000)
    assert caught.value.metadata["next_offset"] == str(len(result.stdout_bytes))
