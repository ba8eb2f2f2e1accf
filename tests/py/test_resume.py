"""Connections break, commands and their output do not: both clients, the real server."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Connect
from cutting_proxy import CuttingProxy
from running_server import LIMIT_SECONDS, Server

from execgate import (
    OPEN,
    Channel,
    Client,
    ConnectFailed,
    Disconnected,
    EventKind,
    ExecutionForgotten,
    ExecutionInfo,
    Output,
    Unavailable,
)

#: How often a connection is cut in the midst of one command.
CUTS = 50

NUMBERS = "".join(f"{number}\n" for number in range(1, 3_000_001)).encode()


@pytest.fixture
def proxy(server: Server) -> Iterator[CuttingProxy]:
    """A proxy before the module's server."""
    with CuttingProxy(server.address) as proxy:
        yield proxy


@pytest.fixture
def counter() -> Iterator[Path]:
    """A file that sessions can write."""
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder, "runs")


def test_fifty_cuts_change_nothing(connect: Connect, server: Server, proxy: CuttingProxy) -> None:
    with connect(proxy.address, server.token) as client, client.session() as session:
        proxy.cut(CUTS, most_bytes=500_000)
        stream = session.exec("seq 1 3000000; echo done >&2")
        whole: dict[Channel, bytearray] = {}
        kinds = []
        for event in stream:
            if isinstance(event, Output):
                channel = whole.setdefault(event.channel, bytearray())
                assert event.offset == len(channel)
                channel += event.data
            else:
                kinds.append(event.kind)
        assert proxy.cuts == CUTS
        assert kinds == [EventKind.STARTED, EventKind.FINISHED]
        assert bytes(whole[Channel.STDERR]) == b"done\n"
        digest = hashlib.sha256(whole[Channel.STDOUT]).hexdigest()
        assert digest == hashlib.sha256(NUMBERS).hexdigest()
        told = {totals.channel: totals for totals in stream.result().ending.channels}
        assert told[Channel.STDOUT].total_bytes == len(NUMBERS)
        assert stream.offsets == {Channel.STDOUT: len(NUMBERS), Channel.STDERR: 5}
        assert stream.result().deduplicated is False


def test_run_whose_answer_is_lost_runs_once(
    connect: Connect, server: Server, proxy: CuttingProxy, counter: Path
) -> None:
    with connect(proxy.address, server.token) as client:
        session = client.session()
        for round_ in range(5):
            # First nothing comes back, then ever more of it.
            proxy.cut(4, most_bytes=round_ * 100)
            result = session.run(f"echo run >>{counter}; sleep 0.1; echo done {round_}")
            assert (result.stdout, result.deduplicated) == (f"done {round_}\n", False)
            assert counter.read_text() == "run\n" * (round_ + 1)
        assert proxy.cuts >= 5
        proxy.cut(0, 0)
        session.close()


def test_input_is_not_doubled(connect: Connect, server: Server, proxy: CuttingProxy) -> None:
    with connect(proxy.address, server.token) as client, client.session() as session:
        with session.exec(["sha256sum"], stdin=OPEN) as stream:
            proxy.cut(CUTS, most_bytes=500_000)
            for at in range(0, len(NUMBERS), 100_000):
                end = stream.write_stdin(NUMBERS[at : at + 100_000])
                assert end == min(len(NUMBERS), at + 100_000)
            stream.close_stdin()
            said = stream.result().stdout
        assert said.split()[0] == hashlib.sha256(NUMBERS).hexdigest()
        assert proxy.cuts == CUTS


READER = textwrap.dedent("""
    import sys
    from execgate import Client

    client = Client(sys.argv[1], token=sys.argv[2])
    session = client.session(session_id="killed")
    for event in session.exec("seq 1 3000000", execution_id="count"):
        sys.stdout.buffer.write(event.stdout)
        sys.stdout.buffer.flush()
""")


def test_what_a_killed_client_left_another_one_gets(connect: Connect, own_server: Server) -> None:
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, own_server.address, own_server.token],
        stdout=subprocess.PIPE,
    )
    assert reader.stdout is not None
    whole = bytearray(reader.stdout.read(5_000_000))
    reader.kill()
    # What it had handed over is its own.
    whole += reader.stdout.read()
    reader.stdout.close()
    reader.wait(LIMIT_SECONDS)
    assert 5_000_000 <= len(whole) < len(NUMBERS)
    with connect(own_server.address, own_server.token) as client:
        session = client.get_session("killed")
        for event in session.attach("count", offsets={Channel.STDOUT: len(whole)}):
            whole += event.stdout
    assert hashlib.sha256(whole).hexdigest() == hashlib.sha256(NUMBERS).hexdigest()


def test_server_away_for_good_is_told_in_time(connect: Connect, own_server: Server) -> None:
    with connect(own_server.address, own_server.token, resume=1.0) as client:
        session = client.session()
        stream = session.exec("echo begun; sleep 60", execution_id="long")
        assert b"begun" in next(event.stdout for event in stream if event.stdout)
        own_server.kill()
        began = time.monotonic()
        with pytest.raises(Disconnected) as caught:
            stream.result()
        assert 0.9 < time.monotonic() - began < LIMIT_SECONDS
        assert caught.value.execution_id == "long"
        # Nothing can have been started by what never arrived.
        began = time.monotonic()
        with pytest.raises(ConnectFailed):
            session.run("true")
        with pytest.raises(Unavailable):
            session.exec("true")
        assert time.monotonic() - began < LIMIT_SECONDS


def test_restarted_server_has_forgotten(connect: Connect) -> None:
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        first = Server(Path(folder))
        with CuttingProxy(first.address) as proxy, connect(proxy.address, first.token) as client:
            session = client.session()
            stream = session.exec("echo begun; sleep 60")
            next(event for event in stream if event.stdout)
            first.kill()
            second = Server(Path(folder))
            proxy.target = second.address
            with pytest.raises(ExecutionForgotten, match="no longer knows") as caught:
                list(stream)
            assert caught.value.execution_id == stream.execution_id
            assert caught.value.reason in ("SESSION_NOT_FOUND", "SESSION_EXPIRED")
            second.stop()
        first.stop()


def test_commands_and_ids_can_be_found_again(client: Client) -> None:
    """What the client chose is what the server knows."""
    with client.session() as session:
        stream = session.exec("echo hi")
        stream.result()
        found: ExecutionInfo = session.execution(stream.execution_id)
        assert found.execution_id == stream.execution_id
        first = session.run("echo one", resume=False)
        assert first.execution_id != stream.execution_id
