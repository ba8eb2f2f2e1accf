//! The system calls that no command of a session needs: those that change the machine, reach
//! into the kernel or make namespaces. The filter is the last thing a process gets.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// Refused with EPERM, whatever their arguments: mounts, modules, other kernels, tracing of
/// the kernel, keyrings, files by number.
const REFUSED: [c_long; 30] = [
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
];

/// Not there at all (ENOSYS), so that programs take the older way: a filter cannot look into
/// the arguments of the first, nor see what the others do.
const ABSENT: [c_long; 4] = [
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Families of sockets in a session with a network of its own: those that its namespace holds.
/// Others, such as those to the machine's hypervisor, know no namespaces.
const OF_NAMESPACES: [i32; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// Families of sockets where there was to be a network of its own and the kernel gave none.
const WITHOUT_NETWORK: [i32; 2] = [libc::AF_UNIX, libc::AF_NETLINK];

/// Which sockets a session may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sockets {
    /// All.
    Any,
    /// Those of its own network.
    OfNamespaces,
    /// None that leads to another machine, nor to this one's loopback.
    WithoutNetwork,
}

impl Sockets {
    /// The families that it may use; nothing for all.
    fn families(self) -> Option<&'static [i32]> {
        match self {
            Self::Any => None,
            Self::OfNamespaces => Some(&OF_NAMESPACES),
            Self::WithoutNetwork => Some(&WITHOUT_NETWORK),
        }
    }
}

/// The filters of a session.
#[derive(Default)]
pub(super) struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Makes them; none for an architecture that is not known.
    pub(super) fn new(sockets: Sockets) -> Self {
        let filters = [
            (refused(sockets), libc::EPERM),
            (ABSENT.map(|call| (call, Vec::new())).into(), libc::ENOSYS),
        ];
        let made = filters
            .into_iter()
            .map(|(rules, errno)| compile(rules, errno));
        Self(made.collect::<Option<_>>().unwrap_or_default())
    }

    /// Puts them in force for this process and what it becomes.
    pub(super) fn install(&self) {
        for filter in &self.0 {
            let _refused = apply_filter(filter);
        }
    }
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn refused(sockets: Sockets) -> Rules {
    let mut rules: Rules = REFUSED.map(|call| (call, Vec::new())).into();
    let user_namespace = libc::CLONE_NEWUSER as u64;
    let makes_users = || condition(0, Len::Dword, Op::MaskedEq(user_namespace), user_namespace);
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        rules.insert(call, rule([makes_users()]));
    }
    // Typing into a terminal that somebody else reads.
    rules.insert(
        libc::SYS_ioctl,
        rule([condition(1, Len::Dword, Op::Eq, libc::TIOCSTI)]),
    );
    if let Some(families) = sockets.families() {
        let others = families.iter().map(|family| {
            let family = family.cast_unsigned().into();
            condition(0, Len::Dword, Op::Ne, family)
        });
        rules.insert(libc::SYS_socket, rule(others));
    }
    rules
}

fn condition(argument: u8, length: Len, op: Op, value: u64) -> Option<SeccompCondition> {
    SeccompCondition::new(argument, length, op, value).ok()
}

/// A rule that matches where all conditions do.
fn rule(conditions: impl IntoIterator<Item = Option<SeccompCondition>>) -> Vec<SeccompRule> {
    let conditions = conditions.into_iter().flatten().collect();
    SeccompRule::new(conditions).into_iter().collect()
}

fn compile(rules: Rules, errno: i32) -> Option<BpfProgram> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let refuse = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture);
    filter.ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_network_of_its_own_a_session_makes_no_sockets_that_lead_out() {
        use std::os::unix::process::CommandExt;
        let connect = |sockets| {
            let filters = Filters::new(sockets);
            assert_eq!(filters.0.len(), 2, "the filters compile here");
            let mut shell = std::process::Command::new("bash");
            // Nobody listens there: whoever may try is refused by the other end.
            shell.args(["-c", "exec 3<>/dev/tcp/127.0.0.1/1"]);
            // SAFETY: system calls with memory that was made before the fork.
            unsafe {
                shell.pre_exec(move || {
                    filters.install();
                    Ok(())
                });
            }
            let said = shell.output().unwrap().stderr;
            String::from_utf8_lossy(&said).contains("refused")
        };
        let tried = [Sockets::Any, Sockets::OfNamespaces, Sockets::WithoutNetwork].map(connect);
        assert_eq!(tried, [true, true, false]);
    }
}
