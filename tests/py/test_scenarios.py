"""Stories that every client tells (tests/scenarios), told through both of this one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import tomllib
from conftest import Connect
from running_server import REPOSITORY, Server
from story import Teller

STORIES = sorted((REPOSITORY / "tests/scenarios").glob("*.toml"))


def told(connect: Connect, server: Server, text: str) -> None:
    """Tells a story in a folder of its own, which sessions may enter."""
    story = tomllib.loads(text)
    with tempfile.TemporaryDirectory(prefix="execgate-") as name:
        Path(name).chmod(0o755)
        with connect(server.address, server.token) as client:
            Teller(client, story, Path(name)).tell(story["step"])


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_story(connect: Connect, server: Server, story: Path) -> None:
    told(connect, server, story.read_text(encoding="utf-8"))


def test_there_are_stories() -> None:
    assert len(STORIES) >= 9


@pytest.mark.parametrize(
    "text",
    [
        "surprise = 1\nstep = []",
        "step = [{ run = 'true', expects = {} }]",
        "step = [{ run = 'true', exec = 'true' }]",
        "step = [{ run = 'true', with = { timeot = '1s' } }]",
        "step = [{ run = 'true', with = { timeout = '1 parsec' } }]",
        "step = [{ run = 'true', expect = { stdot = 'x' } }]",
        "step = [{ run = 'true', expect = { stdout = { hexx = '00' } } }]",
        "step = [{ run = 'true', expect = { stdout = 'something' } }]",
        "step = [{ run = 'true', expect = { cwd = '/elsewhere' } }]",
        "step = [{ run = 'no-such', expect = { exit_code = 127 } }]",
        "step = [{ run = '', expect = { error = { code = 'X', reason = 'Y' } } }]",
    ],
)
def test_story_that_is_wrong_fails(connect: Connect, server: Server, text: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        told(connect, server, text)
