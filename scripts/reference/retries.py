"""docs/retries.md: which calls the clients make again, after which failures."""

from __future__ import annotations

from pathlib import Path

from descriptors import File
from errors import Reason
from markdown import cell, table

#: What twice is not the same as once: repeated only if it was refused. Tests of both clients
#: hold what they do against the page.
ONCE = {
    "ExecService": {"Signal"},
    "CheckpointService": {"CreateCheckpoint", "DeleteCheckpoint", "RestoreCheckpoint"},
}

#: What is written by hand.
INTRODUCTION = Path(__file__).with_name("retries.txt")


def page(files: list[File], reasons: list[Reason], answered: dict[str, set[str]]) -> str:
    """docs/retries.md."""
    introduction = INTRODUCTION.read_text(encoding="utf-8").rstrip()
    return "\n\n".join([introduction, calls(files), waited_for(reasons, answered)])


def calls(files: list[File]) -> str:
    """Every call, and whether it may be made twice."""
    rows = []
    services = (service for file in files for service in file.proto.service)
    for service in sorted(services, key=lambda service: service.name):
        names = [method.name for method in service.method]
        once = ONCE.get(service.name, set())
        for some, what in ((set(names) - once, "yes"), (once, "only if refused")):
            listed = ", ".join(f"`{name}`" for name in names if name in some)
            if listed:
                rows.append((f"`{service.name}`", what, listed))
    return table(("service", "again?", "calls"), rows)


def waited_for(reasons: list[Reason], answered: dict[str, set[str]]) -> str:
    """The reasons that come with a delay."""
    rows = [
        (
            f"[`{reason.name}`](errors.md#{reason.name.lower()})",
            f"`{reason.code}`",
            cell(reason.when),
        )
        for reason in reasons
        if "RetryInfo" in reason.details and reason.name in answered
    ]
    heading = "## Reasons\n\nWith these the server says when to come again:"
    return f"{heading}\n\n{table(('reason', 'code', 'when'), rows)}"
