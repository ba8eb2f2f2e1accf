"""A real server for each module of tests, or for one test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
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


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of the module's server."""
    with server.client() as client:
        yield client


@pytest.fixture
def session(client: Client) -> Iterator[Session]:
    """A session on the module's server."""
    with client.session() as session:
        yield session
