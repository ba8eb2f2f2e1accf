"""Files in and out of a session, through both clients, against the real server."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import Server

from execgate import (
    AsyncClient,
    Client,
    FileError,
    FileMissing,
    FileRead,
    FileRedacted,
    FileWritten,
    PolicyDenied,
    Session,
)

#: A few of what is sent in pieces, and what no text has.
BIG = bytes(range(256)) * 4 * 1024 * 4 + b"no line end"

#: A token by its shape, of nobody.
SECRET = "ghp_" + "a1B2" * 9


@pytest.fixture
def folder() -> Iterator[str]:
    """A folder that sessions may write to, whoever they run as."""
    with tempfile.TemporaryDirectory(prefix="execgate-") as name:
        Path(name).chmod(0o777)
        yield name


@pytest.fixture
def session(client: Client, folder: str) -> Iterator[Session]:
    """A session in the folder."""
    with client.session(cwd=folder) as session:
        yield session


def names(folder: str) -> list[str]:
    """All that is below a folder."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 1024 * 1024 + 1, len(BIG)])
def test_file_comes_back_as_it_was(session: Session, folder: str, size: int) -> None:
    data = BIG[:size]
    digest = hashlib.sha256(data).hexdigest()
    written = session.put(data, "file", mode=0o640)
    assert written == FileWritten("file", size, digest, 0o640, verified=True)
    if os.geteuid() == 0:
        assert Path(folder, "file").read_bytes() == data
    into = io.BytesIO()
    assert session.get("file", into) == FileRead("file", size, digest, 0o640, verified=True)
    assert into.getvalue() == data
    assert names(folder) == ["file"]


@pytest.mark.parametrize(
    "path", ["-rf", "a b", "line\nfeed\n", "naïve ☃ 日本", "deep/er/file", "$(touch x) `id` '\"*"]
)
def test_any_path_is_only_a_path(session: Session, folder: str, path: str) -> None:
    session.put(b"data", path)
    assert session.read_file(path) == b"data"
    assert session.read_file(f"{folder}/{path}") == b"data"
    assert path in names(folder)
    assert "x" not in names(folder)


def test_session_and_files_see_each_other(session: Session) -> None:
    session.run("mkdir sub; cd sub; umask 077")
    session.write_file("main.sh", "echo from the file: $1\n")
    assert session.run("pwd; sh main.sh arg").stdout.endswith("sub\nfrom the file: arg\n")
    session.run("printf 'caf\\303\\251\\377' > out")
    assert session.read_file("out") == b"caf\xc3\xa9\xff"
    assert session.read_text("out") == "café\ufffd"
    assert session.run("ls -A").stdout == "main.sh\nout\n"


def test_transfer_works_while_a_command_runs_and_leaves_no_state(session: Session) -> None:
    session.run("kept=1; set -- a b; false")
    with session.exec("read -r line < /dev/null; sleep 60") as stream:
        session.write_file("f", "meanwhile")
        assert session.read_text("f") == "meanwhile"
        stream.signal("INT")
        stream.result()
    assert session.run("echo $kept $# $(ls -A)").stdout == "1 2 f\n"


def test_mode_is_kept_both_ways(session: Session, folder: str, tmp_path: Path) -> None:
    local = tmp_path / "tool"
    local.write_text("#!/bin/sh\necho ran\n")
    local.chmod(0o750)
    assert session.put(local, "tool").mode == 0o750
    assert session.run("./tool").stdout == "ran\n"
    assert session.put(b"#!/bin/sh\n", "tool").mode == 0o750
    assert session.get("tool", tmp_path / "back").mode == 0o750
    assert stat.S_IMODE((tmp_path / "back").stat().st_mode) == 0o750
    assert (tmp_path / "back").read_bytes() == b"#!/bin/sh\n"
    session.run("umask 027")
    assert session.put(b"", "by-umask").mode == 0o666 & ~_umask(session)


def _umask(session: Session) -> int:
    return int(session.run(["sh", "-c", "umask"]).stdout, 8)


def test_source_can_be_a_pipe(session: Session) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(b"through a pipe")
    with os.fdopen(reading, "rb") as pipe:
        assert session.put(pipe, "piped").size == 14
    assert session.read_text("piped") == "through a pipe"


def test_links_are_written_through(session: Session) -> None:
    session.run("mkdir real; ln -s real/file link; ln -s loop loop")
    session.put(b"x", "link")
    assert session.run("readlink link; cat real/file").stdout == "real/file\nx"
    with pytest.raises(FileError) as caught:
        session.put(b"x", "loop")
    assert caught.value.reason == "FILE_LINK_LOOP"


def test_failure_says_why_and_changes_nothing(session: Session, folder: str) -> None:
    session.run("mkdir directory; echo old > old; mkfifo pipe")
    before = names(folder)
    for data in (b"x", BIG):
        for path, reason, options in [
            ("directory", "FILE_NOT_REGULAR", {}),
            ("pipe", "FILE_NOT_REGULAR", {}),
            ("no/such/directory", "FILE_NOT_FOUND", {"parents": False}),
            ("/proc/nothing", "FILE_NOT_WRITABLE", {}),
            ("old/file", "FILE_NOT_FOUND", {}),
        ]:
            with pytest.raises(FileError) as caught:
                session.put(data, path, **options)
            assert (caught.value.reason, caught.value.path) == (reason, path)
    assert names(folder) == before
    assert session.read_text("old") == "old\n"


def test_what_cannot_be_gotten_is_told(session: Session, tmp_path: Path) -> None:
    session.run("mkdir directory; echo x > secret; chmod 0 secret; mkfifo pipe")
    with pytest.raises(FileMissing, match="there is no such file"):
        session.get("nothing", tmp_path / "f")
    for path in ("directory", "pipe"):
        with pytest.raises(FileError) as caught:
            session.get(path, tmp_path / "f")
        assert caught.value.reason == "FILE_NOT_REGULAR"
    assert list(tmp_path.iterdir()) == []


def test_redacted_file_is_told_and_can_be_taken(session: Session, tmp_path: Path) -> None:
    text = f"token = {SECRET}\n"
    session.put(text.encode(), "config")
    assert session.run("wc -c < config").stdout.strip() == str(len(text))
    with pytest.raises(FileRedacted) as caught:
        session.get("config", tmp_path / "config")
    assert SECRET not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    read = session.get("config", tmp_path / "config", redacted_ok=True)
    assert (read.redactions, read.verified) == (1, False)
    assert SECRET not in (tmp_path / "config").read_text()


def test_denied_program_denies_the_transfer(client: Client) -> None:
    with client.session(allow=["git"]) as session:
        with pytest.raises(PolicyDenied):
            session.put(b"x", "f")
        with pytest.raises(PolicyDenied):
            session.read_file("f")
    with client.session(deny=["rm"]) as session:
        session.put(b"x", "/tmp/execgate-test-denied-rm")
        session.run("unlink /tmp/execgate-test-denied-rm")


class Slow(io.BytesIO):
    """A file that is quickly hashed and slowly sent."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Takes longer than the time limit below."""
        threading.Event().wait(0.7)
        return super().seek(offset, whence)


def test_time_limit_ends_a_transfer(session: Session, folder: str) -> None:
    with pytest.raises(FileError) as caught:
        session.put(Slow(bytes(3_000_000)), "slow", timeout=0.3)
    assert caught.value.reason == "FILE_TIMEOUT"
    assert names(folder) == []


def test_many_transfers_at_once(server: Server, folder: str) -> None:
    async def story() -> None:
        async with (
            AsyncClient(server.address, token=server.token) as client,
            client.session(cwd=folder) as session,
        ):
            data = [BIG[number:] for number in range(6)]
            await asyncio.gather(*(session.put(each, f"f{n}") for n, each in enumerate(data)))
            back = await asyncio.gather(*(session.read_file(f"f{n}") for n in range(6)))
            assert back == data

    asyncio.run(story())


def test_cancelled_put_leaves_the_old_file(server: Server, folder: str) -> None:
    class Endless(io.RawIOBase):
        """As long as it says when it is hashed; later it waits to be cancelled."""

        def __init__(self, task: list[asyncio.Task[object]]) -> None:
            self._task = task
            self._pieces = [bytes(1024 * 1024)] * 4
            self._hashed = False

        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return 0

        def seek(self, offset: int, whence: int = 0) -> int:
            self._hashed = True
            if offset:
                self._task[0].get_loop().call_soon_threadsafe(self._task[0].cancel)
            return offset

        def read(self, size: int = -1) -> bytes:
            if self._hashed:
                return bytes(size)
            return self._pieces.pop() if self._pieces else b""

    async def story() -> list[str]:
        async with (
            AsyncClient(server.address, token=server.token) as client,
            client.session(cwd=folder) as session,
        ):
            await session.put(b"old", "f")
            tasks: list[asyncio.Task[object]] = []
            tasks.append(asyncio.create_task(session.put(Endless(tasks), "f")))  # type: ignore[arg-type]
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            # The execution is cancelled, not gone at once.
            async for info in session.executions():
                async with session.attach(info.execution_id) as stream:
                    await stream.result()
            assert await session.read_file("f") == b"old"
            return names(folder)

    assert asyncio.run(story()) == ["f"]
