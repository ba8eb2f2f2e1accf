"""What only the asyncio client does: many things at once, and cancelling them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from running_server import Server

from execgate import (
    AsyncClient,
    Cause,
    ClientClosed,
    ExecutionState,
    NotFound,
    OnDisconnect,
    SessionState,
)

#: Sessions at once; the server's default is 64.
MANY = 100

#: Far above what a story takes, in seconds.
LIMIT_SECONDS = 60

_Value = TypeVar("_Value")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with room for many sessions."""
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        server = Server(
            Path(folder), config=f"[sessions]\nmax = {MANY}\n[quotas]\nsessions = {MANY}\n"
        )
        yield server
        server.stop()


def play(server: Server, story: Callable[[AsyncClient], Awaitable[_Value]]) -> _Value:
    """Runs a story with a client of the server, in an event loop of its own."""

    async def main() -> _Value:
        async with AsyncClient(server.address, token=server.token) as client:
            return await asyncio.wait_for(story(client), LIMIT_SECONDS)

    return asyncio.run(main())


def test_a_hundred_sessions_work_at_once_through_one_channel(server: Server) -> None:
    async def story(client: AsyncClient) -> list[str]:
        everybody = asyncio.Event()
        inside = 0

        async def agent(number: int) -> str:
            nonlocal inside
            async with client.session(env={"NUMBER": str(number)}) as session:
                inside += 1
                if inside == MANY:
                    everybody.set()
                await everybody.wait()
                await session.run("mine=$NUMBER")
                seen = b""
                async for event in session.exec("echo $mine; sleep 0.1; echo $((mine * 2))"):
                    seen += event.stdout
                return seen.decode()

        return await asyncio.gather(*(agent(number) for number in range(MANY)))

    assert play(server, story) == [f"{number}\n{number * 2}\n" for number in range(MANY)]


def test_all_of_them_stream_while_all_of_them_are_open(server: Server) -> None:
    """More streams at once than HTTP/2 lets a channel have by default must only wait."""

    async def story(client: AsyncClient) -> list[bytes]:
        sessions = await asyncio.gather(*(client.session() for _ in range(MANY)))
        streams = await asyncio.gather(*(each.exec("read -r x; seq 500") for each in sessions))
        outputs = await asyncio.gather(*(stream.result() for stream in streams))
        await asyncio.gather(*(session.close() for session in sessions))
        return [output.stdout_bytes for output in outputs]

    expected = b"".join(b"%d\n" % number for number in range(1, 501))
    assert play(server, story) == [expected] * MANY


def test_cancelling_a_task_cancels_its_call_and_with_it_the_command(server: Server) -> None:
    async def story(client: AsyncClient) -> tuple[Cause, str]:
        async with client.session() as session:
            task = asyncio.create_task(
                session.run("sleep 60", execution_id="long", on_disconnect=OnDisconnect.CANCEL)
            )
            while True:
                try:
                    if (await session.execution("long")).state is ExecutionState.RUNNING:
                        break
                except NotFound:
                    await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with session.attach("long") as stream:
                cause = (await stream.result()).cause
            return cause, (await session.run("echo on")).stdout

    assert play(server, story) == (Cause.CANCELLED, "on\n")


def test_cancelling_a_reader_leaves_the_command_running(server: Server) -> None:
    async def story(client: AsyncClient) -> tuple[list[bytes], str]:
        async with client.session() as session:
            stream = await session.exec("echo one; sleep 0.5; echo two", execution_id="kept")
            seen: list[bytes] = []
            first = asyncio.Event()

            async def read() -> None:
                async for event in stream:
                    if event.stdout:
                        seen.append(event.stdout)
                        first.set()

            task = asyncio.create_task(read())
            await first.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with session.attach("kept") as again:
                return seen, (await again.result()).stdout

    assert play(server, story) == ([b"one\n"], "one\ntwo\n")


def test_leaving_a_loop_early_ends_only_the_following(server: Server) -> None:
    async def story(client: AsyncClient) -> str:
        async with client.session() as session:
            async for event in session.exec("echo one; sleep 0.3; echo two", execution_id="left"):
                if event.stdout:
                    break
            async with session.attach("left") as stream:
                return (await stream.result()).stdout

    assert play(server, story) == "one\ntwo\n"


def test_session_can_be_awaited_or_entered(server: Server) -> None:
    async def story(client: AsyncClient) -> list[SessionState]:
        awaited = await client.session()
        async with client.session() as entered:
            assert (await client.get_session(awaited.id)).id == awaited.id
            names = [entered.id, awaited.id]
            listed = [info.session_id async for info in client.sessions()]
            assert listed[:2] == names
        await awaited.close()
        return [info.state async for info in client.sessions(states=[SessionState.CLOSED])][:2]

    assert play(server, story) in ([], [SessionState.CLOSED] * 2)


def test_client_closed_elsewhere_ends_what_is_under_way(server: Server) -> None:
    async def story(client: AsyncClient) -> None:
        session = await client.session()
        stream = await session.exec("sleep 60")
        started = await stream.__anext__()
        assert started.kind == "started"
        reading = asyncio.create_task(stream.__anext__())
        running = asyncio.create_task(session.info())
        await running
        waiting = asyncio.create_task(session.run("true", queue_if_busy=True))
        await asyncio.sleep(0)
        await client.close()
        for task in (reading, waiting):
            with pytest.raises(ClientClosed):
                await task
        with pytest.raises(ClientClosed):
            await session.info()

    play(server, story)


def test_client_of_another_event_loop_is_refused(server: Server) -> None:
    client = AsyncClient(server.address, token=server.token)

    async def use() -> None:
        await client.capabilities()

    asyncio.run(use())
    with pytest.raises(ClientClosed, match="event loop"):
        asyncio.run(use())
