"""The calls about checkpoints, described and not yet made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc

from ._calls import Call, Listing
from ._retry import Repeat
from ._stubs import Stubs
from .checkpoints import (
    Checkpoint,
    FileChange,
    Restored,
    read_change,
    read_checkpoint,
    read_restored,
)
from .v1 import checkpoint_pb2 as pb

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Answers(Generic[_Request, _Response, _Value]):
    """A call with a stream of answers, none of which is worth going on from."""

    method: Callable[[Stubs], grpc.UnaryStreamMultiCallable[_Request, _Response]]
    request: _Request
    read: Callable[[_Response], Iterable[_Value]]
    """What an answer holds."""


@dataclass(frozen=True)
class RestoreOptions:
    """What to bring back, and how; `Session.restore` explains it."""

    paths: Iterable[str] = ()
    dry_run: bool = False
    keep_unknown: bool = False
    while_running: bool = False


def create_checkpoint(
    session_id: str,
    description: str,
    labels: Mapping[str, str] | None,
    paths: Iterable[str],
    ignore: Iterable[str],
) -> Call[pb.CreateCheckpointRequest, pb.CreateCheckpointResponse, Checkpoint]:
    """Saves a workspace."""
    request = pb.CreateCheckpointRequest(
        session_id=session_id,
        description=description,
        labels=labels,
        paths=_bytes(paths),
        ignore=ignore,
    )
    # The first one reads every file.
    return Call(
        lambda stubs: stubs.checkpoints.CreateCheckpoint,
        request,
        lambda r: read_checkpoint(r.checkpoint, r.unchanged),
        timeout=None,
        repeat=Repeat.REFUSED,
    )


def get_checkpoint(
    checkpoint_id: str,
) -> Call[pb.GetCheckpointRequest, pb.GetCheckpointResponse, Checkpoint]:
    """Looks a checkpoint up."""
    request = pb.GetCheckpointRequest(checkpoint_id=checkpoint_id)
    return Call(
        lambda stubs: stubs.checkpoints.GetCheckpoint,
        request,
        lambda r: read_checkpoint(r.checkpoint),
    )


def list_checkpoints(
    session_id: str, workspace: str, labels: Mapping[str, str] | None
) -> Listing[pb.ListCheckpointsRequest, pb.ListCheckpointsResponse, Checkpoint]:
    """Lists checkpoints."""
    request = pb.ListCheckpointsRequest(session_id=session_id, workspace=workspace, labels=labels)
    return Listing(
        lambda stubs: stubs.checkpoints.ListCheckpoints,
        request,
        lambda r: map(read_checkpoint, r.checkpoints),
    )


def delete_checkpoint(
    checkpoint_id: str,
) -> Call[pb.DeleteCheckpointRequest, pb.DeleteCheckpointResponse, Checkpoint]:
    """Forgets a checkpoint."""
    request = pb.DeleteCheckpointRequest(checkpoint_id=checkpoint_id)
    return Call(
        lambda stubs: stubs.checkpoints.DeleteCheckpoint,
        request,
        lambda r: read_checkpoint(r.checkpoint),
        repeat=Repeat.REFUSED,
    )


def diff_checkpoint(
    checkpoint_id: str,
    other: str,
    session_id: str,
    paths: Iterable[str],
    max_patch_bytes: int,
) -> Answers[pb.DiffCheckpointRequest, pb.DiffCheckpointResponse, FileChange]:
    """Compares a checkpoint with another one, or with the files as they are."""
    request = pb.DiffCheckpointRequest(
        checkpoint_id=checkpoint_id, paths=_bytes(paths), max_patch_bytes=max_patch_bytes
    )
    if other:
        request.checkpoint.checkpoint_id = other
    else:
        request.workspace.session_id = session_id
        request.workspace.SetInParent()
    return Answers(
        lambda stubs: stubs.checkpoints.DiffCheckpoint,
        request,
        lambda r: [read_change(r.change)] if r.HasField("change") else [],
    )


def restore_checkpoint(
    checkpoint_id: str, session_id: str, options: RestoreOptions
) -> Call[pb.RestoreCheckpointRequest, pb.RestoreCheckpointResponse, Restored]:
    """Brings a workspace back."""
    unknown = pb.UNKNOWN_FILES_KEEP if options.keep_unknown else pb.UNKNOWN_FILES_REMOVE
    request = pb.RestoreCheckpointRequest(
        checkpoint_id=checkpoint_id,
        session_id=session_id,
        paths=_bytes(options.paths),
        dry_run=options.dry_run,
        unknown_files=unknown,
        while_running=options.while_running,
    )
    # What was there before is saved by the first one only.
    return Call(
        lambda stubs: stubs.checkpoints.RestoreCheckpoint,
        request,
        read_restored,
        timeout=None,
        repeat=Repeat.REFUSED,
    )


def _bytes(paths: Iterable[str]) -> list[bytes]:
    return [os.fsencode(path) for path in paths]
