"""What is published: both archives build, and the wheel works in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]

#: Far above what a build takes, in seconds.
LIMIT_SECONDS = 120

USER = """
import asyncio
import execgate
from execgate import AsyncClient, Client, PolicyDenied, Result
from execgate.testing import FakeServer

def work(client: Client) -> Result:
    with client.session(deny=["curl"]) as session:
        for event in session.exec("true", timeout=5, queue_if_busy=True):
            print(event.kind, event.stdout.decode())
        written: execgate.FileWritten = session.put(b"x", "x", mode=0o600)
        return session.run(["true"], stdin=b"x")

async def wait(client: AsyncClient) -> str:
    async with client.session() as session:
        async for event in session.exec("true"):
            print(event.kind)
        data: bytes = await session.read_file("/home/agent/x")
        return (await session.run("true")).stdout + data.decode()

with FakeServer() as server:
    server.on("true", stdout="fine\\n")
    with server.client() as client:
        print(work(client).stdout, asyncio.run(wait(server.async_client())))
"""


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, timeout=LIMIT_SECONDS, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, into: Path, target: str) -> Path:
    """Builds one archive."""
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into), cwd=source)
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="builds the archives")
    return build(HERE, tmp_path_factory.mktemp("wheel"), "wheel")


def test_wheel_has_all_that_is_in_the_package(wheel: Path) -> None:
    source = HERE / "src"
    there = {
        str(path.relative_to(source))
        for path in (source / "execgate").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == there
    assert {"execgate/py.typed", "execgate/files/put.sh", "execgate/files/get.sh"} <= packed


def test_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    archive = build(HERE, tmp_path / "sdist", "sdist")
    with tarfile.open(archive) as sdist:
        sdist.extractall(tmp_path)  # noqa: S202 - our own
    again = build(tmp_path / archive.name[: -len(".tar.gz")], tmp_path / "again", "wheel")
    assert again.name == wheel.name
    contents = [
        {name: archive.read(name) for name in archive.namelist()}
        for archive in (zipfile.ZipFile(wheel), zipfile.ZipFile(again))
    ]
    assert contents[0] == contents[1]


def test_wheel_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv/bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    run(*pip, str(wheel), cwd=tmp_path)
    where = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
    )
    # What it depends on is taken from here, so that no package index is asked; the editable
    # install beside it is found by a .pth file, which does not count on such a path.
    (Path(where.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (tmp_path / "user.py").write_text(USER)
    found = run(python, "-c", "import execgate; print(execgate.__file__)", cwd=tmp_path)
    assert found.startswith(str(tmp_path))
    assert run(python, "user.py", cwd=tmp_path).endswith("fine\n fine\nx\n")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python]
    run(*mypy, "--cache-dir", str(tmp_path / "cache"), "user.py", cwd=tmp_path)
