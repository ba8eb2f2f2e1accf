"""The table of errors: what errors.proto says, held against what the server does."""

from __future__ import annotations

import re
from typing import NamedTuple

from descriptors import ENUM_VALUE, FILE_ENUM, REPOSITORY, File
from markdown import cell, table

PREFIX = "ERROR_REASON_"
#: The only file of the server that builds a status (ARCHITECTURE.md, invariant 2).
STATUS_SOURCE = REPOSITORY / "server" / "src" / "grpc" / "status.rs"
#: Lowest number of each group of reasons, and the group's name.
GROUPS = {
    1: "Any call",
    20: "Who calls",
    40: "Sessions",
    60: "Executions",
    80: "Policy, fence, secrets",
    100: "Targets and shells",
    120: "Checkpoints",
    140: "Audit",
    160: "Quotas",
}
NOT_YET = "¹"

INTRODUCTION = f"""\
# Errors

A call that cannot be done fails with a gRPC status. Its details hold a
`google.rpc.ErrorInfo` of domain `execgate.dev`: the *reason* is one of the names below, the
*metadata* are strings by name. Programs decide by the reason; the message is for people.
What becomes of a command that has started is data and no error: a non-zero exit, a signal
and a time limit come with status OK ([outcome.proto](api/outcome.md)).

Beside ErrorInfo the status carries the `google.rpc` details of the last column. With
`RetryInfo` a retry after its delay makes sense; without it a plain retry fails again. Where
there is something better to do, the metadata holds it under `suggestion`, in words for an
agent. A reason that a client does not know is treated by its gRPC code
([versioning.md](versioning.md)).

A call that never reached the server, or lost it, has a gRPC status without details:
`UNAVAILABLE` from the client's own library. A retry of Exec, Run or CreateSession is safe
with an id of the caller's choice. [retries.md](retries.md) says what our clients make again by
themselves.

{NOT_YET} The number is reserved for it; no server answers it yet.
"""


class Reason(NamedTuple):
    """One row."""

    name: str
    number: int
    code: str
    when: str
    advice: str
    metadata: str
    details: str


def read(file: File) -> list[Reason]:
    """The reasons of errors.proto."""
    (index, enum), *_ = (
        found for found in enumerate(file.proto.enum_type) if found[1].name == "ErrorReason"
    )
    return [
        parse(value.name, value.number, file.comment(FILE_ENUM, index, ENUM_VALUE, place))
        for place, value in enumerate(enum.value)
        if value.number != 0
    ]


def parse(name: str, number: int, comment: str) -> Reason:
    """A reason from its comment, whose form errors.proto tells at its top."""
    parts = re.split(r"^(Do|Metadata|Details): ", comment, flags=re.MULTILINE)
    labelled = dict(zip(parts[1::2], parts[2::2], strict=True))
    code, colon, when = parts[0].partition(": ")
    if not colon or not re.fullmatch("[A-Z_]+", code) or "Do" not in labelled:
        raise SystemExit(f"{name}: its comment lacks a code or what to do")
    words = (labelled.get(label, "").strip() for label in ("Do", "Metadata", "Details"))
    return Reason(name.removeprefix(PREFIX), number, code, when.strip(), *words)


def check(reasons: list[Reason], answered: dict[str, set[str]]) -> None:
    """Ends with what the comments say otherwise than the server."""
    codes = {reason.name: reason.code for reason in reasons}
    wrong = [
        f"{name}: errors.proto says {codes.get(name)}, the server answers {code}"
        for name, answers in answered.items()
        for code in sorted(answers - {codes.get(name, "")})
    ]
    if wrong:
        raise SystemExit("\n".join(wrong))


def answered_by_server() -> dict[str, set[str]]:
    """The reasons that the server's table of statuses has, with their codes."""
    files = [STATUS_SOURCE, *sorted(STATUS_SOURCE.with_suffix("").glob("*.rs"))]
    texts = [file.read_text(encoding="utf-8") for file in files]
    source = "".join(text.partition("#[cfg(test)]")[0] for text in texts)
    answers: dict[str, set[str]] = {}
    for reason in re.findall(r"Reason::(\w+)", source):
        answers.setdefault(upper_snake(reason), set())
    for code, reason in re.findall(r"Code::(\w+),\s*(?:Error)?Reason::(\w+)", source):
        answers[upper_snake(reason)].add(upper_snake(code))
    if not any(answers.values()):
        raise SystemExit(f"{STATUS_SOURCE.name} no longer reads as it did: adapt this script")
    return answers


def upper_snake(name: str) -> str:
    """`SessionBusy` as `SESSION_BUSY`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def page(reasons: list[Reason], answered: dict[str, set[str]]) -> str:
    """docs/errors.md."""
    starts = [*GROUPS, max(reason.number for reason in reasons) + 1]
    sections = [
        section(title, [r for r in reasons if start <= r.number < end], answered)
        for (start, title), end in zip(GROUPS.items(), starts[1:], strict=True)
    ]
    return "\n\n".join([INTRODUCTION.rstrip(), *sections])


def section(title: str, reasons: list[Reason], answered: dict[str, set[str]]) -> str:
    """One group of reasons."""
    rows = [
        (
            f'<a name="{reason.name.lower()}"></a>`{reason.name}`'
            + ("" if reason.name in answered else NOT_YET),
            f"`{reason.code}`",
            cell(reason.when),
            cell(reason.advice),
            cell(reason.metadata),
            cell(reason.details),
        )
        for reason in reasons
    ]
    head = ("reason", "code", "when", "what to do", "metadata", "details")
    return f"## {title}\n\n{table(head, rows)}"
