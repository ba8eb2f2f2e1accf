"""Who may do what: owners, observers, operators, and what the operator grants to whom."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from running_server import LIMIT_SECONDS, Server, find_binary

from execgate.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    audit_record_pb2,
    capabilities_pb2,
    checkpoint_pb2,
    checkpoint_pb2_grpc,
    exec_pb2,
    exec_pb2_grpc,
    execution_pb2,
    fence_pb2,
    session_pb2,
    session_pb2_grpc,
    target_pb2,
    types_pb2,
)

CONFIG = """
[secrets.deploy]
env = "EXECGATE_TEST_DEPLOY"
targets = ["local"]

[principals."watcher"]
role = "observer"

[principals."boss"]
role = "operator"

[principals."narrow"]
targets = ["docker:*", "ssh:build-*"]

[principals."poor"]
secrets = []
fences = ["tight"]

[fence.profiles.tight]

[principals."ci-*"]
policy = { file = "ci.toml" }

[principals."nobody"]
role = "nobody"
"""

POLICY = """
name = "ci"
default = "allow"

[[rule]]
id = "no-curl"
effect = "deny"
program = "curl"
reason = "builds fetch nothing"
"""

SERVICES: dict[str, tuple[Any, Any]] = {
    "SessionService": (session_pb2, session_pb2_grpc.SessionServiceStub),
    "ExecService": (exec_pb2, exec_pb2_grpc.ExecServiceStub),
    "CheckpointService": (checkpoint_pb2, checkpoint_pb2_grpc.CheckpointServiceStub),
    "AuditService": (audit_pb2, audit_pb2_grpc.AuditServiceStub),
}


class Caller:
    """The stubs, under a key."""

    def __init__(self, server: Server, key: str) -> None:
        self._channel = grpc.insecure_channel(server.address)
        self._key = key

    def call(self, method: str, request: Any, of: str = "") -> Any:
        """One call, about somebody's things; of a stream all of it."""
        metadata = [("authorization", f"Bearer {self._key}")]
        if of:
            metadata.append(("execgate-principal", of))
        service, name = method.split("/")
        call = getattr(SERVICES[service][1](self._channel), name)
        answer = call(request, metadata=metadata, timeout=LIMIT_SECONDS)
        return answer if hasattr(answer, "DESCRIPTOR") else list(answer)

    def refusal(self, method: str, request: Any, of: str = "") -> tuple[grpc.StatusCode, bytes]:
        """How it is turned away: code and details."""
        with pytest.raises(grpc.RpcError) as error:
            self.call(method, request, of)
        trailing: dict[str, Any] = {one.key: one.value for one in error.value.trailing_metadata()}
        return error.value.code(), bytes(trailing["grpc-status-details-bin"])

    def reason(self, method: str, request: Any, of: str = "") -> tuple[str, str]:
        """The same as words."""
        code, details = self.refusal(method, request, of)
        info = error_details_pb2.ErrorInfo()
        assert status_pb2.Status.FromString(details).details[0].Unpack(info)
        return code.name, info.reason

    def create(self, session_id: str, **fields: Any) -> Any:
        """Opens a session."""
        request = session_pb2.CreateSessionRequest(session_id=session_id, **fields)
        return self.call("SessionService/CreateSession", request).session

    def run(self, session_id: str, script: str) -> Any:
        """Runs a script."""
        return self.call("ExecService/Run", run_request(session_id, script)).result


class World:
    """A server and callers with keys."""

    def __init__(self, folder: Path) -> None:
        (folder / "ci.toml").write_text(POLICY)
        config = CONFIG.replace("ci.toml", str(folder / "ci.toml"))
        self.server = Server(folder, config, {"EXECGATE_TEST_DEPLOY": "s3cr3t"})
        self._callers = {"local": Caller(self.server, self.server.token)}

    def caller(self, name: str) -> Caller:
        """Whoever has this name."""
        if name not in self._callers:
            data = ("--data-dir", str(self.server.data_dir))
            command = [find_binary(), "key", "create", name, *data]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True
            )
            self._callers[name] = Caller(self.server, done.stdout.strip())
        return self._callers[name]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all of these tests."""
    world = World(tmp_path_factory.mktemp("authority"))
    yield world
    world.server.stop()


@pytest.fixture
def workspace() -> Iterator[str]:
    """A directory that the user of sessions can work in."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield folder


def run_request(session_id: str, script: str) -> Any:
    """A script to run."""
    return exec_pb2.RunRequest(
        session_id=session_id, spec=execution_pb2.ExecutionSpec(script=script)
    )


def spec() -> Any:
    """Any command."""
    return execution_pb2.ExecutionSpec(script="true")


ROLE_REQUIRED = ("PERMISSION_DENIED", "ROLE_REQUIRED")

#: Every RPC that takes an id, asked about this session, execution or checkpoint.
BY_ID: dict[str, Callable[[str, str, str], Any]] = {
    "SessionService/GetSession": lambda s, e, c: session_pb2.GetSessionRequest(session_id=s),
    "SessionService/UpdateSession": lambda s, e, c: session_pb2.UpdateSessionRequest(
        session_id=s, labels=session_pb2.Labels(labels={"a": "b"})
    ),
    "SessionService/CloseSession": lambda s, e, c: session_pb2.CloseSessionRequest(session_id=s),
    "SessionService/CreateSession": lambda s, e, c: session_pb2.CreateSessionRequest(
        workspace="/tmp/nothing-there", from_checkpoint=c
    ),
    "ExecService/Exec": lambda s, e, c: exec_pb2.ExecRequest(session_id=s, spec=spec()),
    "ExecService/Run": lambda s, e, c: exec_pb2.RunRequest(session_id=s, spec=spec()),
    "ExecService/Attach": lambda s, e, c: exec_pb2.AttachRequest(session_id=s, execution_id=e),
    "ExecService/GetExecution": lambda s, e, c: exec_pb2.GetExecutionRequest(
        session_id=s, execution_id=e
    ),
    "ExecService/ListExecutions": lambda s, e, c: exec_pb2.ListExecutionsRequest(session_id=s),
    "ExecService/ReadOutput": lambda s, e, c: exec_pb2.ReadOutputRequest(
        session_id=s, execution_id=e, channel=types_pb2.CHANNEL_STDOUT
    ),
    "ExecService/WriteStdin": lambda s, e, c: exec_pb2.WriteStdinRequest(
        session_id=s, execution_id=e, data=b"x"
    ),
    "ExecService/Signal": lambda s, e, c: exec_pb2.SignalRequest(
        session_id=s, execution_id=e, signal=types_pb2.SIGNAL_KIND_INT
    ),
    "ExecService/ResizeTerminal": lambda s, e, c: exec_pb2.ResizeTerminalRequest(
        session_id=s, size=types_pb2.TerminalSize(rows=24, columns=80)
    ),
    "ExecService/EvaluatePolicy": lambda s, e, c: exec_pb2.EvaluatePolicyRequest(
        session_id=s, spec=spec()
    ),
    "CheckpointService/CreateCheckpoint": lambda s, e, c: checkpoint_pb2.CreateCheckpointRequest(
        session_id=s
    ),
    "CheckpointService/GetCheckpoint": lambda s, e, c: checkpoint_pb2.GetCheckpointRequest(
        checkpoint_id=c
    ),
    "CheckpointService/DiffCheckpoint": lambda s, e, c: checkpoint_pb2.DiffCheckpointRequest(
        checkpoint_id=c, workspace=checkpoint_pb2.AgainstWorkspace()
    ),
    "CheckpointService/RestoreCheckpoint": lambda s, e, c: checkpoint_pb2.RestoreCheckpointRequest(
        checkpoint_id=c
    ),
    "CheckpointService/DeleteCheckpoint": lambda s, e, c: checkpoint_pb2.DeleteCheckpointRequest(
        checkpoint_id=c
    ),
    "AuditService/ExportRecording": lambda s, e, c: audit_pb2.ExportRecordingRequest(
        session_id=s, format=audit_pb2.RECORDING_FORMAT_JSONL
    ),
}
#: Those that take none: they answer with what the caller may see.
WITHOUT_ID = {
    "SessionService/ListSessions",
    "SessionService/GetCapabilities",
    "CheckpointService/ListCheckpoints",
    "AuditService/ListAuditRecords",
    "AuditService/TailAuditRecords",
    "AuditService/GetAuditHead",
    "AuditService/VerifyAuditLog",
}


def test_the_table_has_every_method() -> None:
    methods = {
        f"{name}/{method.name}"
        for name, (module, _) in SERVICES.items()
        for method in module.DESCRIPTOR.services_by_name[name].methods
    }
    assert methods == set(BY_ID) | WITHOUT_ID


@pytest.mark.parametrize("method", sorted(BY_ID))
def test_what_is_another_principals_is_answered_like_what_is_not_there(
    world: World, method: str, workspace: str
) -> None:
    owner, other = world.caller("owner"), world.caller("other")
    name = method.replace("/", "-").lower()
    request = BY_ID[method]
    before = other.refusal(method, request(name, "execution", f"ckpt-{'0' * 20}"))
    owner.create(name, workspace=workspace)
    running = run_request(name, "true")
    running.execution_id = "execution"
    owner.call("ExecService/Run", running)
    made = owner.call(
        "CheckpointService/CreateCheckpoint",
        checkpoint_pb2.CreateCheckpointRequest(session_id=name),
    ).checkpoint.checkpoint_id
    unknown = made[:-4] + "zzzz"
    by_checkpoint = method.startswith("Checkpoint") or method.endswith("CreateSession")
    by_checkpoint = by_checkpoint and not method.endswith("CreateCheckpoint")
    if by_checkpoint:
        code, details = other.refusal(method, request(name, "execution", unknown))
        before = code, details.replace(unknown.encode(), b"ID")
    code, details = other.refusal(method, request(name, "execution", made))
    assert (code, details.replace(made.encode(), b"ID")) == before
    assert code == grpc.StatusCode.NOT_FOUND


def test_lists_and_records_hold_nothing_of_others(world: World, workspace: str) -> None:
    owner, other = world.caller("lister"), world.caller("other-lister")
    owner.create("listed", workspace=workspace)
    owner.call(
        "CheckpointService/CreateCheckpoint",
        checkpoint_pb2.CreateCheckpointRequest(session_id="listed"),
    )
    sessions = session_pb2.ListSessionsRequest()
    assert not other.call("SessionService/ListSessions", sessions).sessions
    checkpoints = checkpoint_pb2.ListCheckpointsRequest()
    assert not other.call("CheckpointService/ListCheckpoints", checkpoints).checkpoints
    everything = audit_pb2.ListAuditRecordsRequest()
    seen = other.call("AuditService/ListAuditRecords", everything).records
    assert {record.principal for record in seen} <= {"other-lister"}
    asked = audit_pb2.AuditFilter(principal="lister")
    for method, request in (
        ("ListAuditRecords", audit_pb2.ListAuditRecordsRequest(filter=asked)),
        ("TailAuditRecords", audit_pb2.TailAuditRecordsRequest(filter=asked)),
        ("VerifyAuditLog", audit_pb2.VerifyAuditLogRequest()),
    ):
        assert other.reason(f"AuditService/{method}", request) == ROLE_REQUIRED, method
    own = owner.call("AuditService/ListAuditRecords", everything).records
    assert any(record.HasField("session_created") for record in own)


def test_a_role_is_needed_to_name_another_principal(world: World) -> None:
    world.caller("named").create("named")
    agent = world.caller("other")
    for method, request in BY_ID.items():
        code, _ = agent.refusal(method, request("named", "e", "c"), of="named")
        refused = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT)
        assert code in refused, method
    listing = session_pb2.ListSessionsRequest()
    assert agent.reason("SessionService/ListSessions", listing, of="*") == ROLE_REQUIRED


def test_an_observer_sees_everything_and_changes_nothing(world: World) -> None:
    agent, watcher = world.caller("watched"), world.caller("watcher")
    agent.create("seen")
    running = run_request("seen", "echo hello")
    running.execution_id = "e"
    agent.call("ExecService/Run", running)
    listed = watcher.call(
        "SessionService/ListSessions", session_pb2.ListSessionsRequest(), of="*"
    ).sessions
    assert ("watched", "seen") in [(one.principal, one.session_id) for one in listed]
    attach = exec_pb2.AttachRequest(session_id="seen", execution_id="e")
    events = watcher.call("ExecService/Attach", attach, of="watched")
    output = b"".join(one.event.output.data for one in events if one.event.HasField("output"))
    assert output == b"hello\n"
    records = watcher.call(
        "AuditService/ListAuditRecords",
        audit_pb2.ListAuditRecordsRequest(filter=audit_pb2.AuditFilter(principal="watched")),
    ).records
    assert any(record.HasField("execution_intent") for record in records)
    verified = watcher.call("AuditService/VerifyAuditLog", audit_pb2.VerifyAuditLogRequest())
    assert verified.valid
    for method in ("SessionService/CloseSession", "ExecService/Signal"):
        asked = BY_ID[method]("seen", "e", "")
        assert watcher.reason(method, asked, of="watched") == ROLE_REQUIRED
    for method in ("SessionService/CreateSession", "ExecService/Run", "ExecService/WriteStdin"):
        assert watcher.reason(method, BY_ID[method]("own", "e", "c")) == ROLE_REQUIRED


def test_an_operator_ends_what_is_others_and_the_log_says_so_first(world: World) -> None:
    agent, boss = world.caller("ended"), world.caller("boss")
    agent.create("over")
    refused = boss.reason("ExecService/Run", run_request("over", "true"), of="ended")
    assert refused == ("INVALID_ARGUMENT", "INVALID_FIELD")
    close = session_pb2.CloseSessionRequest(session_id="over")
    closed = boss.call("SessionService/CloseSession", close, of="ended")
    assert (closed.session.principal, closed.session.session_id) == ("ended", "over")
    filters = audit_pb2.AuditFilter(session_ids=["over"])
    records = boss.call(
        "AuditService/ListAuditRecords", audit_pb2.ListAuditRecordsRequest(filter=filters)
    ).records
    told = [(one.principal, one.WhichOneof("body")) for one in records]
    assert told == [
        ("ended", "session_created"),
        ("boss", "intervened"),
        ("ended", "session_closed"),
    ]
    act = records[1].intervened
    assert (act.owner, act.method) == ("ended", "/execgate.v1.SessionService/CloseSession")
    # What it does to its own needs no such record.
    boss.create("own")
    boss.call("SessionService/CloseSession", session_pb2.CloseSessionRequest(session_id="own"))
    own = audit_pb2.AuditFilter(session_ids=["own"])
    records = boss.call(
        "AuditService/ListAuditRecords", audit_pb2.ListAuditRecordsRequest(filter=own)
    ).records
    assert [one.WhichOneof("body") for one in records] == ["session_created", "session_closed"]


def test_capabilities_tell_the_role(world: World) -> None:
    roles = {
        name: world.caller(name)
        .call("SessionService/GetCapabilities", capabilities_pb2.GetCapabilitiesRequest())
        .role
        for name in ("local", "boss", "watcher", "anybody")
    }
    expected = {
        "local": capabilities_pb2.ROLE_OPERATOR,
        "boss": capabilities_pb2.ROLE_OPERATOR,
        "watcher": capabilities_pb2.ROLE_OBSERVER,
        "anybody": capabilities_pb2.ROLE_AGENT,
    }
    assert roles == expected


def test_targets_and_secrets_are_granted(world: World) -> None:
    narrow = world.caller("narrow")
    create = session_pb2.CreateSessionRequest
    local = narrow.reason("SessionService/CreateSession", create())
    assert local == ("PERMISSION_DENIED", "TARGET_NOT_ALLOWED")
    web = create(ssh=target_pb2.SshTarget(profile="web"))
    denied = narrow.reason("SessionService/CreateSession", web)
    assert denied == ("PERMISSION_DENIED", "TARGET_NOT_ALLOWED")
    # It may have this one, which is not there.
    build = create(ssh=target_pb2.SshTarget(profile="build-1"))
    missing = narrow.reason("SessionService/CreateSession", build)
    assert missing == ("NOT_FOUND", "TARGET_NOT_FOUND")
    secret = types_pb2.SecretReference(name="deploy", variable="KEY")
    wanted = create(secrets=[secret])
    wanted.fence.profile = "tight"
    refused = world.caller("poor").reason("SessionService/CreateSession", wanted)
    assert refused == ("NOT_FOUND", "SECRET_NOT_FOUND")
    world.caller("rich").create("rich", secrets=[secret])
    wide = world.caller("poor").reason("SessionService/CreateSession", create())
    assert wide == ("INVALID_ARGUMENT", "INVALID_FIELD")
    tight = fence_pb2.FenceRequirement(profile="tight")
    world.caller("poor").create("tight", fence=tight)


def test_a_principals_policy_narrows_the_operators(world: World) -> None:
    builder, other = world.caller("ci-7"), world.caller("free")
    for caller in (builder, other):
        caller.create("build")
    code, details = builder.refusal("ExecService/Run", run_request("build", "curl --version"))
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    told = (code.name, info.reason, info.metadata["rule"], info.metadata["layer"])
    assert told == ("PERMISSION_DENIED", "POLICY_DENIED", "no-curl", "principal")
    # The operator's policy holds for it all the same.
    refused = builder.reason("ExecService/Run", run_request("build", "rm -rf /"))
    assert refused == ("PERMISSION_DENIED", "POLICY_DENIED")
    asked = exec_pb2.EvaluatePolicyRequest(spec=execution_pb2.ExecutionSpec(script="curl x"))
    assert builder.call("ExecService/EvaluatePolicy", asked).verdict.layer == "principal"
    assert other.run("build", "command -v curl; true").finished.cause


def test_who_was_granted_nothing_is_refused_and_recorded(world: World) -> None:
    nobody = world.caller("nobody")
    for method in ("SessionService/GetCapabilities", "SessionService/ListSessions"):
        request: Any = session_pb2.ListSessionsRequest()
        if method.endswith("GetCapabilities"):
            request = capabilities_pb2.GetCapabilitiesRequest()
        assert nobody.reason(method, request) == ROLE_REQUIRED
    asked = audit_pb2.ListAuditRecordsRequest(
        filter=audit_pb2.AuditFilter(kinds=[audit_record_pb2.AUDIT_KIND_AUTH_FAILURE])
    )
    end = time.monotonic() + LIMIT_SECONDS
    reasons: list[str] = []
    # Records of refusals are written while the caller is answered.
    while "the principal was granted nothing" not in reasons and time.monotonic() < end:
        records = world.caller("local").call("AuditService/ListAuditRecords", asked).records
        reasons = [one.auth_failure.reason for one in records]
    assert "the principal was granted nothing" in reasons


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_is_behind_the_gate_and_health_is_not(world: World, version: str) -> None:
    list_services = b"\x3a\x00"
    channel = grpc.insecure_channel(world.server.address)
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    reflect = channel.stream_stream(method, lambda message: message, lambda message: message)
    with pytest.raises(grpc.RpcError) as error:
        list(reflect(iter([list_services]), timeout=LIMIT_SECONDS))
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
    known = (("authorization", f"Bearer {world.server.token}"),)
    answers = list(reflect(iter([list_services]), metadata=known, timeout=LIMIT_SECONDS))
    assert b"execgate.v1.ExecService" in answers[0]
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check", lambda message: message, lambda message: message
    )
    assert check(b"", timeout=LIMIT_SECONDS) == b"\x08\x01"
