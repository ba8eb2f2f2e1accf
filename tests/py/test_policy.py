"""Policies from outside: the command line, a reload, names that persist, and the corpus."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import LIMIT_SECONDS, REPOSITORY, Server, find_binary

from execgate import PolicyDenied

#: Longest time in which the corpus is shown to run what it must not, in seconds; some ten
#: times what it takes.
CORPUS_SECONDS = 300

NO_RM = """\
default = "allow"
unresolved = "deny"

[[rule]]
id = "no-rm"
effect = "deny"
program = "rm"
reason = "move it to trash/ instead"
"""


def execgate(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the binary to its end."""
    command = [find_binary(), *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The smallest policy, in a file."""
    file = tmp_path / "policy.toml"
    file.write_text(NO_RM)
    return file


def test_check_says_by_its_exit_code_what_the_policy_says(policy: Path) -> None:
    allowed = execgate("policy", "check", policy, "--", "ls -l")
    assert (allowed.returncode, allowed.stdout) == (0, "allowed\n")
    denied = execgate("policy", "check", policy, "--", "ls; rm x")
    assert denied.returncode == 1
    assert denied.stdout == "denied by rule no-rm: move it to trash/ instead\n  bytes 4..8: rm x\n"
    assert execgate("policy", "check", policy, "--", "env", "rm", "x").returncode == 1
    assert execgate("policy", "check", policy).returncode == 2
    answer = json.loads(execgate("policy", "check", "--json", policy, "--", "rm $x").stdout)
    assert (answer["decision"], answer["rule"], answer["span"]) == ("deny", "no-rm", [0, 5])


def test_an_allow_list_allows_a_program_with_any_arguments(tmp_path: Path) -> None:
    policy = tmp_path / "allow.toml"
    policy.write_text('default = "deny"\n[[rule]]\nid = "ls"\neffect = "allow"\nprogram = "ls"\n')
    assert execgate("policy", "check", policy, "--", "ls -la /tmp x").returncode == 0
    assert execgate("policy", "check", policy, "--", "ls; cat x").returncode == 1


def test_a_bad_policy_is_refused_with_its_line(policy: Path) -> None:
    assert execgate("policy", "test", policy).returncode == 0
    policy.write_text(NO_RM + 'match = ["ls"]\n')
    for words in (["test"], ["check", "--json"]):
        line = ["--", "ls"] if "check" in words else []
        bad = execgate("policy", *words, policy, *line)
        assert bad.returncode == 2
        assert 'line 9: rule "no-rm", example "ls"' in bad.stderr
    assert json.loads(bad.stdout)["line"] == 9


@pytest.fixture
def reloading(policy: Path) -> Iterator[Server]:
    """A server with the smallest policy."""
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        server = Server(Path(folder), f'[policy]\nfile = "{policy}"\n')
        yield server
        server.stop()


def test_a_policy_is_read_again_on_sighup_and_a_bad_one_left_alone(
    reloading: Server, policy: Path
) -> None:
    def reload(text: str, said: str) -> None:
        policy.write_text(text)
        reloading.process.send_signal(signal.SIGHUP)
        limit = time.monotonic() + LIMIT_SECONDS
        while said not in reloading.log() and time.monotonic() < limit:
            time.sleep(0.01)
        assert said in reloading.log()

    with reloading.client() as client, client.session() as session:
        with pytest.raises(PolicyDenied):
            session.run("rm --version")
        assert session.run("mv --version").exit_code == 0
        reload(NO_RM.replace('"rm"', '"mv"'), "policies read again")
        with client.session() as later:
            # The first session's fence still withholds what was denied when it began.
            assert later.run("rm --version").exit_code == 0
        with pytest.raises(PolicyDenied):
            session.run("mv --version")
        reload("default = maybe", "the old policies stay in force")
        with pytest.raises(PolicyDenied):
            session.run("mv --version")


def test_an_alias_is_looked_through_in_later_executions(reloading: Server) -> None:
    with reloading.client() as client, client.session() as session:
        session.run("alias x='env '")
        assert session.run("x ls --version").exit_code == 0
        with pytest.raises(PolicyDenied) as denied:
            session.run("x rm --version")
        assert denied.value.rule == "no-rm"
        with pytest.raises(PolicyDenied):
            session.run("true", env={"PAGER": "rm x"})


def test_each_bypass_of_the_corpus_really_runs_what_is_denied() -> None:
    script = REPOSITORY / "scripts" / "prove-bypasses"
    shown = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=CORPUS_SECONDS,
        check=False,
    )
    found = re.search(r"(\d+) of \d+ shown in (\d+) techniques, (\d+) not shown", shown.stdout)
    assert found, shown.stdout + shown.stderr
    cases, techniques, missed = map(int, found.groups())
    # Editors and pagers may wait for what a busy machine is slow to give.
    assert missed <= 5, shown.stdout
    assert cases >= 300
    assert techniques >= 60
