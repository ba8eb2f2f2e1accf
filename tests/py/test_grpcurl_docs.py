"""The commands of docs/grpcurl.md do what it shows, with the real grpcurl."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig

from running_server import LIMIT_SECONDS, REPOSITORY, Server

PAGE = REPOSITORY / "docs" / "grpcurl.md"
#: The commands of one place, and what they show.
EXAMPLE = re.compile(r"```sh\n(.*?)```\n(?:```text\n(.*?)```)?", re.DOTALL)
#: Stands between the outputs of two places.
SEPARATOR = "-- next --"
#: `hello from /tmp` as grpcurl shows bytes.
HELLO = "aGVsbG8gZnJvbSAvdG1wCg=="


def test_grpcurl_shows_what_the_page_shows(server: Server) -> None:
    examples = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(examples) >= 10
    script = f"\necho '{SEPARATOR}'\n".join(commands for commands, _ in examples)
    outputs = run_as_here(script, server).split(SEPARATOR)
    assert len(outputs) == len(examples)
    for (commands, shown), output in zip(examples, outputs):
        missing = first_line_missing(shown.splitlines(), output)
        assert missing is None, f"{commands}\nlacks: {missing}\n{output}"


def test_first_session_of_the_readme_runs(server: Server) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    commands, _ = EXAMPLE.findall(readme.partition("**grpcurl**")[2])[0]
    output = run_as_here(commands, server)
    shown = ['"sessionId": "first"', HELLO, "CAUSE_TIMEOUT", "SESSION_STATE_CLOSED"]
    assert first_line_missing(shown, output) is None, output


def run_as_here(script: str, server: Server) -> str:
    """Runs the page's commands against this server instead of the usual one."""
    state = "~/.local/state/execgate"
    for usual, here in (
        (f"{state}/execgate.sock", str(server.socket)),
        (state, str(server.data_dir)),
        ("127.0.0.1:7443", server.address),
    ):
        script = script.replace(usual, here)
    done = subprocess.run(
        ["bash", "-u", "-c", script],  # noqa: S607 - any bash
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_SECONDS,
        env=os.environ | {"PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"},
        check=False,
    )
    return done.stdout


def first_line_missing(lines: list[str], output: str) -> str | None:
    """The first of the lines that the output does not have after the one before."""
    place = 0
    for line in lines:
        found = output.find(line, place)
        if found < 0:
            return line
        place = found + len(line)
    return None
