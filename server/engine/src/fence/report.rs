//! How a fence stands: what was asked for, what the kernel offers, and what a confined
//! process could do when it tried.

use std::borrow::Cow;
use std::iter;

use execgate_core::policy::ProgramRules;

use super::{FenceProfile, Network, Withheld, is_all, landlock_abi};
use crate::isolation::{Control, ControlKind as Kind, ControlLevel as Level, Isolation};
use crate::launcher::{Limited, ProbeResult};
use crate::local::LocalSettings;

/// First version of Landlock that knows about TCP.
const ABI_OF_TCP: i32 = 4;

/// What a report is made of.
pub(crate) struct Fenced<'a> {
    /// Name of the profile.
    pub(crate) name: &'a str,
    /// The profile.
    pub(crate) profile: &'a FenceProfile,
    /// The policy's rules about programs.
    pub(crate) rules: ProgramRules,
    /// What they withhold.
    pub(crate) withheld: &'a Withheld,
    /// What a confined process could do.
    pub(crate) probe: &'a ProbeResult,
    /// Whose sessions they are.
    pub(crate) settings: &'a LocalSettings,
}

/// The report.
pub(crate) fn isolation(fenced: &Fenced<'_>) -> Isolation {
    let integrity = [
        Control::new(
            Kind::StreamIntegrity,
            Level::Partial,
            "socketpair as the shell's input",
            "code of the session's own user can still trace its own shell",
        ),
        Control::new(
            Kind::ExitIntegrity,
            Level::Advisory,
            "random token in every marker",
            "the shell itself reports how its commands end; programs (argv) are the kernel's to report",
        ),
    ];
    let rows = [
        programs(fenced),
        files(fenced, Kind::FileRead),
        files(fenced, Kind::FileWrite),
        network(fenced),
        privilege(fenced),
        resources(fenced),
        kill(fenced),
        gate(fenced),
    ];
    Isolation::of(fenced.name.to_owned(), rows.into_iter().chain(integrity))
}

fn landlock() -> String {
    format!("landlock abi {}", landlock_abi())
}

fn programs(fenced: &Fenced<'_>) -> Control {
    let Fenced {
        rules,
        withheld,
        probe,
        ..
    } = fenced;
    let row = |level, mechanism: Cow<'static, str>, detail: String| {
        Control::new(Kind::ProgramExecution, level, mechanism, detail)
    };
    let judged = "judged before it runs";
    if !rules.denies_any() {
        let detail = format!("{judged}; no rule denies a program whatever its arguments");
        return row(Level::Advisory, "policy".into(), detail);
    }
    if landlock_abi() == 0 || probe.withheld_program {
        let why = match landlock_abi() {
            0 => "the kernel has no Landlock",
            _ => "a withheld program could be opened",
        };
        return row(Level::Advisory, "policy".into(), format!("{judged}; {why}"));
    }
    let open = [
        (rules.bare < rules.deny).then(|| {
            format!(
                "{} of {} deny rules name arguments, which only the policy judges",
                rules.deny - rules.bare,
                rules.deny
            )
        }),
        rules.allow_list.then(|| {
            "what allowed programs execute from library directories is not withheld".to_owned()
        }),
        (!withheld.left.is_empty()).then(|| {
            let left: Vec<&str> = withheld.left.iter().map(String::as_str).collect();
            format!("not withheld: {}", left.join(", "))
        }),
    ];
    let open: Vec<String> = open.into_iter().flatten().collect();
    let level = match open.is_empty() {
        true => Level::Enforced,
        false => Level::Partial,
    };
    let withheld = format!("{} program files withheld", withheld.files.len());
    let detail: Vec<String> = iter::once(withheld).chain(open).collect();
    row(level, landlock().into(), detail.join("; "))
}

fn files(fenced: &Fenced<'_>, kind: Kind) -> Control {
    let (trees, outside) = match kind {
        Kind::FileRead => (&fenced.profile.read, fenced.probe.outside_read),
        _ => (&fenced.profile.write, fenced.probe.outside_write),
    };
    if is_all(trees) {
        return Control::nothing(kind);
    }
    match (landlock_abi(), outside) {
        (0, _) => Control::new(kind, Level::Unavailable, "", "the kernel has no Landlock"),
        (_, true) => Control::new(
            kind,
            Level::Advisory,
            landlock(),
            "the forbidden worked when it was tried",
        ),
        // Truncating came with version 3.
        (1 | 2, false) if kind == Kind::FileWrite => Control::new(
            kind,
            Level::Partial,
            landlock(),
            "files outside can be truncated",
        ),
        (_, false) => Control::new(kind, Level::Enforced, landlock(), ""),
    }
}

fn network(fenced: &Fenced<'_>) -> Control {
    let row = |level, mechanism: Cow<'static, str>, detail: &'static str| {
        Control::new(Kind::Network, level, mechanism, detail)
    };
    match (&fenced.profile.network, fenced.probe.network) {
        (Network::Open, _) => Control::nothing(Kind::Network),
        (_, true) => row(
            Level::Advisory,
            Cow::default(),
            "the forbidden worked when it was tried",
        ),
        (Network::None, false) => row(Level::Enforced, "network namespace, seccomp".into(), ""),
        (Network::Tcp(_), false) if landlock_abi() < ABI_OF_TCP => row(
            Level::Unavailable,
            Cow::default(),
            "the kernel's Landlock knows no ports",
        ),
        (Network::Tcp(_), false) => row(
            Level::Partial,
            landlock().into(),
            "UDP, with which names are looked up, is open",
        ),
    }
}

fn privilege(fenced: &Fenced<'_>) -> Control {
    let probe = fenced.probe;
    let (level, detail) = match (probe.new_privileges, probe.user_namespace, probe.syscalls) {
        (true, _, _) => (Level::Advisory, "new privileges can be gained by executing"),
        (false, true, _) => (Level::Partial, "user namespaces can be made"),
        (false, false, false) => (Level::Partial, "no filter of system calls"),
        (false, false, true) => (Level::Enforced, ""),
    };
    let mechanism = match (&fenced.settings.user, probe.syscalls) {
        (Some(_), true) => "another user, no_new_privs, seccomp",
        (Some(_), false) => "another user, no_new_privs",
        (None, true) => "no_new_privs, seccomp",
        (None, false) => "no_new_privs",
    };
    Control::new(Kind::Privilege, level, mechanism, detail)
}

fn resources(fenced: &Fenced<'_>) -> Control {
    let (asked, by) = (&fenced.profile.limits, &fenced.probe.limited);
    let wanted = [
        ("processes", asked.processes.is_some(), by.processes),
        ("memory", asked.memory_bytes.is_some(), by.memory),
        ("processors", asked.milli_cpus.is_some(), by.processors),
        ("open files", asked.open_files.is_some(), Limited::Session),
        ("file size", asked.file_bytes.is_some(), Limited::Session),
    ];
    let wanted: Vec<_> = wanted.into_iter().filter(|(_, asked, _)| *asked).collect();
    if wanted.is_empty() {
        return Control::nothing(Kind::Resources);
    }
    let open = wanted.iter().filter_map(|(name, _, by)| match by {
        Limited::Session => None,
        Limited::User => Some(format!("{name}: of all sessions of the user together")),
        Limited::Process => Some(format!("{name}: of each process alone")),
        Limited::Not => Some(format!("{name}: not limited")),
    });
    let open: Vec<String> = open.collect();
    let level = match open.len() {
        0 => Level::Enforced,
        all if all == wanted.len() && wanted.iter().all(|(_, _, by)| *by == Limited::Not) => {
            Level::Unavailable
        }
        _ => Level::Partial,
    };
    let names: Vec<&str> = wanted.iter().map(|(name, _, _)| *name).collect();
    let mechanism = format!("cgroup, rlimits: {}", names.join(", "));
    Control::new(Kind::Resources, level, mechanism, open.join("; "))
}

fn kill(fenced: &Fenced<'_>) -> Control {
    let mechanism = match fenced.probe.cgroup_kill {
        true => "child subreaper, cgroup.kill",
        false => "child subreaper",
    };
    Control::new(Kind::Kill, Level::Enforced, mechanism, "")
}

fn gate(fenced: &Fenced<'_>) -> Control {
    let probe = fenced.probe;
    let (data, memory) = match fenced.settings.user {
        Some(_) => ("another user", "another user, landlock domain"),
        None => ("mount namespace", "landlock domain"),
    };
    let parts = [
        ("data directory", probe.data_file, data),
        ("server memory", probe.server_memory, memory),
        ("signals", probe.server_signal, memory),
    ];
    let open: Vec<&str> = parts
        .iter()
        .filter(|part| part.1)
        .map(|part| part.0)
        .collect();
    let mechanisms = parts.map(|(name, _, mechanism)| format!("{name}: {mechanism}"));
    let (level, detail) = match open.len() {
        0 => (
            Level::Enforced,
            "token on TCP, peer check on the socket".to_owned(),
        ),
        all if all == parts.len() => (Level::Advisory, format!("open: {}", open.join(", "))),
        _ => (Level::Partial, format!("open: {}", open.join(", "))),
    };
    Control::new(Kind::Gate, level, mechanisms.join("; "), detail)
}
