"""What commands do through the Python client, against the real server."""

from __future__ import annotations

import time

import pytest

from execgate import (
    Budget,
    Cause,
    Channel,
    Client,
    CommandFailed,
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


def test_output_comes_while_the_command_runs(session: Session) -> None:
    """The command waits for what it is answered after its first line was seen."""
    fifo = "/tmp/execgate-test-$$"  # the session's shell fills in its own pid
    stream = session.exec(
        f"mkfifo {fifo}; echo one; echo two >&2; (read -r line < {fifo}; echo $line); rm {fifo}",
        timeout=PATIENCE_SECONDS,
    )
    seen: dict[Channel, bytes] = {Channel.STDOUT: b"", Channel.STDERR: b""}
    for event in stream:
        if event.kind is EventKind.OUTPUT:
            seen[Channel.STDOUT] += event.stdout
            seen[Channel.STDERR] += event.stderr
        if seen == {Channel.STDOUT: b"one\n", Channel.STDERR: b"two\n"}:
            break
    else:
        pytest.fail(f"nothing came before the end: {seen}")
    # A program beside the shell answers, while the script runs.
    answer = session.run(["sh", "-c", "for f in /tmp/execgate-test-*; do echo three > $f; done"])
    assert answer.ok
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


def test_program_beside_the_shell_sees_no_shell(session: Session) -> None:
    session.run("cd /tmp; export SEEN=1")
    result = session.run(["sh", "-c", 'printf "%s|" "$@" "$SEEN" "$PWD"', "sh", "$HOME", "a b"])
    assert result.stdout == "$HOME|a b|1|/tmp|"
    assert result.ending.observed_by is ObservedBy.KERNEL


def test_program_ended_by_a_signal_says_which(session: Session) -> None:
    result = session.run(["sh", "-c", "kill -TERM $$"])
    assert result.signal is not None
    assert (result.exit_code, result.signal.number, str(result.signal)) == (143, 15, "SIGTERM")


def test_every_byte_comes_through(session: Session) -> None:
    every = bytes(range(256)) * 300
    result = session.run("cat", stdin=every)
    assert result.stdout_bytes == every
    assert session.exec("cat", stdin=every).result().stdout_bytes == every


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


def test_same_execution_id_runs_once(session: Session) -> None:
    command = "n=$((n + 1)); echo $n"
    first = session.run(command, execution_id="once")
    again = session.run(command, execution_id="once")
    assert (first.stdout, again.stdout) == ("1\n", "1\n")
    assert (first.deduplicated, again.deduplicated) == (False, True)


def test_session_options_are_obeyed(client: Client) -> None:
    with client.session(shell="sh", cwd="/usr", env={"A": "1"}, labels={"t": "opt"}) as session:
        result = session.run("pwd; echo $A")
        info = session.info()
        listed = [found.session_id for found in client.sessions(labels={"t": "opt"})]
    assert result.stdout == "/usr\n1\n"
    assert (info.session_id, dict(info.labels)) == (session.id, {"t": "opt"})
    assert listed == [session.id]


def test_close_ends_what_was_started(client: Client) -> None:
    session = client.session()
    session.run("setsid sleep 987 >/dev/null 2>&1 </dev/null &")
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
