"""What commands do through the Python client, against the real server."""

from __future__ import annotations

import time
import uuid

import pytest

from execgate import (
    Budget,
    Cause,
    Channel,
    Client,
    CommandFailed,
    ExecutionState,
    Exited,
    ObservedBy,
    Session,
    Started,
)
from execgate.events import EventKind

#: Longest time a test command may take to say its word, in seconds.
PATIENCE_SECONDS = 20.0


def test_state_persists(session: Session) -> None:
    first = session.run(
        "cd /tmp; export A=1; b=2; f() { echo hi; }; shopt -s expand_aliases; alias x=f"
    )
    assert (first.exit_code, first.stdout, first.stderr) == (0, "", "")
    second = session.run("x; echo $A $b; pwd")
    assert second.stdout == "hi\n1 2\n/tmp\n"
    assert second.cwd == "/tmp"


def test_stdout_and_stderr_are_apart(session: Session) -> None:
    result = session.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 0)
    assert (result.outcome, result.cause) == (Exited(0), Cause.EXITED)
    assert (result.ending.observed_by, result.truncated, result.timed_out) == (
        ObservedBy.SHELL,
        False,
        False,
    )


def test_output_comes_while_the_command_runs(client: Client, session: Session) -> None:
    """The command ends only after somebody saw its first lines and answered."""
    fifo = f"/tmp/execgate-test-{session.id}"
    stream = session.exec(
        f"mkfifo {fifo}; echo one; echo two >&2; read -r line < {fifo}; echo $line; rm {fifo}",
        timeout=PATIENCE_SECONDS,
    )
    seen = {Channel.STDOUT: b"", Channel.STDERR: b""}
    for event in stream:
        seen[Channel.STDOUT] += event.stdout
        seen[Channel.STDERR] += event.stderr
        if seen == {Channel.STDOUT: b"one\n", Channel.STDERR: b"two\n"}:
            break
    else:
        pytest.fail(f"nothing came before the end: {seen}")
    with client.session() as another:
        assert another.run(f"echo three > {fifo}", timeout=PATIENCE_SECONDS).ok
    assert stream.result().stdout == "one\nthree\n"


def test_events_begin_with_started_and_end_with_finished(session: Session) -> None:
    events = list(session.exec("printf abc; exit_code() { return 7; }; exit_code"))
    assert isinstance(events[0], Started)
    assert [event.kind for event in (events[0], events[-1])] == ["started", "finished"]
    assert b"".join(event.stdout for event in events) == b"abc"
    assert [event.kind for event in events].count(EventKind.FINISHED) == 1


def test_events_come_in_time(session: Session) -> None:
    begin = time.monotonic()
    at: dict[bytes, float] = {}
    for event in session.exec("for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.3; done"):
        for data in (event.stdout + event.stderr).split():
            at[data] = time.monotonic() - begin
    assert sorted(at) == [b"1", b"2", b"3", b"e1", b"e2", b"e3"]
    # 0.3 s lie between two rounds; half of that tells live from late.
    for earlier, later in ((b"1", b"2"), (b"2", b"3"), (b"e1", b"e2"), (b"e2", b"e3")):
        assert at[later] - at[earlier] > 0.15


def test_timeout_is_flagged_and_keeps_output_and_shell(session: Session) -> None:
    result = session.run("kept=yes; echo partial; sleep 60", timeout=0.5)
    assert result.timed_out
    assert result.cause is Cause.TIMEOUT
    assert result.stdout == "partial\n"
    assert result.duration < PATIENCE_SECONDS
    with pytest.raises(CommandFailed, match="time limit"):
        result.check()
    assert session.run("echo $kept").stdout == "yes\n"


def test_non_zero_exit_is_data(session: Session) -> None:
    result = session.run("(exit 42)")
    assert (result.exit_code, result.ok, result.signal) == (42, False, None)


def test_a_program_and_its_input(session: Session) -> None:
    assert session.run(["sh", "-c", "cat; exit 3"], stdin=b"bytes").exit_code == 3
    assert session.run("cat", stdin=b"bytes").stdout == "bytes"


def test_every_byte_comes_through(session: Session) -> None:
    every = "".join(f"\\{byte:03o}" for byte in range(256))
    command = f"for i in 1 2 3 4 5 6 7 8 9 10; do printf '{every}'; done"
    assert session.run(command).stdout_bytes == bytes(range(256)) * 10
    assert session.exec(command).result().stdout_bytes == bytes(range(256)) * 10


def test_stdin_is_empty_where_none_was_given(session: Session) -> None:
    assert session.run("cat; read -r line; echo $?", timeout=PATIENCE_SECONDS).stdout == "1\n"


def test_no_line_end_is_added(session: Session) -> None:
    assert session.run(r"printf 'a\r\nb'").stdout_bytes == b"a\r\nb"


def test_character_split_between_writes_stays_whole(session: Session) -> None:
    command = r"printf 'na\303'; sleep 0.2; printf '\257ve \360\235'; sleep 0.2; printf '\204\236'"
    assert "".join(text for _, text in session.exec(command).text()) == "naïve 𝄞"
    assert session.run(command).stdout == "naïve 𝄞"


def test_large_output_streams_exactly(session: Session) -> None:
    total = 0
    for event in session.exec("head -c 20000000 /dev/zero", timeout=PATIENCE_SECONDS):
        total += len(event.stdout)
    assert total == 20_000_000


def test_budget_keeps_what_was_asked_for(session: Session) -> None:
    result = session.run("seq 1000", budget=Budget(head=2, tail=1))
    lines = result.stdout.splitlines()
    assert (lines[:2], lines[-1], result.truncated) == (["1", "2"], "1000", True)
    report = next(report for report in result.budgets if report.channel is Channel.STDOUT)
    assert (report.total_lines, report.kept_lines, report.truncated) == (1000, 3, True)


def test_environment_of_one_command_does_not_stay(session: Session) -> None:
    session.run("export X=old")
    assert session.run("echo $X", env={"X": "new"}).stdout == "new\n"
    assert session.run("echo $X").stdout == "old\n"


def test_dropped_stream_leaves_the_command_running(session: Session) -> None:
    with session.exec("echo begun; sleep 1; echo done > /tmp/execgate-dropped-$$") as stream:
        for event in stream:
            if event.stdout:
                break
    assert stream.execution_id
    result = session.run(
        "cat /tmp/execgate-dropped-$$; rm /tmp/execgate-dropped-$$", queue_if_busy=True
    )
    assert result.stdout == "done\n"


def test_attach_follows_from_where_a_stream_was_left(client: Client, session: Session) -> None:
    fifo = f"/tmp/execgate-test-{session.id}"
    command = f"mkfifo {fifo}; printf one; read -r x < {fifo}; rm {fifo}; echo two"
    with session.exec(command, timeout=PATIENCE_SECONDS) as left:
        seen = b""
        while seen != b"one":
            seen += next(left).stdout
    rest = session.attach(left.execution_id, offsets={Channel.STDOUT: 3})
    whole = session.attach(left.execution_id)
    with client.session() as another:
        another.run(f"echo > {fifo}", timeout=PATIENCE_SECONDS)
    results = [stream.result() for stream in (rest, whole)]
    assert [(r.stdout, r.truncated, r.deduplicated) for r in results] == [
        ("two\n", True, True),
        ("onetwo\n", False, True),
    ]


def test_policy_can_be_asked(session: Session) -> None:
    allowed = session.evaluate("ls -l")
    denied = session.evaluate("cd /; dd if=/dev/null of=/dev/sdzz count=0")
    assert (allowed.allowed, denied.allowed) == (True, False)
    assert (denied.rule, bool(denied.suggestion)) == ("no-raw-write", True)


@pytest.mark.parametrize(("shell", "allowed"), [("bash", True), ("dash", False)])
def test_a_script_is_judged_in_the_language_of_its_shell(
    client: Client, shell: str, allowed: bool
) -> None:
    """The words behind `||` are part of a test to bash, and a command to dash."""
    with client.session(shell=shell) as session:
        assert session.evaluate("[[ a || dd of=/dev/sdzz ]]").allowed is allowed


def test_execution_can_be_looked_up(session: Session) -> None:
    result = session.run("exit_code() { return 5; }; exit_code")
    info = session.execution(result.execution_id)
    assert (info.state, info.ending) == (ExecutionState.FINISHED, result.ending)
    assert [found.execution_id for found in session.executions()] == [result.execution_id]


def test_same_execution_id_runs_once(session: Session) -> None:
    command = "n=$((n + 1)); echo $n"
    first = session.run(command, execution_id="once")
    again = session.run(command, execution_id="once")
    assert (first.stdout, again.stdout) == ("1\n", "1\n")
    assert (first.deduplicated, again.deduplicated) == (False, True)


def test_session_options_are_obeyed(client: Client) -> None:
    label = uuid.uuid4().hex
    with client.session(shell="sh", cwd="/usr", env={"A": "1"}, labels={"t": label}) as session:
        result = session.run("pwd; echo $A")
        info = session.info()
        listed = [found.session_id for found in client.sessions(labels={"t": label})]
    assert result.stdout == "/usr\n1\n"
    assert (info.session_id, dict(info.labels)) == (session.id, {"t": label})
    assert listed == [session.id]


def test_close_ends_what_was_started(client: Client) -> None:
    session = client.session()
    fifo = f"/tmp/execgate-test-{session.id}"
    daemon = f"setsid sh -c 'echo up > {fifo}; exec sleep 987' >/dev/null 2>&1 </dev/null &"
    up = session.run(f"mkfifo {fifo}; {daemon} read -r line < {fifo}; rm {fifo}; echo $line")
    assert up.stdout == "up\n"
    closed = session.close()
    assert closed.ended_process_count >= 1
    assert any("987" in process.command for process in closed.ended_processes)


def test_audit_has_intent_and_outcome(client: Client, session: Session) -> None:
    result = session.run("true")
    records = client.audit_records(session_id=session.id, execution_id=result.execution_id)
    assert [record.WhichOneof("body") for record in records] == [
        "execution_intent",
        "execution_outcome",
    ]


def test_capabilities_name_the_version(client: Client) -> None:
    assert client.capabilities().api_version.startswith("1.")
