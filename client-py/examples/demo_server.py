"""A server for the demo alone: a free port, and a data directory that goes with it."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]

#: Time that the server has to start, and to stop, in seconds; far above what it needs.
LIMIT_SECONDS = 30


class Running(NamedTuple):
    """Where it listens, and what a caller has to say."""

    address: str
    token: str


@contextmanager
def running(binary: Path, secrets: dict[str, str]) -> Iterator[Running]:
    """Starts a server that hides `secrets`, values by name, wherever they appear."""
    with tempfile.TemporaryDirectory(prefix="execgate-demo-") as folder:
        config = Path(folder, "execgate.toml")
        config.touch(mode=0o600)
        config.write_text(
            "".join(
                f"[[redaction.secret]]\nname = '{name}'\nvalue = '{value}'\n"
                for name, value in secrets.items()
            )
        )
        data_dir = Path(folder, "data")
        data_dir.mkdir(mode=0o700)
        command = [
            str(binary),
            *("serve", "--listen", "127.0.0.1:0", "--log", "error"),
            *("--config", str(config), "--data-dir", str(data_dir)),
        ]
        # Settings for the user's own server stay out of it.
        env = {key: value for key, value in os.environ.items() if "EXECGATE" not in key}
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=env, text=True
        ) as process:
            try:
                address = listening(process)
                yield Running(address, (data_dir / "token").read_text().strip())
            finally:
                process.terminate()
                try:
                    process.wait(LIMIT_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def listening(process: subprocess.Popen[str]) -> str:
    """The address, once the server says it."""
    watchdog = threading.Timer(LIMIT_SECONDS, process.kill)
    watchdog.start()
    try:
        for line in process.stdout or ():
            found = re.match(r"listening tcp (\S+)", line)
            if found:
                return found.group(1)
    finally:
        watchdog.cancel()
    raise SystemExit("demo: the server did not start")


def find_binary(named: str | None) -> Path:
    """The server: as named, `$EXECGATE_BIN`, or what `cargo build` made."""
    target = os.environ.get("CARGO_TARGET_DIR") or str(REPOSITORY / "target")
    binary = Path(named or os.environ.get("EXECGATE_BIN") or Path(target, "debug", "execgate"))
    if not os.access(binary, os.X_OK):
        raise SystemExit(f"demo: there is no server at {binary}; `make demo` builds it")
    return binary
