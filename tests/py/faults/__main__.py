"""Runs the rows and prints their table: `python -m faults [--quick] [WORD...]`."""

from __future__ import annotations

import argparse
import sys

import pytest

from . import ROWS, perform
from .world import SEED


def main() -> None:
    """Runs the rows and prints their table."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("rows", nargs="*", help="only those whose name holds one of these words")
    parser.add_argument("--quick", action="store_true", help="the short form")
    arguments = parser.parse_args()
    print(f"seed {SEED}", file=sys.stderr)  # noqa: T201
    print("| fault | how | what has to hold | measured |\n|---|---|---|---|")  # noqa: T201
    failed = 0
    for chosen in ROWS:
        if arguments.rows and not any(word in chosen.name for word in arguments.rows):
            continue
        try:
            measured = perform(chosen, full=not arguments.quick)
        except pytest.skip.Exception as reason:
            measured = f"not tried: {reason}"
        except (Exception, pytest.fail.Exception) as error:
            failed += 1
            measured = f"**failed**: {type(error).__name__}: {error}"[:300]
        line = (chosen.name, chosen.method, chosen.criterion, measured)
        print("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |", flush=True)  # noqa: T201
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
