//! The Landlock ruleset of a fence: what is granted, tree by tree, and what is left out.
//!
//! A ruleset grants and cannot except: a file is withheld by granting, on the way from the
//! root to it, every neighbour instead of the directory. A grant goes to the file itself and
//! not to its name, so symbolic links are passed over, and so is what a later mount covers.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
    make_bitflags,
};

use super::{FenceProfile, Network, Withheld, is_all};

/// What every session may read: devices that hold nothing, and its own processes.
const ALWAYS_READ: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/pts",
    "/dev/ptmx",
    "/proc",
];

/// What every session may write to.
const ALWAYS_WRITE: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/tty",
    "/dev/pts",
    "/dev/ptmx",
];

/// What programs consist of besides themselves, and what they execute in turn, where the
/// policy is an allow-list.
const LIBRARIES: [&str; 6] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
];

/// Rights that make, change or remove files. Devices are left out: they want root.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    WriteFile | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSock | MakeFifo | MakeSym | Truncate
});

/// Rights that a single file can have.
const OF_FILES: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{Execute | ReadFile | WriteFile | Truncate});

/// What a fence's files are.
pub(crate) struct Files<'a> {
    /// The profile.
    pub(crate) profile: &'a FenceProfile,
    /// What the policy withholds.
    pub(crate) withheld: &'a Withheld,
    /// Directories with programs.
    pub(crate) programs: &'a [PathBuf],
    /// Where the inputs of commands are, which are read whatever the profile says.
    pub(crate) inputs: Option<&'a Path>,
}

/// Version of Landlock that the kernel has; 0 for none.
pub(crate) fn landlock_abi() -> i32 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: asks for a number; the kernel reads no memory.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            VERSION,
        )
    };
    i32::try_from(answer).unwrap_or(0).max(0)
}

/// Makes the ruleset; nothing where the kernel has no Landlock.
///
/// # Errors
/// Where the kernel refuses it.
pub(crate) fn build(files: &Files<'_>) -> io::Result<Option<OwnedFd>> {
    if landlock_abi() == 0 {
        return Ok(None);
    }
    try_build(files).map(Into::into).map_err(io::Error::other)
}

fn try_build(files: &Files<'_>) -> Result<RulesetCreated, RulesetError> {
    let grants = Grants::of(files);
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    // Without this right no file can be moved into another directory, whatever else is
    // granted; and a ruleset has to handle something to make a domain.
    ruleset = ruleset.handle_access(AccessFs::Refer | AccessFs::MakeBlock)?;
    if !grants.handled.is_empty() {
        ruleset = ruleset.handle_access(grants.handled)?;
    }
    if let Network::Tcp(_) = files.profile.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(ABI::V4))?;
    }
    // A domain of its own keeps a session from tracing others; these from signalling them
    // and from their abstract sockets.
    let mut created = ruleset
        .scope(Scope::Signal | Scope::AbstractUnixSocket)?
        .create()?;
    created = grant(created, Path::new("/"), AccessFs::Refer.into())?;
    for (path, access) in grants.rules {
        created = grant(created, &path, access)?;
    }
    if let Network::Tcp(ports) = &files.profile.network {
        let rules = ports
            .iter()
            .map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::from_all(ABI::V4))));
        created = created.add_rules(rules)?;
    }
    Ok(created)
}

fn grant(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    // What is gone by now needs no grant.
    match PathFd::new(path) {
        Ok(file) => ruleset.add_rule(PathBeneath::new(file, access)),
        Err(_) => Ok(ruleset),
    }
}

/// What is handled, and what of it is granted where.
#[derive(Debug, Default)]
struct Grants {
    handled: BitFlags<AccessFs>,
    rules: Vec<(PathBuf, BitFlags<AccessFs>)>,
}

impl Grants {
    fn of(files: &Files<'_>) -> Self {
        let profile = files.profile;
        let excepts = files.withheld.only_listed || !files.withheld.files.is_empty();
        let mut grants = Self::default();
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        if excepts || !is_all(&profile.read) {
            // Names in directories are no secret of the withheld files.
            grants.handled |= match is_all(&profile.read) {
                true => AccessFs::ReadFile.into(),
                false => read,
            };
        }
        if excepts || !is_all(&profile.execute) {
            grants.handled |= AccessFs::Execute;
        }
        if !is_all(&profile.write) {
            grants.handled |= WRITE;
        }
        let always = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let execute = executable(files);
        let except = Excepted::new(&files.withheld.files);
        let inputs = files.inputs.map(Path::to_owned);
        let readable = profile.read.iter().cloned().chain(always(&ALWAYS_READ));
        for (trees, access) in [
            (readable.chain(inputs).collect(), read),
            (execute, AccessFs::Execute.into()),
        ] {
            for tree in canonical(trees) {
                grants.tree(&tree, access, &except);
            }
        }
        let written = profile.write.iter().cloned().chain(always(&ALWAYS_WRITE));
        for tree in canonical(written.collect()) {
            grants.tree(&tree, WRITE, &Excepted::default());
        }
        grants
    }

    /// Grants a tree, or, where something in it is withheld, all that is not.
    fn tree(&mut self, tree: &Path, access: BitFlags<AccessFs>, except: &Excepted) {
        let access = access & self.handled;
        if access.is_empty() || except.holds(tree) {
            return;
        }
        if !except.directories.contains(tree) {
            let access = if tree.is_dir() {
                access
            } else {
                access & OF_FILES
            };
            self.rules.push((tree.to_owned(), access));
            return;
        }
        let names = access & AccessFs::ReadDir;
        if !names.is_empty() {
            self.rules.push((tree.to_owned(), names));
        }
        for entry in fs::read_dir(tree).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
                self.tree(&entry.path(), access, except);
            }
        }
    }
}

/// Where programs may be executed.
fn executable(files: &Files<'_>) -> Vec<PathBuf> {
    if !files.withheld.only_listed {
        return files.profile.execute.clone();
    }
    let trees = LIBRARIES.iter().map(PathBuf::from);
    let trees = trees.chain(files.programs.iter().cloned());
    let allowed = canonical(files.profile.execute.clone());
    canonical(trees.collect())
        .into_iter()
        .filter(|tree| allowed.iter().any(|allowed| tree.starts_with(allowed)))
        .collect()
}

/// What of these is there, without symbolic links, each once.
fn canonical(trees: Vec<PathBuf>) -> BTreeSet<PathBuf> {
    let found = trees.into_iter().map(fs::canonicalize);
    found.filter_map(Result::ok).collect()
}

/// The withheld files, and the directories above them. A file is known by its number: a
/// grant to another name of it would be a grant to it.
#[derive(Debug, Default)]
struct Excepted {
    files: BTreeSet<(u64, u64)>,
    directories: BTreeSet<PathBuf>,
}

impl Excepted {
    fn new(files: &BTreeSet<PathBuf>) -> Self {
        let above = files.iter().flat_map(|file| file.ancestors().skip(1));
        Self {
            directories: above.map(Path::to_owned).collect(),
            files: files.iter().filter_map(|file| number(file)).collect(),
        }
    }

    fn holds(&self, file: &Path) -> bool {
        !self.files.is_empty() && number(file).is_some_and(|number| self.files.contains(&number))
    }
}

fn number(file: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(file).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(withheld: &Withheld, profile: &FenceProfile) -> Grants {
        Grants::of(&Files {
            profile,
            withheld,
            programs: &[],
            inputs: None,
        })
    }

    #[test]
    fn an_open_fence_handles_no_files() {
        let grants = granted(&Withheld::default(), &FenceProfile::default());
        assert!(grants.handled.is_empty() && grants.rules.is_empty());
    }

    #[test]
    fn a_withheld_file_is_granted_neither_itself_nor_by_a_directory_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        for name in ["rm", "ls", "cat"] {
            fs::write(root.join(name), "").unwrap();
        }
        fs::hard_link(root.join("rm"), root.join("remove")).unwrap();
        let withheld = Withheld {
            files: BTreeSet::from([root.join("rm")]),
            ..Withheld::default()
        };
        let grants = granted(&withheld, &FenceProfile::default());
        let covers = |file: &str| {
            let file = root.join(file);
            let above = grants
                .rules
                .iter()
                .filter(|(tree, _)| file.starts_with(tree));
            above.fold(BitFlags::EMPTY, |all: BitFlags<AccessFs>, (_, access)| {
                all | *access
            })
        };
        let used = AccessFs::ReadFile | AccessFs::Execute;
        assert_eq!(covers("rm") & used, BitFlags::EMPTY);
        assert_eq!(covers("remove") & used, BitFlags::EMPTY);
        assert_eq!([covers("ls") & used, covers("cat") & used], [used, used]);
    }

    #[test]
    fn a_tree_that_may_not_be_written_is_still_read() {
        let dir = tempfile::tempdir().unwrap();
        let profile = FenceProfile {
            write: vec![dir.path().to_owned()],
            ..FenceProfile::default()
        };
        let grants = granted(&Withheld::default(), &profile);
        assert_eq!(grants.handled, WRITE);
        let trees: Vec<_> = grants
            .rules
            .iter()
            .map(|(tree, _)| tree.as_path())
            .collect();
        assert!(trees.contains(&dir.path()) && !trees.contains(&Path::new("/")));
    }
}
