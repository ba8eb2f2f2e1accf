//! What an operator's wrapper is worth on a target: the same is tried there with it and
//! without it, and only what then differs is reported. Nothing is taken from its words.

use super::beside::run;
use super::quote::quote;
use super::{Beside, Environment};
use crate::isolation::{Control, ControlKind as Kind, ControlLevel as Level};
use crate::transport::TransportError;

/// A control group's bytes from which on cgroup v1 means no limit: the largest page below
/// 2^63.
const NO_LIMIT: u64 = 0x7FFF_FFFF_FFFF_F000;

/// What was found when it was tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Look {
    no_new_privileges: bool,
    seccomp: bool,
    /// Limits of each process, a line of /proc for each.
    limits: Vec<String>,
    network: String,
    interfaces: Vec<String>,
    memory: Option<u64>,
    pids: Option<u64>,
    writes: Vec<String>,
    reads: Vec<String>,
}

/// Tries what a wrapper keeps programs from; answers the rows of the report that it raises.
pub(in crate::transport) async fn try_wrapper(
    bare: &dyn Beside,
    wrapped: &dyn Beside,
    home: &str,
    wrapper: &str,
) -> Result<Vec<Control>, TransportError> {
    let script = format!("__home={}\n{}", quote(home), include_str!("wrapped.sh"));
    let with = run(wrapped, &script, Environment::Clean).await?;
    let without = run(bare, &script, Environment::Clean).await?;
    Ok(rows(&read(&without), &read(&with), wrapper))
}

fn read(said: &str) -> Look {
    let mut look = Look::default();
    let number = |value: &str| value.parse().ok().filter(|&most| most < NO_LIMIT);
    for line in said.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "NoNewPrivs" => look.no_new_privileges = value == "1",
            "Seccomp" => look.seccomp = value == "2",
            "limit" => look.limits.push(value.to_owned()),
            "network" => value.clone_into(&mut look.network),
            "interface" => look.interfaces.push(value.to_owned()),
            "memory" => look.memory = number(value),
            "pids" => look.pids = number(value),
            "writes" => look.writes.push(value.to_owned()),
            "reads" => look.reads.push(value.to_owned()),
            _ => {}
        }
    }
    look
}

fn rows(bare: &Look, wrapped: &Look, wrapper: &str) -> Vec<Control> {
    let found = [
        (Kind::Privilege, privilege(wrapped)),
        (Kind::FileWrite, withheld(&bare.writes, &wrapped.writes)),
        (Kind::FileRead, withheld(&bare.reads, &wrapped.reads)),
        (Kind::Network, network(bare, wrapped)),
        (Kind::Resources, resources(bare, wrapped)),
    ];
    let mechanism = format!("the host profile's wrapper, {wrapper}");
    let rows = found.into_iter().filter_map(|(kind, found)| {
        let (level, detail) = found?;
        Some(Control::new(kind, level, mechanism.clone(), detail))
    });
    rows.collect()
}

fn privilege(wrapped: &Look) -> Option<(Level, String)> {
    let seccomp = if wrapped.seccomp {
        ", system calls filtered"
    } else {
        ""
    };
    wrapped
        .no_new_privileges
        .then(|| (Level::Enforced, format!("no new privileges{seccomp}")))
}

/// What of some places is out of reach with the wrapper and was not without it.
fn withheld(bare: &[String], wrapped: &[String]) -> Option<(Level, String)> {
    let (open, closed): (Vec<_>, Vec<_>) = bare.iter().partition(|place| wrapped.contains(place));
    if closed.is_empty() {
        return None;
    }
    let named = |places: &[&String]| {
        let places: Vec<&str> = places.iter().map(|place| place.as_str()).collect();
        places.join(" ")
    };
    Some(match open.is_empty() {
        true => (Level::Enforced, format!("refused: {}", named(&closed))),
        false => {
            let detail = format!("refused: {}; open: {}", named(&closed), named(&open));
            (Level::Partial, detail)
        }
    })
}

fn network(bare: &Look, wrapped: &Look) -> Option<(Level, String)> {
    if wrapped.network.is_empty() || bare.network == wrapped.network {
        return None;
    }
    let others: Vec<&str> = wrapped.interfaces.iter().map(String::as_str).collect();
    let others: Vec<&str> = others.into_iter().filter(|&name| name != "lo").collect();
    Some(match others.is_empty() {
        true => (Level::Enforced, "no interface but its own lo".to_owned()),
        false => {
            let detail = format!("a network of its own with {}", others.join(" "));
            (Level::Partial, detail)
        }
    })
}

fn resources(bare: &Look, wrapped: &Look) -> Option<(Level, String)> {
    let group = [("memory", wrapped.memory), ("pids", wrapped.pids)];
    let own = wrapped.memory != bare.memory || wrapped.pids != bare.pids;
    let group = group
        .into_iter()
        .filter_map(|(name, most)| Some(format!("{name} {}", most?)));
    let mut parts: Vec<String> = group.filter(|_| own).collect();
    let level = match parts.len() {
        2 => Level::Enforced,
        _ => Level::Partial,
    };
    let narrower = wrapped.limits.iter();
    let narrower = narrower.filter(|limit| !bare.limits.contains(limit));
    // `Max processes   100   100   processes`: blanks in columns say nothing.
    parts.extend(narrower.map(|limit| limit.split_whitespace().collect::<Vec<_>>().join(" ")));
    (!parts.is_empty()).then(|| (level, parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "NoNewPrivs 0\nSeccomp 0\nlimit Max processes    7000  7000  processes\n\
        network net:[1]\ninterface lo\ninterface eth0\nmemory max\npids max\n\
        writes /home/me\nwrites /tmp\nreads /home/me\nreads /etc/passwd\n";

    fn raised(wrapped: &str) -> Vec<(Kind, Level, String)> {
        let rows = rows(&read(BARE), &read(wrapped), "setpriv");
        let row = |row: Control| (row.kind, row.level, row.detail.into_owned());
        rows.into_iter().map(row).collect()
    }

    #[test]
    fn a_wrapper_that_changes_nothing_raises_nothing() {
        assert_eq!(raised(BARE), []);
        assert_eq!(raised(&BARE.replace("max", "9223372036854771712")), []);
    }

    #[test]
    fn what_was_seen_to_be_refused_is_reported_and_what_is_open_is_named() {
        let wrapped = "NoNewPrivs 1\nSeccomp 2\nlimit Max processes    100  100  processes\n\
            network net:[2]\ninterface lo\nmemory 1048576\npids 50\n\
            reads /etc/passwd\n";
        let row = |kind, level, detail: &str| (kind, level, detail.to_owned());
        assert_eq!(
            raised(wrapped),
            [
                row(
                    Kind::Privilege,
                    Level::Enforced,
                    "no new privileges, system calls filtered"
                ),
                row(Kind::FileWrite, Level::Enforced, "refused: /home/me /tmp"),
                row(
                    Kind::FileRead,
                    Level::Partial,
                    "refused: /home/me; open: /etc/passwd"
                ),
                row(
                    Kind::Network,
                    Level::Enforced,
                    "no interface but its own lo"
                ),
                row(
                    Kind::Resources,
                    Level::Enforced,
                    "memory 1048576; pids 50; Max processes 100 100 processes"
                ),
            ]
        );
    }
}
