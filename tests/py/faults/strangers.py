"""Somebody else's ids and requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from running_server import LIMIT_SECONDS

from execgate.v1 import checkpoint_pb2, exec_pb2, execution_pb2, session_pb2, types_pb2
from execgate.v1.audit_pb2_grpc import AuditServiceStub
from execgate.v1.checkpoint_pb2_grpc import CheckpointServiceStub
from execgate.v1.exec_pb2_grpc import ExecServiceStub
from execgate.v1.session_pb2_grpc import SessionServiceStub

from .world import CHANCE, World, row


@row(
    "another principal's ids, and random ones, in every call that takes one",
    "both get the identical answer; nothing is told or touched",
)
def foreign_ids(world: World) -> str:
    server = world.server
    keys = [world.key(name) for name in ("first", "second")]
    channel = grpc.insecure_channel(server.address)
    stubs: list[Any] = [
        SessionServiceStub(channel),
        ExecServiceStub(channel),
        CheckpointServiceStub(channel),
        AuditServiceStub(channel),
    ]
    first, second = ((("authorization", f"Bearer {key}"),) for key in keys)
    sessions, execs = stubs[0], stubs[1]
    request = session_pb2.CreateSessionRequest(env=world.mark.env)
    own = sessions.CreateSession(request, metadata=first, timeout=LIMIT_SECONDS).session.session_id
    run = exec_pb2.RunRequest(
        session_id=own, execution_id="mine", spec=execution_pb2.ExecutionSpec(script="echo secret")
    )
    execs.Run(run, metadata=first, timeout=LIMIT_SECONDS)
    unknown = "".join(CHANCE.choice("abcdefghijkmnpqrstuvwxyz") for _ in own)
    calls = 0
    for method, message in calls_with_a_session():
        for stub in stubs:
            if hasattr(stub, method):
                answers = [
                    _answer(getattr(stub, method), message(session), second, session)
                    for session in (own, unknown)
                ]
                assert answers[0] == answers[1], (method, answers)
                assert answers[0][0] != "OK", method
                calls += 1
    look = session_pb2.GetSessionRequest(session_id=own)
    still = sessions.GetSession(look, metadata=first, timeout=LIMIT_SECONDS).session
    assert still.session_id == own
    close = session_pb2.CloseSessionRequest(session_id=own)
    sessions.CloseSession(close, metadata=first, timeout=LIMIT_SECONDS)
    channel.close()
    return f"{calls} calls: a foreign session's answer is an unknown one's, to the byte"


def calls_with_a_session() -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Every call whose request names a session, with a request that is good otherwise."""
    spec = execution_pb2.ExecutionSpec(script="true")
    for module in (session_pb2, exec_pb2, checkpoint_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                fields = method.input_type.fields_by_name
                if "session_id" not in fields or method.name in {
                    "CreateSession",
                    "ListCheckpoints",
                }:
                    continue
                if method.client_streaming or method.name == "EvaluatePolicy":
                    continue
                known: dict[str, Any] = {"execution_id": "mine", "spec": spec}
                more = {key: value for key, value in known.items() if key in fields}

                def message(session: str, kind: Any = method.input_type, more: Any = more) -> Any:
                    return kind._concrete_class(session_id=session, **more)

                yield method.name, message


def _answer(method: Any, request: Any, metadata: Any, session: str) -> tuple[str, str, bytes]:
    try:
        answer = method(request, metadata=metadata, timeout=LIMIT_SECONDS)
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        details = b"".join(
            bytes(item.value)
            for item in error.trailing_metadata() or ()
            if item.key == "grpc-status-details-bin"
        )
        hidden = (session, "ID")
        return (
            error.code().name,
            (error.details() or "").replace(*hidden),
            # The entries of a map come in any order.
            bytes(sorted(details.replace(session.encode(), b"ID"))),
        )
    return ("OK", "", b"")


@row(
    "requests of one principal are sent again, by itself and by another one, with its ids and "
    "its page tokens",
    "its own come back as they were and run nothing twice; the other one's are answered like "
    "unknown ones, and show and change nothing",
)
def replay(world: World) -> str:
    first, second = (
        (("authorization", f"Bearer {world.key(name)}"),) for name in ("first", "second")
    )
    channel = grpc.insecure_channel(world.server.address)
    sessions, execs = SessionServiceStub(channel), ExecServiceStub(channel)
    more = session_pb2.CreateSessionRequest(env=world.mark.env)
    beside = sessions.CreateSession(more, metadata=first, timeout=LIMIT_SECONDS).session.session_id
    request = session_pb2.CreateSessionRequest(session_id="mine", env=world.mark.env)
    made = sessions.CreateSession(request, metadata=first, timeout=LIMIT_SECONDS)
    spec = execution_pb2.ExecutionSpec(script="x=$((x + 1)); echo $x")
    run = exec_pb2.RunRequest(session_id="mine", execution_id="e", spec=spec)
    times = world.many(20, 500)
    # The owner's: what was done is shown again.
    again = sessions.CreateSession(request, metadata=first, timeout=LIMIT_SECONDS)
    assert again.session.session_id == made.session.session_id
    assert again.session.create_time == made.session.create_time
    outputs = {
        execs.Run(run, metadata=first, timeout=LIMIT_SECONDS).result.stdout for _ in range(times)
    }
    assert outputs == {b"1\n"}, outputs
    # The other one's: nobody has such ids.
    calls: list[tuple[Any, Any]] = [
        (execs.Run, run),
        (execs.Exec, exec_pb2.ExecRequest(session_id="mine", execution_id="e", spec=spec)),
        (execs.Attach, exec_pb2.AttachRequest(session_id="mine", execution_id="e")),
        (execs.GetExecution, exec_pb2.GetExecutionRequest(session_id="mine", execution_id="e")),
        (
            execs.ReadOutput,
            exec_pb2.ReadOutputRequest(
                session_id="mine", execution_id="e", channel=types_pb2.CHANNEL_STDOUT
            ),
        ),
        (sessions.CloseSession, session_pb2.CloseSessionRequest(session_id="mine")),
    ]
    for method, message in calls * (times // 10):
        code, _, _ = _answer(method, message, second, "mine")
        assert code == "NOT_FOUND", (message, code)
    page = session_pb2.ListSessionsRequest(page_size=1)
    page.page_token = sessions.ListSessions(
        page, metadata=first, timeout=LIMIT_SECONDS
    ).next_page_token
    assert page.page_token
    assert not sessions.ListSessions(page, metadata=second, timeout=LIMIT_SECONDS).sessions
    # With ids of its own it is the other one's own.
    sessions.CreateSession(request, metadata=second, timeout=LIMIT_SECONDS)
    own = execs.Run(run, metadata=second, timeout=LIMIT_SECONDS)
    assert (own.result.stdout, own.result.deduplicated) == (b"1\n", False), own
    last = exec_pb2.RunRequest(session_id="mine", spec=spec)
    assert execs.Run(last, metadata=first, timeout=LIMIT_SECONDS).result.stdout == b"2\n"
    for who, session in ((first, "mine"), (second, "mine"), (first, beside)):
        close = session_pb2.CloseSessionRequest(session_id=session)
        sessions.CloseSession(close, metadata=who, timeout=LIMIT_SECONDS)
    channel.close()
    return f"{times} replays ran once; {len(calls) * (times // 10)} of another one are NOT_FOUND"
