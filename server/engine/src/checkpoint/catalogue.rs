//! What is known of checkpoints beside their files: one file of JSON for each, which is the
//! truth about whether there is one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use execgate_core::checkpoint::{ObjectId, Omission, Scope, TreePath};
use execgate_core::ids::{CheckpointId, Principal};
use serde::{Deserialize, Serialize};

use super::repository::write_whole;

/// The end of a file's name.
const ENDING: &str = "json";
/// Bytes of such a file at most: a thousand long names.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What made a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointTrigger {
    /// Somebody asked for it.
    Requested,
    /// A command that was about to run.
    BeforeExecution,
    /// A restore that was about to happen.
    BeforeRestore,
}

/// A file that a checkpoint does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OmittedFile {
    /// Its path; that of a directory, left out with all that is in it, ends in `/`.
    pub path: Vec<u8>,
    /// Why.
    pub reason: Omission,
}

/// A saved state of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its id.
    pub id: CheckpointId,
    /// Whose it is.
    pub principal: Principal,
    /// The session that made it.
    pub session: String,
    /// The target that it was made on.
    pub target: String,
    /// The directory that it covers.
    pub workspace: String,
    /// When it was made.
    pub created: SystemTime,
    /// What made it.
    pub trigger: CheckpointTrigger,
    /// The execution that it was made before.
    pub execution: Option<String>,
    /// What it is for.
    pub description: String,
    /// The client's own notes.
    pub labels: BTreeMap<String, String>,
    /// The checkpoint before it.
    pub parent: Option<CheckpointId>,
    /// Files and links in it.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Its content: equal ones have equal digests.
    pub tree: ObjectId,
    /// Some of what was left out.
    pub omitted: Vec<OmittedFile>,
    /// How much was left out.
    pub omitted_count: u64,
    /// Which part of the workspace it holds.
    pub scope: Scope,
    /// By which patterns files were left out.
    pub ignore: Vec<String>,
}

impl Checkpoint {
    /// Whether it was made without being asked for.
    pub(super) fn is_automatic(&self) -> bool {
        self.trigger != CheckpointTrigger::Requested
    }

    /// Whether it covers what another one would that is made like this.
    pub(super) fn covers_like(&self, scope: &Scope, ignore: &[String]) -> bool {
        self.scope == *scope && self.ignore == ignore
    }

    pub(super) fn to_json(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&Row::of(self))?)
    }

    pub(super) fn store(&self, directory: &Path) -> io::Result<()> {
        write_whole(&path(directory, &self.id), &self.to_json()?)
    }

    pub(super) fn remove(&self, directory: &Path) -> io::Result<()> {
        match fs::remove_file(path(directory, &self.id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

fn path(directory: &Path, id: &CheckpointId) -> PathBuf {
    directory.join(id.as_str()).with_extension(ENDING)
}

/// All checkpoints of a directory. What is damaged is told of and left alone.
pub(super) fn load(directory: &Path) -> io::Result<Vec<Checkpoint>> {
    let mut checkpoints = Vec::new();
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file.extension().is_none_or(|ending| ending != ENDING) {
            continue;
        }
        if fs::metadata(&file)?.len() > MAX_BYTES {
            tracing::warn!(file = %file.display(), "a checkpoint's record is too large");
            continue;
        }
        let row = serde_json::from_slice::<Row>(&fs::read(&file)?);
        match row.ok().and_then(Row::checkpoint) {
            Some(checkpoint) => checkpoints.push(checkpoint),
            None => tracing::warn!(file = %file.display(), "a checkpoint's record is damaged"),
        }
    }
    Ok(checkpoints)
}

/// A checkpoint as it stands in its file. Fields may be added, never renamed.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    id: String,
    principal: String,
    session: String,
    target: String,
    workspace: String,
    /// Microseconds since 1970.
    created: u64,
    trigger: CheckpointTrigger,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    execution: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    files: u64,
    bytes: u64,
    tree: String,
    /// Paths in base64, each with the place of its reason.
    #[serde(default)]
    omitted: Vec<(String, usize)>,
    #[serde(default)]
    omitted_count: u64,
    /// In base64.
    #[serde(default)]
    scope: Vec<String>,
    #[serde(default)]
    ignore: Vec<String>,
}

impl Row {
    fn of(checkpoint: &Checkpoint) -> Self {
        let created = checkpoint.created.duration_since(SystemTime::UNIX_EPOCH);
        let place = |reason| Omission::ALL.iter().position(|known| *known == reason);
        let scope = checkpoint.scope.paths().iter();
        Self {
            id: checkpoint.id.to_string(),
            principal: checkpoint.principal.to_string(),
            session: checkpoint.session.clone(),
            target: checkpoint.target.clone(),
            workspace: checkpoint.workspace.clone(),
            created: u64::try_from(created.unwrap_or_default().as_micros()).unwrap_or(u64::MAX),
            trigger: checkpoint.trigger,
            execution: checkpoint.execution.clone(),
            description: checkpoint.description.clone(),
            labels: checkpoint.labels.clone(),
            parent: checkpoint.parent.as_ref().map(ToString::to_string),
            files: checkpoint.files,
            bytes: checkpoint.bytes,
            tree: checkpoint.tree.to_string(),
            omitted: checkpoint
                .omitted
                .iter()
                .map(|file| (BASE64.encode(&file.path), place(file.reason).unwrap_or(0)))
                .collect(),
            omitted_count: checkpoint.omitted_count,
            scope: scope.map(|path| BASE64.encode(path.as_bytes())).collect(),
            ignore: checkpoint.ignore.clone(),
        }
    }

    fn checkpoint(self) -> Option<Checkpoint> {
        let id = |text: &str| CheckpointId::parse(text).ok();
        let bytes = |text: &String| BASE64.decode(text.as_bytes()).ok();
        let paths = self.scope.iter().map(|text| {
            let path = bytes(text)?;
            TreePath::parse(&path).ok()
        });
        let omitted = self.omitted.iter().map(|(text, place)| {
            Some(OmittedFile {
                path: bytes(text)?,
                reason: *Omission::ALL.get(*place)?,
            })
        });
        Some(Checkpoint {
            id: id(&self.id)?,
            principal: Principal::new(self.principal.clone()),
            created: SystemTime::UNIX_EPOCH + Duration::from_micros(self.created),
            trigger: self.trigger,
            parent: self.parent.as_deref().and_then(id),
            files: self.files,
            bytes: self.bytes,
            tree: ObjectId::from_hex(&self.tree)?,
            omitted: omitted.collect::<Option<_>>()?,
            omitted_count: self.omitted_count,
            scope: Scope::new(paths.collect::<Option<_>>()?),
            session: self.session,
            target: self.target,
            workspace: self.workspace,
            execution: self.execution,
            description: self.description,
            labels: self.labels,
            ignore: self.ignore,
        })
    }
}
