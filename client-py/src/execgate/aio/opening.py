"""Something that takes a call to get: awaited, or entered, whichever reads better."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from ..events import Event
from .stream import AsyncExecStream


class _Entered(Protocol):
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


_Opened = TypeVar("_Opened", bound=_Entered)


class Opening(Generic[_Opened]):
    """`await` gives what is opened; `async with` closes it at the end of the block, too."""

    def __init__(self, opening: Coroutine[Any, Any, _Opened]) -> None:
        self._opening = opening
        self._opened: _Opened | None = None

    def __await__(self) -> Generator[Any, None, _Opened]:
        return self._opening.__await__()

    async def __aenter__(self) -> _Opened:
        self._opened = await self._opening
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(kind, value, traceback)


class OpeningStream(Opening[AsyncExecStream]):
    """The same for a stream, which can be iterated at once, too."""

    async def __aiter__(self) -> AsyncIterator[Event]:
        async with self as stream:
            async for event in stream:
                yield event
