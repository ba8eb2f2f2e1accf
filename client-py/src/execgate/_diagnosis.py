"""Why a connection does not come about: asked once more with the standard library.

gRPC says of a handshake that failed little more than that, and of a server that speaks TLS to a
client that does not, or the other way round, not even that. So after a failure one more
connection is made, which says what is wrong in terms that programs and people can use.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

from ._address import Address
from ._credentials import Credentials
from .errors import TlsFailed

#: Longest wait for an answer to one step, in seconds. The first failure took as long.
STEP_SECONDS = 3.0

#: What a client says first in HTTP/2, with no settings: whoever speaks it answers with its own.
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"

#: How a TLS alert begins: what a server that speaks TLS answers to anything else.
_TLS_ALERT = b"\x15\x03"

# OpenSSL's X509_V_ERR_...
_NOT_YET_VALID, _EXPIRED = 9, 10
_WRONG_HOST, _WRONG_ADDRESS = 62, 64

#: What to do, by reason.
_SUGGESTIONS = {
    "TLS_UNKNOWN_AUTHORITY": "Tls(ca_file=...) or EXECGATE_CA_FILE names the file with the "
    "certificate of the authority that signed the server's",
    "TLS_WRONG_NAME": "use the name that is in the server's certificate as the address, or give "
    "it as Tls(server_name=...)",
    "TLS_EXPIRED": "have the server's certificate renewed, and check this machine's clock",
    "TLS_CERTIFICATE_REQUIRED": "the server wants to see a certificate: give Tls("
    "certificate_file=..., key_file=...), or EXECGATE_CERTIFICATE_FILE and EXECGATE_KEY_FILE",
    "TLS_CERTIFICATE_REFUSED": "use a certificate that is valid today and signed by an authority "
    "that the server believes (its client_ca)",
    "TLS_EXPECTED": "use https:// before the address",
    "TLS_NOT_SPOKEN": "use http:// where that is safe, or give the server a [tls] section",
}


def diagnose(address: Address, credentials: Credentials | None) -> TlsFailed | None:
    """What is wrong with TLS at an address. None: nothing, or nobody is there."""
    if address.unix:
        return None
    try:
        with socket.create_connection((address.host, address.port), STEP_SECONDS) as connection:
            if credentials is None:
                return _ask_plainly(address, connection)
            return _ask_protected(address, credentials, connection)
    except OSError:
        return None


def _ask_plainly(address: Address, connection: socket.socket) -> TlsFailed | None:
    connection.sendall(HTTP2_PREFACE)
    if connection.recv(len(_TLS_ALERT)) != _TLS_ALERT:
        return None
    return _failed(address, "TLS_EXPECTED", "the server speaks TLS, and the client does not")


def _ask_protected(
    address: Address, credentials: Credentials, connection: socket.socket
) -> TlsFailed | None:
    name = credentials.server_name or address.host
    try:
        protected = credentials.context.wrap_socket(connection, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        return _disbelieved(address, name, error)
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return _refused(address, credentials, error)
        if error.reason in ("WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "PACKET_LENGTH_TOO_LONG"):
            return _failed(address, "TLS_NOT_SPOKEN", "the server does not speak TLS")
        return _failed(address, "TLS_FAILED", f"no TLS handshake: {error.reason or error}")
    # A server says what it thinks of a client's certificate only after that. To send anything
    # before it has could have what it says thrown away.
    with contextlib.closing(protected):
        try:
            protected.recv(1)
        except ssl.SSLError as error:
            return (
                _refused(address, credentials, error) if "ALERT" in (error.reason or "") else None
            )
    return None


def _disbelieved(address: Address, name: str, error: ssl.SSLCertVerificationError) -> TlsFailed:
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        return _failed(address, "TLS_EXPIRED", f"the server's {error.verify_message}")
    if error.verify_code in (_WRONG_HOST, _WRONG_ADDRESS):
        return _failed(
            address, "TLS_WRONG_NAME", f"the server's certificate is not one of {name!r}"
        )
    return _failed(
        address,
        "TLS_UNKNOWN_AUTHORITY",
        f"nobody that is believed vouches for the server's certificate: {error.verify_message}",
    )


def _refused(address: Address, credentials: Credentials, error: ssl.SSLError) -> TlsFailed:
    said = (error.reason or "").rpartition("ALERT_")[2].lower().replace("_", " ")
    if credentials.has_certificate:
        what = f"the server refuses the client's certificate: {said}"
        return _failed(address, "TLS_CERTIFICATE_REFUSED", what)
    if said == "certificate required":
        what = "the server lets nobody in without a certificate"
        return _failed(address, "TLS_CERTIFICATE_REQUIRED", what)
    return _failed(address, "TLS_FAILED", f"the server refuses the handshake: {said}")


def _failed(address: Address, reason: str, why: str) -> TlsFailed:
    suggestion = _SUGGESTIONS.get(reason)
    return TlsFailed(
        f"no connection to {address.url}: {why}",
        code="UNAVAILABLE",
        reason=reason,
        metadata={"suggestion": suggestion} if suggestion else None,
    )
