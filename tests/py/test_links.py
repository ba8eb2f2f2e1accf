"""Every link between the pages of this repository leads somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from running_server import REPOSITORY

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
NAMED = re.compile(r'<a name="([^"]+)">')


def pages() -> list[str]:
    """The Markdown files that are part of the repository."""
    command = ["git", "-C", str(REPOSITORY), "ls-files", "*.md"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return listed.splitlines()


def anchors(page: Path) -> set[str]:
    """Where a link into a page can lead."""
    text = page.read_text(encoding="utf-8")
    slugs = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(text)
    }
    return slugs | set(NAMED.findall(text))


@pytest.mark.parametrize("name", pages())
def test_links_lead_somewhere(name: str) -> None:
    page = REPOSITORY / name
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []
