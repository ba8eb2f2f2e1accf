"""Every example in a docstring of the client runs, against the real server."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import sys

import pytest
from running_server import Server

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


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [
        test
        for name in ("execgate.session", "execgate.stream", "execgate.client", "execgate.result")
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(found) >= 8
