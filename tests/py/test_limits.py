"""Limits: whoever reaches one is told which, whose and when to come again; others work on."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status
from running_server import Server, find_binary

from execgate.v1 import (
    capabilities_pb2,
    exec_pb2,
    exec_pb2_grpc,
    execution_pb2,
    session_pb2,
    session_pb2_grpc,
    types_pb2,
)

#: Far above what anything here takes, in seconds.
LIMIT_SECONDS = 60

#: Starts a server of the test's own.
Start = Callable[[str], Server]


class Limited(NamedTuple):
    """What a refusal says of a limit."""

    reason: str
    subject: str


class Caller:
    """One principal, over a connection of its own."""

    def __init__(self, server: Server, token: str) -> None:
        # Channels to one address share their connections unless told otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(server.address, options=options)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self.sessions: Any = session_pb2_grpc.SessionServiceStub(self.channel)
        self.execs: Any = exec_pb2_grpc.ExecServiceStub(self.channel)

    def call(self, method: Any, request: Any) -> Any:
        """Calls as this principal."""
        return method(request, metadata=self._metadata, timeout=LIMIT_SECONDS)

    def create(self, session_id: str = "") -> Any:
        """Creates a session."""
        request = session_pb2.CreateSessionRequest(session_id=session_id)
        return self.call(self.sessions.CreateSession, request)

    def close(self, session_id: str) -> Any:
        """Closes one."""
        request = session_pb2.CloseSessionRequest(session_id=session_id)
        return self.call(self.sessions.CloseSession, request)

    def capabilities(self) -> Any:
        """Asks what the server can do."""
        request = capabilities_pb2.GetCapabilitiesRequest()
        return self.call(self.sessions.GetCapabilities, request)

    def run(self, script: str, session_id: str = "s", execution_id: str = "") -> str:
        """What a script prints."""
        spec = execution_pb2.ExecutionSpec(script=script)
        request = exec_pb2.RunRequest(session_id=session_id, execution_id=execution_id, spec=spec)
        result: bytes = self.call(self.execs.Run, request).result.stdout
        return result.decode()

    def run_beside(self, *words: str) -> Any:
        """Runs a program beside the shell."""
        argv = execution_pb2.Argv(arguments=words)
        spec = execution_pb2.ExecutionSpec(argv=argv)
        return self.call(self.execs.Run, exec_pb2.RunRequest(session_id="s", spec=spec))

    def begin(self, script: str, session_id: str = "s") -> Any:
        """A stream whose command runs."""
        spec = execution_pb2.ExecutionSpec(script=script)
        request = exec_pb2.ExecRequest(session_id=session_id, execution_id="long", spec=spec)
        stream = self.call(self.execs.Exec, request)
        next(stream)
        return stream


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    servers: list[Server] = []

    def start(config: str) -> Server:
        servers.append(Server(tmp_path_factory.mktemp("s"), config=config))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def principal(server: Server, name: str) -> Caller:
    """A caller with an API key."""
    command = [find_binary(), "key", "--data-dir", str(server.data_dir), "create", name]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    return Caller(server, made.stdout.strip())


def local(server: Server) -> Caller:
    return Caller(server, server.token)


def refused(call: Callable[[], object]) -> Limited:
    """What a call is told that reaches a limit."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info, quota, retry = ErrorInfo(), QuotaFailure(), RetryInfo()
    for detail in status.details:
        for known in (info, quota, retry):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    (violation,) = quota.violations
    assert violation.description == error.details()
    assert info.metadata["limit"] in violation.description
    assert retry.retry_delay.ToTimedelta().total_seconds() > 0
    return Limited(info.reason, violation.subject)


def test_a_principal_at_its_limits_leaves_another_alone(start: Start) -> None:
    server = start("[quotas]\nsessions = 1\nexecutions = 1\n")
    one, other = principal(server, "one"), principal(server, "other")
    one.create("s")
    assert refused(one.create) == ("SESSION_LIMIT", "principal:one")
    assert one.create("s").deduplicated
    one.begin("sleep 600")
    assert refused(lambda: one.run_beside("true")) == ("EXECUTION_LIMIT", "principal:one")
    other.create("s")
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            with contextlib.suppress(grpc.RpcError):
                one.run_beside("true")

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        said = [other.run(f"echo {turn}") for turn in range(50)]
    finally:
        over.set()
        flooding.join()
    assert said == [f"{turn}\n" for turn in range(50)]
    one.close("s")
    one.create("t")
    assert one.run("echo free", session_id="t") == "free\n"


def test_all_together_have_limits_too(start: Start) -> None:
    server = start("[sessions]\nmax = 1\n[executions]\nmax = 1\n")
    one, other = principal(server, "one"), principal(server, "other")
    one.create("s")
    assert refused(other.create) == ("SESSION_LIMIT", "server")
    one.begin("sleep 600")
    assert refused(lambda: one.run_beside("true")) == ("EXECUTION_LIMIT", "server")


def test_a_principal_may_have_quotas_of_its_own(start: Start) -> None:
    server = start("[quotas]\nsessions = 1\n[principals.large.quotas]\nsessions = 2\n")
    small, large = principal(server, "small"), principal(server, "large")
    for caller, sessions in ((small, 1), (large, 2)):
        assert caller.capabilities().limits.max_sessions_per_principal == sessions
        for _ in range(sessions):
            caller.create()
        assert refused(caller.create).reason == "SESSION_LIMIT"


def test_output_in_memory_is_bounded_and_the_oldest_goes_first(start: Start) -> None:
    # Two may run at once, and what is kept of the others has to fit in, too.
    server = start(
        "[limits]\nretained_output_bytes = 65536\n"
        "[quotas]\nretained_bytes = 131072\n[executions]\nspill_bytes = 0\n"
    )
    caller = local(server)
    caller.create("s")
    for turn in range(6):
        script = f"head -c 40000 /dev/zero | tr '\\0' {turn}"
        assert caller.run(script, execution_id=f"e{turn}") == f"{turn}" * 40000

    def kept(turn: int) -> int:
        request = exec_pb2.ReadOutputRequest(
            session_id="s", execution_id=f"e{turn}", channel=types_pb2.CHANNEL_STDOUT
        )
        return len(caller.call(caller.execs.ReadOutput, request).data)

    assert (kept(0), kept(5)) == (0, 40000)
    for session_id in ("t", "u"):
        caller.create(session_id)
        caller.begin("sleep 600", session_id)
    assert refused(lambda: caller.run("true")) == ("STORAGE_FULL", "principal:local")
    caller.close("t")
    assert caller.run("echo room") == "room\n"


def test_calls_have_a_rate_for_each_principal(start: Start) -> None:
    server = start("[quotas]\nrequests_per_second = 1\nrequests_burst = 20\n")
    one, other = principal(server, "one"), principal(server, "other")

    def many() -> None:
        for _ in range(2000):
            one.capabilities()

    assert refused(many) == ("RATE_LIMITED", "principal:one")
    other.create("s")
    assert other.run("echo fine") == "fine\n"


def test_failures_to_say_who_calls_are_bounded_and_lock_nobody_out(start: Start) -> None:
    server = start("[connections]\nfailed_authentications_per_minute = 3\n")
    stranger, known = Caller(server, "0" * 64), local(server)
    codes = []
    for _ in range(3):
        with pytest.raises(grpc.RpcError) as caught:
            stranger.capabilities()
        error: Any = caught.value
        codes.append(error.code().name)
    assert codes == ["UNAUTHENTICATED"] * 3

    limited = None
    for _ in range(100):
        try:
            stranger.capabilities()
        except grpc.RpcError as error:
            code: Any = error
            if code.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                limited = refused(stranger.capabilities)
                break
    assert limited == ("RATE_LIMITED", "peer:127.0.0.1")
    known.create("s")
    assert known.run("echo fine") == "fine\n"


def connect(server: Server) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=LIMIT_SECONDS)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other end closes."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(4096):
            said += piece
    return said


def test_connections_are_counted_and_the_socket_stays_reachable(start: Start) -> None:
    server = start("[connections]\nmax = 3\nmax_per_peer = 2\n")
    first, second = local(server), local(server)
    first.create("s")
    second.capabilities()
    with connect(server) as third:
        assert read_all(third) == b""
    # Otherwise the library makes an authority of the path, which is none.
    options = [("grpc.default_authority", "localhost")]
    beside = grpc.insecure_channel(f"unix:{server.socket}", options=options)
    stub: Any = session_pb2_grpc.SessionServiceStub(beside)
    request = capabilities_pb2.GetCapabilitiesRequest()
    assert stub.GetCapabilities(request, timeout=LIMIT_SECONDS).limits.max_sessions > 0
    assert first.run("echo fine") == "fine\n"
    second.channel.close()
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        with connect(server) as again, contextlib.suppress(ConnectionError):
            # The settings of a server that serves it.
            if again.recv(9):
                break
        assert time.monotonic() < deadline
    beside.close()


def test_a_connection_that_does_not_begin_is_closed(start: Start) -> None:
    server = start("[connections]\nhandshake_timeout = '200ms'\n")
    for beginning in (b"", b"PRI * HTTP/2.0\r\n\r\n"):
        with connect(server) as connection:
            connection.sendall(beginning)
            read_all(connection)
    caller = local(server)
    caller.create("s")
    # One that has begun is not closed.
    assert caller.run("sleep 0.5; echo fine") == "fine\n"


def test_an_old_connection_ends_its_calls_and_the_client_finds_another(start: Start) -> None:
    server = start("[connections]\nmax_age = '1s'\nmax_age_grace = '10m'\n")
    caller = local(server)
    caller.create("s")
    events = list(caller.begin("echo on; sleep 2.5; echo end"))
    output = b"".join(answer.event.output.data for answer in events)
    assert output == b"on\nend\n"
    assert events[-1].event.WhichOneof("kind") == "finished"
    assert caller.run("echo again") == "again\n"


def test_a_connection_beyond_its_grace_is_cut_and_the_command_goes_on(start: Start) -> None:
    server = start("[connections]\nmax_age = '2s'\nmax_age_grace = '1s'\n")
    caller = local(server)
    caller.create("s")
    stream = caller.begin("sleep 600")
    with pytest.raises(grpc.RpcError):
        list(stream)
    request = exec_pb2.GetExecutionRequest(session_id="s", execution_id="long")
    execution = caller.call(caller.execs.GetExecution, request).execution
    assert execution.state == execution_pb2.EXECUTION_STATE_RUNNING


def test_requests_and_headers_have_sizes(start: Start) -> None:
    server = start("[connections]\nmax_request_bytes = 20000\nmax_header_bytes = 8192\n")
    caller = local(server)
    caller.create("s")
    assert caller.capabilities().limits.max_request_bytes == 20000
    with pytest.raises(grpc.RpcError) as caught:
        caller.run("#" * 30_000)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError):
        caller.sessions.GetCapabilities(
            capabilities_pb2.GetCapabilitiesRequest(),
            metadata=(("x-much", "x" * 30_000),),
            timeout=LIMIT_SECONDS,
        )
    assert caller.run("echo fine") == "fine\n"
