"""TLS as a caller describes it: whom to believe, and what to show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

#: Where a file is.
FilePath = Union[str, "os.PathLike[str]"]

#: Variables for what is not given, of `https://` addresses.
CA_FILE_VARIABLE = "EXECGATE_CA_FILE"
CERTIFICATE_FILE_VARIABLE = "EXECGATE_CERTIFICATE_FILE"
KEY_FILE_VARIABLE = "EXECGATE_KEY_FILE"
SERVER_NAME_VARIABLE = "EXECGATE_SERVER_NAME"


@dataclass(frozen=True)
class Tls:
    """How a connection is protected. All files are PEM, and read when a client is made.

    >>> Tls(ca_file="/etc/execgate/ca.pem").ca_file
    '/etc/execgate/ca.pem'
    """

    ca_file: FilePath | None = None
    """Certificates of those whose word for the server is believed. None: the system's."""
    certificate_file: FilePath | None = None
    """The client's own certificate, first of all, and those that vouch for it. None: it
    shows none, and is known by its token."""
    key_file: FilePath | None = None
    """The private key of that certificate."""
    server_name: str | None = None
    """The name that the server's certificate has to have. None: the address's host."""


def find_tls(given: Tls | None, environment: Mapping[str, str]) -> Tls:
    """What to use for an address that is protected: what is given, else the environment's."""
    if given is not None:
        return given
    return Tls(
        ca_file=environment.get(CA_FILE_VARIABLE) or None,
        certificate_file=environment.get(CERTIFICATE_FILE_VARIABLE) or None,
        key_file=environment.get(KEY_FILE_VARIABLE) or None,
        server_name=environment.get(SERVER_NAME_VARIABLE) or None,
    )
