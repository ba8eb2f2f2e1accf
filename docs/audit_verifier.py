#!/usr/bin/env python3
"""Checks an execgate audit log with nothing but Python: a second opinion, to be read.

    audit_verifier.py DIR KEY

DIR is the log's directory; KEY is what `execgate audit key` printed where the log was
written. Exit code 0: every record is as it was written, up to the newest signed head.
The format is that of docs/audit.md.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

# --- Ed25519 (RFC 8032), verification only -------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)

Point = tuple[int, int, int, int]


def recover_x(y: int, sign: int) -> int:
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        raise ValueError("no point of the curve")
    return P - x if x & 1 != sign else x


def add(a: Point, b: Point) -> Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def decode(data: bytes) -> Point:
    number = int.from_bytes(data, "little")
    y = number & ((1 << 255) - 1)
    x = recover_x(y, number >> 255)
    return (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE: Point = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L:
        return False
    digest = hashlib.sha512(r + key + message).digest()
    challenge = int.from_bytes(digest, "little") % L
    left, right = multiply(s, BASE), add(decode(r), multiply(challenge, decode(key)))
    return not (
        (left[0] * right[2] - right[0] * left[2]) % P
        or (left[1] * right[2] - right[1] * left[2]) % P
    )


# --- Signed notes (C2SP signed-note) --------------------------------------------------


class Key:
    """A key as verifiers read it: `name+id+key`."""

    def __init__(self, text: str) -> None:
        self.name, self.id, blob = text.split("+", 2)
        data = base64.b64decode(blob)
        expected = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4].hex()
        if data[0] != 1 or len(data) != 33 or self.id != expected:
            raise ValueError(f"{text} is no key")
        self.public = data[1:]

    def open(self, note: str) -> list[str]:
        """The lines of a note that this key has signed."""
        text, signature = note.split("\n\n", 1)
        mark, name, blob = signature.rstrip("\n").split(" ")
        data = base64.b64decode(blob)
        if (mark, name, data[:4].hex()) != ("\u2014", self.name, self.id):
            raise ValueError("signed by another key")
        if not is_signed(self.public, text.encode() + b"\n", data[4:]):
            raise ValueError("the signature is wrong")
        return text.split("\n")


# --- The log --------------------------------------------------------------------------


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A Merkle tree (RFC 6962) that grows: the roots of its perfect trees."""

    def __init__(self, size: int = 0, frontier: list[bytes] | None = None) -> None:
        self.size, self.frontier = size, frontier or []

    def push(self, record_hash: bytes) -> None:
        new, size = hashlib.sha256(b"\0" + record_hash).digest(), self.size
        while size & 1:
            new, size = node(self.frontier.pop(), new), size >> 1
        self.frontier.append(new)
        self.size += 1

    def root(self) -> bytes:
        root = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            root = node(left, root)
        return root


def heads(directory: Path, key: Key) -> dict[int, bytes]:
    """Root by size, of every signed head."""
    lines = (directory / "heads").read_text().splitlines(keepends=True)
    found = {}
    for start in range(0, len(lines) - len(lines) % 5, 5):
        origin, size, root = key.open("".join(lines[start : start + 5]))
        if origin != key.name:
            raise ValueError("a head of another log")
        found[int(size)] = base64.b64decode(root)
    return found


def beginning(directory: Path, key: Key) -> tuple[Tree, bytes]:
    """The tree and the hash before the first record that is kept."""
    stub = directory / "stub"
    if not stub.exists():
        return Tree(), bytes(32)
    _origin, _format, first, previous, frontier = key.open(stub.read_text())
    nodes = [bytes.fromhex(text) for text in frontier.split()[1:]]
    return Tree(int(first.split()[1]) - 1, nodes), bytes.fromhex(previous.split()[1])


def records(directory: Path) -> "list[bytes]":
    lines = []
    for segment in sorted(directory.glob("[0-9]" * 20 + ".log")):
        lines += segment.read_bytes().rstrip(b"\0").split(b"\n")[:-1]
    return lines


def verify(directory: Path, key: Key) -> str:
    roots = heads(directory, key)
    tree, previous = beginning(directory, key)
    checked = 0
    for line in records(directory):
        sequence, (claimed, payload) = tree.size + 1, line.split(b" ", 1)
        record = json.loads(payload)
        computed = hashlib.sha256(previous + payload).digest()
        if computed.hex().encode() != claimed:
            raise ValueError(f"record {sequence}: its hash is not that of its content")
        if (record["sequence"], record["previous_hash"]) != (sequence, previous.hex()):
            raise ValueError(f"record {sequence}: it does not follow the one before it")
        tree.push(computed)
        previous = computed
        if sequence in roots:
            checked += 1
            if roots[sequence] != tree.root():
                raise ValueError(f"record {sequence}: the head is of other records")
    if max(roots) > tree.size:
        raise ValueError(f"record {tree.size + 1}: the log ends before its head")
    return f"{tree.size} records, {checked} heads: valid"


if __name__ == "__main__":
    try:
        print(verify(Path(sys.argv[1]), Key(sys.argv[2])))
    except (ValueError, OSError) as problem:
        sys.exit(f"{problem}")
