"""The sessions of docs/docker-targets.md and of README run as written, on a real engine.

Only the image is another: the tests ask no registry.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from running_server import REPOSITORY, Server
from test_grpcurl_docs import run_as_here

PAGE = (REPOSITORY / "docs" / "docker-targets.md").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Sessions in containers")[2]
USUAL, HERE = "debian:trixie", "execgate-test-runtime"


def fenced(text: str, language: str) -> str:
    """The first block in this language, with an image that is there."""
    block: str = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[0]
    assert USUAL in block
    return block.replace(USUAL, HERE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that reaches an engine with the image."""
    subprocess.run([str(REPOSITORY / "scripts/docker-images"), "runtime"], check=True)
    found = subprocess.run(
        [str(REPOSITORY / "scripts/docker-engine")], check=True, stdout=subprocess.PIPE, text=True
    )
    folder = tmp_path_factory.mktemp("docker")
    gate = Server(folder, f'[docker]\nhost = "{found.stdout.strip()}"\n')
    yield gate
    gate.stop()


@pytest.mark.parametrize(
    ("text", "language", "says"),
    [(PAGE, "python", "3 in /tmp"), (SECTION, "py", "nobody\n/workspace")],
    ids=["page", "README"],
)
def test_python_runs(
    text: str,
    language: str,
    says: str,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EXECGATE_TOKEN", server.token)
    monkeypatch.setenv("EXECGATE_ADDR", server.address)
    exec(compile(fenced(text, language), "page", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.strip() == says


@pytest.mark.parametrize("text", [PAGE, SECTION], ids=["page", "README"])
def test_grpcurl_runs(text: str, server: Server) -> None:
    script = f"TOKEN={server.token}\n{fenced(text, 'sh')}"
    output = run_as_here(script, server)
    assert f'"reference": "{HERE}"' in output, output
    assert '"state": "SESSION_STATE_READY"' in output, output
