"""The asyncio client against a server that answers from a script."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import grpc
import pytest

from execgate import (
    AsyncClient,
    AsyncSession,
    Cancelled,
    Channel,
    ClientClosed,
    ConnectFailed,
    Disconnected,
    InternalError,
    PolicyDenied,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

from .scripted import (
    LIMIT_SECONDS,
    TOKEN,
    RichError,
    Script,
    ScriptedServer,
    finished,
    output,
    started,
)

#: Set at the end of each test, so that no call outlives it.
NEVER = threading.Event()

SCRIPTS: dict[str, Script] = {
    "hello": [
        started(),
        output("STDOUT", 0, b"caf\xc3"),
        output("STDERR", 0, b"!"),
        output("STDOUT", 4, b"\xa9"),
        finished(3),
    ],
    "rm": [
        RichError(grpc.StatusCode.PERMISSION_DENIED, "denied", "POLICY_DENIED", {"rule": "no-rm"})
    ],
    "cut": [started(), output("STDOUT", 0, b"partial")],
    "lost connection": [started(), RichError(grpc.StatusCode.UNAVAILABLE, "Socket closed")],
    "endless": [started(), NEVER, finished(0)],
    "no start": [output("STDOUT", 0, b"x"), finished(0)],
}

_Value = TypeVar("_Value")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer(SCRIPTS)  # type: ignore[abstract]  # the rest is UNIMPLEMENTED
    NEVER.clear()
    yield server
    NEVER.set()
    server.stop()


def play(server: ScriptedServer, story: Callable[[AsyncSession], Awaitable[_Value]]) -> _Value:
    """Runs a story with a session of the server."""

    async def main() -> _Value:
        async with AsyncClient(server.address, token=TOKEN) as client, client.session() as session:
            return await asyncio.wait_for(story(session), LIMIT_SECONDS)

    return asyncio.run(main())


def test_run_and_exec_say_the_same(server: ScriptedServer) -> None:
    async def story(session: AsyncSession) -> None:
        result = await session.run("hello")
        assert (result.stdout, result.exit_code) == ("café", 3)
        stream = await session.exec("hello")
        assert stream.execution_id == "exe_1"
        kinds = [str(event.kind) async for event in stream]
        assert kinds == ["started", "output", "output", "output", "finished"]
        assert (await stream.result()).stdout_bytes == result.stdout_bytes
        assert [event async for event in stream] == []

    play(server, story)


def test_stream_can_be_iterated_entered_and_read_as_text(server: ScriptedServer) -> None:
    async def story(session: AsyncSession) -> None:
        data = b"".join([event.stdout async for event in session.exec("hello")])
        assert data == "café".encode()
        async with session.exec("hello") as stream:
            text = [piece async for piece in stream.text()]
        assert text == [(Channel.STDOUT, "caf"), (Channel.STDERR, "!"), (Channel.STDOUT, "é")]

    play(server, story)


def test_refusal_is_raised_by_both_ways_to_start(server: ScriptedServer) -> None:
    async def story(session: AsyncSession) -> None:
        with pytest.raises(PolicyDenied) as denied:
            await session.run("rm")
        assert denied.value.rule == "no-rm"
        with pytest.raises(PolicyDenied):
            await session.exec("rm")
        with pytest.raises(PolicyDenied):
            async for _ in session.exec("rm"):
                pass

    play(server, story)


@pytest.mark.parametrize("command", ["cut", "lost connection"])
def test_stream_cut_short_is_one_clear_error(server: ScriptedServer, command: str) -> None:
    async def story(session: AsyncSession) -> None:
        stream = await session.exec(command)
        with pytest.raises(Disconnected, match="while execution exe_1 was followed") as caught:
            [event async for event in stream]
        assert caught.value.execution_id == "exe_1"
        assert [event async for event in stream] == []
        with pytest.raises(Disconnected):
            await stream.result()

    play(server, story)


def test_stream_that_does_not_begin_with_started_is_refused(server: ScriptedServer) -> None:
    async def story(session: AsyncSession) -> None:
        with pytest.raises(InternalError, match="does not begin"):
            await session.exec("no start")

    play(server, story)


def test_closed_stream_has_no_result(server: ScriptedServer) -> None:
    async def story(session: AsyncSession) -> None:
        async with session.exec("endless") as stream:
            await stream.__anext__()
            reading = asyncio.create_task(stream.__anext__())
            await asyncio.sleep(0)
            stream.close()
            with pytest.raises(Cancelled):
                await reading
        assert [event async for event in stream] == []
        with pytest.raises(Cancelled):
            await stream.result()

    play(server, story)
    assert server.exec_ended.wait(LIMIT_SECONDS)


def test_cancelled_task_ends_the_call(server: ScriptedServer) -> None:
    async def story(session: AsyncSession) -> None:
        stream = await session.exec("endless")
        await stream.__anext__()
        reading = asyncio.create_task(stream.__anext__())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        ended = await asyncio.to_thread(server.exec_ended.wait, LIMIT_SECONDS)
        assert ended

    play(server, story)


def test_wrong_token_is_told(server: ScriptedServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.address, token="wrong") as client:  # noqa: S106
            with pytest.raises(Unauthenticated) as caught:
                await client.session()
            assert caught.value.reason == "UNAUTHENTICATED"

    asyncio.run(main())


def test_old_server_is_told(server: ScriptedServer) -> None:
    async def story(session: AsyncSession) -> None:
        for call in (session.info(), session.read_output("exe_1"), session.resize(1, 1)):
            with pytest.raises(Unimplemented, match="too old"):
                await call
        with pytest.raises(Unimplemented, match="too old"):
            await session.attach("exe_1")
        stream = await session.exec("hello")
        for call in (stream.write_stdin(b"x"), stream.signal("INT")):  # type: ignore[assignment]
            with pytest.raises(Unimplemented, match="too old"):
                await call

    play(server, story)


def test_wrong_address_is_told() -> None:
    async def main(address: str) -> None:
        async with AsyncClient(address, token=TOKEN) as client:
            with pytest.raises(ConnectFailed, match=address):
                await client.session()
            with pytest.raises(ConnectFailed, match=address):
                await client.wait_ready(timeout=0.2)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        asyncio.run(main(f"127.0.0.1:{taken.getsockname()[1]}"))


def test_server_gone_is_one_error_also_at_the_end_of_the_block(server: ScriptedServer) -> None:
    async def story(session: AsyncSession) -> None:
        server.stop()
        await session.run("hello", resume=False)

    with pytest.raises(Unavailable):
        play(server, story)


def test_closed_client_is_told(server: ScriptedServer) -> None:
    async def main() -> None:
        client = AsyncClient(server.address, token=TOKEN)
        session = await client.session()
        await client.close()
        for use in (client.session, session.info, lambda: session.exec("hello")):
            with pytest.raises(ClientClosed):
                await use()

    asyncio.run(main())


def test_client_can_be_made_outside_of_a_loop_and_left_unused() -> None:
    client = AsyncClient("127.0.0.1:1", token=TOKEN)
    assert client.address == "127.0.0.1:1"
    asyncio.run(client.close())
