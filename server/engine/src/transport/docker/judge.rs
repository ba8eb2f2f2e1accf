//! What a container can do beyond being one, and what its sessions are kept from. Pure:
//! it reads what the engine tells.

use bollard::models::{ContainerInspectResponse, HostConfig, MountPoint};

use super::container::Origin;
use super::settings::Risk;
use crate::isolation::{Control, ControlKind as Kind, ControlLevel as Level, Isolation};

/// Where engines and container runtimes listen.
const SOCKETS: [&str; 5] = [
    "/run/docker.sock",
    "/run/podman",
    "/run/containerd",
    "/run/crio",
    "/run/user",
];

/// Capabilities with which a container is its host.
const WIDE: [&str; 10] = [
    "ALL",
    "SYS_ADMIN",
    "SYS_MODULE",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_BOOT",
    "SYS_TIME",
    "DAC_READ_SEARCH",
    "BPF",
    "PERFMON",
];

/// What makes this container more than one, each with the reason in words.
pub(super) fn risks(seen: &ContainerInspectResponse) -> Vec<(Risk, String)> {
    let nothing = HostConfig::default();
    let host = seen.host_config.as_ref().unwrap_or(&nothing);
    let mut risks = Vec::new();
    if host.privileged == Some(true) {
        risks.push((Risk::Privileged, "it is privileged".to_owned()));
    }
    let capabilities = host.cap_add.iter().flatten();
    for capability in capabilities {
        let name = capability.to_ascii_uppercase();
        if WIDE.contains(&name.trim_start_matches("CAP_")) {
            let why = format!("it has the capability {capability}");
            risks.push((Risk::Privileged, why));
        }
    }
    if host.devices.iter().flatten().next().is_some() {
        risks.push((Risk::Privileged, "it has devices of its host".to_owned()));
    }
    let namespaces = [
        ("pid", &host.pid_mode),
        ("network", &host.network_mode),
        ("ipc", &host.ipc_mode),
        ("user", &host.userns_mode),
        ("uts", &host.uts_mode),
    ];
    for (name, mode) in namespaces {
        if mode.as_deref() == Some("host") {
            let why = format!("it shares the {name} namespace of its host");
            risks.push((Risk::HostNamespaces, why));
        }
    }
    for mount in seen.mounts.iter().flatten() {
        if let Some(source) = engine_socket(mount) {
            let why = format!("it can reach {source}");
            risks.push((Risk::EngineSocket, why));
        }
    }
    risks
}

/// What of the host is mounted, if that is or holds a socket of an engine.
fn engine_socket(mount: &MountPoint) -> Option<&str> {
    let source = mount.source.as_deref()?;
    // /var/run is /run.
    let place = source.trim_end_matches('/');
    let place = place
        .strip_prefix("/var")
        .filter(|rest| is_in(rest, "/run"))
        .unwrap_or(place);
    let reaches = SOCKETS
        .iter()
        .any(|socket| is_in(place, socket) || is_in(socket, place))
        || place.ends_with("/docker.sock")
        || place == "/var";
    reaches.then_some(source)
}

/// Whether `path` is `place` or lies in it; everything lies in the root.
fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What sessions in this container are kept from, as far as the engine says.
pub(super) fn isolation(seen: &ContainerInspectResponse, origin: Origin) -> Isolation {
    let nothing = HostConfig::default();
    let host = seen.host_config.as_ref().unwrap_or(&nothing);
    let risky = !risks(seen).is_empty();
    let mounted = seen.mounts.iter().flatten().any(|mount| {
        mount.source.as_deref().is_some_and(|source| {
            // Volumes lie with the engine; what else is mounted may be anything.
            mount.name.is_none() && !source.is_empty()
        })
    });
    let options: Vec<&str> = host
        .security_opt
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let no_new_privileges = options
        .iter()
        .any(|option| option.starts_with("no-new-privileges") && !option.ends_with("false"));
    let rows = [
        files(host, risky, mounted),
        vec![
            row(
                Kind::Privilege,
                !risky && no_new_privileges,
                "container: no_new_privs",
                "programs can gain privileges inside",
            ),
            resources(host),
            match origin {
                Origin::Made => row(Kind::Kill, true, "container: removed with the session", ""),
                Origin::Entered => row(Kind::Kill, false, "environment marker and parentage", ""),
            },
            row(
                Kind::Gate,
                !risky && !mounted,
                "container: its own files and processes",
                "it can reach its host",
            ),
        ],
        of_shells(),
    ];
    Isolation::of(String::new(), rows.into_iter().flatten())
}

fn row(kind: Kind, holds: bool, mechanism: &'static str, otherwise: &'static str) -> Control {
    match holds {
        true => Control::new(kind, Level::Enforced, mechanism, ""),
        false => Control::new(kind, Level::Advisory, mechanism, otherwise),
    }
}

/// Its files and its network.
fn files(host: &HostConfig, risky: bool, mounted: bool) -> Vec<Control> {
    let foreign = "files of its host are mounted";
    vec![
        match mounted {
            false => row(
                Kind::FileRead,
                !risky,
                "container: its own files",
                "it can leave it",
            ),
            true => row(Kind::FileRead, false, "container", foreign),
        },
        match host.readonly_rootfs == Some(true) {
            true => row(
                Kind::FileWrite,
                !risky && !mounted,
                "container: read-only root",
                foreign,
            ),
            false => row(Kind::FileWrite, false, "container", "all files of its user"),
        },
        match host.network_mode.as_deref() == Some("none") {
            true => row(
                Kind::Network,
                !risky,
                "container: no network",
                "it can leave it",
            ),
            false => Control::nothing(Kind::Network),
        },
    ]
}

/// What no container changes.
fn of_shells() -> Vec<Control> {
    let advisory = |kind, mechanism, detail| row(kind, false, mechanism, detail);
    vec![
        advisory(
            Kind::ProgramExecution,
            "policy",
            "judged before it runs, not withheld by the kernel",
        ),
        advisory(
            Kind::StreamIntegrity,
            "streams of the engine",
            "code of the session's own user can trace its own shell",
        ),
        advisory(
            Kind::ExitIntegrity,
            "random token in every marker",
            "the shell itself reports how its commands end",
        ),
    ]
}

/// What of the machine the container may use, as its engine says.
fn resources(host: &HostConfig) -> Control {
    let limits = [
        ("processes", host.pids_limit),
        ("memory", host.memory),
        ("processors", host.nano_cpus.or(host.cpu_quota)),
    ];
    let (set, open): (Vec<_>, Vec<_>) = limits
        .into_iter()
        .partition(|(_, limit)| limit.is_some_and(|limit| limit > 0));
    let names = |rows: Vec<(&str, _)>| {
        let names: Vec<&str> = rows.into_iter().map(|(name, _)| name).collect();
        names.join(", ")
    };
    let level = match (set.len(), open.len()) {
        (0, _) => return Control::nothing(Kind::Resources),
        (_, 0) => Level::Enforced,
        _ => Level::Partial,
    };
    let detail = match open.is_empty() {
        true => String::new(),
        false => format!("not limited: {}", names(open)),
    };
    let mechanism = format!("container limits: {}", names(set));
    Control::new(Kind::Resources, level, mechanism, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(host: HostConfig, sources: &[&str]) -> ContainerInspectResponse {
        let mounts = sources.iter().map(|source| MountPoint {
            source: Some((*source).to_owned()),
            ..MountPoint::default()
        });
        ContainerInspectResponse {
            host_config: Some(host),
            mounts: Some(mounts.collect()),
            ..ContainerInspectResponse::default()
        }
    }

    fn found(host: HostConfig, sources: &[&str]) -> Vec<Risk> {
        let risks = risks(&container(host, sources)).into_iter();
        risks.map(|(risk, _)| risk).collect()
    }

    #[test]
    fn what_makes_a_container_more_than_one_is_seen() {
        let privileged = HostConfig {
            privileged: Some(true),
            ..HostConfig::default()
        };
        let admin = HostConfig {
            cap_add: Some(vec!["cap_sys_admin".to_owned()]),
            ..HostConfig::default()
        };
        let shared = HostConfig {
            pid_mode: Some("host".to_owned()),
            ipc_mode: Some("host".to_owned()),
            ..HostConfig::default()
        };
        assert_eq!(found(privileged, &[]), [Risk::Privileged]);
        assert_eq!(found(admin, &[]), [Risk::Privileged]);
        assert_eq!(found(shared, &[]), [Risk::HostNamespaces; 2]);
        assert_eq!(found(HostConfig::default(), &[]), []);
    }

    #[test]
    fn an_engines_socket_is_seen_also_behind_a_directory() {
        for source in [
            "/var/run/docker.sock",
            "/run/docker.sock",
            "/run",
            "/var/run/",
            "/var",
            "/",
            "/run/user/1000/podman/podman.sock",
            "/run/containerd/containerd.sock",
            "/srv/elsewhere/docker.sock",
        ] {
            assert_eq!(
                found(HostConfig::default(), &[source]),
                [Risk::EngineSocket],
                "{source}"
            );
        }
        let harmless = [
            "/srv/data",
            "/runner",
            "/var/lib/data",
            "/home/docker.sockets",
        ];
        assert_eq!(found(HostConfig::default(), &harmless), []);
    }
}
