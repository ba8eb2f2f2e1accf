"""The sync transport: one channel, its stubs, and every failed call as an exception."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar, cast

import grpc

from ._address import Address
from ._channel import CALL_TIMEOUT_SECONDS, channel_options
from ._status import disconnected, from_status
from ._token import Token
from .errors import ClientClosed, ConnectFailed, ExecgateError
from .v1.audit_pb2_grpc import AuditServiceStub
from .v1.checkpoint_pb2_grpc import CheckpointServiceStub
from .v1.exec_pb2_grpc import ExecServiceStub
from .v1.session_pb2_grpc import SessionServiceStub

#: A stream is read by the thread that asks and not through a second one, which takes a
#: quarter off the time of a short one. Only the sync channel knows this option.
SINGLE_THREADED_STREAMS = ("SingleThreadedUnaryStream", 1)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Connection:
    """A channel to one server, opened at the first call. Threads may share it."""

    def __init__(self, address: Address, token: Token | None) -> None:
        self.address = address.target
        self._metadata = token.metadata() if token else None
        options = [*channel_options(address), SINGLE_THREADED_STREAMS]
        self._channel = grpc.insecure_channel(address.target, options=options)
        self._closed = False
        self.sessions = SessionServiceStub(self._channel)
        self.executions = ExecServiceStub(self._channel)
        self.checkpoints = CheckpointServiceStub(self._channel)
        self.audit = AuditServiceStub(self._channel)

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        *,
        timeout: float | None = CALL_TIMEOUT_SECONDS,
        execution_id: str = "",
    ) -> _Response:
        """Makes a call with one answer."""
        self._check_open()
        try:
            return method(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failure(error, execution_id) from None

    def stream(
        self,
        method: grpc.UnaryStreamMultiCallable[_Request, _Response],
        request: _Request,
        *,
        execution_id: str = "",
    ) -> Responses[_Response]:
        """Makes a call with a stream of answers; a failure shows at the first of them."""
        self._check_open()
        call = method(request, metadata=self._metadata)
        return Responses(self, call, execution_id)

    def wait_ready(self, timeout: float) -> None:
        """Waits until the server answers."""
        self._check_open()
        try:
            grpc.channel_ready_future(self._channel).result(timeout=timeout)
        except grpc.FutureTimeoutError:
            raise ConnectFailed(
                f"no execgate server answers at {self.address} within {timeout:g} s"
            ) from None

    def close(self) -> None:
        """Ends all calls and the connection."""
        self._closed = True
        self._channel.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("the client is closed")

    def _failure(self, error: grpc.RpcError, execution_id: str) -> ExecgateError:
        if self._closed:
            return ClientClosed("the client was closed while a call was under way")
        # What a stub raises is the call itself, which the type does not say.
        call = cast("grpc.Call", error)
        return from_status(
            call.code(),
            call.details() or "",
            call.trailing_metadata(),
            address=self.address,
            execution_id=execution_id,
        )


class Responses(Generic[_Response]):
    """The answers of one streaming call."""

    def __init__(
        self,
        connection: Connection,
        call: grpc._CallIterator[_Response],
        execution_id: str,
    ) -> None:
        self._connection = connection
        self._call = call
        self.execution_id = execution_id
        """The execution that is followed, once it is known; errors name it."""

    def __iter__(self) -> Iterator[_Response]:
        return self

    def __next__(self) -> _Response:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise self._connection._failure(error, self.execution_id) from None

    def cut(self, text: str) -> ExecgateError:
        """The error for a stream that ended too early without one."""
        return disconnected(self._connection.address, self.execution_id, text)

    def cancel(self) -> None:
        """Ends the call, not what it speaks of."""
        self._call.cancel()
