//! Random trees: scripts that make and change them in any POSIX shell, and what this process
//! sees of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// All that has to come back of a directory: by path, its kind, mode, and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree(BTreeMap<Vec<u8>, (char, u32, Vec<u8>)>);

impl Tree {
    pub(super) fn read(root: &Path) -> Self {
        let mut tree = BTreeMap::new();
        let mut waiting = vec![root.to_owned()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let mode = metadata.mode() & 0o7777;
                let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
                let row = if metadata.is_dir() {
                    waiting.push(path.clone());
                    ('d', mode, Vec::new())
                } else if metadata.is_symlink() {
                    let leads = fs::read_link(&path).unwrap().into_os_string();
                    ('l', 0, leads.into_vec())
                } else {
                    ('f', mode, fs::read(&path).unwrap())
                };
                tree.insert(name.to_vec(), row);
            }
        }
        Self(tree)
    }

    /// Where it is not like another, in words.
    pub(super) fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        let paths: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        for path in paths {
            let (is, should) = (self.0.get(path), other.0.get(path));
            if is != should {
                let short = |row: Option<&(char, u32, Vec<u8>)>| {
                    row.map(|(kind, mode, content)| {
                        let text = String::from_utf8_lossy(content);
                        format!("{kind} {mode:o} {} {:.40}", content.len(), text)
                    })
                };
                let path = String::from_utf8_lossy(path);
                writeln!(
                    text,
                    "{path:?}: is {:?}, not {:?}",
                    short(is),
                    short(should)
                )
                .unwrap();
            }
        }
        text
    }
}

/// Writes scripts. The same seed writes the same.
pub(super) struct Writer(u64);

/// Names that are hard on somebody: the shell, git, the line.
const NAMES: [&[u8]; 20] = [
    b"a",
    b"A",
    b"b",
    b"B",
    b"with space",
    b"new\nline",
    b"ends in newline\n",
    b"\xff\xfe",
    b"-rf",
    b"*",
    b"'quote\"",
    b".git",
    b".gitattributes",
    b".execgate",
    b"HEAD",
    b"\\back",
    b"$HOME",
    b"caf\xc3\xa9",
    b"%",
    b"x.txt",
];

impl Writer {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let number = self.next(all.len());
        *all.get(number).unwrap()
    }

    /// A path of up to three names, relative to the workspace.
    fn path(&mut self) -> Vec<u8> {
        let depth = 1 + self.next(3);
        let names: Vec<&[u8]> = (0..depth).map(|_| self.one_of(&NAMES)).collect();
        [b"./".to_vec(), names.join(&b'/')].concat()
    }

    /// Puts bytes into a variable, whatever they are.
    fn assign(variable: &str, bytes: &[u8]) -> String {
        let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
        format!("{variable}=$(printf '{octal}_'); {variable}=${{{variable}%_}}\n")
    }

    fn content(&mut self) -> String {
        match self.next(5) {
            0 => "printf ''".to_owned(),
            1 => format!("printf 'line {}\\r\\nother\\r\\n'", self.next(1000)),
            2 => format!("printf '\\000\\377{}'", self.next(1000)),
            3 => format!(
                "dd if=/dev/zero bs=1000 count={} 2>/dev/null",
                1 + self.next(40)
            ),
            _ => format!("echo $(( {} * 7 ))", self.next(100_000)),
        }
    }

    /// A script of so many changes. What cannot be done is not done.
    pub(super) fn script(&mut self, workspace: &Path, changes: usize) -> String {
        let mut script = format!("cd '{}' || exit 1\numask 022\n", workspace.display());
        script.push_str(
            "parent() { case $p in ?*/?*/*) mkdir -p -- \"${p%/*}\" 2>/dev/null;; esac; }\n",
        );
        for _ in 0..changes {
            let path = self.path();
            script.push_str(&Self::assign("p", &path));
            script.push_str(&self.change());
        }
        // A command that ends badly is one like any other.
        script.push_str("true\n");
        script
    }

    fn change(&mut self) -> String {
        let quiet = "2>/dev/null";
        match self.next(12) {
            0..=3 => format!(
                "parent; [ -d \"$p\" ] || {{ {}; }} >\"$p\" {quiet}\n",
                self.content()
            ),
            4 => format!("mkdir -p -- \"$p\" {quiet}\n"),
            5 => format!("rm -rf -- \"$p\" {quiet}\n"),
            6 => {
                let other = self.path();
                let assign = Self::assign("q", &other);
                format!("{assign}[ -d \"$q\" ] || mv -f -- \"$p\" \"$q\" {quiet}\n")
            }
            7 => {
                let mode = self.one_of(&["600", "755", "444", "4755", "640", "664"]);
                format!("[ -f \"$p\" ] && [ ! -h \"$p\" ] && chmod {mode} \"$p\" {quiet}\n")
            }
            8 => {
                let mode = self.one_of(&["700", "755", "555", "1777", "2755", "775"]);
                format!("[ -d \"$p\" ] && [ ! -h \"$p\" ] && chmod {mode} \"$p\" {quiet}\n")
            }
            9 => {
                let target = self.path();
                let assign = Self::assign("q", &target);
                format!("{assign}parent; [ -d \"$p\" ] || ln -sf -- \"$q\" \"$p\" {quiet}\n")
            }
            10 => format!("rm -rf -- \"$p\" {quiet}; parent; mkdir -- \"$p\" {quiet}\n"),
            _ => format!("[ -f \"$p\" ] && printf more >>\"$p\" {quiet}\n"),
        }
    }
}
