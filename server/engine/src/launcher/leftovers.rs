//! What is left of a server's local sessions that ended without a word, its launchers too:
//! found by the directory that every process of a session sees in the place of a hidden one,
//! and killed. A process cannot take that off, wherever it has put itself; where the kernel
//! gives a session no view of its own there is no such mark, and nothing is found.
//!
//! What a session was to keep (`keep_background`) is released when it closes, and left alone.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long to go on killing what appears faster than it dies.
const LIMIT: Duration = Duration::from_secs(5);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// How the directory is mounted that no longer marks what can see it.
pub(super) const RELEASED: &CStr = c"size=8k";
/// How that shows, as against what it was mounted with.
const SHOWN_RELEASED: &str = "size=8k";

/// What the directory of a server is called in lists of mounts.
pub(super) fn source(mark: &str) -> String {
    format!("execgate-{mark}")
}

/// Kills what is left of the sessions of this server; answers how many processes that were.
pub fn end(mark: &str) -> usize {
    let deadline = Instant::now() + LIMIT;
    let mut killed = 0;
    loop {
        let found = kill_all(mark);
        killed += found;
        if found == 0 || Instant::now() >= deadline {
            return killed;
        }
        sleep(PAUSE);
    }
}

/// Kills what is there now.
fn kill_all(mark: &str) -> usize {
    // Many processes see the same mounts, and the list of them costs.
    let mut known = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| kill_if_marked(*pid, mark, &mut known))
        .count()
}

fn kill_if_marked(pid: i32, mark: &str, known: &mut HashMap<PathBuf, bool>) -> bool {
    let Some(name) = Pid::from_raw(pid) else {
        return false;
    };
    // Taken first: what is looked at afterwards is what will be killed.
    let Ok(hold) = pidfd_open(name, PidfdFlags::empty()) else {
        return false;
    };
    let process = PathBuf::from(format!("/proc/{pid}"));
    // A process that is not ours to look at is not ours; a zombie sees nothing.
    let Ok(view) = fs::read_link(process.join("ns/mnt")) else {
        return false;
    };
    let marked = *known
        .entry(view)
        .or_insert_with(|| is_marked(&process, mark));
    marked && pidfd_send_signal(&hold, Signal::KILL).is_ok()
}

fn is_marked(process: &Path, mark: &str) -> bool {
    let mounts = fs::read_to_string(process.join("mountinfo"));
    mounts.is_ok_and(|mounts| mounts.lines().any(|mount| is_mark(mount, mark)))
}

/// Whether a line of a list of mounts is the mark.
fn is_mark(mount: &str, mark: &str) -> bool {
    let Some((_, mount)) = mount.split_once(" - ") else {
        return false;
    };
    let mut fields = mount.split(' ');
    let (kind, name, options) = (fields.next(), fields.next(), fields.next());
    kind == Some("tmpfs")
        && name == Some(source(mark).as_str())
        && options.is_some_and(|options| !options.split(',').any(|own| own == SHOWN_RELEASED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_told_from_others_and_from_what_was_released() {
        let line = |name: &str, size: &str| {
            format!("36 35 0:33 / /data ro,nosuid - tmpfs {name} ro,size={size},mode=500")
        };
        let cases = [
            (line("execgate-ab", "4k"), true),
            (line("execgate-abc", "4k"), false),
            (line("execgate-ab", "8k"), false),
            (
                "22 1 8:1 /execgate-ab / rw - ext4 execgate-ab rw".to_owned(),
                false,
            ),
            (String::new(), false),
        ];
        for (mount, expected) in cases {
            assert_eq!(is_mark(&mount, "ab"), expected, "{mount}");
        }
    }

    #[test]
    fn nothing_is_killed_that_has_no_mark() {
        assert_eq!(end("nobody has this one"), 0);
    }
}
