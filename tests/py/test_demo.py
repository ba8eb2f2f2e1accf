"""`make demo` shows what it says, and says so where it does not."""

from __future__ import annotations

import importlib
import io
import os
import re
import subprocess
import sys

import pytest
from running_server import REPOSITORY, find_binary

DEMO = REPOSITORY / "client-py" / "examples" / "demo.py"
#: Longest time the demo may take, in seconds.
LIMIT_SECONDS = 30

#: What has to stand in it, in this order.
ESSENTIAL = (
    r"1\. A shell that stays",
    r"ok directory, variable and function live on in the session",
    r"! Ran 2 tests in ",
    r"ok the tests pass",
    r"! AssertionError: 135\.5+4 != 100",
    r"exit 1, ",
    r"ok mended: the tests pass again",
    r"\| 160007 ERROR disk is full",
    r"200000 lines, \d+ bytes; 5 matched, 3 kept",
    r"TIMEOUT, ",
    r"ok the shell and its state are unharmed",
    r"PERMISSION_DENIED / POLICY_DENIED",
    r"rule: +no-raw-write",
    r"suggestion: +\S",
    r"\| DEPLOY_TOKEN=\[REDACTED:deploy-token#[0-9a-f]{4}\]",
    r"ok the second call found the first one's execution",
    r"denied +dd if=/dev/null of=/dev/sdzz count=0 \(rule no-raw-write\)",
    r"ended with the session: .*sleep 987",
    r"(\d+) of \1 facts shown as told",
)


def run_demo(server: str) -> subprocess.CompletedProcess[str]:
    """The demo, run to its end as from a pipe."""
    return subprocess.run(
        [sys.executable, str(DEMO), "--server", server],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        env={key: value for key, value in os.environ.items() if "EXECGATE" not in key},
        check=False,
    )


def test_demo_shows_all_that_it_tells() -> None:
    done = run_demo(find_binary())
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    place = 0
    for pattern in ESSENTIAL:
        found = re.compile(pattern).search(done.stdout, place)
        assert found, f"{pattern} is missing in\n{done.stdout[place:]}"
        place = found.start()
    assert "\x1b" not in done.stdout


def test_demo_without_a_server_fails() -> None:
    done = run_demo("/bin/true")
    assert done.returncode == 1
    assert "the server did not start" in done.stderr


class Tty(io.StringIO):
    """A terminal, as far as a program asks."""

    def isatty(self) -> bool:
        """It says that it is one."""
        return True


@pytest.mark.parametrize(("out", "no_color", "coloured"), [
    (io.StringIO(), "", False),
    (Tty(), "", True),
    (Tty(), "1", False),
])  # fmt: skip
def test_colour_is_for_terminals_that_want_it(
    out: io.StringIO, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(DEMO.parent))
    monkeypatch.setenv("NO_COLOR", no_color)
    screen = importlib.import_module("demo_screen").Screen(out)
    screen.expect(False, "the moon is made of cheese")
    assert ("\x1b[" in out.getvalue()) is coloured
    assert screen.failures == ["the moon is made of cheese"]
