"""The sync transport: one channel, its stubs, and every failed call as an exception."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TypeVar, cast

import grpc

from ._calls import Call, Listing, Paged, PageOf, RunCall, StreamCall, StreamResponse
from ._channel import open_channel
from ._checkpoint_calls import Answers
from ._diagnosis import diagnose
from ._metadata import call_metadata
from ._resume import run_to_its_end
from ._settings import Settings
from ._status import disconnected, from_status, never_ready
from ._steps import Steps, repeated
from ._stubs import Stubs
from .errors import ClientClosed, ConnectFailed, Disconnected, ExecgateError
from .result import Result

#: A stream is read by the thread that asks and not through a second one, which takes a
#: quarter off the time of a short one. Only the sync channel knows this option.
SINGLE_THREADED_STREAMS = ("SingleThreadedUnaryStream", 1)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Value = TypeVar("_Value")
_Paged = TypeVar("_Paged", bound=Paged)
_Page = TypeVar("_Page", bound=PageOf)


class Connection:
    """A channel to one server, opened at the first call. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.address = settings.address.url
        self.patience = settings.patience()
        self._metadata = call_metadata(settings.token, settings.trace, settings.owner)
        self._channel = open_channel(
            settings.address, settings.credentials, SINGLE_THREADED_STREAMS
        )
        self._closed = threading.Event()
        self._stubs = Stubs(self._channel)

    def call(self, call: Call[_Request, _Response, _Value]) -> _Value:
        """Makes a call with one answer, again where that helps."""
        return self.perform(repeated(call, self.patience.tries(call.repeat)))

    def once(self, call: Call[_Request, _Response, _Value]) -> _Value:
        """Makes a call with one answer, and no other attempt."""
        self._check_open()
        try:
            response = call.method(self._stubs)(
                call.request, timeout=call.timeout, metadata=self._metadata()
            )
        except grpc.RpcError as error:
            raise self.failure(error, call.execution_id) from None
        self.patience.acquaintance.made = True
        return call.read(response)

    def run(self, run: RunCall) -> Result:
        """Runs a command once, however often the call has to be repeated."""
        attempts = self.patience.attempts(run.call.execution_id, run.resume)
        return self.perform(run_to_its_end(run, attempts))

    def perform(self, steps: Steps[_Value]) -> _Value:
        """Takes steps one after the other, and returns what comes of them."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Call):
                    try:
                        value = self.once(step)
                    except ExecgateError as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(value)
                else:
                    self.pause(step)
                    step = next(steps)
        except StopIteration as end:
            return cast("_Value", end.value)

    def pause(self, seconds: float) -> None:
        """Waits, or until the client is closed."""
        self._closed.wait(seconds)

    def listing(self, listing: Listing[_Paged, _Page, _Value]) -> Iterator[_Value]:
        """Makes a call for each page, as they are needed."""
        more = True
        while more:
            values, more = self.call(listing.page())
            yield from values

    def stream(self, call: StreamCall) -> Responses:
        """Makes a call with a stream of answers; a failure shows at the first of them."""
        self._check_open()
        responses = call.method(self._stubs)(call.request, metadata=self._metadata())
        return Responses(self, responses, call.execution_id)

    def answers(self, call: Answers[_Request, _Response, _Value]) -> Iterator[_Value]:
        """Makes a call with a stream of answers, as they are needed."""
        tries = self.patience.tries()
        while True:
            self._check_open()
            responses = call.method(self._stubs)(call.request, metadata=self._metadata())
            begun = False
            try:
                for response in responses:
                    begun = True
                    yield from call.read(response)
                return
            except grpc.RpcError as error:
                failure = self.failure(error, "")
            finally:
                responses.cancel()
            # What was read cannot be taken back.
            pause = None if begun else tries.pause(failure)
            if pause is None:
                raise failure
            self.pause(pause)

    def wait_ready(self, timeout: float) -> None:
        """Waits until the server answers."""
        self._check_open()
        try:
            grpc.channel_ready_future(self._channel).result(timeout=timeout)
        except grpc.FutureTimeoutError:
            address, credentials = self._settings.address, self._settings.credentials
            raise diagnose(address, credentials) or never_ready(self.address, timeout) from None

    def close(self) -> None:
        """Ends all calls and the connection."""
        self._closed.set()
        self._channel.close()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ClientClosed("the client is closed")

    def failure(self, error: grpc.RpcError, execution_id: str) -> ExecgateError:
        """The exception for a call that failed."""
        if self._closed.is_set():
            return ClientClosed("the client was closed while a call was under way")
        # What a stub raises is the call itself, which the type does not say.
        call = cast("grpc.Call", error)
        failure = from_status(
            call.code(),
            call.details() or "",
            call.trailing_metadata(),
            address=self.address,
            execution_id=execution_id,
        )
        return self._explained(failure)

    def _explained(self, failure: ExecgateError) -> ExecgateError:
        """A failure to connect in other words than gRPC's, where there are any."""
        if not isinstance(failure, (ConnectFailed, Disconnected)):
            self.patience.acquaintance.made = True
            return failure
        if not self._settings.is_puzzling(failure, self.patience.acquaintance):
            return failure
        return diagnose(self._settings.address, self._settings.credentials) or failure


class Responses:
    """The answers of one streaming call."""

    def __init__(
        self, connection: Connection, call: grpc._CallIterator[StreamResponse], execution_id: str
    ) -> None:
        self._connection = connection
        self._call = call
        self.execution_id = execution_id
        """The execution that is followed, once it is known; errors name it."""

    def __iter__(self) -> Iterator[StreamResponse]:
        return self

    def __next__(self) -> StreamResponse:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise self._connection.failure(error, self.execution_id) from None

    def cut(self) -> ExecgateError:
        """The error for a stream that ended too early without one."""
        text = "the stream ended before the command did"
        return disconnected(self._connection.address, self.execution_id, text)

    def cancel(self) -> None:
        """Ends the call, not what it speaks of."""
        self._call.cancel()
