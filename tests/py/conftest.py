"""A real server for each module of tests, or for one test."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from blocking import blocking_client
from running_server import Server

from execgate import Client, Session


def started_server() -> Iterator[Server]:
    """A server, from its start to its end."""
    # A short path: that of a Unix socket has 108 bytes at most.
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        server = Server(Path(folder))
        yield server
        server.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The module's server."""
    yield from started_server()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server of the test's own, which it may end."""
    yield from started_server()


# Its comparisons are to be explained as those of a test.
pytest.register_assert_rewrite("story")

#: Makes a client of an address with a token; without them it finds its own.
Connect = Callable[..., Client]


@pytest.fixture(params=["sync", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients of either kind, all of them with the sync one's names."""
    if request.param == "sync":
        yield Client
        return
    loop = asyncio.new_event_loop()
    yield partial(blocking_client, loop)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture
def client(connect: Connect, server: Server) -> Iterator[Client]:
    """A client of the module's server."""
    with connect(server.address, server.token) as client:
        yield client


@pytest.fixture
def session(client: Client) -> Iterator[Session]:
    """A session on the module's server."""
    with client.session() as session:
        yield session
