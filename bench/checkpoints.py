#!/usr/bin/env python3
"""What checkpoints cost, beside a shadow repository of git, in one run and in turns.

    .venv/bin/python bench/checkpoints.py --server target/release/execgate [FILES...]

For each number of files it prints, in milliseconds: a command that changes nothing and one
that changes a file, without checkpoints and with `auto`; what `auto` adds; and the same for
`git add -A && git commit` with a repository outside the workspace. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from execgate import CheckpointMode, Client

#: Samples of each row; in turns, so that what disturbs the machine disturbs all alike.
ROUNDS = 40

#: Files in one directory.
PER_DIRECTORY = 100


def milliseconds(act: Callable[[], object]) -> float:
    """How long something takes."""
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * 1000


class Shadow:
    """A repository of git outside the workspace."""

    def __init__(self, folder: str, workspace: Path) -> None:
        who = {
            f"GIT_{role}_{key}": "bench@localhost"
            for role in ("AUTHOR", "COMMITTER")
            for key in ("NAME", "EMAIL")
        }
        place = {"GIT_DIR": f"{folder}/shadow", "GIT_WORK_TREE": str(workspace)}
        quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", "init", "-q", "--bare", place["GIT_DIR"]], check=True)
        self._env = {**os.environ, **who, **place, **quiet}

    def save(self) -> None:
        """What everybody does."""
        for words in (["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "x"]):
            subprocess.run(["git", *words], env=self._env, check=True)


def fill(workspace: Path, files: int) -> None:
    """Makes files of some hundred bytes that a session may change."""
    for number in range(files):
        path = workspace / f"d{number // PER_DIRECTORY}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"file {number}\n" * 20)
        path.chmod(0o666)
        path.parent.chmod(0o777)


def measure(client: Client, files: int, folder: str) -> None:
    """One table."""
    workspace = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    workspace.chmod(0o777)
    fill(workspace, files)
    shadow = Shadow(folder, workspace)
    place = str(workspace)
    with (
        client.session(cwd=place) as plain,
        client.session(workspace=place, checkpoints=CheckpointMode.AUTO) as auto,
    ):
        time.sleep(1.5)  # what is younger may still change and look the same
        print(f"\n{files} files")
        print(f"  first checkpoint          {milliseconds(auto.checkpoint):9.1f}")
        print(f"  the same, git             {milliseconds(shadow.save):9.1f}")
        print(f"  all looked at, unchanged  {milliseconds(auto.checkpoint):9.1f}")
        rows: dict[str, list[float]] = {}

        def sample(row: str, act: Callable[[], object]) -> None:
            rows.setdefault(row, []).append(milliseconds(act))

        for number in range(ROUNDS):
            sample("nothing changes, off", lambda: plain.run("touch -c none"))
            sample("nothing changes, auto", lambda: auto.run("touch -c none"))
            write = f"echo {number} >d0/f1"
            sample("one changes, off", partial(plain.run, write))
            # It sees what the one before has changed.
            sample("one changes, auto", partial(auto.run, write))
            auto.run("touch -c none")
            sample("one changed, git", shadow.save)
            sample("nothing changed, git", shadow.save)
        for row, samples in sorted(rows.items()):
            print(f"  {row:24}  {statistics.median(samples):9.1f}")
        for what in ("nothing changes", "one changes"):
            added = statistics.median(rows[f"{what}, auto"]) - statistics.median(
                rows[f"{what}, off"]
            )
            print(f"  {what}, added by auto  {added:9.1f}")
        plain.run("for f in */*; do echo more >>$f; done")
        print(f"  all changed               {milliseconds(auto.checkpoint):9.1f}")
        print(f"  all changed, git          {milliseconds(shadow.save):9.1f}")
    shutil.rmtree(workspace)
    shutil.rmtree(f"{folder}/shadow")


def main() -> None:
    """Starts the server and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="target/release/execgate")
    parser.add_argument("files", nargs="*", type=int, default=[1000, 10_000, 100_000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder, "data")
        data.mkdir(mode=0o700)
        words = [
            arguments.server,
            "serve",
            "--data-dir",
            str(data),
            "--listen",
            f"unix:{data}/s",
        ]
        server = subprocess.Popen(
            [*words, "--policy", "open"], stdout=subprocess.DEVNULL
        )
        try:
            with Client(f"unix:{data}/s") as client:
                client.wait_ready(30)
                for files in arguments.files:
                    measure(client, files, folder)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
