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
    /// Rows that cannot hold here, and why.
    pub(crate) differs: &'static [(&'static str, &'static str)],
    /// What has to live as long.
    _keep: Box<dyn std::any::Any>,
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
        differs: &[],
        _keep: Box::new(sshd),
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
    for shell in sabotage::SHELLS {
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

async fn conforms(target: Target) {
    let column = column(&target).await;
    let mut failed = Vec::new();
    println!("| row | {} |", target.name);
    for (row, result) in &column {
        let differs = target.differs.iter().find(|(name, _)| name == row);
        let cell = match (result, differs) {
            (Ok(()), None) => "yes".to_owned(),
            (_, Some((_, why))) => format!("differs: {why}"),
            (Err(why), None) => {
                failed.push(format!("{row}: {why}"));
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
