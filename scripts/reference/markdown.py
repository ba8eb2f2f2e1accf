"""Comments of .proto files as Markdown. Knows nothing of descriptors."""

from __future__ import annotations

import re
from collections.abc import Sequence


def prose(comment: str) -> str:
    """A comment as paragraphs; what is drawn in it (indented throughout) stays drawn."""
    blocks: list[str] = []
    for paragraph in comment.split("\n\n"):
        lines = paragraph.splitlines()
        if not all(line.startswith("  ") for line in lines):
            blocks.append(escape(paragraph))
        elif blocks and blocks[-1].endswith("\n```"):
            blocks[-1] = f"{blocks[-1].removesuffix('```')}\n{paragraph}\n```"
        else:
            blocks.append(f"```text\n{paragraph}\n```")
    return "\n\n".join(blocks)


def cell(comment: str) -> str:
    """A comment as one cell of a table."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in comment.split("\n\n"))
    return "<br>".join(escape(paragraph).replace("|", r"\|") for paragraph in paragraphs)


def escape(text: str) -> str:
    """Keeps `<` and `*` outside of code spans from being read as markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"(?<!\n)\*(?! )|<", r"\\\g<0>", part)
        for part in parts
    )


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
