"""Checkpoints: saved states of a session's workspace, and what differs between them.

Paths are text that stands for bytes, as `os.fsdecode` makes it: whatever the name of a file
is, `os.fsencode` gives it back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ._time import from_timestamp
from .enums import (
    CHANGE_KIND,
    CHECKPOINT_TRIGGER,
    FILE_TYPE,
    OMISSION_REASON,
    ChangeKind,
    CheckpointTrigger,
    FileType,
    OmissionReason,
)
from .v1 import checkpoint_pb2


@dataclass(frozen=True)
class OmittedFile:
    """A file that a checkpoint does not hold."""

    path: str
    """A directory that was left out as a whole ends in `/`."""
    reason: OmissionReason


@dataclass(frozen=True)
class Checkpoint:
    """A saved state of a workspace."""

    checkpoint_id: str
    session_id: str
    """The session that made it."""
    target: str
    workspace: str
    create_time: datetime
    trigger: CheckpointTrigger
    """What made it."""
    description: str
    labels: Mapping[str, str]
    file_count: int
    total_bytes: int
    content_digest: str
    """Equal digests mean equal content."""
    omitted: tuple[OmittedFile, ...]
    """At most 1000 are listed."""
    omitted_count: int
    """How many were left out, also those that are not listed."""
    unchanged: bool = False
    """Whether nothing had changed since the checkpoint before, where this was just made."""
    message: checkpoint_pb2.Checkpoint = field(
        repr=False, compare=False, default_factory=checkpoint_pb2.Checkpoint
    )
    """All that the server said."""


@dataclass(frozen=True)
class FileState:
    """How a file is."""

    type: FileType
    mode: int
    """Permission bits."""
    size: int


@dataclass(frozen=True)
class FileChange:
    """A file that differs."""

    path: str
    kind: ChangeKind
    before: FileState | None
    """How it was. None: it was not."""
    after: FileState | None
    """How it is. None: it is not."""
    patch: bytes
    """Unified diff, redacted, where it was asked for and both sides are text."""
    patch_truncated: bool
    binary: bool
    """Whether either side is no text."""


@dataclass(frozen=True)
class Restored:
    """What a restore did, or would do."""

    changes: tuple[FileChange, ...]
    """At most 10000 are listed."""
    added: int
    modified: int
    deleted: int
    pre_restore_checkpoint_id: str
    """The state before: the way back. Empty after a dry run."""
    left_alone: tuple[str, ...]
    """What differs and was left alone, because no checkpoint could have saved it."""


def read_checkpoint(message: checkpoint_pb2.Checkpoint, unchanged: bool = False) -> Checkpoint:
    """A checkpoint from the wire."""
    return Checkpoint(
        checkpoint_id=message.checkpoint_id,
        session_id=message.session_id,
        target=message.target,
        workspace=message.workspace,
        create_time=from_timestamp(message.create_time),
        trigger=CHECKPOINT_TRIGGER.read(message.trigger),
        description=message.description,
        labels=dict(message.labels),
        file_count=message.file_count,
        total_bytes=message.total_bytes,
        content_digest=message.content_digest,
        omitted=tuple(
            OmittedFile(os.fsdecode(file.path), OMISSION_REASON.read(file.reason))
            for file in message.omitted
        ),
        omitted_count=message.omitted_count,
        unchanged=unchanged,
        message=message,
    )


def read_change(message: checkpoint_pb2.FileChange) -> FileChange:
    """A difference from the wire."""
    return FileChange(
        path=os.fsdecode(message.path),
        kind=CHANGE_KIND.read(message.kind),
        before=_state(message.before) if message.HasField("before") else None,
        after=_state(message.after) if message.HasField("after") else None,
        patch=message.patch,
        patch_truncated=message.patch_truncated,
        binary=message.binary,
    )


def _state(message: checkpoint_pb2.FileState) -> FileState:
    return FileState(FILE_TYPE.read(message.type), message.mode, message.size)


def read_restored(message: checkpoint_pb2.RestoreCheckpointResponse) -> Restored:
    """What a restore did, from the wire."""
    return Restored(
        changes=tuple(read_change(change) for change in message.changes),
        added=message.summary.added,
        modified=message.summary.modified,
        deleted=message.summary.deleted,
        pre_restore_checkpoint_id=message.pre_restore_checkpoint_id,
        left_alone=tuple(os.fsdecode(path) for path in message.left_alone),
    )
