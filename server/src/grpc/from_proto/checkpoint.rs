//! Requests about checkpoints.

use std::collections::BTreeMap;

use bytes::Bytes;
use execgate_core::checkpoint::{Rules, TreePath};
use execgate_core::ids::{CheckpointId, SessionId};
use execgate_engine::checkpoint::{
    CheckpointMode, CreateCheckpoint, Difference, RestoreCheckpoint, UnknownFiles,
};
use execgate_proto::v1;
use v1::diff_checkpoint_request::Against;

use super::Page;
use super::fields::{self, enumeration, given};
use super::session::labels;
use crate::grpc::refusal::Refusal;
use crate::grpc::to_proto;

/// Bytes of a description at most, as the API says.
const MAX_DESCRIPTION_BYTES: usize = 1024;
/// Paths and patterns at most, as the API says.
const MAX_PATHS: usize = 1000;
/// Bytes of text for each file at most, as the API says.
const MAX_PATCH_BYTES: u64 = 1024 * 1024;

/// What a session asks for its files.
#[derive(Debug)]
pub(super) struct SessionFiles {
    pub(super) workspace: Option<String>,
    pub(super) mode: CheckpointMode,
    pub(super) from: Option<CheckpointId>,
}

/// A listing of checkpoints.
#[derive(Debug)]
pub(crate) struct CheckpointsPage {
    /// Which part of it.
    pub(crate) page: Page,
    /// Only those of this session.
    pub(crate) session: Option<String>,
    /// Only those of this workspace.
    pub(crate) workspace: Option<String>,
    /// Labels that each must have.
    pub(crate) labels: BTreeMap<String, String>,
}

/// What a session asks for its files.
pub(super) fn files(
    workspace: String,
    from: String,
    checkpoints: i32,
) -> Result<SessionFiles, Refusal> {
    let workspace = fields::path("workspace", workspace)?;
    let workspace = workspace.map(|path| directory(&path)).transpose()?;
    let mode = mode("checkpoints", checkpoints)?.unwrap_or_default();
    let from = given(from)
        .map(|id| id_in("from_checkpoint", &id))
        .transpose()?;
    let needs = [
        ("checkpoints", mode != CheckpointMode::Off),
        ("from_checkpoint", from.is_some()),
    ];
    match needs.into_iter().find(|(_, needed)| *needed) {
        Some((field, _)) if workspace.is_none() => Err(Refusal::field(field, "needs a workspace")),
        _ => Ok(SessionFiles {
            workspace,
            mode,
            from,
        }),
    }
}

/// A directory whose files can be saved: one name for one directory.
fn directory(path: &str) -> Result<String, Refusal> {
    let refuse = |reason: &str| Err(Refusal::field("workspace", reason));
    if !path.starts_with('/') {
        return refuse("is not an absolute path");
    }
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    match names.as_slice() {
        [] => refuse("is the root directory"),
        names if names.iter().any(|name| matches!(*name, "." | "..")) => {
            refuse("holds `.` or `..`")
        }
        names => Ok(format!("/{}", names.join("/"))),
    }
}

/// When checkpoints are made; nothing where that is not said.
pub(super) fn mode(field: &str, number: i32) -> Result<Option<CheckpointMode>, Refusal> {
    Ok(match enumeration(field, number)? {
        v1::CheckpointMode::Unspecified => None,
        v1::CheckpointMode::Off => Some(CheckpointMode::Off),
        v1::CheckpointMode::Auto => Some(CheckpointMode::Auto),
        v1::CheckpointMode::Every => Some(CheckpointMode::Every),
    })
}

/// The checkpoint that a request is about.
pub(crate) fn checkpoint_id(text: &str) -> Result<CheckpointId, Refusal> {
    id_in("checkpoint_id", text)
}

fn id_in(field: &str, text: &str) -> Result<CheckpointId, Refusal> {
    CheckpointId::parse(text).map_err(|error| Refusal::field(field, format!("is no id: {error}")))
}

fn session(text: String) -> Result<Option<SessionId>, Refusal> {
    given(text).map(|id| fields::session_id(&id)).transpose()
}

fn paths(paths: Vec<Bytes>) -> Result<Vec<TreePath>, Refusal> {
    if paths.len() > MAX_PATHS {
        let reason = format!("has {} paths, at most {MAX_PATHS}", paths.len());
        return Err(Refusal::field("paths", reason));
    }
    let parsed = paths.iter().enumerate().map(|(number, path)| {
        TreePath::parse(path)
            .map_err(|error| Refusal::field(format!("paths[{number}]"), error.to_string()))
    });
    parsed.collect()
}

/// A checkpoint to be made, and in which session.
pub(crate) fn new_checkpoint(
    request: v1::CreateCheckpointRequest,
) -> Result<(SessionId, CreateCheckpoint), Refusal> {
    let described = request.description.len();
    if described > MAX_DESCRIPTION_BYTES {
        let reason = format!("has {described} bytes, at most {MAX_DESCRIPTION_BYTES}");
        return Err(Refusal::field("description", reason));
    }
    if request.ignore.len() > MAX_PATHS {
        let reason = format!("has {} patterns, at most {MAX_PATHS}", request.ignore.len());
        return Err(Refusal::field("ignore", reason));
    }
    if let Err(error) = Rules::new(&request.ignore) {
        let field = format!("ignore[{}]", error.number);
        return Err(Refusal::field(field, error.reason));
    }
    let wanted = CreateCheckpoint {
        description: request.description,
        labels: labels("labels", request.labels)?,
        paths: paths(request.paths)?,
        ignore: request.ignore,
    };
    Ok((fields::session_id(&request.session_id)?, wanted))
}

/// A page of checkpoints and what it is filtered by.
pub(crate) fn checkpoints_page(
    request: v1::ListCheckpointsRequest,
) -> Result<CheckpointsPage, Refusal> {
    let page = Page::parse(
        to_proto::CHECKPOINTS,
        request.page_size,
        &request.page_token,
    )?;
    Ok(CheckpointsPage {
        page,
        session: given(request.session_id),
        workspace: given(request.workspace),
        labels: labels("labels", request.labels)?,
    })
}

/// What is to be compared.
pub(crate) fn comparison(request: v1::DiffCheckpointRequest) -> Result<Difference, Refusal> {
    let (to, session) = match request.against {
        None => return Err(Refusal::field("against", "is required")),
        Some(Against::Checkpoint(other)) => {
            let id = id_in("checkpoint.checkpoint_id", &other.checkpoint_id)?;
            (Some(id), None)
        }
        Some(Against::Workspace(now)) => (None, session(now.session_id)?),
    };
    if request.max_patch_bytes > MAX_PATCH_BYTES {
        let reason = format!("is {}, at most {MAX_PATCH_BYTES}", request.max_patch_bytes);
        return Err(Refusal::field("max_patch_bytes", reason));
    }
    Ok(Difference {
        from: checkpoint_id(&request.checkpoint_id)?,
        to,
        session,
        paths: paths(request.paths)?,
        max_patch_bytes: usize::try_from(request.max_patch_bytes).unwrap_or(usize::MAX),
    })
}

/// What is to be brought back.
pub(crate) fn restore(request: v1::RestoreCheckpointRequest) -> Result<RestoreCheckpoint, Refusal> {
    Ok(RestoreCheckpoint {
        checkpoint: checkpoint_id(&request.checkpoint_id)?,
        session: session(request.session_id)?,
        paths: paths(request.paths)?,
        dry_run: request.dry_run,
        unknown: match enumeration("unknown_files", request.unknown_files)? {
            v1::UnknownFiles::Unspecified | v1::UnknownFiles::Remove => UnknownFiles::Remove,
            v1::UnknownFiles::Keep => UnknownFiles::Keep,
        },
        while_running: request.while_running,
    })
}
