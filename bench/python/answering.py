"""The line protocol between the measuring program and a contender in Python.

A request is a line of JSON on stdin, its answer a line of JSON on stdout:

    {"act": "nothing", "times": 20}                   {"seconds": [0.0001, ...]}
    {"act": "run", "command": "true", "times": 20}    {"seconds": [0.0005, ...]}
    {"act": "exec", "command": "true", "times": 20}   {"seconds": [0.0005, ...]}
    {"act": "stream", "command": "yes | head -c 9"}   {"seconds": 0.1, "bytes": 9, "chunks": 1}
    {"act": "memory", "command": "9/4"}               {"seconds": 0.1, "bytes": 9, "chunks": 3}
    whatever fails                                    {"error": "..."}

The first line, without a request, is `{"ready": "..."}` with what answers, or an error. A
contender ends with its stdin.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import IO, Any

#: What a request asks for, and what comes of it.
Act = Callable[[Mapping[str, Any]], Mapping[str, Any]]

#: What makes the acts: it connects. And says what it is.
Start = Callable[[], tuple[str, Mapping[str, Act]]]


#: Of an error, in characters: grpcio's own take a screen.
ERROR_CHARS = 300


def answer(start: Start) -> None:
    """Answers requests until there are no more."""
    answers = _own_stdout()
    try:
        name, acts = start()
    # Whatever it is, it is the answer: the row is left out, and the run goes on.
    except Exception as error:
        _send(answers, _failure(error))
        return
    _send(answers, {"ready": name})
    for line in sys.stdin:
        request = json.loads(line)
        act = acts.get(request["act"])
        if act is None:
            _send(answers, {"error": f"{name} has no {request['act']}"})
            continue
        try:
            answered = act(request)
        except Exception as error:
            answered = _failure(error)
        _send(answers, answered)


def each(act: Callable[[str], object]) -> Act:
    """Runs a command so many times, and takes the time of each."""

    def measured(request: Mapping[str, Any]) -> Mapping[str, Any]:
        command, clock, seconds = request.get("command", ""), time.perf_counter, []
        for _ in range(request["times"]):
            begun = clock()
            act(command)
            seconds.append(clock() - begun)
        return {"seconds": seconds}

    return measured


def whole(act: Callable[[str], tuple[int, int]]) -> Act:
    """Follows a command's output to its end; its bytes and its chunks are counted."""

    def measured(request: Mapping[str, Any]) -> Mapping[str, Any]:
        begun = time.perf_counter()
        count, chunks = act(request["command"])
        return {"seconds": time.perf_counter() - begun, "bytes": count, "chunks": chunks}

    return measured


async def each_awaited(
    act: Callable[[str], Awaitable[object]], request: Mapping[str, Any]
) -> Mapping[str, Any]:
    """As `each`, within an event loop."""
    command, clock, seconds = request.get("command", ""), time.perf_counter, []
    for _ in range(request["times"]):
        begun = clock()
        await act(command)
        seconds.append(clock() - begun)
    return {"seconds": seconds}


async def whole_awaited(
    act: Callable[[str], Awaitable[tuple[int, int]]], request: Mapping[str, Any]
) -> Mapping[str, Any]:
    """As `whole`, within an event loop."""
    begun = time.perf_counter()
    count, chunks = await act(request["command"])
    return {"seconds": time.perf_counter() - begun, "bytes": count, "chunks": chunks}


def _own_stdout() -> IO[str]:
    """Stdout for answers alone: what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _send(answers: IO[str], answered: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answered) + "\n")
    answers.flush()


def _failure(error: Exception) -> Mapping[str, Any]:
    text = " ".join(str(error).split())
    return {"error": f"{type(error).__name__}: {text[:ERROR_CHARS]}"}
