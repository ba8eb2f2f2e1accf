"""execgate's own Python client for asyncio, as a user of it writes.

    python own_aio_client.py ADDRESS SESSION

The token is in `$EXECGATE_TOKEN`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from answering import Act, answer, each_awaited, whole_awaited

from execgate import Output, __version__
from execgate.aio import AsyncClient, AsyncExecStream, AsyncSession


def start() -> tuple[str, Mapping[str, Act]]:
    """Connects, and opens the session."""
    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(_open())

    async def follow(command: str) -> tuple[int, int]:
        return await _count(await session.exec(command))

    async def memory(size: str) -> tuple[int, int]:
        return await _count(await session.attach(size))

    acts: Mapping[str, Act] = {
        "run": lambda request: loop.run_until_complete(each_awaited(session.run, request)),
        "exec": lambda request: loop.run_until_complete(each_awaited(follow, request)),
        "stream": lambda request: loop.run_until_complete(whole_awaited(follow, request)),
        "memory": lambda request: loop.run_until_complete(whole_awaited(memory, request)),
    }
    return f"execgate's Python client {__version__} with asyncio", acts


async def _open() -> AsyncSession:
    address, name = sys.argv[1:]
    return await AsyncClient(address).session(session_id=name)


async def _count(stream: AsyncExecStream) -> tuple[int, int]:
    count = chunks = 0
    async with stream:
        async for event in stream:
            if isinstance(event, Output):
                count += len(event.data)
                chunks += 1
    return count, chunks


answer(start)
