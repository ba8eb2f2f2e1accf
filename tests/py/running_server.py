"""The real server, started for tests: on a free port, with a data directory of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from execgate import Client

REPOSITORY = Path(__file__).resolve().parents[2]

#: Time that a server has to start, and to stop, in seconds; far above what it needs, so
#: that a hang becomes a failure.
LIMIT_SECONDS = 30

LISTENING = re.compile(r"listening tcp (\S+)")


class Server:
    """The `execgate` binary, started."""

    def __init__(
        self,
        folder: Path,
        config: str = "",
        variables: Mapping[str, str] | None = None,
        listen: str = "127.0.0.1:0",
        wrapper: Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> None:
        self.data_dir = folder / "data"
        self.data_dir.mkdir(mode=0o700, exist_ok=True)
        self.socket = folder / "execgate.sock"
        self._log = (folder / "log").open("w+b")
        settings = folder / "execgate.toml"
        settings.write_text(config)
        self.process = subprocess.Popen(
            [
                *wrapper,
                find_binary(),
                "serve",
                *("--listen", listen, "--listen", f"unix:{self.socket}"),
                *("--data-dir", str(self.data_dir), "--config", str(settings)),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # A developer's own settings stay out of the tests.
            env={**clean_environment(), **(variables or {})},
        )
        self.announced = ""
        """What it said of where it listens, so far."""
        self.address = self._read_address()
        self.token = (self.data_dir / "token").read_text().strip()

    def client(self, token: str | None = None) -> Client:
        """A client of this server."""
        return Client(self.address, token=token or self.token)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self.process.kill()
        self.process.wait(LIMIT_SECONDS)

    def stop(self) -> None:
        """Ends it in good order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail("the server did not stop on SIGTERM\n" + self.log())
        finally:
            self._log.close()
            if self.process.stdout is not None:
                self.process.stdout.close()

    def log(self) -> str:
        """What it said."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _read_address(self) -> str:
        assert self.process.stdout is not None
        watchdog = threading.Timer(LIMIT_SECONDS, self.process.kill)
        watchdog.start()
        try:
            for line in self.process.stdout:
                self.announced += line
                found = LISTENING.search(line)
                if found:
                    return found.group(1)
        finally:
            watchdog.cancel()
        pytest.fail("the server did not start\n" + self.log())


def clean_environment() -> dict[str, str]:
    """The environment without what is a server's."""
    own = ("EXECGATE", "OTEL_", "TRACE")
    return {key: value for key, value in os.environ.items() if not any(word in key for word in own)}


def find_binary() -> str:
    """`$EXECGATE_BIN`, or what `cargo build` made."""
    target = os.environ.get("CARGO_TARGET_DIR") or str(REPOSITORY / "target")
    binary = os.environ.get("EXECGATE_BIN") or str(Path(target, "debug", "execgate"))
    if not os.access(binary, os.X_OK):
        pytest.fail(f"there is no server at {binary}: run `cargo build` or set EXECGATE_BIN")
    return binary
