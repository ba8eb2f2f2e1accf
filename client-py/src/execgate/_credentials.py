"""From `Tls` to what gRPC and the standard library want of it.

The files are read and tried here, once, so that what is wrong with them is said by name and
at once: gRPC itself only logs it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc

from .errors import ConfigurationError
from .tls import FilePath, Tls

#: Where systems keep the authorities that they believe, where OpenSSL does not know it.
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

#: The protocol inside: HTTP/2.
_ALPN = "h2"

_Value = TypeVar("_Value")


class Credentials:
    """TLS of one client, from files that are good."""

    def __init__(self, tls: Tls) -> None:
        if (tls.certificate_file is None) != (tls.key_file is None):
            raise ConfigurationError(
                "the certificate and its key come together: give certificate_file and key_file"
            )
        self.server_name = tls.server_name
        """The name that the server's certificate has to have. None: the address's host."""
        self.has_certificate = tls.certificate_file is not None
        """Whether the client shows one."""
        self._ca_file = tls.ca_file or _system_roots()
        self._certificate_file, self._key_file = tls.certificate_file, tls.key_file
        self._context = self._checked_context()
        self.channel = grpc.ssl_channel_credentials(
            _read(self._ca_file), _read(self._key_file), _read(self._certificate_file)
        )
        """The same for gRPC."""

    @property
    def context(self) -> ssl.SSLContext:
        """The same for the standard library."""
        return self._context

    def _checked_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols([_ALPN])
        ca_file, certificate_file = self._ca_file, self._certificate_file
        if ca_file is not None:
            _use(ca_file, "holds no certificates", lambda: context.load_verify_locations(ca_file))
        if certificate_file is not None:
            # Without the function a key with a password would ask for it on the terminal.
            _use(
                certificate_file,
                f"is no certificate of the key {self._key_file}",
                lambda: context.load_cert_chain(certificate_file, self._key_file, lambda: ""),
            )
        return context


def _system_roots() -> str | None:
    """The system's own; None where gRPC's own copy of the public ones has to do."""
    found = ssl.get_default_verify_paths().cafile
    candidates = (found, *_SYSTEM_ROOTS) if found else _SYSTEM_ROOTS
    return next((path for path in candidates if Path(path).is_file()), None)


def _read(path: FilePath | None) -> bytes | None:
    if path is None:
        return None
    return _use(path, "cannot be read", Path(path).read_bytes)


def _use(path: FilePath, problem: str, use: Callable[[], _Value]) -> _Value:
    try:
        return use()
    except ssl.SSLError as error:
        raise ConfigurationError(f"{path} {problem}: {error.reason or error}") from None
    except OSError as error:
        # OpenSSL reads two files and does not say which one failed.
        raise ConfigurationError(
            f"cannot read {error.filename or path}: {error.strerror or error}"
        ) from error
