"""Address and token are found where people and the server put them."""

from __future__ import annotations

from pathlib import Path

import pytest

from execgate import Client, ConfigurationError
from execgate._address import Address, find_address, parse_address
from execgate._channel import channel_options
from execgate._token import Bearer, Token, find_token


@pytest.mark.parametrize(
    ("text", "target", "unix", "local", "tls"),
    [
        ("127.0.0.1:7443", "127.0.0.1:7443", False, True, False),
        ("http://127.0.0.1:7443/", "127.0.0.1:7443", False, True, False),
        ("localhost:1", "localhost:1", False, True, False),
        ("[::1]:7443", "[::1]:7443", False, True, False),
        ("gate.example:80", "gate.example:80", False, False, False),
        ("localhost.example:80", "localhost.example:80", False, False, False),
        ("https://127.0.0.1:7443/", "127.0.0.1:7443", False, True, True),
        ("https://gate.example:80", "gate.example:80", False, False, True),
        ("unix:/run/e.sock", "unix:/run/e.sock", True, True, False),
        ("unix:///run/e.sock", "unix:/run/e.sock", True, True, False),
    ],
)
def test_address_parses(text: str, target: str, unix: bool, local: bool, tls: bool) -> None:
    assert parse_address(text) == Address(target, unix, local, tls)


@pytest.mark.parametrize(
    "text",
    [
        "unix:e.sock",
        "https://gate.example",
        "gate.example",
        ":7443",
        "gate.example:port",
        "gate.example:70000",
        "gate.example:٣",
        "user@gate.example:80",
        "ftp://gate.example:80",
        "",
    ],
)
def test_bad_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Client(text)
    assert repr(text) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_given_address_beats_environment_beats_default() -> None:
    environment = {"EXECGATE_ADDR": "[::1]:9"}
    found = [
        find_address("127.0.0.1:8", environment),
        find_address(None, environment),
        find_address(None, {"EXECGATE_ADDR": ""}),
        find_address(None, {}),
    ]
    assert [address.target for address in found] == [
        "127.0.0.1:8",
        "[::1]:9",
        "127.0.0.1:7443",
        "127.0.0.1:7443",
    ]


LOCAL = parse_address("127.0.0.1:1")


def authorization(token: Bearer | None) -> str | None:
    return token.metadata()[0][1] if token else None


def test_token_is_found_where_the_server_puts_it(tmp_path: Path) -> None:
    state = tmp_path / ".local/state"
    other = tmp_path / "other"
    for folder, text in ((state / "execgate", "aaa\n"), (other, "bbb")):
        folder.mkdir(parents=True)
        (folder / "token").write_text(text)
    home = {"HOME": str(tmp_path)}
    data_dir = {**home, "EXECGATE_DATA_DIR": str(other)}
    everything = {**data_dir, "EXECGATE_TOKEN": "ccc"}

    def found(environment: dict[str, str], given: str | None = None) -> str | None:
        return authorization(find_token(given, LOCAL, environment))

    assert found(home) == "Bearer aaa"
    assert found({"XDG_STATE_HOME": str(state)}) == "Bearer aaa"
    assert found({**home, "XDG_STATE_HOME": "relative"}) == "Bearer aaa"
    assert found(data_dir) == "Bearer bbb"
    assert found(everything) == "Bearer ccc"
    assert found(everything, "ddd") == "Bearer ddd"
    assert found({}) is None


def test_local_token_is_not_sent_to_another_machine(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("aaa")
    environment = {"EXECGATE_DATA_DIR": str(tmp_path)}
    remote = parse_address("gate.example:80")
    assert find_token(None, remote, environment) is None
    protected = parse_address("https://gate.example:80")
    assert find_token(None, protected, environment) is None
    assert authorization(find_token("given", protected, environment)) == "Bearer given"


def test_unix_socket_needs_no_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("aaa")
    socket = parse_address("unix:/run/e.sock")
    assert find_token(None, socket, {"EXECGATE_DATA_DIR": str(tmp_path)}) is None


def test_missing_token_file_is_no_error(tmp_path: Path) -> None:
    assert find_token(None, LOCAL, {"EXECGATE_DATA_DIR": str(tmp_path)}) is None


def test_unreadable_token_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    with pytest.raises(ConfigurationError, match="token"):
        find_token(None, LOCAL, {"EXECGATE_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize("text", ["two\nlines", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", " "])
def test_token_that_no_header_can_carry_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Token(text)


def test_token_never_shows() -> None:
    client = Client("127.0.0.1:1", token="0123456789")  # noqa: S106 - opens nothing
    assert "0123456789" not in repr(Token("0123456789")) + repr(client)


def test_socket_has_an_authority_and_the_loopback_no_proxy() -> None:
    by_address = {
        text: dict(channel_options(parse_address(text)))
        for text in ("unix:/run/e.sock", "127.0.0.1:1", "gate.example:80")
    }
    name = "grpc.default_authority"
    assert [options.get(name) for options in by_address.values()] == ["localhost", None, None]
    name = "grpc.enable_http_proxy"
    assert [options.get(name) for options in by_address.values()] == [0, 0, None]
