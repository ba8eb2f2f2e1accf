"""A network of its own at the end of a cable, which can be cut and mended. Needs root."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path

from running_server import LIMIT_SECONDS

_COUNT = itertools.count()


class Network:
    """One interface there, called eth0, and one here; nothing else leads there."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sleep", "infinity"],  # noqa: S607
            stdin=subprocess.DEVNULL,
        )
        # Of 198.19.0.0/16, which is for tests of networks: a quadruple that nobody else has.
        number = (os.getpid() * 8 + next(_COUNT)) % (256 * 64)
        self._name = f"egf{number}"
        prefix, first = f"198.19.{number // 64}", number % 64 * 4
        self.here = f"{prefix}.{first + 1}"
        """This side's address."""
        self.there = f"{prefix}.{first + 2}"
        """The other side's."""
        try:
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        pid = str(self._holder.pid)
        end = time.monotonic() + LIMIT_SECONDS
        ours = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{pid}/ns/net").readlink() == ours:
            assert time.monotonic() < end, "no network of its own"
            time.sleep(0.01)
        pair = ("type", "veth", "peer", "name", "eth0", "netns", pid)
        _run("ip", "link", "add", self._name, *pair)
        _run("ip", "addr", "add", f"{self.here}/30", "dev", self._name)
        _run("ip", "link", "set", self._name, "up")
        _run(*self.inside("ip", "link", "set", "lo", "up"))
        _run(*self.inside("ip", "addr", "add", f"{self.there}/30", "dev", "eth0"))
        self.mend()

    def inside(self, *words: str) -> list[str]:
        """A command that runs there."""
        return ["nsenter", f"--target={self._holder.pid}", "--net", "--", *words]

    def cut(self) -> None:
        """Nothing gets through any more, and neither side is told."""
        _run(*self.inside("ip", "link", "set", "eth0", "down"))

    def mend(self) -> None:
        """All gets through again."""
        _run(*self.inside("ip", "link", "set", "eth0", "up"))

    def close(self) -> None:
        """Ends it."""
        subprocess.run(["ip", "link", "del", self._name], check=False, capture_output=True)  # noqa: S607
        self._holder.kill()
        self._holder.wait()


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)


def connections_to(address: str) -> int:
    """Established connections of this machine to an IPv4 address."""
    number = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(1 for field in fields if field[2].startswith(f"{number}:") and field[3] == "01")
