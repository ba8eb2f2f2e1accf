"""The fault suite: what breaks, how it is broken, what has to hold, and what was measured.

`make faults` runs all rows in full and prints the table of docs/faults.md; the tests run a
short form of each. A row starts a server of its own, breaks something, and raises where its
criterion does not hold. After each row nothing may be left: no process of a session, no dead
child, no record of a command without its outcome; and the audit log verifies.

The rows are in the files of this package, by what breaks.
"""

from __future__ import annotations

# Each enters its rows into the table.
from . import cables, clocks, deaths, disk, load, mutations, strangers, targets, wire  # noqa: F401
from .world import ROWS, Row, perform

__all__ = ["ROWS", "Row", "perform"]
