"""Every example in a docstring of the client and on a page about it runs."""

from __future__ import annotations

import doctest
import importlib
import io
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from running_server import REPOSITORY, Server

import execgate
from execgate import Client

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(execgate.__path__, "execgate.")
    if not module.ispkg and not module.name.startswith("execgate.v1")
)

PAGES = [
    "client-py/README.md",
    "README.md",
    "docs/python.md",
    "docs/testing-agents.md",
    "docs/undo.md",
]

#: Far above what an example takes, in seconds.
LIMIT_SECONDS = 60


def blocks(page: str) -> list[str]:
    """The Python examples on a page."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


EXAMPLES = [
    pytest.param(block, id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page), 1)
]


@pytest.mark.parametrize("name", ["execgate", "execgate.aio", "execgate.testing", *MODULES])
def test_examples_run(name: str, server: Server) -> None:
    with server.client() as c, c.session() as s:
        known = {"c": c, "s": s, "sys": sys, "io": io, "re": re, "Client": Client}
        known |= {"address": server.address, "token": server.token}
        outcome = doctest.testmod(importlib.import_module(name), extraglobs=known)
    assert outcome.failed == 0


@pytest.mark.parametrize("block", EXAMPLES)
def test_page_runs(
    block: str, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EXECGATE_TOKEN", server.token)
    monkeypatch.setenv("EXECGATE_ADDR", server.address)
    block = block.replace("127.0.0.1:7443", server.address)
    if "def test_" in block:
        (tmp_path / "test_example.py").write_text(block)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
        subprocess.run(command, check=True, timeout=LIMIT_SECONDS, cwd=tmp_path)
    else:
        exec(block, {"__name__": "__main__"})  # noqa: S102 - our own words


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [
        test
        for name in ("execgate.session", "execgate.stream", "execgate.client", "execgate.result")
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(found) >= 8
    assert len(EXAMPLES) >= 15
