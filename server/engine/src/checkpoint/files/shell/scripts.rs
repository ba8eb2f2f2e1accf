//! What the shell is told, for any POSIX sh and for GNU's and busybox's programs alike. Every
//! path stands in quotes and begins with `./`; nothing reads the shell's own input.

use std::fmt::Write as _;

use execgate_core::checkpoint::TreePath;

use crate::checkpoint::wire::Order;

/// Which programs are missing, and who the user is.
pub(super) const HELLO: &str = "for p in find stat cat id readlink; do \
command -v \"$p\" >/dev/null 2>&1 || echo \"missing $p\"; done; \
echo user $(id -u) $(id -G)";

/// Directories that are not gone through where no pattern brings one back: what is in them is
/// left out either way, and may be much.
const PRUNED: &str = "-type d \\( -name node_modules -o -name target -o -name __pycache__ \
-o -name .venv -o -name venv -o -name .cache -o -name .gradle -o -name .tox \\) -prune";

/// How a file is described: type and mode, size, times, number, file system, owner.
const FORMAT: &str = "%f %s %y %z %i %d %u %g %n";

/// Makes room in the workspace and unpacks an archive there: workspace, name.
pub(super) const STAGE: &str = r#"export LC_ALL=C
for p in tar xargs mv rm rmdir mkdir chmod; do
  command -v "$p" >/dev/null 2>&1 || { echo "missing $p"; exit 1; }
done
umask 077
if [ -h "$1" ]; then echo "it is a link"; exit 1; fi
if [ ! -d "$1" ]; then mkdir -m 755 "$1" 2>&1 || exit 1; fi
cd -P "$1" 2>&1 || exit 1
rm -rf "./$2" 2>&1
mkdir "./$2" 2>/dev/null || {
  mode=$(stat -c %a .) && chmod u+rwx . 2>&1 && mkdir "./$2" 2>&1 || exit 1
  echo "$mode" >"./$2/mode" || exit 1
}
mkdir "./$2/files" 2>&1 || exit 1
cd "./$2/files" && tar -x -o -p -m -f - 2>&1 || exit 1"#;

/// Does orders, each a word of its input: workspace, name, the script for a batch of them.
pub(super) const APPLY: &str = r#"export LC_ALL=C
umask 077
cd -P "$1" 2>&1 || exit 1
exec xargs -0 -n 64 sh -c "$3" "$2" 2>&1"#;

/// A batch of orders; after one that fails nothing more is done.
pub(super) const ORDERS: &str = r#"fail() { echo "$1"; exit 255; }
for w; do
  o=${w%%:*} p=./${w#*:}
  case $o in
    c*) chmod "${o#c}" "$p" || fail chmod;;
    r) rm -f "$p" || fail rm;;
    d) [ ! -d "$p" ] || rmdir "$p" || fail rmdir;;
    k) [ -d "$p" ] && [ ! -h "$p" ] && chmod 0700 "$p" || mkdir "$p" || fail mkdir;;
    m*) [ ! -h "$p" ] || rm -f "$p" || fail rm
       [ ! -d "$p" ] || fail directory
       mv -f "./$0/files/${o#m}" "$p" || fail mv;;
  esac
done"#;

/// A word that the shell takes as it is.
fn quoted(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn path(path: &TreePath) -> Vec<u8> {
    quoted(&[b"./", path.as_bytes()].concat())
}

fn paths<'a>(all: impl IntoIterator<Item = &'a TreePath>) -> Vec<u8> {
    let mut words = Vec::new();
    for one in all {
        words.push(b' ');
        words.extend(path(one));
    }
    words
}

fn enter(workspace: &str) -> Vec<u8> {
    [
        b"cd -P ",
        quoted(workspace.as_bytes()).as_slice(),
        b" 2>/dev/null",
    ]
    .concat()
}

/// Looks at everything: the clock in seconds, then a record for each file. A workspace that
/// is not there is empty.
pub(super) fn look(workspace: &str, nonce: &str, plain: bool) -> Vec<u8> {
    let place = quoted(workspace.as_bytes());
    let mut script = b"if [ -h ".to_vec();
    script.extend_from_slice(&place);
    script.extend_from_slice(b" ]; then echo it is a link; elif [ ! -e ");
    script.extend_from_slice(&place);
    script.extend_from_slice(b" ]; then date +%s; elif ");
    script.extend(enter(workspace));
    let pruned = if plain { PRUNED } else { "" };
    let mut rest = String::new();
    // Writing to a string cannot fail.
    let _written = write!(
        rest,
        "; then date +%s; find . -xdev -exec stat -c '{nonce} {FORMAT}' {{}} + {pruned} \
         2>/dev/null; else echo it cannot be entered; fi"
    );
    script.extend(rest.into_bytes());
    script
}

/// Where links lead, each with a NUL behind it.
pub(super) fn links(workspace: &str, links: &[&TreePath]) -> Vec<u8> {
    let mut script = enter(workspace);
    script.extend_from_slice(b" && for p in");
    script.extend(paths(links.iter().copied()));
    script.extend_from_slice(b"; do readlink -n \"$p\" 2>/dev/null; printf '\\0'; done");
    script
}

/// Reads files, one behind the other, and describes them afterwards.
pub(super) fn read(workspace: &str, nonce: &str, files: &[TreePath]) -> Vec<u8> {
    let words = paths(files);
    let mut script = enter(workspace);
    script.extend_from_slice(b" && { cat");
    script.extend_from_slice(&words);
    script.extend_from_slice(format!(" 2>/dev/null; stat -c '{nonce} {FORMAT}'").as_bytes());
    script.extend(words);
    script.extend_from_slice(b" 2>/dev/null; }");
    script
}

/// Describes one file.
pub(super) fn look_at(workspace: &str, nonce: &str, file: &TreePath) -> Vec<u8> {
    let mut script = enter(workspace);
    script.extend_from_slice(format!(" && stat -c '{nonce} {FORMAT}' ").as_bytes());
    script.extend(path(file));
    script.extend_from_slice(b" 2>/dev/null");
    script
}

/// Clears up; says nothing where that worked.
pub(super) fn finish(workspace: &str, aside: &str) -> Vec<u8> {
    let aside = String::from_utf8_lossy(&quoted(format!("./{aside}").as_bytes())).into_owned();
    let mut script = enter(workspace);
    let rest = format!(
        " && {{ m=; [ ! -f {aside}/mode ] || m=$(cat {aside}/mode); rm -rf {aside} 2>&1; \
         [ -z \"$m\" ] || chmod \"$m\" . 2>&1; }}"
    );
    script.extend(rest.into_bytes());
    script
}

/// Orders as words.
pub(super) fn orders(orders: &[Order]) -> Vec<u8> {
    let mut words = Vec::new();
    for order in orders {
        let sort = match order {
            // Five digits: with fewer, some programs keep bits of directories.
            Order::Mode { mode, .. } => format!("c{mode:05o}:"),
            Order::Remove { .. } => "r:".to_owned(),
            Order::RemoveDirectory { .. } => "d:".to_owned(),
            Order::MakeDirectory { .. } => "k:".to_owned(),
            Order::Place { number, .. } => format!("m{number}:"),
        };
        words.extend(sort.into_bytes());
        words.extend_from_slice(order.path().as_bytes());
        words.push(0);
    }
    words
}
