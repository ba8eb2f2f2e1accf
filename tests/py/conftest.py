"""A real server for each module of tests, or for one test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import Server

from execgate import Client, Session


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path for one server: that of a Unix socket has 108 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="execgate-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The module's server."""
    path = Path(tempfile.mkdtemp(prefix="execgate-"))
    server = Server(path)
    yield server
    server.stop()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def own_server(folder: Path) -> Iterator[Server]:
    """A server of the test's own, which it may end."""
    server = Server(folder)
    yield server
    server.stop()


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
