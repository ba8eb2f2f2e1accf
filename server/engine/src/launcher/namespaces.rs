//! The session's own view of the machine: no sight of hidden directories and of the sockets
//! of services, and, where the profile says so, a network with nothing in it. The launcher
//! enters it once and everything it starts is born in it.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::leftovers;
use super::messages::Setup;

/// Where services have their sockets.
const RUN: &str = "/run";

/// How far below it sockets are looked for.
const RUN_DEPTH: usize = 4;

/// Most sockets that are covered; a machine has a few dozen.
const MAX_SOCKETS: usize = 256;

/// Sockets that commands need: names of hosts and users are looked up through them.
const NEEDED: [&str; 4] = [
    "/run/nscd",
    "/run/systemd/resolve",
    "/run/systemd/userdb",
    "/run/sssd",
];

/// The empty directory in the place of a hidden one lets nothing be done in it.
const COVER_FLAGS: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC)
    .union(MountFlags::RDONLY);

/// What the session has of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// Users, whose processes the kernel counts apart.
    pub(super) users: bool,
    /// A network.
    pub(super) network: bool,
}

/// Enters them, as far as the kernel lets it.
pub(super) fn enter(setup: &Setup) -> Own {
    let network = match setup.no_network {
        true => UnshareFlags::NEWNET,
        false => UnshareFlags::empty(),
    };
    let entered = match setup.identity {
        // The server is root: it needs no user namespace to make the others.
        Some(_) => unshare(UnshareFlags::NEWNS | network).map(|()| false),
        None => own_users(network),
    };
    let Ok(users) = entered else {
        return Own::default();
    };
    // What is mounted from here on is the session's alone; what the machine unmounts is let
    // go here, too.
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    if mount_change("/", downstream).is_ok() {
        for directory in &setup.hidden {
            let _tried = cover_directory(directory, &setup.mark);
        }
        for socket in sockets(Path::new(RUN), RUN_DEPTH) {
            let _tried = mount_bind("/dev/null", &socket);
        }
    }
    if setup.no_network {
        let _tried = raise_loopback();
    }
    Own {
        users,
        network: setup.no_network,
    }
}

/// A user namespace that keeps the user's own number; its capabilities end at exec.
fn own_users(network: UnshareFlags) -> io::Result<bool> {
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS | network)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{0} {0} 1", uid.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("{0} {0} 1", gid.as_raw()))?;
    Ok(true)
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: this process has one thread and shares no file table.
    unsafe { unshare_unsafe(flags) }?;
    Ok(())
}

/// Covers a directory with an empty one, by whose name every process that can see it is known
/// as this server's (`leftovers`), whatever it makes of its parents and its environment.
fn cover_directory(directory: &Path, mark: &str) -> io::Result<()> {
    let source = leftovers::source(mark);
    mount(
        source,
        directory,
        "tmpfs",
        COVER_FLAGS,
        Some(c"mode=0500,size=4k"),
    )?;
    Ok(())
}

/// What is left of the session from here on is meant to stay.
pub(super) fn release(setup: &Setup) {
    for directory in &setup.hidden {
        let _tried = mount_remount(directory, COVER_FLAGS, leftovers::RELEASED);
    }
}

/// The sockets below a directory that commands have no need of.
fn sockets(directory: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![(directory.to_owned(), depth)];
    while let Some((directory, depth)) = queue.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if NEEDED.iter().any(|needed| path.starts_with(needed)) {
                continue;
            }
            match kind {
                Ok(kind) if kind.is_dir() && depth > 1 => queue.push((path, depth - 1)),
                Ok(kind) if kind.is_socket() && found.len() < MAX_SOCKETS => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// Lets programs of the session talk to each other over 127.0.0.1.
fn raise_loopback() -> io::Result<()> {
    // SAFETY: an all-zero request is valid; its name is null-terminated by the zeroes.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = (*byte).cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    // SAFETY: the request outlives the call, which reads it.
    let done = unsafe {
        libc::ioctl(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn sockets_are_found_as_deep_as_services_put_them() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("user/1000/service");
        fs::create_dir_all(&deep).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let places = [dir.path().join("docker.sock"), deep.join("socket")];
        let _open = places
            .each_ref()
            .map(|place| UnixListener::bind(place).unwrap());
        let mut found = sockets(dir.path(), RUN_DEPTH);
        found.sort();
        assert_eq!(found, places);
        assert_eq!(sockets(dir.path(), 1), &places[..1]);
    }
}
