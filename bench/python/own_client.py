"""execgate's own Python client, as a user of it writes.

    python own_client.py ADDRESS SESSION

The token is in `$EXECGATE_TOKEN`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from answering import Act, answer, each, whole

from execgate import Client, ExecStream, Output, __version__


def start() -> tuple[str, Mapping[str, Act]]:
    """Connects, and opens the session."""
    address, name = sys.argv[1:]
    client = Client(address)
    session = client.session(session_id=name)

    def nothing(_: str) -> None:
        session.info()

    def follow(command: str) -> tuple[int, int]:
        return _count(session.exec(command))

    def memory(size: str) -> tuple[int, int]:
        return _count(session.attach(size))

    acts = {
        "nothing": each(nothing),
        "run": each(session.run),
        "exec": each(follow),
        "stream": whole(follow),
        "memory": whole(memory),
    }
    return f"execgate's Python client {__version__}", acts


def _count(stream: ExecStream) -> tuple[int, int]:
    count = chunks = 0
    with stream:
        for event in stream:
            if isinstance(event, Output):
                count += len(event.data)
                chunks += 1
    return count, chunks


answer(start)
