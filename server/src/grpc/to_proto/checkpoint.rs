//! Checkpoints and what differs between them.

use execgate_core::checkpoint::{ChangeKind, FileKind, Omission};
use execgate_engine::checkpoint::{
    Checkpoint, CheckpointTrigger, FileChange, FileState, OmittedFile, Restored, Summary,
};
use execgate_proto::v1;

use super::time::timestamp;

/// A checkpoint.
pub(crate) fn checkpoint(checkpoint: &Checkpoint) -> v1::Checkpoint {
    v1::Checkpoint {
        checkpoint_id: checkpoint.id.to_string(),
        session_id: checkpoint.session.clone(),
        target: checkpoint.target.clone(),
        workspace: checkpoint.workspace.clone(),
        create_time: Some(timestamp(checkpoint.created)),
        trigger: match checkpoint.trigger {
            CheckpointTrigger::Requested => v1::CheckpointTrigger::Requested,
            CheckpointTrigger::BeforeExecution => v1::CheckpointTrigger::BeforeExecution,
            CheckpointTrigger::BeforeRestore => v1::CheckpointTrigger::BeforeRestore,
        }
        .into(),
        execution_id: checkpoint.execution.clone().unwrap_or_default(),
        description: checkpoint.description.clone(),
        labels: checkpoint.labels.clone().into_iter().collect(),
        parent_checkpoint_id: checkpoint
            .parent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        file_count: checkpoint.files,
        total_bytes: checkpoint.bytes,
        content_digest: checkpoint.tree.to_string(),
        omitted: checkpoint.omitted.iter().map(omitted).collect(),
        omitted_count: checkpoint.omitted_count,
    }
}

fn omitted(file: &OmittedFile) -> v1::OmittedFile {
    v1::OmittedFile {
        path: file.path.clone().into(),
        reason: match file.reason {
            Omission::BuildOutput => v1::OmissionReason::BuildOutput,
            Omission::Ignored => v1::OmissionReason::Ignored,
            Omission::Secret => v1::OmissionReason::Secret,
            Omission::TooLarge => v1::OmissionReason::TooLarge,
            Omission::Special => v1::OmissionReason::SpecialFile,
            Omission::Unreadable => v1::OmissionReason::Unreadable,
            Omission::Changing => v1::OmissionReason::Changing,
        }
        .into(),
    }
}

/// One file that differs.
pub(crate) fn change(change: FileChange) -> v1::FileChange {
    v1::FileChange {
        path: change.path.as_bytes().to_vec().into(),
        kind: match change.kind {
            ChangeKind::Added => v1::ChangeKind::Added,
            ChangeKind::Modified => v1::ChangeKind::Modified,
            ChangeKind::Deleted => v1::ChangeKind::Deleted,
            ChangeKind::Mode => v1::ChangeKind::ModeChanged,
            ChangeKind::Type => v1::ChangeKind::TypeChanged,
        }
        .into(),
        before: change.before.map(state),
        after: change.after.map(state),
        patch: change.patch.into(),
        patch_truncated: change.patch_truncated,
        binary: change.binary,
    }
}

fn state(state: FileState) -> v1::FileState {
    v1::FileState {
        r#type: match state.kind {
            FileKind::File => v1::FileType::Regular,
            FileKind::Link => v1::FileType::Symlink,
            FileKind::Directory => v1::FileType::Directory,
        }
        .into(),
        mode: state.mode,
        size: state.size,
    }
}

/// How many files differ.
pub(crate) fn summary(summary: &Summary) -> v1::ChangeSummary {
    v1::ChangeSummary {
        added: summary.added,
        modified: summary.modified,
        deleted: summary.deleted,
    }
}

/// What a restore did.
pub(crate) fn restored(restored: Restored) -> v1::RestoreCheckpointResponse {
    v1::RestoreCheckpointResponse {
        summary: Some(summary(&restored.summary)),
        changes: restored.changes.into_iter().map(change).collect(),
        pre_restore_checkpoint_id: restored
            .pre_restore
            .map(|id| id.to_string())
            .unwrap_or_default(),
        left_alone: restored
            .left_alone
            .iter()
            .map(|path| path.as_bytes().to_vec().into())
            .collect(),
        left_alone_count: restored.left_alone_count,
    }
}
