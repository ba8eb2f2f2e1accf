"""What a server costs and leaves behind, as /proc tells it."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: How long what was ended may take to be gone, in seconds.
SETTLE_SECONDS = 15.0


class Mark:
    """A variable in the environment of sessions, by which all that they started is found."""

    def __init__(self, name: str) -> None:
        self.env = {"EXECGATE_FAULT": f"{name}-{os.urandom(6).hex()}"}
        self._line = "EXECGATE_FAULT={EXECGATE_FAULT}".format(**self.env).encode()

    def alive(self) -> list[str]:
        """The processes that carry it, zombies apart."""
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if self._line in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found.append(f"{folder.name} {words.strip()}")
            except OSError:
                continue
        return found

    def until_gone(self) -> list[str]:
        """Those that are still there after a while."""
        end = time.monotonic() + SETTLE_SECONDS
        while (left := self.alive()) and time.monotonic() < end:
            time.sleep(0.05)
        return left


def zombies(parent: int) -> int:
    """Dead children that nobody has waited for, of a process and of its descendants."""
    states = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            states[int(folder.name)] = (fields[0], int(fields[1]))
    family = {parent}
    grown = True
    while grown:
        more = {pid for pid, (_, of) in states.items() if of in family} - family
        family |= more
        grown = bool(more)
    return sum(1 for pid in family if states.get(pid, ("", 0))[0] == "Z")


def until_no_zombies(parent: int) -> int:
    """How many are still there after a while."""
    end = time.monotonic() + SETTLE_SECONDS
    while (left := zombies(parent)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def descriptors(pid: int) -> int:
    """Open descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    """Threads."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def resident_bytes(pid: int) -> int:
    """Memory in use."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
