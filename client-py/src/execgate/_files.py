"""Files in and out of a session, waiting for each step."""

from __future__ import annotations

from ._connection import Connection
from ._stdin import StdinWriting, ended
from .errors import ExecgateError
from .files.get import Get, GetOptions
from .files.put import Put, PutOptions
from .files.source import OpenSource, Source
from .files.target import OpenTarget, Target
from .files.transfer import MAX_WORDS_BYTES, FileRead, FileWritten
from .stream import ExecStream, write_piece


def put_file(
    connection: Connection, session_id: str, source: Source, path: str, options: PutOptions
) -> FileWritten:
    """Puts a source into a session."""
    with OpenSource(source) as opened:
        plan = Put(opened, path, options)
        call = plan.start(session_id)
        with ExecStream(connection, session_id, call, MAX_WORDS_BYTES) as stream:
            if not plan.inline:
                _write(connection, session_id, stream.execution_id, plan)
            return plan.finish(stream.result())


def _write(connection: Connection, session_id: str, execution_id: str, plan: Put) -> None:
    writing = StdinWriting(session_id, execution_id, plan.source.size, eof=True, offset=0)
    try:
        while not writing.done:
            start, count = writing.piece()
            data = plan.source.read(start, count)
            if len(data) < count:
                raise plan.shrunk()
            write_piece(connection, writing, data, execution_id)
    except ExecgateError as error:
        # The script's own words are better than that it reads no more.
        if not ended(error):
            raise


def get_file(
    connection: Connection,
    session_id: str,
    path: str,
    target: Target,
    options: GetOptions,
) -> FileRead:
    """Gets a file out of a session."""
    opened = OpenTarget(target)
    try:
        plan = Get(path, opened.file, options)
        call = plan.start(session_id)
        with ExecStream(connection, session_id, call, MAX_WORDS_BYTES) as stream:
            for event in stream:
                if plan.take(event):
                    plan.flush()
            plan.flush()
            read = plan.finish(stream.result())
        opened.commit(read.mode)
        return read
    finally:
        opened.abort()
