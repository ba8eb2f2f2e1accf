//! What a session's process loses between fork and exec, in this order: its place in the
//! machine's control groups, the limits of what it may use, the server's identity, the way
//! back (no new privileges), files, programs and foreign processes (a Landlock domain), and
//! last the system calls that no command needs. Namespaces are the launcher's own, entered
//! once, and shared by all that it starts.
//!
//! Each step that the kernel does not offer is left out; what holds in the end is not
//! assumed but tried, by `probe`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit};
use rustix::thread::{set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid};

use super::groups::Groups;
use super::messages::{Identity, Limited, Limiters, Setup};
use super::namespaces;
use super::syscalls::{Filters, Sockets};
use crate::fence::Limits;

/// All that a session's processes are confined by.
#[derive(Default)]
pub(super) struct Confinement {
    setup: Setup,
    ruleset: Option<OwnedFd>,
    filters: Filters,
    pub(super) groups: Groups,
    /// Whether the session has a user namespace of its own.
    own_users: bool,
}

impl Confinement {
    /// Prepares what all of them share; takes this process, which has one thread, into the
    /// session's namespaces.
    pub(super) fn prepare(setup: Setup, ruleset: Option<OwnedFd>) -> Self {
        let groups = Groups::create(&setup.limits);
        let own = namespaces::enter(&setup);
        let sockets = match (setup.no_network, own.network) {
            (false, _) => Sockets::Any,
            (true, true) => Sockets::OfNamespaces,
            (true, false) => Sockets::WithoutNetwork,
        };
        Self {
            ruleset,
            filters: Filters::new(sockets),
            groups,
            own_users: own.users,
            setup,
        }
    }

    /// Takes from this process, which has one thread, what a session must not have.
    ///
    /// # Errors
    /// Where the identity cannot be changed; the rest is tried and reported by the probe.
    pub(super) fn apply(&self) -> io::Result<()> {
        self.groups.join();
        self.limit();
        if let Some(identity) = &self.setup.identity {
            become_user(identity)?;
        }
        set_no_new_privs(true)?;
        if let Some(ruleset) = &self.ruleset {
            enter_domain(ruleset);
        }
        self.filters.install();
        Ok(())
    }

    /// What is left of the session from here on is meant to stay.
    pub(super) fn release(&self) {
        namespaces::release(&self.setup);
    }

    fn limit(&self) {
        let limits = &self.setup.limits;
        let by = self.limiters();
        let set = |resource, limit: Option<u64>| {
            let Some(limit) = limit else { return };
            let both = Rlimit {
                current: Some(limit),
                maximum: Some(limit),
            };
            // A lower limit that is there already stays.
            let _lower = setrlimit(resource, both);
        };
        set(Resource::Nofile, limits.open_files);
        set(Resource::Fsize, limits.file_bytes);
        if !self.groups.limits_processes() {
            set(Resource::Nproc, limits.processes);
        }
        if by.memory == Limited::Process {
            set(Resource::Data, limits.memory_bytes);
        }
    }

    /// What holds the limits.
    pub(super) fn limiters(&self) -> Limiters {
        let Limits {
            processes,
            memory_bytes,
            milli_cpus,
            ..
        } = &self.setup.limits;
        let grouped = |wanted: bool, grouped: bool, otherwise| match (wanted, grouped) {
            (false, _) => Limited::Not,
            (true, true) => Limited::Session,
            (true, false) => otherwise,
        };
        // The kernel counts a user's processes in each user namespace anew.
        let of_user = match self.own_users {
            true => Limited::Session,
            false => Limited::User,
        };
        Limiters {
            processes: grouped(processes.is_some(), self.groups.limits_processes(), of_user),
            memory: grouped(
                memory_bytes.is_some(),
                self.groups.limits_memory(),
                Limited::Process,
            ),
            processors: grouped(milli_cpus.is_some(), self.groups.limits_cpu(), Limited::Not),
        }
    }
}

fn become_user(identity: &Identity) -> io::Result<()> {
    let gid = Gid::from_raw(identity.gid);
    set_thread_groups(&[gid])?;
    set_thread_gid(gid)?;
    set_thread_uid(Uid::from_raw(identity.uid))?;
    Ok(())
}

fn enter_domain(ruleset: &OwnedFd) {
    // SAFETY: passes a descriptor and no flags.
    let _refused =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
}
