"""Observers and operators look at what is others', through the clients."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import Connect
from running_server import LIMIT_SECONDS, Server, find_binary

from execgate import NotFound, PermissionDenied, Role

ROLES = """
    [principals."watcher"]
    role = "observer"
    [principals."keeper"]
    role = "operator"
"""


def key(server: Server, name: str) -> str:
    """A key of somebody's."""
    command = [find_binary(), "key", "--data-dir", str(server.data_dir), "create", name]
    made = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True
    )
    return made.stdout.strip()


def test_whose_things_are_meant_is_said_by_the_client(tmp_path: Path, connect: Connect) -> None:
    server = Server(tmp_path, ROLES)
    keys = {name: key(server, name) for name in ("worker", "other", "watcher", "keeper")}
    address = server.address
    try:
        with (
            connect(address, keys["worker"]) as worker,
            connect(address, keys["watcher"], owner="worker") as watcher,
            connect(address, keys["watcher"], owner="*") as everything,
            connect(address, keys["keeper"], owner="worker") as keeper,
            connect(address, keys["other"], owner="worker") as other,
        ):
            roles = [client.capabilities().role for client in (worker, watcher, keeper)]
            assert roles == [Role.AGENT, Role.OBSERVER, Role.OPERATOR]
            session = worker.session(session_id="mine")
            session.run("echo seen", execution_id="run")
            seen = watcher.get_session("mine")
            assert seen.created.principal == "worker"
            assert seen.read_output("run").data == b"seen\n"
            assert [info.session_id for info in everything.sessions()] == ["mine"]
            with pytest.raises(PermissionDenied):
                seen.close()
            with pytest.raises((NotFound, PermissionDenied)):
                other.get_session("mine")
            keeper.get_session("mine").close()
            assert str(session.info().state) == "CLOSED"
    finally:
        server.stop()
