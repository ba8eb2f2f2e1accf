"""What a server costs while it is used, and whether that stays the same."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from watching import descriptors, resident_bytes, threads, zombies

#: Time between two samples, in seconds.
INTERVAL_SECONDS = 2.0

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """A moment."""

    seconds: float
    descriptors: int
    threads: int
    resident_mib: float
    zombies: int
    children: int
    """One for each session on this machine."""


@dataclass(frozen=True)
class Tolerance:
    """How much the median of the last quarter may be above that of the second."""

    name: str
    absolute: float
    relative: float
    why: str


#: What of it has to stay flat.
TOLERANCES = (
    Tolerance("descriptors", 8, 0.15, "as many sessions are open at once, by chance"),
    Tolerance("threads", 4, 0.1, "workers that wait for files come and go"),
    Tolerance("resident_mib", 12, 0.1, "an allocator keeps what it had"),
)


class Sampler:
    """Takes samples of a process until it is stopped."""

    def __init__(self, pid: int) -> None:
        self.samples: list[Sample] = []
        self._pid = pid
        self._begun = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self.samples.append(take(self._pid, time.monotonic() - self._begun))

    def stop(self) -> None:
        """No more of them."""
        self._stop.set()
        self._thread.join()


def take(pid: int, seconds: float) -> Sample:
    """How it is now."""
    return Sample(
        seconds=round(seconds, 1),
        descriptors=descriptors(pid),
        threads=threads(pid),
        resident_mib=round(resident_bytes(pid) / MEGABYTE, 2),
        zombies=zombies(pid),
        children=len(children(pid)),
    )


def children(pid: int) -> list[int]:
    """The direct children of all threads of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def judged(samples: list[Sample]) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the table, and what is not flat."""
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    rows, wrong = [], []
    for tolerance in TOLERANCES:
        values = [
            statistics.median(getattr(sample, tolerance.name) for sample in part)
            for part in (second, last)
        ]
        most = values[0] * (1 + tolerance.relative) + tolerance.absolute
        flat = values[1] <= most
        rows.append(
            {
                "what": tolerance.name,
                "second_quarter": values[0],
                "last_quarter": values[1],
                "at_most": round(most, 1),
                "highest": max(getattr(sample, tolerance.name) for sample in samples),
                "flat": flat,
            }
        )
        if not flat:
            wrong.append(f"{tolerance.name}: {values[0]} -> {values[1]}, at most {most:.1f}")
    return rows, wrong


def as_json(samples: list[Sample]) -> list[dict[str, Any]]:
    """All of them."""
    return [asdict(sample) for sample in samples]
