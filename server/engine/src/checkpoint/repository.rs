//! A store: a bare git repository of packs, written and read without running git. Its objects
//! are named by SHA-256, and each checkpoint is a ref below `refs/execgate/`, so any git can
//! look into it. One owner at a time writes; reading needs nobody's leave.
//!
//! A pack appears under its name whole or not at all, and its index after it. What a killed
//! server leaves behind is a file of another name, removed at the next opening.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use data_encoding::HEXLOWER;
use execgate_core::checkpoint::pack::{self, PackIndex, Packed};
use execgate_core::checkpoint::{FileKind, ObjectId, ObjectKind, Objects, Tree};
use sha2::{Digest, Sha256};

/// The settings of a store. Nothing of git's runs by itself in it.
const CONFIG: &str = "[core]
\trepositoryformatversion = 1
\tbare = true
\thooksPath = /dev/null
\tfsmonitor = false
[extensions]
\tobjectformat = sha256
[gc]
\tauto = 0
[receive]
\tautogc = false
[maintenance]
\tauto = false
";
/// Where the refs of checkpoints are.
const REFS: &str = "refs/execgate";
/// Where packs are.
const PACKS: &str = "objects/pack";
/// What the name of an unfinished file begins with.
const UNFINISHED: &str = "tmp_";
/// A store is its owner's alone.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Largest object that is read, in bytes: a file of the largest size, or a directory.
const MAX_OBJECT_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of a pack that are read first: most objects are smaller.
const READ_BYTES: usize = 16 * 1024;

/// One pack.
#[derive(Debug)]
struct Pack {
    path: PathBuf,
    index: PackIndex,
    file: File,
    bytes: u64,
}

/// A store.
#[derive(Debug)]
pub(crate) struct Repository {
    path: PathBuf,
    packs: RwLock<Vec<Arc<Pack>>>,
}

impl Repository {
    /// Opens a store, and makes it if need be.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        for directory in [PACKS, "objects/info", REFS] {
            make_directory(&path.join(directory))?;
        }
        for (name, text) in [("HEAD", "ref: refs/heads/none\n"), ("config", CONFIG)] {
            let file = path.join(name);
            if !file.try_exists()? {
                write_whole(&file, text.as_bytes())?;
            }
        }
        let repository = Self {
            path: path.to_owned(),
            packs: RwLock::default(),
        };
        let mut packs = Vec::new();
        for entry in fs::read_dir(path.join(PACKS))? {
            let file = entry?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(UNFINISHED) {
                fs::remove_file(&file)?;
            } else if name.ends_with(".idx") {
                packs.push(Arc::new(Pack::open(&file.with_extension("pack"))?));
            } else if name.ends_with(".pack") && !file.with_extension("idx").try_exists()? {
                fs::remove_file(&file)?;
            }
        }
        *repository
            .packs
            .write()
            .unwrap_or_else(PoisonError::into_inner) = packs;
        Ok(repository)
    }

    /// Whether an object is there.
    pub(crate) fn contains(&self, id: &ObjectId) -> bool {
        self.packs()
            .iter()
            .any(|pack| pack.index.find(id).is_some())
    }

    /// Reads an object.
    pub(crate) fn read(&self, id: &ObjectId) -> io::Result<(ObjectKind, Vec<u8>)> {
        let (pack, offset) = self.find(id)?;
        let (kind, size, head) = pack.head(offset)?;
        if size > MAX_OBJECT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let from = At {
            file: &pack.file,
            offset: offset + head as u64,
        };
        let content = pack::content(io::BufReader::with_capacity(READ_BYTES, from), size)?;
        match ObjectId::of(kind, &content) == *id {
            true => Ok((kind, content)),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// How many bytes an object has.
    pub(crate) fn size(&self, id: &ObjectId) -> io::Result<u64> {
        let (pack, offset) = self.find(id)?;
        pack.head(offset).map(|(_, size, _)| size)
    }

    /// Bytes of all packs.
    pub(crate) fn bytes(&self) -> u64 {
        self.packs().iter().map(|pack| pack.bytes).sum()
    }

    /// How many packs there are.
    pub(crate) fn pack_count(&self) -> usize {
        self.packs().len()
    }

    /// Begins a pack.
    pub(crate) fn writer(self: &Arc<Self>) -> PackWriter {
        PackWriter {
            repository: Arc::clone(self),
            out: None,
            offset: pack::HEADER_BYTES as u64,
            objects: Vec::new(),
            here: HashSet::new(),
        }
    }

    /// Has a name stand for an object.
    pub(crate) fn name(&self, name: &str, id: &ObjectId) -> io::Result<()> {
        write_whole(
            &self.path.join(REFS).join(name),
            format!("{id}\n").as_bytes(),
        )
    }

    /// Forgets a name.
    pub(crate) fn forget(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(REFS).join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Everything that these objects lead to.
    pub(crate) fn reachable(&self, roots: &[ObjectId]) -> io::Result<HashSet<ObjectId>> {
        let mut known = HashSet::new();
        let mut waiting = roots.to_vec();
        while let Some(id) = waiting.pop() {
            if !known.insert(id) {
                continue;
            }
            let (kind, content) = self.read(&id)?;
            match kind {
                ObjectKind::Commit => {
                    let line = content
                        .get(5..69)
                        .and_then(|hex| std::str::from_utf8(hex).ok());
                    waiting.extend(line.and_then(ObjectId::from_hex));
                }
                ObjectKind::Tree => {
                    known.extend(Tree::notes_id(&content).map_err(io::Error::other)?);
                    let tree = Tree::decode(&content, None).map_err(io::Error::other)?;
                    for entry in tree.entries.into_values() {
                        match entry.kind {
                            FileKind::Directory => waiting.push(entry.id),
                            FileKind::File | FileKind::Link => drop(known.insert(entry.id)),
                        }
                    }
                }
                ObjectKind::Blob => {}
            }
        }
        Ok(known)
    }

    /// The object that a name stands for.
    pub(crate) fn named(&self, name: &str) -> Option<ObjectId> {
        let text = fs::read_to_string(self.path.join(REFS).join(name)).ok()?;
        ObjectId::from_hex(text.trim_end())
    }

    /// Writes what is worth keeping into one pack and removes all others; answers how many
    /// bytes that has freed.
    pub(crate) fn keep(self: &Arc<Self>, wanted: &HashSet<ObjectId>) -> io::Result<u64> {
        let before = self.bytes();
        self.rewrite(self.packs(), |id| wanted.contains(id))?;
        Ok(before.saturating_sub(self.bytes()))
    }

    /// Puts the packs up to this size into one.
    pub(crate) fn merge(self: &Arc<Self>, small: u64) -> io::Result<()> {
        let mut packs = self.packs();
        packs.retain(|pack| pack.bytes <= small);
        self.rewrite(packs, |_any| true)
    }

    /// Writes the wanted objects of some packs into one in their place.
    fn rewrite(
        self: &Arc<Self>,
        old: Vec<Arc<Pack>>,
        wanted: impl Fn(&ObjectId) -> bool,
    ) -> io::Result<()> {
        let mut writer = self.writer();
        for pack in &old {
            for id in pack.index.ids().filter(&wanted) {
                let (kind, content) = self.read(&id)?;
                writer.append(id, kind, &content)?;
            }
        }
        let new = writer.seal()?;
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        packs.retain(|pack| !old.iter().any(|old| old.path == pack.path));
        let kept = new.as_ref().map(|pack| pack.path.clone());
        packs.extend(new);
        drop(packs);
        for pack in old.iter().filter(|pack| kept.as_ref() != Some(&pack.path)) {
            fs::remove_file(pack.path.with_extension("idx"))?;
            fs::remove_file(&pack.path)?;
        }
        Ok(())
    }

    fn packs(&self) -> Vec<Arc<Pack>> {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        packs.clone()
    }

    fn find(&self, id: &ObjectId) -> io::Result<(Arc<Pack>, u64)> {
        let packs = self.packs().into_iter();
        packs
            .filter_map(|pack| pack.index.find(id).map(|offset| (pack, offset)))
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no object {id}")))
    }
}

impl Objects for Repository {
    type Error = io::Error;

    fn tree(&self, id: &ObjectId) -> io::Result<Tree> {
        let (ObjectKind::Tree, content) = self.read(id)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let notes = Tree::notes_id(&content).map_err(io::Error::other)?;
        let notes = notes.map(|id| self.read(&id)).transpose()?;
        let notes = notes.as_ref().map(|(_, content)| content.as_slice());
        Tree::decode(&content, notes).map_err(io::Error::other)
    }
}

impl Pack {
    fn open(path: &Path) -> io::Result<Self> {
        let index = PackIndex::parse(fs::read(path.with_extension("idx"))?);
        let file = File::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            index: index.ok_or(io::ErrorKind::InvalidData)?,
            bytes: file.metadata()?.len(),
            file,
        })
    }

    fn head(&self, offset: u64) -> io::Result<(ObjectKind, u64, usize)> {
        let mut head = [0; pack::MAX_ENTRY_HEADER_BYTES];
        let read = self.file.read_at(&mut head, offset)?;
        let head = pack::entry_header(head.get(..read).unwrap_or_default());
        head.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Reads a file from an offset on, whoever else reads it.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// A pack that is being written; nothing is, before there is an object for it. Dropping it
/// unfinished leaves nothing.
pub(crate) struct PackWriter {
    repository: Arc<Repository>,
    out: Option<Unfinished>,
    offset: u64,
    objects: Vec<Packed>,
    here: HashSet<ObjectId>,
}

/// A pack's file, under the name that it has before it counts.
struct Unfinished {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Unfinished {
    fn create(directory: &Path) -> io::Result<Self> {
        let random: [u8; 8] = crate::random::bytes().map_err(io::Error::other)?;
        let path = directory.join(format!("{UNFINISHED}{}", HEXLOWER.encode(&random)));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)?;
        let file = BufWriter::with_capacity(256 * 1024, file);
        let mut unfinished = Self { path, file };
        unfinished.file.write_all(&pack::header(0))?;
        Ok(unfinished)
    }
}

impl PackWriter {
    /// Adds an object, unless the store has it.
    pub(crate) fn add(&mut self, kind: ObjectKind, content: &[u8]) -> io::Result<ObjectId> {
        let id = ObjectId::of(kind, content);
        if !self.repository.contains(&id) {
            self.append(id, kind, content)?;
        }
        Ok(id)
    }

    fn append(&mut self, id: ObjectId, kind: ObjectKind, content: &[u8]) -> io::Result<()> {
        if !self.here.insert(id) {
            return Ok(());
        }
        let entry = pack::entry(kind, content)?;
        let out = match &mut self.out {
            Some(out) => out,
            None => self
                .out
                .insert(Unfinished::create(&self.repository.path.join(PACKS))?),
        };
        out.file.write_all(&entry)?;
        self.objects.push(Packed {
            id,
            crc: pack::checksum(&entry),
            offset: self.offset,
        });
        self.offset += entry.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset
    }

    /// Has the pack count from here on. Without objects there is none.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if let Some(pack) = self.seal()? {
            let packs = &self.repository.packs;
            packs
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .push(pack);
        }
        Ok(())
    }

    fn seal(&mut self) -> io::Result<Option<Arc<Pack>>> {
        let Some(out) = &mut self.out else {
            return Ok(None);
        };
        let count = u32::try_from(self.objects.len()).map_err(io::Error::other)?;
        out.file.flush()?;
        let file = out.file.get_mut();
        file.write_all_at(&pack::header(count), 0)?;
        file.seek(SeekFrom::Start(0))?;
        let checksum = digest(file)?;
        file.write_all(&checksum)?;
        file.sync_data()?;
        let name = format!("pack-{}.pack", HEXLOWER.encode(&checksum));
        let path = out.path.with_file_name(name);
        fs::rename(&out.path, &path)?;
        self.out = None;
        write_whole(
            &path.with_extension("idx"),
            &pack::index(&mut self.objects, &checksum),
        )?;
        Ok(Some(Arc::new(Pack::open(&path)?)))
    }
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        if let Some(out) = &self.out {
            // The next opening removes it otherwise.
            let _left = fs::remove_file(&out.path);
        }
    }
}

/// The checksum of what is still to be read of a file.
fn digest(file: &mut File) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Makes a directory, and those it is in, for the server alone.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
}

/// Writes a file that is there as a whole or as it was before, also after a power cut.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let random: [u8; 8] = crate::random::bytes().map_err(io::Error::other)?;
    let unfinished = directory.join(format!("{UNFINISHED}{}", HEXLOWER.encode(&random)));
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&unfinished)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_data())
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // The disk may be full; what is half there must not take room.
        let _left = fs::remove_file(&unfinished);
    }
    written?;
    File::open(directory)?.sync_all()
}
