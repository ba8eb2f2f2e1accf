"""Planning transfers of files: what is sent, and what is made of what comes back."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from pathlib import Path

import pytest

from execgate import (
    Cause,
    Channel,
    ChannelTotals,
    Ending,
    Exited,
    FileChanged,
    FileError,
    FileIncomplete,
    FileMissing,
    FileRead,
    FileRedacted,
    InternalError,
    ObservedBy,
    Output,
    Result,
    Session,
)
from execgate.files.get import Get, GetOptions
from execgate.files.put import Put, PutOptions
from execgate.files.source import OpenSource
from execgate.files.target import OpenTarget
from execgate.testing import FakeServer

DATA = bytes(range(256))
DIGEST = hashlib.sha256(DATA).hexdigest()


def result(
    code: int = 0,
    *,
    stdout: bytes = b"",
    stderr: str = "",
    total: int = len(DATA),
    redactions: int = 0,
    cause: Cause = Cause.EXITED,
) -> Result:
    ending = Ending(
        outcome=Exited(code),
        cause=cause,
        observed_by=ObservedBy.KERNEL,
        start_time=None,
        end_time=None,
        duration=0,
        cwd="/",
        generation=1,
        channels=(ChannelTotals(Channel.STDOUT, total, 0, redactions, b""),),
    )
    return Result(
        session_id="s",
        execution_id="e",
        command="sh",
        stdout_bytes=stdout,
        stderr_bytes=stderr.encode(),
        terminal_bytes=b"",
        ending=ending,
        timed_out=cause is Cause.TIMEOUT,
    )


def gotten(said: Result, data: bytes = DATA, *, redacted_ok: bool = False) -> FileRead:
    plan = Get("/f", io.BytesIO(), GetOptions(redacted_ok=redacted_ok))
    plan.take(Output(Channel.STDOUT, 0, data))
    return plan.finish(said)


REPORT = f"cat: warning\nexecgate-get 256 4755 {DIGEST}\n"


def test_file_that_arrived_whole_is_verified() -> None:
    read = gotten(result(stderr=REPORT))
    assert read == FileRead("/f", 256, DIGEST, 0o4755, verified=True)
    unsure = gotten(result(stderr="execgate-get 256 - -\n"))
    assert unsure == FileRead("/f", 256, DIGEST, None, verified=False)


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        (result(stderr=REPORT.replace(DIGEST, "0" * 64)), FileChanged, "FILE_CHANGED"),
        (result(stderr="execgate-get 255 644 -\n"), FileChanged, "FILE_CHANGED"),
        (result(stderr=REPORT, redactions=2), FileRedacted, "FILE_REDACTED"),
        (result(stderr=REPORT, total=300), FileIncomplete, "FILE_INCOMPLETE"),
        (result(66, stderr="execgate-get: no\n"), FileMissing, "FILE_NOT_FOUND"),
        (result(65, stderr="execgate-get: no\n"), FileError, "FILE_NOT_REGULAR"),
        (result(67, stderr="execgate-get: no\n"), FileError, "FILE_NOT_READABLE"),
        (result(70, stderr="execgate-get: no\n"), FileError, "FILE_READ_FAILED"),
        (result(1), FileError, "FILE_TRANSFER_FAILED"),
        (result(130, cause=Cause.TIMEOUT), FileError, "FILE_TIMEOUT"),
    ],
)
def test_what_is_not_the_file_is_told(said: Result, kind: type[FileError], reason: str) -> None:
    with pytest.raises(FileError) as caught:
        gotten(said)
    error = caught.value
    assert (type(error), error.reason, error.path, error.result) == (kind, reason, "/f", said)
    assert "/f" in str(error)


def test_redacted_bytes_can_be_taken() -> None:
    read = gotten(result(stderr=REPORT, redactions=2, total=3), b"***", redacted_ok=True)
    assert (read.size, read.verified, read.redactions) == (3, False, 2)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (65, "FILE_NOT_REGULAR"),
        (66, "FILE_NOT_FOUND"),
        (67, "FILE_NOT_WRITABLE"),
        (68, "FILE_SIZE_MISMATCH"),
        (69, "FILE_HASH_MISMATCH"),
        (70, "FILE_WRITE_FAILED"),
        (71, "FILE_WRITE_FAILED"),
        (72, "FILE_LINK_LOOP"),
        (127, "FILE_TRANSFER_FAILED"),
    ],
)
def test_failed_put_says_why_in_the_words_of_the_target(code: int, reason: str) -> None:
    plan = Put(OpenSource(b"x"), "/f", PutOptions())
    said = "cat: write error: No space left on device\nexecgate-put: writing failed\n"
    with pytest.raises(FileError) as caught:
        plan.finish(result(code, stderr=said))
    assert caught.value.reason == reason
    assert str(caught.value) == (
        f"{reason}: cannot put '/f': writing failed (cat: write error: No space left on device)"
    )


def test_source_can_be_bytes_a_path_or_a_file(tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(DATA)
    local.chmod(0o4750)
    half = io.BytesIO(DATA)
    half.seek(128)
    with local.open("rb") as file:
        cases = [
            (DATA, 256, None),
            (bytearray(DATA), 256, None),
            (memoryview(DATA), 256, None),
            (local, 256, 0o750),
            (str(local), 256, 0o750),
            (file, 256, None),
            (half, 128, None),
        ]
        for source, size, mode in cases:
            with OpenSource(source) as opened:  # type: ignore[arg-type]
                assert (opened.size, opened.mode) == (size, mode)
                assert opened.sha256 == hashlib.sha256(DATA[256 - size :]).hexdigest()
                assert opened.read(3, 2) == DATA[256 - size :][3:5]
        assert not file.closed


def test_source_that_cannot_be_read_twice_is_kept() -> None:
    reading, writing = os.pipe()
    data = DATA * 40_000

    def feed() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(reading, "rb") as pipe, OpenSource(pipe) as opened:
        assert (opened.size, opened.read(256 * 39_999, 999)) == (len(data), DATA)
    feeder.join()


def test_source_must_be_binary_and_there(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="binary"):
        OpenSource(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        OpenSource(tmp_path / "nothing")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path_is_refused_before_anything_is_sent(path: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        Put(OpenSource(b""), path, PutOptions())


def test_local_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    target = OpenTarget(tmp_path / "link")
    target.file.write(b"new")
    target.abort()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]
    assert (tmp_path / "real").read_bytes() == b"old"
    target = OpenTarget(str(tmp_path / "link"))
    target.file.write(b"new")
    target.commit(0o4751)
    target.abort()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o751


def test_source_that_shrinks_while_it_is_sent_is_told() -> None:
    with FakeServer() as server, server.client() as client, client.session() as session:
        with pytest.raises(FileError, match="became shorter") as caught:
            session.put(_Vanishing(3_000_000), "/f")  # type: ignore[arg-type]
        assert caught.value.reason == "FILE_SIZE_MISMATCH"
        assert server.files == {}


class _Vanishing(io.RawIOBase):
    """A file that has its size when it is hashed, and none of it when it is sent."""

    def __init__(self, size: int) -> None:
        self._left = size

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset

    def read(self, size: int = -1) -> bytes:
        if self._left == 0:
            return b""
        piece = bytes(min(size, self._left))
        self._left -= len(piece)
        return piece


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def test_file_is_not_held_in_memory_beyond_the_limit(server: FakeServer) -> None:
    server.files["/big"] = bytes(2000)
    with server, server.client() as client, client.session() as session:
        assert len(session.read_file("/big", max_bytes=2000)) == 2000
        with pytest.raises(FileError) as caught:
            session.read_file("/big", max_bytes=1999)
        assert caught.value.reason == "FILE_TOO_LARGE"


def test_gotten_file_has_the_mode_of_the_one_there(server: FakeServer, tmp_path: Path) -> None:
    server.files["/f"], server.modes["/f"] = DATA, 0o640
    with server, server.client() as client, client.session() as session:
        read = session.get("/f", tmp_path / "f")
        into = io.BytesIO()
        session.get("/f", into)
        with pytest.raises(FileMissing):
            session.get("/none", tmp_path / "none")
    assert ((tmp_path / "f").read_bytes(), into.getvalue()) == (DATA, DATA)
    assert (read.mode, stat.S_IMODE((tmp_path / "f").stat().st_mode)) == (0o640, 0o640)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_transfer_is_one_program_with_the_path_as_an_argument(server: FakeServer) -> None:
    with server, server.client() as client, client.session() as session:
        session.put(b"x", "-a b\n$(c)", mode=0o600, parents=False, timeout=5)
        assert _transfers(session) == [b"execgate-put 1 600 sha256\n"]
    assert server.files == {"/home/agent/-a b\n$(c)": b"x"}
    assert server.modes == {"/home/agent/-a b\n$(c)": 0o600}


def _transfers(session: Session) -> list[bytes]:
    return [session.read_output(e.execution_id).data for e in session.executions()]


def test_shell_that_says_something_else_is_no_success() -> None:
    plan = Put(OpenSource(b"x"), "/f", PutOptions())
    with pytest.raises(InternalError, match="without its report"):
        plan.finish(result(stdout=b"something else\n"))
