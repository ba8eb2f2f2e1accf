"""What comes over the wire is nearly what it should be."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from typing import Any

import grpc
from running_server import LIMIT_SECONDS
from watching import descriptors, resident_bytes, threads

from .wire import PREFACE, dial, frame, headers, unary_calls
from .world import CHANCE, MEGABYTE, World, row


@row(
    "good messages of every method and good conversations of HTTP/2, with bytes changed, left "
    "out, doubled and inserted",
    "each gets an answer of its protocol, or the connection ends; then the server is healthy, "
    "its memory, descriptors and threads are as before, and the audit log verifies",
)
def mutated(world: World) -> str:
    conversations, messages = world.many(300, 10_000), world.many(1500, 20_000)
    with world.session() as session:
        session.run("true")
        # What it has once it has seen all of them.
        codes = mutated_messages(world, session.id, messages // 3)
        mutated_conversations(world, conversations // 3)
        pid = world.server.process.pid
        before = (descriptors(pid), threads(pid), resident_bytes(pid))
        for code, number in mutated_messages(world, session.id, messages - messages // 3).items():
            codes[code] = codes.get(code, 0) + number
        mutated_conversations(world, conversations - conversations // 3)
        assert not {"UNKNOWN", "DEADLINE_EXCEEDED", "UNAVAILABLE"} & set(codes), codes
        with world.server.client() as client:
            client.wait_ready(LIMIT_SECONDS)
            for info in client.sessions():
                if info.session_id != session.id:
                    client.get_session(info.session_id).close()
        until_fewer(pid, before[0] + 4)
        after = (descriptors(pid), threads(pid), resident_bytes(pid))
        assert session.run("echo fine", queue_if_busy=True).stdout == "fine\n"
    grown = after[2] - before[2]
    assert after[1] <= before[1] + 4, (before, after)
    assert grown < 48 * MEGABYTE, grown
    world.verify()
    said = ", ".join(f"{code} {number}" for code, number in sorted(codes.items()))
    return (
        f"{conversations} conversations, {messages} messages: {said}; memory "
        f"{grown / MEGABYTE:+.1f} MiB, descriptors {before[0]} -> {after[0]}"
    )


def until_fewer(pid: int, most: int) -> None:
    """Waits until a process has so few descriptors; fails where it does not come to that."""
    end = time.monotonic() + LIMIT_SECONDS
    while (now := descriptors(pid)) > most:
        assert time.monotonic() < end, (now, most)
        time.sleep(0.05)


def changed(data: bytes, dice: random.Random) -> bytes:
    """The same bytes but for a few."""
    text = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 8))):
        at = dice.randrange(len(text) + 1)
        to = min(len(text), at + dice.choice((1, 1, 2, 4, 16)))
        kind = dice.randrange(5)
        if kind == 0:
            text[at:to] = dice.randbytes(to - at)
        elif kind == 1:
            del text[at:to]
        elif kind == 2:
            text[at:at] = text[at:to]
        elif kind == 3:
            text[at:at] = dice.choice((b"\xff" * 9, b"\0", b"\x7f\xff\xff\xff", dice.randbytes(3)))
        elif at < len(text):
            text[at] ^= 1 << dice.randrange(8)
    return bytes(text)


def mutated_messages(world: World, session: str, count: int) -> dict[str, int]:
    """Sends changed messages to all unary methods; how often each code came."""
    dice, codes = CHANCE, dict[str, int]()
    samples = [
        (path, filled(kind, session, world.mark.env).SerializeToString())
        for path, kind in unary_calls()
    ]
    with world.raw() as (channel, metadata):
        for _ in range(count):
            path, data = dice.choice(samples)
            call = channel.unary_unary(path, lambda data: data, lambda data: data)
            try:
                call(changed(data, dice), metadata=metadata, timeout=LIMIT_SECONDS)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
            codes[code] = codes.get(code, 0) + 1
    return codes


def filled(kind: Any, session: str, env: dict[str, str]) -> Any:
    """A message of this kind with as many good values as it has fields for."""
    values: dict[str, Any] = {
        "session_id": "another" if kind.name == "CloseSessionRequest" else session,
        "execution_id": "e",
        "spec": {"script": "true", "env": {"A": "b"}, "timeout": {"seconds": 1}},
        "labels": {"a": "b"},
        "env": env,
        "cwd": "/tmp",
        "data": b"data",
        "channel": 1,
        "offset": 3,
        "max_bytes": 100,
        "page_size": 10,
        "page_token": "token",
        "script": "echo $(true) | cat",
        "checkpoint_id": "c",
        "size": {"rows": 24, "columns": 80},
        "signal": 1,
    }
    if kind.name == "CreateSessionRequest":
        # Of its own, as every answer would be the first one's.
        del values["session_id"]
    message = kind._concrete_class()
    for name, value in values.items():
        # Some kinds have another one by this name.
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            message.MergeFrom(kind._concrete_class(**{name: value}))
    return message


def mutated_conversations(world: World, count: int) -> None:
    """Begins connections with changed conversations of HTTP/2."""
    dice = CHANCE
    block = headers(b"/grpc.health.v1.Health/Check")
    good = [
        PREFACE,
        frame(4, 0, 0, bytes.fromhex("000300000064") + bytes.fromhex("000400100000")),
        frame(1, 4, 1, block),
        frame(0, 1, 1, b"\0\0\0\0\0"),
        frame(8, 0, 0, (65535).to_bytes(4, "big")),
        frame(6, 0, 0, bytes(8)),
        frame(1, 0, 3, block[:20]),
        frame(9, 4, 3, block[20:]),
        frame(0, 0, 3, b"\0\0\0\0\5abc"),
        frame(3, 0, 3, (8).to_bytes(4, "big")),
        frame(4, 1, 0),
        frame(7, 0, 0, bytes(8)),
    ]
    for _ in range(count):
        frames = good[:1] + [part for part in good[1:] if dice.random() < 0.8]
        if dice.random() < 0.3:
            tail = frames[1:]
            dice.shuffle(tail)
            frames[1:] = tail
        data = b"".join(frames)
        # The preface stays as it is mostly: what it leads to is what is to be tried.
        start = len(PREFACE) if dice.random() < 0.9 else 0
        with contextlib.suppress(OSError), dial(world) as raw:
            raw.settimeout(LIMIT_SECONDS)
            raw.sendall(data[:start] + changed(data[start:], dice))
            raw.shutdown(socket.SHUT_WR)
            # Until it has nothing to say any more.
            while raw.recv(65536):
                pass
