//! The stores of all workspaces, and what is kept in each. Somebody else's checkpoint is one
//! that is not there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use execgate_core::checkpoint::ObjectId;
use execgate_core::ids::{CheckpointId, Principal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, RwLock};

use super::CheckpointSettings;
use super::catalogue::{self, Checkpoint};
use super::index::Index;
use super::repository::{Repository, make_directory, write_whole};

/// What a store is for.
const ABOUT: &str = "workspace.json";
/// Where its repository is.
const REPOSITORY: &str = "git";
/// Where its checkpoints are listed.
const CATALOGUE: &str = "catalogue";
/// A restore that has begun.
const JOURNAL: &str = "restore.json";
/// Bytes of a store's name: enough of a hash.
const NAME_BYTES: usize = 16;
/// Packs from which on they are made one again.
const MAX_PACKS: usize = 48;
/// Packs up to this many bytes are put together: that takes milliseconds.
const SMALL_PACK_BYTES: u64 = 4 * 1024 * 1024;
/// Checkpoints that are removed before it is seen what room that frees: it takes a look at
/// all others.
const REMOVED: usize = 16;

/// Stores without a session of which is kept in memory what is known: some ten megabytes for
/// a hundred thousand files each.
const MAX_IDLE: usize = 8;

/// Whose workspace, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) principal: String,
    pub(crate) target: String,
    pub(crate) workspace: String,
}

/// A restore on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) checkpoint: String,
    pub(super) pre_restore: String,
    /// The directory in the workspace where files were put aside.
    pub(super) aside: String,
    /// What was asked, so that a repeat is known as one.
    pub(super) request: String,
}

/// All stores.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    pub(super) settings: CheckpointSettings,
    spaces: Mutex<HashMap<Key, Arc<Space>>>,
    /// Those that no session uses any more and of which is known what is in them.
    idle: Mutex<VecDeque<Arc<Space>>>,
}

/// The store of one workspace.
#[derive(Debug)]
pub(crate) struct Space {
    pub(super) key: Key,
    path: PathBuf,
    /// There is one while somebody uses it: what is known of a workspace holds it.
    repository: Mutex<Weak<Repository>>,
    listed: Mutex<BTreeMap<CheckpointId, Arc<Checkpoint>>>,
    /// How many were removed since room was last freed.
    removed: AtomicUsize,
    /// Held for reading by each command in the workspace, and for writing by a restore.
    pub(super) gate: Arc<RwLock<()>>,
    /// Held by whoever works with the store.
    pub(super) work: Arc<AsyncMutex<Work>>,
}

/// What is known of a workspace between two looks.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) index: Option<Index>,
    /// By which patterns it was looked at. The rules themselves are a hundred times as large.
    pub(super) patterns: Vec<String>,
    /// Which program looked last: only that one knows what happened since.
    pub(super) looker: u64,
    /// What it was written as.
    pub(super) tree: Option<ObjectId>,
    /// Where it was written to, with its files open.
    pub(super) repository: Option<Arc<Repository>>,
}

impl Checkpoints {
    /// Opens what there is.
    pub(crate) fn open(settings: CheckpointSettings) -> io::Result<Self> {
        make_directory(&settings.directory)?;
        let mut spaces = HashMap::new();
        for entry in fs::read_dir(&settings.directory)? {
            let path = entry?.path();
            let about = fs::read(path.join(ABOUT)).ok();
            let key = about.and_then(|text| serde_json::from_slice::<Key>(&text).ok());
            let Some(key) = key else {
                tracing::warn!(path = %path.display(), "no store of checkpoints");
                continue;
            };
            let space = Space::open(key.clone(), path)?;
            spaces.insert(key, Arc::new(space));
        }
        Ok(Self {
            settings,
            spaces: Mutex::new(spaces),
            idle: Mutex::default(),
        })
    }

    /// The store of a workspace; nothing is made before something is kept in it.
    pub(crate) fn space(&self, key: Key) -> Arc<Space> {
        let mut spaces = self.lock();
        let path = self.settings.directory.join(key.name());
        let space = spaces
            .entry(key)
            .or_insert_with_key(|key| Arc::new(Space::new(key.clone(), path)));
        Arc::clone(space)
    }

    /// A principal's checkpoint and where it is kept.
    pub(crate) fn find(
        &self,
        principal: &Principal,
        id: &CheckpointId,
    ) -> Option<(Arc<Space>, Arc<Checkpoint>)> {
        let spaces: Vec<_> = self.of(principal);
        spaces.into_iter().find_map(|space| {
            let checkpoint = space.lock().get(id).cloned()?;
            Some((space, checkpoint))
        })
    }

    /// A principal's checkpoints, in any order.
    pub(crate) fn list(&self, principal: &Principal) -> Vec<Arc<Checkpoint>> {
        let spaces = self.of(principal).into_iter();
        spaces.flat_map(|space| space.list()).collect()
    }

    /// A session uses a store no more. What is known of a few is kept, for the next.
    pub(super) async fn leave(&self, space: &Arc<Space>) {
        let forgotten = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|known| !Arc::ptr_eq(known, space));
            idle.push_back(Arc::clone(space));
            match idle.len() > MAX_IDLE {
                true => idle.pop_front(),
                false => None,
            }
        };
        if let Some(forgotten) = forgotten {
            *forgotten.work.lock().await = Work::default();
        }
    }

    /// All stores.
    pub(super) fn all(&self) -> Vec<Arc<Space>> {
        self.lock().values().cloned().collect()
    }

    /// Removes the stores that hold nothing and that nobody uses.
    pub(super) fn drop_empty(&self) -> io::Result<()> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|space| !space.lock().is_empty());
        let mut spaces = self.lock();
        let empty: Vec<Key> = spaces
            .values()
            .filter(|space| Arc::strong_count(space) == 1 && space.lock().is_empty())
            .map(|space| space.key.clone())
            .collect();
        for key in empty {
            if let Some(space) = spaces.remove(&key)
                && space.path.try_exists()?
            {
                fs::remove_dir_all(&space.path)?;
            }
        }
        Ok(())
    }

    /// Bytes of all stores.
    pub(super) fn bytes(&self) -> u64 {
        let spaces: Vec<_> = self.lock().values().cloned().collect();
        spaces.iter().map(|space| space.bytes()).sum()
    }

    fn of(&self, principal: &Principal) -> Vec<Arc<Space>> {
        let spaces = self.lock();
        let own = spaces.values();
        own.filter(|space| space.key.principal == principal.as_str())
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Space>>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn name(&self) -> String {
        let mut digest = Sha256::new();
        for part in [&self.principal, &self.target, &self.workspace] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let name: [u8; 32] = digest.finalize().into();
        HEXLOWER.encode(name.get(..NAME_BYTES).unwrap_or_default())
    }
}

impl Space {
    fn new(key: Key, path: PathBuf) -> Self {
        Self {
            key,
            path,
            repository: Mutex::default(),
            listed: Mutex::default(),
            removed: AtomicUsize::new(0),
            gate: Arc::default(),
            work: Arc::default(),
        }
    }

    fn open(key: Key, path: PathBuf) -> io::Result<Self> {
        make_directory(&path.join(CATALOGUE))?;
        let space = Self::new(key, path);
        let listed = catalogue::load(&space.path.join(CATALOGUE))?;
        *space.lock() = listed
            .into_iter()
            .map(|checkpoint| (checkpoint.id.clone(), Arc::new(checkpoint)))
            .collect();
        Ok(space)
    }

    /// Its repository; made where there is none.
    pub(super) fn repository(&self) -> io::Result<Arc<Repository>> {
        let mut known = self
            .repository
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(repository) = known.upgrade() {
            return Ok(repository);
        }
        make_directory(&self.path.join(CATALOGUE))?;
        let about = self.path.join(ABOUT);
        if !about.try_exists()? {
            write_whole(&about, &serde_json::to_vec(&self.key)?)?;
        }
        let opened = Arc::new(Repository::open(&self.path.join(REPOSITORY))?);
        *known = Arc::downgrade(&opened);
        Ok(opened)
    }

    /// Its checkpoints.
    pub(super) fn list(&self) -> Vec<Arc<Checkpoint>> {
        self.lock().values().cloned().collect()
    }

    /// The newest of these checkpoints.
    pub(super) fn newest_like(
        &self,
        like: impl Fn(&Checkpoint) -> bool,
    ) -> Option<Arc<Checkpoint>> {
        let listed = self.lock();
        let these = listed.values().filter(|checkpoint| like(checkpoint));
        these.max_by_key(|checkpoint| checkpoint.created).cloned()
    }

    /// Has a checkpoint be there, whose commit is written.
    pub(super) fn add(
        &self,
        checkpoint: Checkpoint,
        commit: &ObjectId,
    ) -> io::Result<Arc<Checkpoint>> {
        self.repository()?.name(checkpoint.id.as_str(), commit)?;
        checkpoint.store(&self.path.join(CATALOGUE))?;
        let checkpoint = Arc::new(checkpoint);
        let mut listed = self.lock();
        listed.insert(checkpoint.id.clone(), Arc::clone(&checkpoint));
        Ok(checkpoint)
    }

    /// Has a checkpoint be gone. Its room is freed by [`Space::collect`].
    pub(super) fn remove(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        checkpoint.remove(&self.path.join(CATALOGUE))?;
        self.lock().remove(&checkpoint.id);
        self.removed.fetch_add(1, Ordering::Relaxed);
        self.repository()?.forget(checkpoint.id.as_str())
    }

    /// Puts small packs together, and frees what has been removed once that is worth it.
    pub(super) fn tidy(&self, known: Option<ObjectId>) -> io::Result<()> {
        let repository = self.repository()?;
        if self.removed.load(Ordering::Relaxed) >= REMOVED {
            self.collect(known)?;
        } else if repository.pack_count() > MAX_PACKS {
            repository.merge(SMALL_PACK_BYTES)?;
        }
        Ok(())
    }

    /// Frees what no checkpoint holds, nor what is known of the workspace now.
    pub(super) fn collect(&self, known: Option<ObjectId>) -> io::Result<u64> {
        let repository = self.repository()?;
        let mut roots: Vec<ObjectId> = known.into_iter().collect();
        for checkpoint in self.list() {
            roots.extend(repository.named(checkpoint.id.as_str()));
            roots.push(checkpoint.tree);
        }
        let wanted = repository.reachable(&roots)?;
        self.removed.store(0, Ordering::Relaxed);
        repository.keep(&wanted)
    }

    /// Bytes of its packs.
    pub(super) fn bytes(&self) -> u64 {
        let known = self
            .repository
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade();
        match known {
            Some(repository) => repository.bytes(),
            None => bytes_in(&self.path.join(REPOSITORY).join("objects/pack")),
        }
    }

    /// The restore that has begun and not ended.
    pub(super) fn journal(&self) -> Option<Journal> {
        let text = fs::read(self.path.join(JOURNAL)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// A restore begins.
    pub(super) fn begin(&self, journal: &Journal) -> io::Result<()> {
        write_whole(&self.path.join(JOURNAL), &serde_json::to_vec(journal)?)
    }

    /// It has ended.
    pub(super) fn end(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(JOURNAL)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Those that are too old, or too many; never one that was asked for because of its number.
    pub(super) fn expired(
        &self,
        settings: &CheckpointSettings,
        now: SystemTime,
    ) -> Vec<(Arc<Checkpoint>, &'static str)> {
        let mut listed = self.list();
        listed.sort_by_key(|checkpoint| checkpoint.created);
        let old = |checkpoint: &Checkpoint| {
            let age = now.duration_since(checkpoint.created).unwrap_or_default();
            age > settings.keep_for
        };
        let mut expired: Vec<_> = listed
            .iter()
            .filter(|c| old(c))
            .map(|c| (Arc::clone(c), "age"))
            .collect();
        let mut over = (listed.len() - expired.len()).saturating_sub(settings.keep);
        for checkpoint in listed.iter().filter(|c| !old(c) && c.is_automatic()) {
            if over == 0 {
                break;
            }
            over -= 1;
            expired.push((Arc::clone(checkpoint), "count"));
        }
        expired
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CheckpointId, Arc<Checkpoint>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let sizes = entries.filter_map(|entry| entry.ok()?.metadata().ok());
    sizes.map(|metadata| metadata.len()).sum()
}
