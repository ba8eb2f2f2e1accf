"""Makes docs/api, docs/errors.md and docs/retries.md from the .proto files' comments.

    .venv/bin/python scripts/reference            writes them
    .venv/bin/python scripts/reference --check    compares, exits 1 on a difference

Ends with an error where errors.proto and the server's statuses disagree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import errors
import retries
from descriptors import REPOSITORY, load
from pages import Reference

DOCS = REPOSITORY / "docs"
MARK = "<!-- Made by `make docs` from proto/execgate/v1; not edited by hand. -->\n"


def make() -> dict[Path, str]:
    """Every generated page."""
    files = load()
    source = next(file for file in files if file.stem == "errors")
    reasons = errors.read(source)
    answered = errors.answered_by_server()
    errors.check(reasons, answered)
    reference = Reference(files, {reason.name for reason in reasons})
    pages = {DOCS / "api" / name: text for name, text in reference.pages().items()}
    pages[DOCS / "errors.md"] = errors.page(reasons, answered)
    pages[DOCS / "retries.md"] = retries.page(files, reasons, answered)
    return {path: f"{MARK}{text}\n" for path, text in pages.items()}


def main() -> int:
    """Writes, or checks."""
    parser = argparse.ArgumentParser(description="Make the API reference.")
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    pages = make()
    gone = sorted(set((DOCS / "api").glob("*")) - set(pages))
    stale = [path for path in pages if not path.exists() or path.read_text("utf-8") != pages[path]]
    if check and (stale or gone):
        names = [str(path.relative_to(REPOSITORY)) for path in [*stale, *gone]]
        print("stale, run `make docs`:", *names, sep="\n  ")
        return 1
    for path in gone:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages[path], encoding="utf-8")
    print(f"{len(pages)} pages in docs are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
