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

_EXPECTED = "expected HOST:PORT, https://HOST:PORT or unix:/PATH"


@dataclass(frozen=True)
class Address:
    """A server's address, as gRPC reads it."""

    target: str
    """`HOST:PORT` or `unix:/PATH`."""
    unix: bool
    """Whether it is a Unix socket."""
    local: bool
    """Whether what is sent there stays on this machine."""
    tls: bool = False
    """Whether TLS protects it."""

    @property
    def url(self) -> str:
        """The address as people write it, for errors."""
        return f"https://{self.target}" if self.tls else self.target

    @property
    def host(self) -> str:
        """The host of a TCP address, without the brackets of IPv6."""
        return self.target.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port of a TCP address."""
        return int(self.target.rpartition(":")[2])


def find_address(
    given: str | None, environment: Mapping[str, str], *, protected: bool = False
) -> Address:
    """The address to use: the given one, else the environment's, else the default.

    Args:
        given: What the caller says.
        environment: The environment.
        protected: Whether the caller asks for TLS by another argument.
    """
    if given is None:
        given = environment.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
    return parse_address(given, protected=protected)


def parse_address(text: str, *, protected: bool = False) -> Address:
    """Reads `HOST:PORT`, `https://HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`."""
    if text.startswith("unix:"):
        if protected:
            raise _invalid(text, "a Unix socket has no TLS")
        return _unix(text)
    scheme, found, authority = text.partition("://")
    if not found:
        scheme, authority = "https" if protected else "http", text
    if scheme not in ("http", "https"):
        raise _invalid(text, _EXPECTED)
    if protected and scheme == "http":
        raise _invalid(text, "TLS was asked for, and http:// is without it: use https://")
    host, colon, port = authority.rstrip("/").rpartition(":")
    if not colon:
        raise _invalid(text, "the port is missing")
    if not host or any(character in host for character in "/@ "):
        raise _invalid(text, _EXPECTED)
    if not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise _invalid(text, f"the port is not a number up to {MAX_PORT}")
    return Address(f"{host}:{port}", unix=False, local=_is_loopback(host), tls=scheme == "https")


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
