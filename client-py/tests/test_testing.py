"""The fake server, through the clients that agents would use."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator

import pytest

from execgate import (
    OPEN,
    AlreadyExists,
    Cause,
    Channel,
    Client,
    ConnectFailed,
    Disconnected,
    ExecgateError,
    ExecutionState,
    FailedPrecondition,
    FileMissing,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PolicyDenied,
    ResourceExhausted,
    Session,
    SessionBusy,
    SessionEnded,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from execgate.errors import FieldViolation
from execgate.testing import Answer, Command, FakeServer, denied


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def session(server: FakeServer) -> Iterator[Session]:
    with server.client() as client, client.session() as session:
        yield session


def test_first_matching_rule_answers(server: FakeServer, session: Session) -> None:
    server.on("make test", stdout="fine\n")
    server.on(re.compile("make .*"), stdout="made\n", stderr="warning\n", exit_code=2)
    server.on(lambda command: "SECRET" in command.env, stdout=b"\xff")
    result = session.run("make all")
    assert (result.stdout, result.stderr, result.exit_code) == ("made\n", "warning\n", 2)
    assert session.run("make test").stdout == "fine\n"
    assert session.run("env", env={"SECRET": "1"}).stdout_bytes == b"\xff"
    assert server.commands == ["make all", "make test", "env"]


def test_unexpected_command_fails_the_test_unless_there_is_a_default(session: Session) -> None:
    with pytest.raises(FailedPrecondition, match="no rule of the fake server") as caught:
        session.run("surprise")
    assert caught.value.reason == "NO_RULE"
    lenient = FakeServer(default=lambda command: Answer(stdout=command.text))
    with lenient, lenient.client() as client, client.session() as another:
        assert another.run("surprise").stdout == "surprise"


def test_answers_follow_each_other_and_the_last_one_stays(
    server: FakeServer, session: Session
) -> None:
    server.on("next", Answer(exit_code=1), Answer(exit_code=2), lambda _: Answer(exit_code=3))
    assert [session.run("next").exit_code for _ in range(4)] == [1, 2, 3, 3]


def test_events_come_in_the_pieces_of_the_answer(server: FakeServer, session: Session) -> None:
    server.on("talk", stdout=["na\n", b"\xc3", b"\xaf"], stderr="err", exit_code=1)
    stream = session.exec("talk")
    assert [(str(e.kind), e.stdout, e.stderr) for e in stream] == [
        ("started", b"", b""),
        ("output", b"na\n", b""),
        ("output", b"\xc3", b""),
        ("output", b"\xaf", b""),
        ("output", b"", b"err"),
        ("finished", b"", b""),
    ]
    assert stream.result().stdout == "na\nï"


@pytest.mark.parametrize(
    "error",
    [
        denied("no-rm", "rm is denied", suggestion="git clean -n"),
        SessionBusy("busy", metadata={"execution_id": "e"}),
        SessionEnded("gone"),
        NotFound("no secret", reason="SECRET_NOT_FOUND"),
        Unavailable("the audit log", reason="AUDIT_UNAVAILABLE", retry_after=2.5),
        ResourceExhausted("too many", reason="EXECUTION_LIMIT", retry_after=1),
        OutOfRange("beyond", reason="OFFSET_OUT_OF_RANGE", metadata={"next_offset": "7"}),
        InvalidArgument("bad", field_violations=[FieldViolation("spec.cwd", "no")]),
        Unimplemented("not here"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_arrives_as_the_one_that_was_scripted(
    server: FakeServer, session: Session, error: ExecgateError
) -> None:
    server.on("fail", error=error)
    for start in (session.run, session.exec):
        with pytest.raises(type(error)) as caught:
            start("fail")
        kept = ("message", "metadata", "retry_after", "field_violations")
        assert {name: getattr(caught.value, name) for name in kept} == {
            name: getattr(error, name) for name in kept
        }


def test_delay_beyond_the_time_limit_times_out_with_the_output(
    server: FakeServer, session: Session
) -> None:
    server.on("slow", stdout="partial\n", delay=60)
    begin = time.monotonic()
    result = session.run("slow", timeout=0.1)
    assert time.monotonic() - begin < 10
    assert (result.timed_out, result.cause, result.stdout) == (True, Cause.TIMEOUT, "partial\n")


def test_one_script_runs_at_a_time_and_a_signal_ends_it(
    server: FakeServer, session: Session
) -> None:
    server.on("slow", delay=60).on("true")
    stream = session.exec("slow")
    with pytest.raises(SessionBusy) as busy:
        session.run("true")
    assert busy.value.execution_id == stream.execution_id
    server.on("id", stdout="me\n")
    assert session.run(["id"]).stdout == "me\n"
    assert session.execution(stream.execution_id).state is ExecutionState.RUNNING
    assert stream.signal("TERM") is ExecutionState.FINISHED
    result = stream.result()
    assert (str(result.signal), result.cause) == ("SIGTERM", Cause.SIGNALED_BY_REQUEST)
    assert session.run("true").ok


def test_queued_command_waits_for_its_turn(server: FakeServer, session: Session) -> None:
    server.on("slow", delay=0.2).on("true")
    begin = time.monotonic()
    session.exec("slow")
    assert session.run("true", queue_if_busy=True).ok
    assert time.monotonic() - begin >= 0.2


def test_same_execution_id_is_answered_once(server: FakeServer, session: Session) -> None:
    server.on("count", Answer(stdout="1"), Answer(stdout="2"))
    first = session.run("count", execution_id="one")
    again = session.exec("count", execution_id="one").result()
    assert (first.stdout, again.stdout, again.deduplicated) == ("1", "1", True)
    with pytest.raises(AlreadyExists):
        session.run("other", execution_id="one")
    attached = session.attach("one").result()
    assert attached.stdout == "1"
    assert [info.execution_id for info in session.executions()] == ["one"]
    assert session.read_output("one", Channel.STDOUT).data == b"1"


def test_input_reaches_the_answer(server: FakeServer, session: Session) -> None:
    def upper(command: Command) -> Answer:
        return Answer(stdout=command.stdin.upper())

    server.on("upper", upper)
    assert session.run("upper", stdin=b"abc").stdout == "ABC"
    stream = session.exec("upper", stdin=OPEN)
    assert stream.write_stdin("ab") == 2
    assert stream.write_stdin(b"abc", offset=0) == 3
    with pytest.raises(OutOfRange):
        stream.write_stdin(b"x", offset=9)
    stream.close_stdin()
    assert stream.result().stdout == "ABC"
    assert [request.stdin for request in server.requests] == [b"abc", b"abc"]
    with pytest.raises(FailedPrecondition):
        stream.write_stdin(b"late")


def test_long_input_goes_in_pieces(server: FakeServer, session: Session) -> None:
    server.on("count", lambda command: Answer(stdout=str(len(command.stdin))))
    stream = session.exec("count", stdin=OPEN)
    assert stream.write_stdin(b"x" * 5_000_001, eof=True) == 5_000_001
    assert stream.result().stdout == "5000001"


def test_directory_stays_changed(server: FakeServer, session: Session) -> None:
    server.on("cd /srv", Answer(cwd="/srv")).on("true")
    assert session.run("true").cwd == "/home/agent"
    assert session.run("cd /srv").cwd == "/srv"
    assert (session.run("true").cwd, session.info().cwd) == ("/srv", "/srv")


def test_files_are_kept(server: FakeServer, session: Session) -> None:
    server.files["/etc/motd"] = b"hello\n"
    assert session.read_text("/etc/motd") == "hello\n"
    session.write_file("notes", "one", mode=0o600)
    big = bytes(range(256)) * 8192
    assert session.put(big, "/big").size == len(big)
    assert session.read_file("/big") == big
    assert (server.files["/home/agent/notes"], server.modes["/home/agent/notes"]) == (b"one", 0o600)
    with pytest.raises(FileMissing):
        session.read_file("nothing")
    assert server.commands == []


def test_policy_can_be_asked(server: FakeServer, session: Session) -> None:
    server.on("rm -rf /", error=denied("no-rm", suggestion="do not")).on("ls")
    verdict = session.evaluate("rm -rf /")
    assert (verdict.allowed, verdict.rule, verdict.suggestion) == (False, "no-rm", "do not")
    assert session.evaluate("ls").allowed
    assert server.commands == []


def test_sessions_are_kept_apart(server: FakeServer) -> None:
    server.on("cd /a", Answer(cwd="/a")).on("true")
    with server.client() as client:
        first = client.session(session_id="first", labels={"n": "1"})
        second = client.session(cwd="/b")
        first.run("cd /a")
        assert (first.run("true").cwd, second.run("true").cwd) == ("/a", "/b")
        assert client.session(session_id="first", labels={"n": "1"}).id == "first"
        with pytest.raises(AlreadyExists):
            client.session(session_id="first")
        assert [info.session_id for info in client.sessions(labels={"n": "1"})] == ["first"]
        first.close()
        with pytest.raises(SessionEnded):
            first.run("true")
        with pytest.raises(NotFound):
            client.get_session("nothing")


def test_what_is_not_faked_is_unimplemented(server: FakeServer) -> None:
    with server.client() as client, pytest.raises(Unimplemented):
        list(client.audit_records())


def test_token_is_asked_for_and_found(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(server.address, token="wrong") as client, pytest.raises(Unauthenticated):  # noqa: S106
        client.session()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    with Client() as client:
        assert client.capabilities().server_version == "fake"


def test_server_stopped_mid_stream_is_a_broken_connection(server: FakeServer) -> None:
    server.on("slow", stdout="begun", delay=60)
    with server.client(resume=0.3) as client:
        stream = client.session().exec("slow")
        assert next(event.stdout for event in stream if event.stdout) == b"begun"
        server.stop()
        with pytest.raises(Disconnected):
            stream.result()
        with pytest.raises((ConnectFailed, Disconnected)):
            client.session()


def test_asyncio_client_is_answered_too(server: FakeServer) -> None:
    server.on("hi", stdout="hello\n", delay=0.05).on("rm", error=denied("no-rm"))

    async def story() -> list[str]:
        async with server.async_client() as client:
            sessions = await asyncio.gather(*(client.session() for _ in range(50)))
            results = await asyncio.gather(*(session.run("hi") for session in sessions))
            with pytest.raises(PolicyDenied):
                await sessions[0].run("rm")
            await sessions[0].put(b"x" * 3_000_000, "/x")
            assert len(await sessions[1].read_file("/x")) == 3_000_000
            return [result.stdout for result in results]

    assert asyncio.run(story()) == ["hello\n"] * 50
