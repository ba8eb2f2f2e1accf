//! One suite over every kind of target. The stories of tests/scenarios, the sabotage list
//! and what no story can tell are the rows; the targets are the columns; the table is
//! printed. A row may differ only where its target says why.

mod rows;
mod sabotage;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use execgate_proto::v1;
use futures::FutureExt;
use v1::create_session_request::Target as Wanted;

use crate::docker::engine::{Container, images_are_there};
use crate::scenarios;
use crate::sshd::Sshd;
use crate::support::Server;

/// Longer than any row takes, so that a hang becomes a failure.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

/// A column.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// What sessions ask for.
    pub(crate) wanted: Wanted,
    pub(crate) server: Server,
    /// Another one, under an open policy: for sabotage only, which no other would allow.
    pub(crate) open: Server,
    /// Shells it has that sabotage is tried in.
    pub(crate) shells: &'static [&'static str],
    /// Rows that cannot hold here.
    pub(crate) differs: &'static [Difference],
    /// What has to live as long.
    _keep: Box<dyn std::any::Any>,
}

/// A row that cannot hold on a kind of target.
pub(crate) struct Difference {
    row: &'static str,
    why: &'static str,
    /// How GetCapabilities says so.
    is_told: fn(&v1::TransportCapabilities) -> bool,
}

const OPEN: &str = "[policy]\nname = \"open\"\n";

/// The stories that are about commands and not about one kind of target.
const STORIES: [&str; 14] = [
    "argv",
    "binary",
    "budget",
    "busy",
    "cancel",
    "denial",
    "files",
    "restart",
    "signals",
    "state",
    "stdin",
    "streaming",
    "timeout",
    "unicode",
];

fn local() -> Target {
    Target {
        name: "local",
        wanted: Wanted::Local(v1::LocalTarget::default()),
        server: Server::start(),
        open: Server::start_with(OPEN),
        shells: &["bash", "dash"],
        differs: &[],
        _keep: Box::new(()),
    }
}

fn ssh() -> Target {
    let sshd = Sshd::start();
    let config = sshd.profile("host");
    let wanted = v1::SshTarget {
        profile: "host".to_owned(),
        inline: None,
    };
    Target {
        name: "ssh",
        wanted: Wanted::Ssh(wanted),
        server: Server::start_with(&config),
        open: Server::start_with(&format!("{OPEN}{config}")),
        shells: &["bash", "dash"],
        differs: &[],
        _keep: Box::new(sshd),
    }
}

/// A container that shares the directories of the stories with this machine.
fn docker(name: &'static str, image: &str, shells: &'static [&'static str]) -> Target {
    images_are_there();
    let there = Container::run(image, &["--volume", "/tmp:/tmp"]);
    let wanted = v1::DockerTarget {
        source: Some(v1::docker_target::Source::Container(v1::DockerContainer {
            name: there.name.clone(),
        })),
        ..Default::default()
    };
    let config = "[docker.profiles.default]\ncontainers = [\"execgate-test-*\"]\n";
    Target {
        name,
        wanted: Wanted::Docker(wanted),
        server: Server::start_with(config),
        open: Server::start_with(&format!("{OPEN}{config}")),
        shells,
        differs: &[Difference {
            row: "a_signal_that_kills_is_told_from_a_code",
            why: "the engine reports a signal as exit code 128 + n",
            is_told: |docker| !docker.exit_signals,
        }],
        _keep: Box::new(there),
    }
}

/// Runs every row on a target; answers what became of each.
async fn column(target: &Target) -> BTreeMap<String, Result<(), String>> {
    let mut column = BTreeMap::new();
    for story in STORIES {
        let told = scenarios::tell_on(&target.server, story, Some(target.wanted.clone()));
        column.insert(format!("story {story}"), checked(told).await);
    }
    let told = scenarios::tell_on(&target.server, "terminal", Some(target.wanted.clone()));
    column.insert("story terminal".to_owned(), checked(told).await);
    for (name, row) in rows::ROWS {
        column.insert((*name).to_owned(), checked(row(target)).await);
    }
    for shell in target.shells {
        let tried = checked(sabotage::try_all(target, shell)).await;
        column.insert(format!("sabotage in {shell}"), tried);
    }
    column
}

/// A row that panics or hangs is a failed one; the others go on.
async fn checked(row: impl Future<Output = ()>) -> Result<(), String> {
    let row = AssertUnwindSafe(row).catch_unwind();
    match tokio::time::timeout(LIMIT, row).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(panic)) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_default()),
        Err(_elapsed) => Err("it hangs".to_owned()),
    }
}

/// What GetCapabilities says of the target's kind.
async fn capabilities(target: &Target) -> v1::TransportCapabilities {
    let kind = match target.wanted {
        Wanted::Local(_) => v1::TransportKind::Local,
        Wanted::Ssh(_) => v1::TransportKind::Ssh,
        Wanted::Docker(_) => v1::TransportKind::Docker,
    };
    let mut client = target.server.client().await;
    let asked = v1::GetCapabilitiesRequest::default();
    let said = client.sessions.get_capabilities(asked).await.unwrap();
    let transports = said.into_inner().transports;
    let found = transports.into_iter().find(|one| one.kind() == kind);
    found.unwrap()
}

async fn conforms(target: Target) {
    let capabilities = capabilities(&target).await;
    let column = column(&target).await;
    let mut failed = Vec::new();
    println!("| row | {} |", target.name);
    for (row, result) in &column {
        let differs = target.differs.iter().find(|differs| differs.row == row);
        let cell = match (result, differs) {
            (Ok(()), None) => "yes".to_owned(),
            (Err(_), Some(differs)) if (differs.is_told)(&capabilities) => {
                format!("differs: {}", differs.why)
            }
            (result, _) => {
                failed.push(format!("{row}: {result:?}"));
                "NO".to_owned()
            }
        };
        println!("| {row} | {cell} |");
    }
    assert!(failed.is_empty(), "{}: {}", target.name, failed.join("\n"));
}

#[tokio::test]
async fn local_sessions_conform() {
    conforms(local()).await;
}

#[tokio::test]
async fn ssh_sessions_conform() {
    conforms(ssh()).await;
}

#[tokio::test]
async fn docker_sessions_conform() {
    let target = docker("docker", "execgate-test-runtime", &["bash"]);
    conforms(target).await;
}

#[tokio::test]
async fn docker_sessions_without_bash_conform() {
    conforms(docker("docker ash", "execgate-test-busybox", &["ash"])).await;
}
