"""Files in and out of a session, awaiting each step; local files by threads."""

from __future__ import annotations

import asyncio

from .._stdin import StdinWriting, ended
from ..errors import ExecgateError
from ..files.get import Get, GetOptions
from ..files.put import Put, PutOptions
from ..files.source import OpenSource, Source
from ..files.target import OpenTarget, Target
from ..files.transfer import MAX_WORDS_BYTES, FileRead, FileWritten
from .connection import AsyncConnection
from .stream import AsyncExecStream, write_piece


async def put_file(
    connection: AsyncConnection, session_id: str, source: Source, path: str, options: PutOptions
) -> FileWritten:
    """Puts a source into a session."""
    with await asyncio.to_thread(OpenSource, source) as opened:
        plan = Put(opened, path, options)
        call = plan.start(session_id)
        stream = await AsyncExecStream.open(connection, session_id, call, MAX_WORDS_BYTES)
        async with stream:
            if not plan.inline:
                await _write(connection, session_id, stream.execution_id, plan)
            return plan.finish(await stream.result())


async def _write(
    connection: AsyncConnection, session_id: str, execution_id: str, plan: Put
) -> None:
    writing = StdinWriting(session_id, execution_id, plan.source.size, eof=True, offset=0)
    try:
        while not writing.done:
            start, count = writing.piece()
            data = await asyncio.to_thread(plan.source.read, start, count)
            if len(data) < count:
                raise plan.shrunk()
            await write_piece(connection, writing, data, execution_id)
    except ExecgateError as error:
        # The script's own words are better than that it reads no more.
        if not ended(error):
            raise


async def get_file(
    connection: AsyncConnection,
    session_id: str,
    path: str,
    target: Target,
    options: GetOptions,
) -> FileRead:
    """Gets a file out of a session."""
    opened = await asyncio.to_thread(OpenTarget, target)
    try:
        plan = Get(path, opened.file, options)
        call = plan.start(session_id)
        stream = await AsyncExecStream.open(connection, session_id, call, MAX_WORDS_BYTES)
        async with stream:
            async for event in stream:
                if plan.take(event):
                    await asyncio.to_thread(plan.flush)
            await asyncio.to_thread(plan.flush)
            read = plan.finish(await stream.result())
        await asyncio.to_thread(opened.commit, read.mode)
        return read
    finally:
        opened.abort()
