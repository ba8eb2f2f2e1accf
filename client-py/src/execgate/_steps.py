"""What is to be done, step by step. Who does it, and how it waits, is a connection's to know."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar, Union

from ._calls import Call
from ._retry import Tries
from .errors import ExecgateError

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Value = TypeVar("_Value")

#: Calls to make, whose values are sent in and whose errors are thrown in, and pauses in
#: seconds.
Steps = Generator[Union[Call[Any, Any, Any], float], Any, _Value]


def repeated(call: Call[_Request, _Response, _Value], tries: Tries) -> Steps[_Value]:
    """Makes a call, as often as it takes and `tries` allows, within the call's own time."""
    attempt = call
    while True:
        try:
            value: _Value = yield attempt
        except ExecgateError as error:
            failure = error
        else:
            return value
        pause = tries.pause(failure)
        if pause is None:
            raise failure
        if call.timeout is not None:
            left = call.timeout - tries.elapsed - pause
            if left <= 0:
                raise failure
            attempt = replace(call, timeout=left)
        yield pause
