"""The sessions of docs/ssh.md and of README run as they are written, on a real sshd."""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import LIMIT_SECONDS, REPOSITORY, Server
from test_grpcurl_docs import run_as_here

from execgate import Client

PAGE = (REPOSITORY / "docs" / "ssh.md").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
#: `/srv` and a line end, as grpcurl shows bytes.
SRV = "L3Nydgo="


def fenced(text: str, language: str) -> list[str]:
    """The blocks in this language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that knows a host by the name that the pages use."""
    folder: Path = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],  # noqa: S607
            check=True,
        )
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin yes\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-q", "-f", str(config)])
    known = folder / "known"
    known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    until_it_listens(port)
    gate = Server(
        folder,
        f'[ssh.hosts.build]\nhost = "127.0.0.1"\nport = {port}\nuser = "{getpass.getuser()}"\n'
        f'key = "{folder}/user"\nknown_hosts = ["{known}"]\n',
    )
    yield gate
    gate.stop()
    sshd.kill()
    sshd.wait()


def until_it_listens(port: int) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def test_python_of_the_page_runs(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXECGATE_TOKEN", server.token)
    (block,) = fenced(PAGE, "python")
    exec(compile(block.replace("127.0.0.1:7443", server.address), "ssh.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.strip().endswith(":/srv")


def test_grpcurl_of_the_page_runs(server: Server) -> None:
    (block,) = fenced(PAGE, "sh")
    output = run_as_here(block, server)
    assert '"profile": "build"' in output, output
    assert SRV in output, output


def test_session_of_the_readme_runs(server: Server) -> None:
    section = README.partition("## Other machines")[2]
    with Client(server.address, token=server.token) as client:
        known: dict[str, object] = {"client": client}
        exec(compile(fenced(section, "py")[0], "README.md", "exec"), known)  # noqa: S102
        with known["session"] as session:  # type: ignore[attr-defined]
            assert session.run("cd /srv; pwd").stdout == "/srv\n"


def test_grpcurl_of_the_readme_runs(server: Server) -> None:
    (definition,) = re.findall(r"^rpc\(\) \{\n.*?^\}\n", README, re.DOTALL | re.MULTILINE)
    section = README.partition("## Other machines")[2]
    output = run_as_here(definition + fenced(section, "sh")[0], server)
    assert '"profile": "build"' in output, output
