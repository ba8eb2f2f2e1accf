"""Following one execution."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType

from .. import _calls
from .._calls import StreamCall
from .._collect import MAX_COLLECTED_BYTES
from .._following import Following, Texts
from .._stdin import StdinWriting, written
from ..enums import Channel, ExecutionState, SignalKind
from ..errors import ExecgateError
from ..events import Event, Started
from ..result import Result
from .connection import AsyncConnection, AsyncResponses


class AsyncExecStream:
    """The events of one execution: an asynchronous iterator, with `result()` at its end.

    As `execgate.ExecStream`, which explains everything.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        session_id: str,
        responses: AsyncResponses,
        following: Following,
    ) -> None:
        """Made by `AsyncSession.exec` and `AsyncSession.attach`."""
        self._connection = connection
        self._session_id = session_id
        self._responses = responses
        self._following = following
        self._writing = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        connection: AsyncConnection,
        session_id: str,
        call: StreamCall,
        max_bytes: int = MAX_COLLECTED_BYTES,
    ) -> AsyncExecStream:
        """Reads the first event; what refuses the command is raised here."""
        responses = await connection.stream(call)
        following = Following(session_id, call, connection.patience, max_bytes)
        stream = cls(connection, session_id, responses, following)
        stream._following.begin(await stream._receive())
        stream._responses.execution_id = stream.execution_id
        return stream

    @property
    def execution_id(self) -> str:
        """The execution's id within its session."""
        return self.started.execution_id

    @property
    def offsets(self) -> dict[Channel, int]:
        """The next byte of each channel that had any: where `Session.attach` goes on."""
        return self._following.offsets

    @property
    def started(self) -> Started:
        """What is running."""
        return self._following.started

    def __repr__(self) -> str:
        return f"<execgate.AsyncExecStream {self.execution_id}>"

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        waiting = self._following.waiting()
        if waiting is not None:
            return waiting
        if self._following.over:
            raise StopAsyncIteration
        return await self._receive()

    async def result(self) -> Result:
        """Reads on to the end and returns the result, with what was read before."""
        async for _ in self:
            pass
        return self._following.result()

    async def text(self) -> AsyncIterator[tuple[Channel, str]]:
        """The rest of the output as pieces of text, each with its channel."""
        texts = Texts()
        async for event in self:
            piece = texts.take(event)
            if piece is not None:
                yield piece
        for rest in texts.finish():
            yield rest

    async def write_stdin(
        self, data: bytes | str = b"", *, eof: bool = False, offset: int | None = None
    ) -> int:
        """Writes to the command's standard input; returns where the next write begins."""
        given = data.encode() if isinstance(data, str) else data
        async with self._writing:
            alone = offset is None
            writing = StdinWriting(
                self._session_id,
                self.execution_id,
                len(given),
                eof=eof,
                offset=self._following.written if alone else offset,
                alone=alone,
            )
            try:
                while not writing.done:
                    start, count = writing.piece()
                    data = given[start : start + count]
                    steps = written(
                        writing,
                        data,
                        self._connection.patience,
                        self._following.resume,
                        self.execution_id,
                    )
                    await self._connection.perform(steps)
            finally:
                # What came of an offset that was wrong is no place to go on from.
                if alone or writing.done:
                    self._following.written = writing.offset
            return writing.offset or 0

    async def close_stdin(self) -> None:
        """Ends the command's standard input; in a terminal it is Ctrl-D."""
        await self.write_stdin(eof=True)

    async def signal(self, signal: SignalKind | str = SignalKind.INT) -> ExecutionState:
        """Sends a signal to the command; returns the state right after."""
        call = _calls.signal(self._session_id, self.execution_id, SignalKind(signal))
        return await self._connection.call(call)

    def close(self) -> None:
        """Ends the following, not the command. `result()` is refused after it."""
        self._following.close()
        self._responses.cancel()

    async def __aenter__(self) -> AsyncExecStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def _receive(self) -> Event:
        try:
            while True:
                try:
                    return await self._next_event()
                except ExecgateError as error:
                    pause = self._following.interrupted(error)
                await asyncio.sleep(pause)
                await self._reconnect()
        except asyncio.CancelledError:
            # gRPC has ended the call together with the wait for it.
            self._following.close()
            raise

    async def _next_event(self) -> Event:
        while True:
            response = await self._responses.next()
            if response is None:
                raise self._responses.cut()
            event = self._following.take(response)
            if event is not None:
                return event

    async def _reconnect(self) -> None:
        call = self._following.next_call()
        try:
            self._responses = await self._connection.stream(call)
        except ExecgateError as error:
            self._following.failure = error
            raise


async def write_piece(
    connection: AsyncConnection, writing: StdinWriting, data: bytes, execution_id: str
) -> None:
    """Writes the next piece, waiting while the command does not read."""
    patience = connection.patience
    await connection.perform(written(writing, data, patience, patience.resume, execution_id))
