"""Who may call over TLS, and as whom: certificates, API keys, an issuer's tokens."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from running_server import LIMIT_SECONDS, Server, find_binary

from execgate.v1 import audit_pb2, audit_pb2_grpc, audit_record_pb2, session_pb2, session_pb2_grpc

AUTHORITY = """\
set -e
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj "/CN=$1" -keyout "$1-key.pem" -out "$1.pem"
}
sign() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=$2" -keyout "$2-key.pem" -out csr
    printf 'subjectAltName=%s\\n' "$3" >extensions
    openssl x509 -req -days "${4:-2}" -in csr -CA "$1.pem" -CAkey "$1-key.pem" -CAcreateserial \
        -extfile extensions -out "$2.pem"
}
authority ca
authority stranger
sign ca server 'DNS:localhost,IP:127.0.0.1'
sign ca later 'DNS:localhost,IP:127.0.0.1'
sign ca stale 'DNS:localhost,IP:127.0.0.1' -1
sign ca agent 'URI:spiffe://prod/agent-7'
sign ca host 'DNS:build.example'
sign ca two 'URI:spiffe://prod/a,URI:spiffe://prod/b'
sign ca mail 'email:x@example'
sign ca old 'URI:spiffe://prod/agent-7' -1
sign stranger false 'URI:spiffe://prod/agent-7'
openssl genpkey -algorithm ed25519 -out issuer-key.pem
openssl pkey -in issuer-key.pem -pubout -outform DER -out issuer.der
"""


def b64(data: bytes) -> str:
    """As JOSE writes bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class World:
    """A server with TLS, an authority for its callers, and an issuer of tokens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["/bin/bash", "-c", AUTHORITY], cwd=folder, check=True, capture_output=True)
        key = (folder / "issuer.der").read_bytes()[-32:]
        jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "1", "alg": "EdDSA", "x": b64(key)}
        (folder / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
        for name in ("certificate", "key"):
            self.install("server", name)
        config = f"""
            [tls]
            certificate = "{folder}/in-use-certificate.pem"
            key = "{folder}/in-use-key.pem"
            client_ca = "{folder}/ca.pem"
            [identity.jwt]
            issuer = "https://id.example"
            audience = "execgate"
            jwks_file = "{folder}/jwks.json"
            algorithms = ["EdDSA"]
        """
        self.server = Server(folder, config)
        self.host, port = self.server.address.rsplit(":", 1)
        self.port = int(port)

    def install(self, name: str, what: str) -> None:
        """Puts a certificate or key where the server looks for its own, as one step."""
        suffix = "" if what == "certificate" else "-key"
        new = self.folder / "new"
        new.write_bytes((self.folder / f"{name}{suffix}.pem").read_bytes())
        new.rename(self.folder / f"in-use-{what}.pem")

    def pem(self, name: str) -> bytes:
        """A file of the authority."""
        return (self.folder / f"{name}.pem").read_bytes()

    def caller(self, certificate: str = "", bearer: str = "") -> Caller:
        """Somebody who shows this."""
        identity = (self.pem(f"{certificate}-key"), self.pem(certificate)) if certificate else ()
        key, chain = identity or (None, None)
        credentials = grpc.ssl_channel_credentials(self.pem("ca"), key, chain)
        return Caller(grpc.secure_channel(self.server.address, credentials), bearer)

    def key(self, *words: str) -> str:
        """What `execgate key` says."""
        command = [find_binary(), "key", "--data-dir", str(self.server.data_dir), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def token(self, **claims: Any) -> str:
        """A token of the issuer."""
        now = int(time.time())
        good = {"iss": "https://id.example", "aud": "execgate", "sub": "agent-7", "exp": now + 600}
        parts = ({"alg": "EdDSA", "kid": "1"}, {**good, **claims})
        body = ".".join(b64(json.dumps(part).encode()) for part in parts)
        (self.folder / "body").write_text(body)
        command = "openssl pkeyutl -sign -rawin -inkey issuer-key.pem -in body"
        signed = subprocess.run(
            command.split(), cwd=self.folder, check=True, capture_output=True
        ).stdout
        return f"{body}.{b64(signed)}"

    def shown_certificate(self) -> str:
        """What the server shows now."""
        context = ssl.create_default_context(cadata=self.pem("ca").decode())
        with (
            socket.create_connection((self.host, self.port), LIMIT_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as protected,
        ):
            assert protected.version() == "TLSv1.3"
            shown = protected.getpeercert()
        assert shown is not None
        subject: Any = shown["subject"]
        return str(subject[0][0][1])


class Caller:
    """The stubs, with what is shown."""

    def __init__(self, channel: grpc.Channel, bearer: str) -> None:
        self._metadata = (("authorization", f"Bearer {bearer}"),) if bearer else ()
        self.sessions = session_pb2_grpc.SessionServiceStub(channel)
        self.audits = audit_pb2_grpc.AuditServiceStub(channel)

    def call(self, method: Any, request: Any) -> Any:
        """One call."""
        return method(request, metadata=self._metadata, timeout=LIMIT_SECONDS)

    def create(self, session_id: str = "") -> Any:
        """Opens a session."""
        request = session_pb2.CreateSessionRequest(session_id=session_id)
        return self.call(self.sessions.CreateSession, request).session

    def get(self, session_id: str) -> Any:
        """Looks at a session."""
        request = session_pb2.GetSessionRequest(session_id=session_id)
        return self.call(self.sessions.GetSession, request).session

    def principal(self) -> str:
        """Whom the server takes it for."""
        return str(self.create().principal)

    def refusal(self) -> tuple[grpc.StatusCode, str]:
        """How it is turned away."""
        with pytest.raises(grpc.RpcError) as error:
            self.create()
        return error.value.code(), error.value.details() or ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all of these tests."""
    world = World(tmp_path_factory.mktemp("identity"))
    yield world
    world.server.stop()


UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


def test_plaintext_is_not_answered_and_health_is_asked_through_tls(world: World) -> None:
    plain = Caller(grpc.insecure_channel(world.server.address), world.server.token)
    assert plain.refusal()[0] == grpc.StatusCode.UNAVAILABLE
    config = world.folder / "execgate.toml"
    command = [find_binary(), "health", "--config", str(config), "--listen", world.server.address]
    subprocess.run(command, timeout=LIMIT_SECONDS, check=True)
    # Another certificate than the one in its configuration is another server.
    other = config.with_name("other.toml")
    other.write_text(config.read_text().replace("in-use-certificate", "later"))
    command[command.index(str(config))] = str(other)
    done = subprocess.run(command, timeout=LIMIT_SECONDS, check=False, capture_output=True)
    assert done.returncode == 1


def test_a_certificate_makes_its_alternative_name_the_caller(world: World) -> None:
    assert world.caller("agent").principal() == "spiffe://prod/agent-7"
    assert world.caller("host").principal() == "dns:build.example"
    assert world.caller().refusal() == (UNAUTHENTICATED, "no bearer token was sent")
    code, details = world.caller("two").refusal()
    assert (code, "more than one name" in details) == (UNAUTHENTICATED, True)
    code, details = world.caller("mail").refusal()
    assert (code, "neither a URI nor a DNS name" in details) == (UNAUTHENTICATED, True)
    for unknown in ("false", "old"):
        assert world.caller(unknown).refusal()[0] == grpc.StatusCode.UNAVAILABLE


def test_an_api_key_is_good_until_it_is_revoked(world: World) -> None:
    key = world.key("create", "ci@build")
    caller = world.caller(bearer=key)
    assert caller.principal() == "ci@build"
    listed = world.key("list")
    key_id = key.split("_")[1]
    assert key_id in listed
    assert "ci@build" in listed
    assert key.split("_")[2] not in listed
    # With a certificate beside it, the bearer is who calls.
    assert world.caller("agent", bearer=key).principal() == "ci@build"
    world.key("revoke", key_id)
    refused = (UNAUTHENTICATED, "the API key is not one of this server's")
    assert caller.refusal() == refused
    assert world.caller("agent", bearer=key).refusal() == refused
    gone = world.key("create", "ci", "--expires", "1s")
    time.sleep(1.1)
    assert world.caller(bearer=gone).refusal() == (UNAUTHENTICATED, "the API key has expired")


def test_an_issuers_token_names_its_subject(world: World) -> None:
    assert world.caller(bearer=world.token()).principal() == "jwt:agent-7"
    for wrong in (
        {"aud": "other"},
        {"iss": "https://evil.example"},
        {"exp": int(time.time()) - 60},
        {"sub": ""},
    ):
        code, details = world.caller(bearer=world.token(**wrong)).refusal()
        assert (code, details) == (
            UNAUTHENTICATED,
            "the JSON Web Token is not good here, or no longer",
        ), wrong


def test_the_servers_own_token_is_good_on_its_machine(world: World) -> None:
    assert world.caller(bearer=world.server.token).principal() == "local"


def test_another_principals_session_is_an_unknown_one(world: World) -> None:
    first = world.caller("agent")
    second = world.caller(bearer=world.key("create", "other"))
    session = first.create().session_id

    def answer(session_id: str) -> Any:
        with pytest.raises(grpc.RpcError) as error:
            second.get(session_id)
        details = (error.value.details() or "").replace(session_id, "ID")
        trailing = {
            item.key: bytes(item.value).replace(session_id.encode(), b"ID")
            for item in error.value.trailing_metadata()
            if item.key == "grpc-status-details-bin"
        }
        return error.value.code(), details, trailing

    assert answer(session) == answer("s" * len(session))
    assert first.get(session).session_id == session


def test_records_say_how_callers_were_known(world: World) -> None:
    caller = world.caller(bearer=world.key("create", "recorded"))
    session = caller.create().session_id
    request = audit_pb2.ListAuditRecordsRequest(filter=audit_pb2.AuditFilter(session_ids=[session]))
    records = caller.call(caller.audits.ListAuditRecords, request).records
    created = [record for record in records if record.HasField("session_created")]
    known = [(record.principal, record.auth_method) for record in created]
    assert known == [("recorded", audit_record_pb2.AUTH_METHOD_API_KEY)]


def test_a_certificate_is_replaced_without_a_restart(world: World) -> None:
    caller = world.caller("agent")
    session = caller.create().session_id
    assert world.shown_certificate() == "server"
    # In between, certificate and key do not fit: the last good ones hold.
    world.install("later", "certificate")
    assert world.shown_certificate() == "server"
    world.install("later", "key")
    assert world.shown_certificate() == "later"
    assert caller.get(session).session_id == session


def test_plaintext_for_other_machines_has_to_be_asked_for_in_as_many_words(
    tmp_path: Path,
) -> None:
    def serve(*more: str) -> subprocess.Popen[str]:
        data = tmp_path / f"data{len(more)}"
        command = [find_binary(), "serve", "--data-dir", str(data), "--listen", "0.0.0.0:0", *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    refused = serve()
    _, said = refused.communicate(timeout=LIMIT_SECONDS)
    assert refused.returncode != 0
    assert "not a loopback address" in said
    asked = serve("--insecure-plaintext-listeners")
    assert asked.stdout is not None
    try:
        assert asked.stdout.readline().startswith("listening tcp 0.0.0.0:")
    finally:
        asked.terminate()
        asked.communicate(timeout=LIMIT_SECONDS)
