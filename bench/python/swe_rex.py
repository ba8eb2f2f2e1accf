"""SWE-ReX, as its users have it: its server, its client, and a session of bash.

    python swe_rex.py

Started with the Python of an environment that has it (requirements-swe-rex.txt).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping

from answering import Act, answer, each_awaited, whole_awaited
from swerex import __version__
from swerex.runtime.abstract import BashAction, CreateBashSessionRequest
from swerex.runtime.remote import RemoteRuntime

#: How long the server may take to answer first, in seconds.
START_SECONDS = 30.0

#: Longest time of one command, in seconds.
COMMAND_SECONDS = 300.0


def start() -> tuple[str, Mapping[str, Act]]:
    """Starts the server, connects, and opens the session."""
    logging.disable(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    runtime = loop.run_until_complete(_open())

    async def run(command: str) -> tuple[int, int]:
        action = BashAction(command=command, timeout=COMMAND_SECONDS)
        observation = await runtime.run_in_session(action)
        return len(observation.output.encode()), 1

    acts: Mapping[str, Act] = {
        "run": lambda request: loop.run_until_complete(each_awaited(run, request)),
        "stream": lambda request: loop.run_until_complete(whole_awaited(run, request)),
    }
    return f"SWE-ReX {__version__}", acts


async def _open() -> RemoteRuntime:
    token, port = secrets.token_hex(), _free_port()
    # It ends with this process, however this one ends.
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        sys.executable,
        "-m",
        "swerex",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    subprocess.Popen(
        [*command, "--auth-token", token],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    runtime = RemoteRuntime(auth_token=token, port=port)
    await runtime.wait_until_alive(timeout=START_SECONDS)
    await runtime.create_session(CreateBashSessionRequest())
    return runtime


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


answer(start)
