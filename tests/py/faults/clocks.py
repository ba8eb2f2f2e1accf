"""The machine's clock is set forward and back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from execgate import Result

from .world import World, records, row

HOUR = 3600


@row(
    "the server's clock is set an hour forward, then two hours back, while commands run",
    "no session expires and no command ends by it; time limits last as long as they say; the "
    "audit log verifies, in its order",
    waits=True,
)
def clock_set(world: World) -> str:
    clock = world.folder / "clock"
    clock.write_text("+0")
    world.variables = {
        "LD_PRELOAD": _library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    limited: list[float] = []
    with world.session(idle_ttl=60) as session, world.session(idle_ttl=60) as idle:
        for offset in (HOUR, -HOUR, 0):
            results: list[Result] = []

            def work(results: list[Result] = results) -> None:
                results.append(session.run("sleep 2; echo slept", timeout=60))

            worker = threading.Thread(target=work)
            worker.start()
            clock.write_text(f"{offset:+d}")
            worker.join()
            assert results[0].stdout == "slept\n", results
            begun = time.monotonic()
            assert session.run("sleep 60", timeout=1).timed_out
            limited.append(time.monotonic() - begun)
        assert idle.run("echo here").stdout == "here\n"
        assert 0.9 < min(limited) <= max(limited) < 30, limited
    with world.server.client() as client:
        log = records(client)
    sequences = [record.sequence for record in log]
    assert sequences == list(range(1, len(log) + 1))
    times = [record.time.seconds for record in log]
    back = max(earlier - later for earlier, later in zip(times, times[1:]))
    assert back > HOUR, back
    return (
        f"limits of 1 s took {min(limited):.2f} to {max(limited):.2f} s; {len(log)} records, "
        f"one {back} s before the one that it follows"
    )


def _library() -> str:
    """Where Debian has it: its directory is the machine's."""
    found = [*Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1")]
    if not found:
        pytest.fail("libfaketime is not installed")
    return str(found[0])
