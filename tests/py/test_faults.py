"""The rows of the fault suite, each in its short form (`make faults` runs them in full)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from faults import ROWS, Row, perform

#: Rows that mostly wait, and run at once beside the others.
WAITING = 3


@pytest.fixture(scope="module")
def waiting() -> Iterator[dict[str, Future[str]]]:
    """The rows that run beside the others."""
    with ThreadPoolExecutor(WAITING) as pool:
        yield {row.name: pool.submit(perform, row, full=False) for row in ROWS if row.waits}


#: Those that wait come last: they have run by then.
ORDER = [row for waits in (False, True) for row in ROWS if row.waits is waits]


@pytest.mark.parametrize("chosen", ORDER, ids=lambda chosen: chosen.name.replace(" ", "-"))
def test_fault(chosen: Row, waiting: dict[str, Future[str]]) -> None:
    if chosen.waits:
        assert waiting[chosen.name].result()
    else:
        assert perform(chosen, full=False)
