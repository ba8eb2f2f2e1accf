"""Where the server is: parsing an address, and the default one.

Opens nothing. The environment is handed in, so that tests need not change the
process's own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import ConfigurationError

#: Variable that holds the address when the caller gives none.
ADDRESS_VARIABLE = "EXECGATE_ADDR"

#: Address when nobody gives one: the server's own default listener.
DEFAULT_ADDRESS = "127.0.0.1:7443"

MAX_PORT = 65535


@dataclass(frozen=True)
class Address:
    """A server's address, as gRPC reads it."""

    target: str
    """`HOST:PORT` or `unix:/PATH`."""
    unix: bool
    """Whether it is a Unix socket."""
    local: bool
    """Whether what is sent there stays on this machine."""


def find_address(given: str | None, environment: Mapping[str, str]) -> Address:
    """The address to use: the given one, else the environment's, else the default."""
    if given is not None:
        return parse_address(given)
    return parse_address(environment.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS)


def parse_address(text: str) -> Address:
    """Reads `HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`."""
    if text.startswith("unix:"):
        return _unix(text)
    if text.startswith("https://"):
        raise _invalid(text, "this client does not speak TLS yet")
    authority = text[len("http://") :] if text.startswith("http://") else text
    host, colon, port = authority.rstrip("/").rpartition(":")
    if not colon:
        raise _invalid(text, "the port is missing")
    if not host or any(character in host for character in "/@ "):
        raise _invalid(text, "expected HOST:PORT or unix:/PATH")
    if not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise _invalid(text, f"the port is not a number up to {MAX_PORT}")
    return Address(target=f"{host}:{port}", unix=False, local=_is_loopback(host))


def _unix(text: str) -> Address:
    path = text[len("unix:") :]
    if path.startswith("//"):
        path = path[2:]
    if not path.startswith("/"):
        raise _invalid(text, "the path of a socket must be absolute")
    return Address(target=f"unix:{path}", unix=True, local=True)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _invalid(text: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"cannot understand the address {text!r}: {reason}")
