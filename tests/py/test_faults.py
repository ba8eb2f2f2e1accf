"""The rows of the fault suite, each in its short form (`make faults` runs them in full)."""

from __future__ import annotations

import pytest
from faults import ROWS, Row, perform


@pytest.mark.parametrize("chosen", ROWS, ids=lambda chosen: chosen.name.replace(" ", "-"))
def test_fault(chosen: Row) -> None:
    assert perform(chosen, full=False)
