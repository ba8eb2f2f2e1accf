//! Which program files a policy's rules withhold: the denied names on the search path, and
//! the multi-call binaries that hold a denied name.
//!
//! Only what the session's user cannot write anyway is withheld: Landlock can except a file
//! from a tree only by granting all of its neighbours one by one, and what is made there
//! later would be out of reach until the next shell.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use execgate_core::policy::{PolicyStack, ProgramFate};
use execgate_core::shell::ShellKind;

/// Where programs are besides on the session's own PATH.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Binaries that are many programs at once, told apart by their first argument.
const MULTI_CALL: [&str; 5] = ["busybox", "toybox", "coreutils", "sbase-box", "ubase-box"];

/// What the kernel executes to start any other program.
const LOADERS: [&str; 3] = ["ld-linux", "ld-musl", "ld.so"];

/// Largest multi-call binary that is looked into, in bytes.
const MAX_MULTI_CALL_BYTES: u64 = 64 * 1024 * 1024;

/// Longest name of a program in a multi-call binary, in bytes.
const MAX_NAME_BYTES: usize = 24;

/// Where and for whom programs are looked up.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    /// The session's PATH.
    pub(crate) path: String,
    /// User id of the session's processes.
    pub(crate) uid: u32,
    /// Group id of the session's processes.
    pub(crate) gid: u32,
    /// Name of the session's shell, which has to start.
    pub(crate) shell: String,
}

/// The programs that a session is not to execute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Withheld {
    /// Their files, without symbolic links.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Names that are denied and not withheld, with the reason.
    pub(crate) left: BTreeSet<String>,
    /// Nothing is to be executed outside of the search path and what its programs consist
    /// of: the policy is an allow-list.
    pub(crate) only_listed: bool,
    /// The directories that were looked at, with the time of their last change.
    pub(crate) looked_at: Vec<(PathBuf, Option<(i64, i64)>)>,
}

impl Withheld {
    /// Finds them.
    pub(crate) fn find(policy: &PolicyStack, search: &Search) -> Self {
        let rules = policy.program_rules();
        let mut found = Self {
            only_listed: rules.allow_list,
            ..Self::default()
        };
        if !rules.denies_any() {
            return found;
        }
        let directories = search.directories();
        let mut denied_files = BTreeMap::new();
        let mut kept = BTreeMap::new();
        for directory in directories.iter().rev() {
            found
                .looked_at
                .push((directory.clone(), changed(directory)));
            for (name, file) in programs(directory) {
                match policy.program(&name) {
                    ProgramFate::Denied => denied_files.insert(file, name),
                    ProgramFate::Named => kept.insert(file, format!("allowed as {name}")),
                    ProgramFate::Open if holds_denied(policy, &name, &file) => {
                        denied_files.insert(file, name)
                    }
                    // A binary that is other programs too cannot go for one of them.
                    ProgramFate::Open if file.file_name() != Some(OsStr::new(&name)) => {
                        kept.insert(file, format!("it is {name}, too"))
                    }
                    ProgramFate::Open => None,
                };
            }
        }
        if let Some(shell) = find(&directories, &search.shell) {
            kept.insert(shell, "the session's shell".to_owned());
        }
        for (file, name) in denied_files {
            let kept = match kept.remove(&file) {
                Some(reason) => Some(reason),
                None if is_loader(&file) => Some("starts every program".to_owned()),
                None if writable(&file, search) => {
                    Some("the session's user may replace it".to_owned())
                }
                None => None,
            };
            match kept {
                Some(reason) => drop(found.left.insert(format!("{name} ({reason})"))),
                None => drop(found.files.insert(file)),
            }
        }
        found
    }

    /// Whether what was looked at has changed since.
    pub(crate) fn is_stale(&self) -> bool {
        self.looked_at
            .iter()
            .any(|(directory, time)| changed(directory) != *time)
    }
}

impl Search {
    /// The shell is the one asked for, or else the first that is there.
    pub(crate) fn new(path: &str, uid: u32, gid: u32, shell: Option<&str>) -> Self {
        let mut search = Self {
            path: path.to_owned(),
            uid,
            gid,
            shell: String::new(),
        };
        let directories = search.directories();
        let asked = shell.map(|shell| [shell, ShellKind::Ash.program()]);
        let candidates = match asked {
            Some(asked) => asked.to_vec(),
            None => ShellKind::PREFERENCE.map(ShellKind::program).to_vec(),
        };
        let found = candidates
            .into_iter()
            .find(|shell| find(&directories, shell).is_some());
        search.shell = found.unwrap_or_default().to_owned();
        search
    }

    /// The directories, without symbolic links, each once.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let mut directories = Vec::new();
        let own = self.path.split(':').filter(|path| path.starts_with('/'));
        for directory in own.chain(DIRECTORIES) {
            let Ok(directory) = fs::canonicalize(directory) else {
                continue;
            };
            if directory.is_dir() && !directories.contains(&directory) {
                directories.push(directory);
            }
        }
        directories
    }
}

fn find(directories: &[PathBuf], program: &str) -> Option<PathBuf> {
    let mut candidates = directories.iter().map(|directory| directory.join(program));
    candidates.find_map(|candidate| fs::canonicalize(candidate).ok())
}

fn changed(directory: &Path) -> Option<(i64, i64)> {
    let metadata = fs::metadata(directory).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec()))
}

/// The programs in a directory: their names, and their files without symbolic links.
fn programs(directory: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let program = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        // A link that leads nowhere is no program.
        let file = match entry.file_type().ok()?.is_symlink() {
            true => fs::canonicalize(entry.path()).ok()?,
            false => entry.path(),
        };
        file.is_file().then_some((name, file))
    };
    entries.filter_map(program).collect()
}

fn is_loader(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| LOADERS.iter().any(|loader| name.starts_with(loader)))
}

/// Whether a multi-call binary holds the name of a denied program: such binaries have theirs
/// in a table of C strings.
fn holds_denied(policy: &PolicyStack, name: &str, file: &Path) -> bool {
    if !MULTI_CALL.contains(&name) {
        return false;
    }
    let size = fs::metadata(file).map_or(u64::MAX, |metadata| metadata.len());
    // What cannot be looked into is not to be trusted either.
    let bytes = match size > MAX_MULTI_CALL_BYTES {
        true => return true,
        false => fs::read(file),
    };
    let Ok(bytes) = bytes else { return true };
    let of_name =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-[".contains(byte);
    bytes.split(|byte| *byte == 0).any(|word| {
        (1..=MAX_NAME_BYTES).contains(&word.len())
            && word.iter().all(of_name)
            && str::from_utf8(word).is_ok_and(|name| policy.program(name) == ProgramFate::Denied)
    })
}

/// Whether the session's user could put another file in the place of this one.
fn writable(file: &Path, search: &Search) -> bool {
    file.ancestors().skip(1).any(|directory| {
        fs::metadata(directory).map_or(true, |metadata| {
            let mode = metadata.mode();
            (search.uid != 0 && metadata.uid() == search.uid)
                || (metadata.gid() == search.gid && mode & 0o020 != 0)
                || mode & 0o002 != 0
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use execgate_core::policy::Policy;

    use super::*;

    const POLICY: &str = "default = \"allow\"\n\
        [[rule]]\nid = \"no-rm\"\neffect = \"deny\"\nprogram = \"rm\"\n\
        [[rule]]\nid = \"no-halt\"\neffect = \"deny\"\nprogram = \"halt\"\n\
        [[rule]]\nid = \"no-stop\"\neffect = \"deny\"\nprogram = \"stop\"\n\
        [[rule]]\nid = \"no-bash\"\neffect = \"deny\"\nprogram = \"bash\"\n\
        [[rule]]\nid = \"ctl\"\neffect = \"allow\"\nprogram = \"ctl\"\n";

    /// A directory of programs that belongs to nobody but the test.
    fn programs() -> tempfile::TempDir {
        let dir = tempfile::tempdir_in("/var/lib")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), mode).unwrap();
        let file = |name: &str, text: &[u8]| fs::write(dir.path().join(name), text).unwrap();
        file("rm", b"1");
        file("bash", b"2");
        file("ctl", b"3");
        file("busybox", b"\x7fELF\0cp\0rm\0\0");
        file("toybox", b"\x7fELF\0cp\0mv\0\0");
        file("box", b"4");
        symlink("ctl", dir.path().join("halt")).unwrap();
        symlink("box", dir.path().join("stop")).unwrap();
        symlink("box", dir.path().join("start")).unwrap();
        dir
    }

    fn search(dir: &Path, uid: u32) -> Search {
        Search {
            path: dir.display().to_string(),
            uid,
            gid: 65_534,
            shell: "bash".to_owned(),
        }
    }

    fn names(dir: &Path, found: &Withheld) -> Vec<String> {
        let own = found
            .files
            .iter()
            .filter_map(|file| file.strip_prefix(dir).ok());
        own.map(|name| name.display().to_string()).collect()
    }

    #[test]
    fn denied_programs_and_the_multi_call_binaries_that_hold_them_are_withheld() {
        let dir = programs();
        let root = fs::canonicalize(dir.path()).unwrap();
        let policy = PolicyStack::new(Policy::from_toml(POLICY).unwrap());
        let me = rustix::process::getuid().as_raw();
        let found = Withheld::find(&policy, &search(&root, me + 1));
        // Not below a directory that everybody may write, as without root.
        if me == 0 {
            assert_eq!(names(&root, &found), ["busybox", "rm"]);
            for left in [
                "bash (the session's shell)",
                "halt (allowed as ctl)",
                "stop (it is start, too)",
            ] {
                assert!(found.left.contains(left), "{:?}", found.left);
            }
        }
        assert!(!found.is_stale());
        fs::write(dir.path().join("new"), "").unwrap();
        assert!(found.is_stale());
    }

    #[test]
    fn what_the_sessions_user_could_replace_is_said_not_withheld() {
        let dir = programs();
        let root = fs::canonicalize(dir.path()).unwrap();
        let policy = PolicyStack::new(Policy::from_toml(POLICY).unwrap());
        let owner = fs::metadata(&root).unwrap().uid();
        if owner == 0 {
            std::os::unix::fs::chown(&root, Some(4711), None).unwrap();
        }
        let owner = fs::metadata(&root).unwrap().uid();
        let found = Withheld::find(&policy, &search(&root, owner));
        assert_eq!(names(&root, &found), Vec::<String>::new());
        let said = "rm (the session's user may replace it)".to_owned();
        assert!(found.left.contains(&said), "{:?}", found.left);
    }

    #[test]
    fn an_open_policy_looks_nothing_up() {
        let found = Withheld::find(
            &PolicyStack::new(Policy::open()),
            &search(Path::new("/"), 1),
        );
        assert_eq!(found, Withheld::default());
    }
}
