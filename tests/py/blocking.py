"""The asyncio client under the sync one's names, so that each test tells both.

Whatever can be awaited is waited for, in an event loop of the client's own.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

from execgate import AsyncClient, AsyncExecStream, AsyncSession, Client


class Blocking:
    """An object of the asyncio client, and the loop it lives in."""

    def __init__(self, loop: asyncio.AbstractEventLoop, inner: Any) -> None:
        self._loop = loop
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: object, **options: object) -> object:
            # A call may need the running loop before it is awaited.
            async def made() -> object:
                result = value(*arguments, **options)
                return await result if inspect.isawaitable(result) else result

            return self._settled(self._loop.run_until_complete(made()))

        return call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._loop.run_until_complete(_next(self._inner))
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *raised: object) -> None:
        self._loop.run_until_complete(self._inner.__aexit__(*raised))

    def _settled(self, value: object) -> object:
        if isinstance(value, (AsyncSession, AsyncExecStream)) or hasattr(value, "__anext__"):
            return Blocking(self._loop, value)
        return value


async def _next(iterator: AsyncIterator[object]) -> object:
    return await iterator.__anext__()


def blocking_client(loop: asyncio.AbstractEventLoop, *arguments: Any, **options: Any) -> Client:
    """A client like the sync one, made of the asyncio one."""
    return cast("Client", Blocking(loop, AsyncClient(*arguments, **options)))
