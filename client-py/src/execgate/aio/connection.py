"""The asyncio transport: one channel, its stubs, and every failed call as an exception."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeVar, cast

import grpc
import grpc.aio

from .. import _calls
from .._calls import Call, Listing, Paged, PageOf, RunCall, StreamCall, StreamResponse
from .._channel import open_async_channel
from .._checkpoint_calls import Answers
from .._diagnosis import diagnose
from .._metadata import awaited_metadata
from .._resume import run_to_its_end
from .._settings import Settings
from .._status import disconnected, from_status, never_ready
from .._steps import Steps, repeated
from .._stubs import Stubs
from ..errors import (
    Cancelled,
    ClientClosed,
    ConnectFailed,
    Disconnected,
    ExecgateError,
    TlsFailed,
)
from ..result import Result

#: Time after which a read that waits is looked after, in seconds.
LOOK_SECONDS = 1.0

#: Silence after a message, and then again and again, after which a connection is tried, in
#: seconds. The later one is longer than a server is silent.
FIRST_SILENCE_SECONDS = 3.0
SILENCE_SECONDS = 12.0

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Value = TypeVar("_Value")
_Paged = TypeVar("_Paged", bound=Paged)
_Page = TypeVar("_Page", bound=PageOf)


class AsyncConnection:
    """A channel to one server, opened at the first call, of the event loop that makes it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.address = settings.address.url
        self.patience = settings.patience()
        self._metadata = awaited_metadata(settings.token, settings.trace, settings.owner)
        # A channel belongs to the loop that runs when it is made.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stubs: Stubs | None = None
        self._closed = False

    async def call(self, call: Call[_Request, _Response, _Value]) -> _Value:
        """Makes a call with one answer, again where that helps."""
        return await self.perform(repeated(call, self.patience.tries(call.repeat)))

    async def once(self, call: Call[_Request, _Response, _Value]) -> _Value:
        """Makes a call with one answer, and no other attempt."""
        stubs = self._open()
        metadata = await self._metadata()
        method = cast("grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", call.method(stubs))
        under_way = method(call.request, timeout=call.timeout, metadata=metadata)
        try:
            response = await under_way
        except grpc.aio.AioRpcError as error:
            raise await self.failure(error, call.execution_id) from None
        except asyncio.CancelledError:
            if self._closed:
                raise self._closed_meanwhile() from None
            raise
        self.patience.acquaintance.made = True
        return call.read(response)

    async def run(self, run: RunCall) -> Result:
        """Runs a command once, however often the call has to be repeated."""
        attempts = self.patience.attempts(run.call.execution_id, run.resume)
        return await self.perform(run_to_its_end(run, attempts))

    async def perform(self, steps: Steps[_Value]) -> _Value:
        """Takes steps one after the other, and returns what comes of them."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Call):
                    try:
                        value = await self.once(step)
                    except ExecgateError as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(value)
                else:
                    await asyncio.sleep(step)
                    step = next(steps)
        except StopIteration as end:
            return cast("_Value", end.value)

    async def listing(self, listing: Listing[_Paged, _Page, _Value]) -> AsyncIterator[_Value]:
        """Makes a call for each page, as they are needed."""
        more = True
        while more:
            values, more = await self.call(listing.page())
            for value in values:
                yield value

    async def stream(self, call: StreamCall) -> AsyncResponses:
        """Makes a call with a stream of answers; a failure shows at the first of them."""
        stubs = self._open()
        metadata = await self._metadata()
        # The stub's type is that of a sync channel.
        under_way = cast(
            "grpc.aio.UnaryStreamCall[object, StreamResponse]",
            call.method(stubs)(call.request, metadata=metadata),
        )
        return AsyncResponses(self, under_way, call.execution_id)

    async def answers(self, call: Answers[_Request, _Response, _Value]) -> AsyncIterator[_Value]:
        """Makes a call with a stream of answers, as they are needed."""
        tries = self.patience.tries()
        while True:
            stubs = self._open()
            metadata = await self._metadata()
            # The stub's type is that of a sync channel.
            responses = cast(
                "grpc.aio.UnaryStreamCall[_Request, _Response]",
                call.method(stubs)(call.request, metadata=metadata),
            )
            begun = False
            try:
                async for response in responses:
                    begun = True
                    for value in call.read(response):
                        yield value
                return
            except grpc.aio.AioRpcError as error:
                failure = await self.failure(error, "")
            finally:
                responses.cancel()
            # What was read cannot be taken back.
            pause = None if begun else tries.pause(failure)
            if pause is None:
                raise failure
            await asyncio.sleep(pause)

    async def wait_ready(self, timeout: float) -> None:
        """Waits until the server answers."""
        self._open()
        if self._channel is not None:
            try:
                await asyncio.wait_for(self._channel.channel_ready(), timeout)
            except asyncio.TimeoutError:
                raise await self._diagnosed() or never_ready(self.address, timeout) from None

    async def close(self) -> None:
        """Ends all calls and the connection."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    def _open(self) -> Stubs:
        if self._closed:
            raise ClientClosed("the client is closed")
        loop = asyncio.get_running_loop()
        if self._stubs is None:
            settings = self._settings
            self._channel = open_async_channel(settings.address, settings.credentials)
            self._stubs = Stubs(self._channel)
            self._loop = loop
        elif self._loop is not loop:
            raise ClientClosed("the client belongs to another event loop: make one for each")
        return self._stubs

    async def touch(self) -> None:
        """Sends something, so that a connection that is gone shows it."""
        with contextlib.suppress(ExecgateError):
            await self.once(replace(_calls.capabilities(), timeout=LOOK_SECONDS))

    async def failure_of(
        self, call: grpc.aio.UnaryStreamCall[object, StreamResponse], execution_id: str
    ) -> ExecgateError:
        """The exception for a stream that ended without a word."""
        code = await call.code()
        if code is grpc.StatusCode.OK or self._closed:
            return disconnected(self.address, execution_id, "the stream was lost")
        metadata = [(str(key), value) for key, value in await call.trailing_metadata()]
        text = await call.details() or ""
        failure = from_status(code, text, metadata, address=self.address, execution_id=execution_id)
        return await self._explained(failure)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    async def failure(self, error: grpc.aio.AioRpcError, execution_id: str) -> ExecgateError:
        """The exception for a call that failed."""
        if self._closed:
            return self._closed_meanwhile()
        failure = from_status(
            error.code(),
            error.details() or "",
            ((str(key), value) for key, value in error.trailing_metadata()),
            address=self.address,
            execution_id=execution_id,
        )
        return await self._explained(failure)

    async def _explained(self, failure: ExecgateError) -> ExecgateError:
        """A failure to connect in other words than gRPC's, where there are any."""
        if not isinstance(failure, (ConnectFailed, Disconnected)):
            self.patience.acquaintance.made = True
            return failure
        if not self._settings.is_puzzling(failure, self.patience.acquaintance):
            return failure
        return await self._diagnosed() or failure

    async def _diagnosed(self) -> TlsFailed | None:
        settings = self._settings
        return await asyncio.to_thread(diagnose, settings.address, settings.credentials)

    def _closed_meanwhile(self) -> ClientClosed:
        return ClientClosed("the client was closed while a call was under way")


class AsyncResponses:
    """The answers of one streaming call."""

    def __init__(
        self,
        connection: AsyncConnection,
        call: grpc.aio.UnaryStreamCall[object, StreamResponse],
        execution_id: str,
    ) -> None:
        self._connection = connection
        self._call = call
        self._cancelled = False
        self.execution_id = execution_id
        """The execution that is followed, once it is known; errors name it."""

    async def next(self) -> StreamResponse | None:
        """The next answer. None: there are no more."""
        try:
            response = await self._read()
        except grpc.aio.AioRpcError as error:
            raise await self._connection.failure(error, self.execution_id) from None
        except asyncio.CancelledError:
            # gRPC says so too when it was not the task that was cancelled.
            if self._connection.closed:
                raise ClientClosed("the client was closed while a call was under way") from None
            if self._cancelled:
                raise Cancelled("the stream was closed before its end") from None
            raise
        # gRPC's mark for the end has a type that cannot be named.
        return None if response is grpc.aio.EOF else cast("StreamResponse", response)

    async def _read(self) -> object:
        """The next message, also where gRPC forgets to tell that there is none.

        When a connection is reset while messages arrive, a read may never end, though the
        call has (seen with grpcio 1.62 to 1.85), and sometimes not even the call does, until
        something else is sent.
        """
        reading = asyncio.ensure_future(self._call.read())
        silent, patience = 0.0, FIRST_SILENCE_SECONDS
        try:
            while not (await asyncio.wait({reading}, timeout=LOOK_SECONDS))[0]:
                if self._call.done():
                    raise await self._connection.failure_of(self._call, self.execution_id)
                silent += LOOK_SECONDS
                if silent >= patience:
                    silent, patience = 0.0, SILENCE_SECONDS
                    await self._connection.touch()
            return reading.result()
        finally:
            reading.cancel()

    def cut(self) -> ExecgateError:
        """The error for a stream that ended too early without one."""
        text = "the stream ended before the command did"
        return disconnected(self._connection.address, self.execution_id, text)

    def cancel(self) -> None:
        """Ends the call, not what it speaks of."""
        self._cancelled = True
        self._call.cancel()
