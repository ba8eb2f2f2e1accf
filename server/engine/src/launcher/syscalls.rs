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

/// Families of sockets in a session without a network: those that its own namespace holds.
/// Others, such as those to the machine's hypervisor, know no namespaces.
const FAMILIES: [i32; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// The filters of a session.
#[derive(Default)]
pub(super) struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Makes them; none for an architecture that is not known.
    pub(super) fn new(no_network: bool) -> Self {
        let filters = [
            (refused(no_network), libc::EPERM),
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

fn refused(no_network: bool) -> Rules {
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
    if no_network {
        let other =
            FAMILIES.map(|family| condition(0, Len::Dword, Op::Ne, family.cast_unsigned().into()));
        rules.insert(libc::SYS_socket, rule(other));
    }
    rules
}

fn condition(argument: u8, length: Len, op: Op, value: u64) -> Option<SeccompCondition> {
    SeccompCondition::new(argument, length, op, value).ok()
}

/// A rule that matches where all conditions do.
fn rule<const N: usize>(conditions: [Option<SeccompCondition>; N]) -> Vec<SeccompRule> {
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
    fn the_filters_compile_here() {
        assert_eq!(Filters::new(false).0.len(), 2);
        assert_eq!(Filters::new(true).0.len(), 2);
    }
}
