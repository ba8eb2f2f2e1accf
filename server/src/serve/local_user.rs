//! Whose processes a session's are, and where they are at home.
//!
//! A server that is root runs sessions as another user, so that the kernel keeps them
//! from its files and memory; any other server can only run them as itself.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use execgate_engine::local::LocalUser;
use rustix::process::geteuid;

use super::{ServeError, failed};

/// Whose sessions are when the operator does not say.
const DEFAULT_USER: &str = "nobody";
/// The users of this machine.
const USERS_FILE: &str = "/etc/passwd";
/// The home of sessions whose user has none of its own, and the directory it is in.
const HOME_PARENT: &str = "/var/lib/execgate";
const HOME_NAME: &str = "home";
/// The parent lets the user through and shows nothing.
const PARENT_MODE: u32 = 0o711;
/// The home is its user's alone.
const HOME_MODE: u32 = 0o700;

/// The user of sessions and its home.
pub(super) struct SessionUser {
    /// Nothing for the server's own user.
    pub(super) identity: Option<LocalUser>,
    pub(super) home: String,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    user: LocalUser,
    home: String,
}

impl SessionUser {
    /// The user that the operator names, else the default, for a server that is root;
    /// the server's own otherwise.
    pub(super) fn of(name: Option<&str>, data_dir: &Path) -> Result<Self, ServeError> {
        let users = fs::read_to_string(USERS_FILE).map_err(failed("read /etc/passwd"))?;
        let server = geteuid().as_raw();
        let named = name.map(|name| find(&users, name)).transpose()?;
        if server != 0 {
            return match named {
                Some(entry) if entry.user.uid != server => Err(problem(format!(
                    "only root can run sessions as {}; this server is uid {server}",
                    entry.user.name
                ))),
                Some(_) | None => Ok(Self {
                    identity: None,
                    home: own_home(),
                }),
            };
        }
        let entry = match named {
            Some(entry) => entry,
            None => find(&users, DEFAULT_USER)?,
        };
        let home = match is_own_directory(&entry.home, entry.user.uid) {
            true => entry.home,
            false => make_home(&entry.user, data_dir)?,
        };
        Ok(Self {
            identity: Some(entry.user),
            home,
        })
    }
}

fn problem(problem: String) -> ServeError {
    ServeError::User { problem }
}

/// The home of a server that is not root.
fn own_home() -> String {
    let home = std::env::var("HOME").ok();
    home.filter(|home| Path::new(home).is_absolute() && Path::new(home).is_dir())
        .unwrap_or_else(|| "/".to_owned())
}

/// Finds a user by name or number.
fn find(users: &str, wanted: &str) -> Result<Entry, ServeError> {
    let number = wanted.parse().ok();
    let found = users
        .lines()
        .filter_map(entry)
        .find(|entry| entry.user.name == wanted || Some(entry.user.uid) == number);
    match (found, number) {
        (Some(entry), _) => Ok(entry),
        // A number needs no name; such a user has no group of its own to go by either.
        (None, Some(uid)) => Ok(Entry {
            user: LocalUser {
                name: wanted.to_owned(),
                uid,
                gid: uid,
            },
            home: String::new(),
        }),
        (None, None) => Err(problem(format!("{USERS_FILE} has no {wanted}"))),
    }
}

/// `name:password:uid:gid:comment:home:shell`
fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = fields.nth(1)?.to_owned();
    Some(Entry {
        user: LocalUser { name, uid, gid },
        home,
    })
}

fn is_own_directory(path: &str, uid: u32) -> bool {
    let metadata = fs::metadata(path);
    Path::new(path).is_absolute()
        && metadata.is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == uid)
}

/// A home for a user that has none: beside the data of other services, not in the data
/// directory, which sessions must not see.
fn make_home(user: &LocalUser, data_dir: &Path) -> Result<String, ServeError> {
    let parent = Path::new(HOME_PARENT);
    // The data directory itself may be at that place; then sessions could not enter it.
    if parent.starts_with(data_dir) {
        let text = format!(
            "{} is inside the data directory, and {} needs a home",
            HOME_PARENT, user.name
        );
        return Err(problem(text));
    }
    let home = parent.join(HOME_NAME);
    make_directory(parent, PARENT_MODE).map_err(failed("create /var/lib/execgate"))?;
    make_directory(&home, HOME_MODE).map_err(failed("create the home of sessions"))?;
    let metadata = fs::symlink_metadata(&home).map_err(failed("inspect the home of sessions"))?;
    if !metadata.is_dir() {
        return Err(problem(format!("{} is not a directory", home.display())));
    }
    if metadata.uid() != user.uid || metadata.gid() != user.gid {
        chown(&home, Some(user.uid), Some(user.gid)).map_err(failed("give sessions their home"))?;
    }
    Ok(home.display().to_string())
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        // The server's umask may have taken bits away.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\nbroken\n\
        nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n";

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let nobody = Entry {
            user: LocalUser {
                name: "nobody".to_owned(),
                uid: 65534,
                gid: 65533,
            },
            home: "/nonexistent".to_owned(),
        };
        assert_eq!(find(USERS, "nobody").unwrap(), nobody);
        assert_eq!(find(USERS, "65534").unwrap(), nobody);
        assert_eq!(find(USERS, "4711").unwrap().user.uid, 4711);
        let error = find(USERS, "agent").err().unwrap().to_string();
        assert_eq!(error, "find the user of sessions: /etc/passwd has no agent");
    }
}
