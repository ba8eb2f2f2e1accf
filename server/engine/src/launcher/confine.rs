//! What a session's process loses between fork and exec, in this order: the sight of
//! hidden directories (a mount namespace of its own, where it keeps the server's user),
//! the server's identity, the way back (no new privileges), and the reach to processes
//! outside the session (a Landlock domain: no ptrace, no signals, no abstract sockets).
//!
//! Each step that the kernel does not offer is left out; what holds in the end is not
//! assumed but tried, by [`probe`].

use std::fs;
use std::io;
use std::path::Path;

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use rustix::process::{Gid, Signal, Uid};
use rustix::thread::{
    UnshareFlags, set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid,
    unshare_unsafe,
};

use super::messages::{Identity, ProbeResult, Setup};

/// Takes from this process, which has one thread, what a session must not have.
///
/// # Errors
/// Where the identity cannot be changed; the rest is tried and reported by the probe.
pub(super) fn confine(setup: &Setup) -> io::Result<()> {
    match &setup.identity {
        Some(identity) => become_user(identity)?,
        // The same user could read the server's files: hide them instead.
        None => {
            let _ = hide(&setup.hidden);
        }
    }
    set_no_new_privs(true)?;
    let _ = leave_other_processes_alone();
    Ok(())
}

fn become_user(identity: &Identity) -> io::Result<()> {
    let gid = Gid::from_raw(identity.gid);
    set_thread_groups(&[gid])?;
    set_thread_gid(gid)?;
    set_thread_uid(Uid::from_raw(identity.uid))?;
    Ok(())
}

/// Covers directories with empty ones, in a mount namespace of this process's own. The
/// user namespace around it keeps the user's own number; capabilities end at exec.
fn hide(directories: &[std::path::PathBuf]) -> io::Result<()> {
    if directories.is_empty() {
        return Ok(());
    }
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    // SAFETY: this process has one thread and shares no file table.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{0} {0} 1", uid.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("{0} {0} 1", gid.as_raw()))?;
    for directory in directories {
        cover(directory)?;
    }
    Ok(())
}

fn cover(directory: &Path) -> io::Result<()> {
    use rustix::mount::{MountFlags, mount};
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    mount(
        "execgate",
        directory,
        "tmpfs",
        flags,
        Some(c"mode=0500,size=4k"),
    )?;
    Ok(())
}

/// A Landlock domain with no file rules: it keeps its processes from tracing (reading
/// the memory and environment of) and signalling any process outside.
fn leave_other_processes_alone() -> Result<(), landlock::RulesetError> {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    // Kernels before scopes (ABI 6) still keep a domain from tracing others, but want a
    // ruleset that handles something: making a block device needs root anyway.
    ruleset
        .handle_access(AccessFs::from_all(ABI::V1) & AccessFs::MakeBlock)?
        .scope(Scope::Signal | Scope::AbstractUnixSocket)?
        .create()?
        .restrict_self()?;
    Ok(())
}

/// Tries, as a confined process, what must not work.
pub(super) fn probe(file: &Path, server: i32) -> ProbeResult {
    ProbeResult {
        data_file: fs::File::open(file).is_ok(),
        server_memory: fs::read(format!("/proc/{server}/environ")).is_ok(),
        server_signal: rustix::process::Pid::from_raw(server)
            .is_some_and(|pid| rustix::process::kill_process(pid, Signal::CONT).is_ok()),
    }
}
