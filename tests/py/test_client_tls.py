"""The clients over TLS: who they believe, what they show, and what they say when it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Connect
from running_server import Server
from test_identity import World

from execgate import (
    AsyncClient,
    Client,
    ConfigurationError,
    RetryPolicy,
    Tls,
    TlsFailed,
    Unauthenticated,
)

#: Far less than the attempts of a client that would try again.
AT_ONCE_SECONDS = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all of these tests."""
    world = World(tmp_path_factory.mktemp("client-tls"))
    yield world
    world.server.stop()


@pytest.fixture(scope="module")
def strict(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants certificates of its callers."""
    config = f"""
        [tls]
        certificate = "{world.folder}/server.pem"
        key = "{world.folder}/server-key.pem"
        client_ca = "{world.folder}/ca.pem"
        client_certificates = "required"
    """
    server = Server(tmp_path_factory.mktemp("strict"), config)
    yield server
    server.stop()


def tls(world: World, certificate: str = "", ca: str = "ca", **more: Any) -> Tls:
    """TLS with the world's files."""
    if certificate:
        more["certificate_file"] = world.folder / f"{certificate}.pem"
        more["key_file"] = world.folder / f"{certificate}-key.pem"
    return Tls(ca_file=world.folder / f"{ca}.pem", **more)


def test_key_and_token_and_certificate_are_who_calls(world: World, connect: Connect) -> None:
    address = f"https://{world.server.address}"
    shown: list[dict[str, Any]] = [
        {"token": world.key("create", "ci"), "tls": tls(world)},
        {"token": world.token(), "tls": tls(world)},
        {"tls": tls(world, "agent")},
    ]
    principals = []
    for options in shown:
        with connect(address, **options) as client, client.session() as session:
            assert session.run("echo $((6 * 7))").stdout == "42\n"
            principals.append(session.created.principal)
    assert principals == ["ci", "jwt:agent-7", "spiffe://prod/agent-7"]


def test_environment_says_it_all(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "key"
    token.write_text(world.key("create", "by-file") + "\n")
    variables = {
        "EXECGATE_ADDR": f"https://{world.server.address}",
        "EXECGATE_CA_FILE": str(world.folder / "ca.pem"),
        "EXECGATE_TOKEN_FILE": str(token),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with connect() as client, client.session() as session:
        assert session.created.principal == "by-file"
        # It is another file, and so another caller, from the next call on.
        new = tmp_path / "new"
        new.write_text(world.key("create", "by-new-file"))
        new.rename(token)
        assert client.session().created.principal == "by-new-file"
    monkeypatch.delenv("EXECGATE_TOKEN_FILE")
    monkeypatch.setenv("EXECGATE_CERTIFICATE_FILE", str(world.folder / "agent.pem"))
    monkeypatch.setenv("EXECGATE_KEY_FILE", str(world.folder / "agent-key.pem"))
    # The server's own token, which lies there to be found, would make it another caller.
    monkeypatch.setenv("EXECGATE_DATA_DIR", str(world.server.data_dir))
    with connect() as client, client.session() as session:
        assert session.created.principal == "spiffe://prod/agent-7"


def test_function_is_asked_for_a_token_at_each_call(world: World, connect: Connect) -> None:
    tokens = [world.token(sub="second"), world.token(sub="first")]
    address = f"https://{world.server.address}"
    with connect(address, token=lambda: tokens.pop(), tls=tls(world)) as client:
        assert [client.session().created.principal for _ in "12"] == ["jwt:first", "jwt:second"]


def test_asynchronous_function_is_waited_for(world: World) -> None:
    async def token() -> str:
        await asyncio.sleep(0)
        return world.token(sub="slow")

    address = f"https://{world.server.address}"

    async def story() -> str:
        client = AsyncClient(address, token, tls=tls(world))
        async with client, client.session() as session:
            events = [event.stdout async for event in session.exec("echo hi")]
            assert b"".join(events) == b"hi\n"
            return session.created.principal

    assert asyncio.run(story()) == "jwt:slow"
    with (
        Client(address, token, tls=tls(world)) as client,
        pytest.raises(ConfigurationError, match="AsyncClient"),
    ):
        client.session()


def test_name_may_be_another_than_the_address(world: World, connect: Connect) -> None:
    token = world.key("create", "named")
    address = f"https://{world.server.address}"
    with connect(address, token=token, tls=tls(world, server_name="localhost")) as client:
        assert client.session().created.principal == "named"


def failure(connect: Connect, address: str, **options: Any) -> TlsFailed:
    """How a client fails, at once."""
    begun = time.monotonic()
    with connect(address, **options) as client:
        with pytest.raises(TlsFailed) as caught:
            client.session()
        with pytest.raises(TlsFailed):
            client.wait_ready(0.5)
    assert time.monotonic() - begun < AT_ONCE_SECONDS
    return caught.value


def test_server_that_is_not_believed_is_told_why(
    world: World, connect: Connect, tmp_path: Path
) -> None:
    address = f"https://{world.server.address}"
    found = failure(connect, address, tls=tls(world, ca="stranger"))
    assert (found.reason, "EXECGATE_CA_FILE" in found.suggestion) == ("TLS_UNKNOWN_AUTHORITY", True)
    found = failure(connect, address, tls=tls(world, server_name="gate.example"))
    assert (found.reason, "gate.example" in found.message) == ("TLS_WRONG_NAME", True)
    # The system's own authorities do not know this one.
    assert failure(connect, address).reason == "TLS_UNKNOWN_AUTHORITY"


def test_servers_certificate_that_is_over_is_told(
    world: World, connect: Connect, tmp_path: Path
) -> None:
    config = f"""
        [tls]
        certificate = "{world.folder}/stale.pem"
        key = "{world.folder}/stale-key.pem"
    """
    server = Server(tmp_path, config)
    try:
        found = failure(connect, f"https://{server.address}", tls=tls(world))
    finally:
        server.stop()
    assert (found.reason, "expired" in found.message) == ("TLS_EXPIRED", True)


def test_client_certificate_that_is_missing_or_refused_is_told(
    world: World, strict: Server, connect: Connect
) -> None:
    address = f"https://{strict.address}"
    found = failure(connect, address, tls=tls(world))
    assert found.reason == "TLS_CERTIFICATE_REQUIRED"
    assert "EXECGATE_CERTIFICATE_FILE" in found.suggestion
    for certificate in ("false", "old"):
        found = failure(connect, address, tls=tls(world, certificate))
        assert found.reason == "TLS_CERTIFICATE_REFUSED", certificate
    with connect(address, tls=tls(world, "agent")) as client:
        assert client.session().created.principal == "spiffe://prod/agent-7"


def test_one_side_without_tls_is_told_to_the_other(
    world: World, server: Server, connect: Connect
) -> None:
    found = failure(connect, world.server.address, token="any")  # noqa: S106 - opens nothing
    assert (found.reason, "https://" in found.suggestion) == ("TLS_EXPECTED", True)
    found = failure(connect, f"https://{server.address}", tls=tls(world))
    assert found.reason == "TLS_NOT_SPOKEN"


def test_key_that_is_no_longer_good_is_told(world: World, connect: Connect) -> None:
    address = f"https://{world.server.address}"
    key = world.key("create", "short")
    with connect(address, token=key, tls=tls(world)) as client:
        session = client.session()
        world.key("revoke", key.split("_")[1])
        with pytest.raises(Unauthenticated, match="API key") as caught:
            session.run("true")
        assert "execgate key list" in caught.value.suggestion
    expired = world.token(exp=int(time.time()) - 60)
    with (
        connect(address, token=expired, tls=tls(world)) as client,
        pytest.raises(Unauthenticated, match="JSON Web Token"),
    ):
        client.session()


def test_files_that_are_no_good_are_named_before_anything_is_sent(
    world: World, tmp_path: Path
) -> None:
    address = f"https://{world.server.address}"
    with pytest.raises(ConfigurationError, match=r"nothing\.pem"):
        Client(address, tls=Tls(ca_file=tmp_path / "nothing.pem"))
    (tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"empty\.pem"):
        Client(address, tls=Tls(ca_file=tmp_path / "empty.pem"))
    with pytest.raises(ConfigurationError, match="key_file"):
        Client(address, tls=Tls(certificate_file=world.folder / "agent.pem"))
    with pytest.raises(ConfigurationError, match=r"agent\.pem"):
        Client(
            address,
            tls=Tls(
                certificate_file=world.folder / "agent.pem", key_file=world.folder / "host-key.pem"
            ),
        )


def test_server_that_is_started_again_is_waited_for(tmp_path: Path, connect: Connect) -> None:
    server = Server(tmp_path)
    address, token = server.address, server.token
    with connect(address, token=token, retry=RetryPolicy(total=60, max_attempts=100)) as client:
        client.capabilities()
        server.kill()
        again = Server(tmp_path, listen=address)
        try:
            assert client.capabilities().api_version == "1.0"
        finally:
            again.stop()
