"""Options of the gRPC channel, the same for every kind of client."""

from __future__ import annotations

import grpc
import grpc.aio

from ._address import Address
from ._credentials import Credentials

#: Largest answer, in bytes: Run may return 16 MiB of each of three channels.
MAX_RECEIVE_BYTES = 64 * 1024 * 1024

#: Largest request, in bytes; the server's own limit is smaller and says so by name.
MAX_SEND_BYTES = 64 * 1024 * 1024

#: Silence on the connection after which it is probed, in ms, so that a server that is
#: gone without a word (power, cable) does not leave a call waiting for ever.
KEEPALIVE_TIME_MS = 30_000

#: Time that a probe has for its answer, in ms.
KEEPALIVE_TIMEOUT_MS = 10_000

#: First and longest pause between two attempts to connect, in ms: those of the attempts at
#: a call, which fails at once while the channel pauses. gRPC's own reach two minutes.
INITIAL_RECONNECT_BACKOFF_MS = 100
MAX_RECONNECT_BACKOFF_MS = 2_000

#: Longest wait for one connection, in ms.
CONNECT_TIMEOUT_MS = 10_000

#: Control calls (everything but running commands) that take longer have failed, in s.
CALL_TIMEOUT_SECONDS = 60.0


def open_channel(
    address: Address,
    credentials: Credentials | None,
    *more: tuple[str, int | str],
) -> grpc.Channel:
    """A channel to `address`."""
    options = [*channel_options(address, credentials), *more]
    if credentials is None:
        return grpc.insecure_channel(address.target, options=options)
    return grpc.secure_channel(address.target, credentials.channel, options=options)


def open_async_channel(address: Address, credentials: Credentials | None) -> grpc.aio.Channel:
    """The same for the running event loop."""
    options = channel_options(address, credentials)
    if credentials is None:
        return grpc.aio.insecure_channel(address.target, options=options)
    return grpc.aio.secure_channel(address.target, credentials.channel, options=options)


def channel_options(
    address: Address, credentials: Credentials | None = None
) -> list[tuple[str, int | str]]:
    """Options for a channel to `address`."""
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        ("grpc.max_send_message_length", MAX_SEND_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # Probes go on through the silence of a long command.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", INITIAL_RECONNECT_BACKOFF_MS),
        ("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_BACKOFF_MS),
        # So it is called, and what it is: how long an attempt may take.
        ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),
    ]
    if address.local:
        # Otherwise http_proxy would catch even the loopback.
        options.append(("grpc.enable_http_proxy", 0))
    if address.unix:
        # Without it the authority is the socket's path, which tonic resets streams for.
        options.append(("grpc.default_authority", "localhost"))
    if credentials is not None and credentials.server_name is not None:
        options.append(("grpc.ssl_target_name_override", credentials.server_name))
    return options
