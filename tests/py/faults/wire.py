"""What comes over the wire is not what it should be."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import grpc
from running_server import LIMIT_SECONDS
from watching import resident_bytes

from execgate.v1 import audit_pb2, checkpoint_pb2, exec_pb2, session_pb2

from .world import CHANCE, MEGABYTE, World, row

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame of HTTP/2."""
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing or compression (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def headers(path: bytes) -> bytes:
    """The headers of a call."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    return b"".join(literal(name, value) for name, value in fields)


def dial(world: World) -> socket.socket:
    """A connection without a client."""
    host, port = world.server.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), LIMIT_SECONDS)


@row(
    "HTTP/2 rapid reset: streams opened and reset at once, on several connections",
    "the server cuts them off or outlasts them; memory stays bounded; others answer meanwhile",
)
def rapid_reset(world: World) -> str:
    count = world.many(20_000, 1_000_000)
    with world.session() as session:
        pid = world.server.process.pid
        before = resident_bytes(pid)
        block = headers(b"/execgate.v1.SessionService/ListSessions")
        sent = cut = 0
        times = []
        while sent < count:
            raw = dial(world)
            raw.settimeout(5)
            try:
                raw.sendall(PREFACE + frame(4, 0, 0))
                for start in range(1, 20_000, 200):
                    burst = b"".join(
                        frame(1, 4, stream, block) + frame(3, 0, stream, (8).to_bytes(4, "big"))
                        for stream in range(start, start + 200, 2)
                    )
                    raw.sendall(burst)
                    sent += 100
            except OSError:
                cut += 1
            finally:
                raw.close()
            begun = time.monotonic()
            session.run("true")
            times.append(time.monotonic() - begun)
        grown = resident_bytes(pid) - before
    assert grown < 64 * MEGABYTE, grown
    return (
        f"{sent} streams, {cut} connections cut off; memory +{grown // MEGABYTE} MiB; beside it "
        f"slowest {max(times) * 1000:.0f} ms"
    )


@row(
    "random bytes as HTTP/2 and as protobuf messages, to every method",
    "each gets an error of its protocol, and the server lives",
)
def malformed(world: World) -> str:
    dice = CHANCE
    connections = world.many(200, 20_000)
    messages = world.many(1000, 100_000)
    world.server  # noqa: B018 - started before it is spoken to
    for _ in range(connections):
        raw = dial(world)
        with contextlib.suppress(OSError):
            start = PREFACE if dice.random() < 0.7 else b""
            raw.sendall(
                start
                + frame(
                    dice.randrange(12),
                    dice.randrange(256),
                    dice.randrange(8),
                    dice.randbytes(dice.randrange(200)),
                )
            )
            raw.sendall(dice.randbytes(dice.randrange(2000)))
        raw.close()
    channel = grpc.insecure_channel(world.server.address)
    metadata = (("authorization", f"Bearer {world.server.token}"),)
    methods = [path for path, _ in unary_calls()]
    codes: dict[str, int] = {}
    for _ in range(messages):
        call = channel.unary_unary(dice.choice(methods), lambda data: data, lambda data: data)
        try:
            call(dice.randbytes(dice.randrange(1, 60)), metadata=metadata, timeout=LIMIT_SECONDS)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        codes[code] = codes.get(code, 0) + 1
    channel.close()
    assert world.server.process.poll() is None
    assert not {"UNKNOWN", "DEADLINE_EXCEEDED", "UNAVAILABLE"} & set(codes), codes
    with world.session() as session:
        assert session.run("echo fine").stdout == "fine\n"
    said = ", ".join(f"{code} {number}" for code, number in sorted(codes.items()))
    return f"{connections} connections, {messages} messages: {said}"


def unary_calls() -> Iterator[tuple[str, Any]]:
    """The paths of all unary methods, and what they take."""
    for module in (session_pb2, exec_pb2, checkpoint_pb2, audit_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if not method.server_streaming and not method.client_streaming:
                    yield f"/{service.full_name}/{method.name}", method.input_type
