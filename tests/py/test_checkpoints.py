"""Checkpoints through the clients, sync and asyncio alike."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Connect
from running_server import LIMIT_SECONDS, Server
from watching import descriptors, until_no_zombies

from execgate import ChangeKind, CheckpointMode, CheckpointTrigger, Client, FileType, NotFound
from execgate.checkpoints import FileState, OmittedFile
from execgate.enums import OmissionReason


@pytest.fixture
def project() -> Iterator[Path]:
    """A directory that sessions may write in."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="execgate-", dir="/tmp") as folder:
        os.chmod(folder, 0o777)  # noqa: S103 - sessions run as another user
        yield Path(folder)


def test_what_was_done_is_seen_and_undone_and_the_undo_too(
    connect: Connect, server: Server, project: Path
) -> None:
    with (
        connect(server.address, server.token) as client,
        client.session(workspace=str(project)) as session,
    ):
        odd = "b\udcff"
        session.run("umask 022; echo one >a; printf x >\"$(printf 'b\\377')\"; echo k >.env")
        saved = session.checkpoint(description="mine", labels={"for": "test"})
        assert (saved.file_count, saved.description, saved.labels) == (2, "mine", {"for": "test"})
        assert saved.omitted == (OmittedFile(".env", OmissionReason.SECRET),)
        session.run("echo two >>a; rm \"$(printf 'b\\377')\"; mkdir d")
        changes = list(session.diff(saved.checkpoint_id, max_patch_bytes=1000))
        assert [(change.path, change.kind) for change in changes] == [
            ("a", ChangeKind.MODIFIED),
            (odd, ChangeKind.DELETED),
            ("d", ChangeKind.ADDED),
        ]
        assert changes[0].patch == b"--- a/a\n+++ b/a\n@@ -1 +1,2 @@\n one\n+two\n"
        assert changes[2].after == FileState(FileType.DIRECTORY, 0o755, 0)
        dry = session.restore(saved.checkpoint_id, dry_run=True)
        assert dry.pre_restore_checkpoint_id == ""
        restored = session.restore(saved.checkpoint_id)
        assert restored.changes == dry.changes
        assert (restored.added, restored.modified, restored.deleted) == (1, 1, 1)
        assert sorted(os.listdir(project)) == [".env", "a", odd]
        session.restore(restored.pre_restore_checkpoint_id, paths=["a"])
        assert (project / "a").read_text() == "one\ntwo\n"


def test_checkpoints_are_listed_compared_and_forgotten(
    connect: Connect, server: Server, project: Path
) -> None:
    with connect(server.address, server.token) as client:
        mode = CheckpointMode.AUTO
        with client.session(workspace=str(project), checkpoints=mode) as session:
            session.run("echo one >a")
            session.run("echo two >a")
            last = session.checkpoint()
        found = list(client.checkpoints(workspace=str(project)))
        assert [one.trigger for one in found] == [
            CheckpointTrigger.REQUESTED,
            CheckpointTrigger.BEFORE_EXECUTION,
            CheckpointTrigger.BEFORE_EXECUTION,
        ]
        assert found[0] == last == client.get_checkpoint(last.checkpoint_id)
        changes = client.diff_checkpoints(found[2].checkpoint_id, last.checkpoint_id)
        assert [(change.path, change.kind) for change in changes] == [("a", ChangeKind.ADDED)]
        client.delete_checkpoint(last.checkpoint_id)
        with pytest.raises(NotFound, match="CHECKPOINT_NOT_FOUND"):
            client.get_checkpoint(last.checkpoint_id)


def test_workspaces_that_nobody_uses_cost_no_process_and_no_descriptor(
    own_server: Server, project: Path
) -> None:
    pid = own_server.process.pid

    def used(name: str, client: Client) -> None:
        folder = project / name
        folder.mkdir()
        folder.chmod(0o777)
        with client.session(workspace=str(folder)) as session:
            session.run("echo one >a")
            session.checkpoint()

    with own_server.client() as client:
        # What is known of a few is kept.
        for number in range(10):
            used(f"first-{number}", client)
        assert until_no_zombies(pid) == 0
        before = descriptors(pid)
        for number in range(10):
            used(f"second-{number}", client)
        assert until_no_zombies(pid) == 0
        end = time.monotonic() + LIMIT_SECONDS
        while descriptors(pid) > before + 4:
            assert time.monotonic() < end, (before, descriptors(pid))
            time.sleep(0.05)
