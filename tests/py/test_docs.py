"""Every example in a docstring of the client runs, against the real server."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import sys

import pytest
from running_server import REPOSITORY, Server

import execgate
from execgate import Client

MODULES = sorted(
    f"execgate.{module.name}"
    for module in pkgutil.iter_modules(execgate.__path__)
    if not module.ispkg
)


@pytest.mark.parametrize("name", ["execgate", *MODULES])
def test_examples_run(name: str, server: Server) -> None:
    with server.client() as c, c.session() as s:
        known = {"c": c, "s": s, "sys": sys, "Client": Client}
        known |= {"address": server.address, "token": server.token}
        outcome = doctest.testmod(importlib.import_module(name), extraglobs=known)
    assert outcome.failed == 0


@pytest.mark.parametrize("readme", ["client-py/README.md", "README.md"])
def test_readme_runs(readme: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECGATE_TOKEN", server.token)
    text = (REPOSITORY / readme).read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block.replace("127.0.0.1:7443", server.address), {})  # noqa: S102 - our own words


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [
        test
        for name in ("execgate.session", "execgate.stream", "execgate.client", "execgate.result")
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(found) >= 8
