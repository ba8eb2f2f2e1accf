//! The server is killed under load, again and again: every command that ran has its intent,
//! nothing that a caller was told is missing, and the log verifies with the server's key.
//!
//! `EXECGATE_CRASHES` says how often; a few times where nobody says.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use crate::support::{Server, binary, run_request};

/// Kills where nobody says how many.
const CRASHES: u64 = 12;
/// Sessions at work at once.
const SESSIONS: u64 = 6;
/// The longest time at work before a kill.
const MAX_WORK_MILLIS: u64 = 250;

fn crashes() -> u64 {
    let said = std::env::var("EXECGATE_CRASHES").ok();
    said.map_or(CRASHES, |number| number.parse().unwrap())
}

/// A number that nobody planned.
fn chance(below: u64) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::from(since.subsec_nanos()).wrapping_mul(2_654_435_761) / 7 % below
}

/// Runs commands that leave a mark until the server is gone; the ids that it answered.
async fn work(server: &Server, round: u64, session: u64, marks: &Path) -> JoinSet<Vec<String>> {
    let mut tasks = JoinSet::new();
    let mut client = server.client().await;
    let marks = marks.to_owned();
    let name = format!("s{round}_{session}");
    client.session(&name).await;
    tasks.spawn(async move {
        let mut answered = Vec::new();
        for number in 0.. {
            let id = format!("mark-{round}-{session}-{number}.");
            let file = marks.join(&name);
            let script = format!("echo {id} >>{}", file.display());
            match client.try_run(run_request(&name, &script)).await {
                Ok(_) => answered.push(id),
                Err(_) => break,
            }
        }
        answered
    });
    tasks
}

fn verify(server: &Server, key: &str) {
    let output = Command::new(binary())
        .args(["audit", "verify", "--key", key])
        .arg(&server.data_dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}

/// The log as text: one line for each record.
fn exported(server: &Server) -> String {
    let output = Command::new(binary())
        .args(["audit", "export"])
        .arg(&server.data_dir)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The marks in records of this kind.
fn marked(log: &str, kind: &str) -> BTreeSet<String> {
    let kind = format!("\"kind\":\"{kind}\"");
    log.lines()
        .filter(|line| line.contains(&kind))
        .filter_map(|line| {
            let mark = line.split("mark-").nth(1)?;
            Some(format!("mark-{}.", mark.split('.').next()?))
        })
        .collect()
}

#[tokio::test]
async fn a_server_that_is_killed_at_any_moment_has_recorded_what_it_did() {
    let marks = tempfile::tempdir().unwrap();
    // Sessions may be another user's.
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(marks.path(), open).unwrap();
    let mut server = Server::start();
    let key = Command::new(binary())
        .args(["audit", "key", "--data-dir"])
        .arg(&server.data_dir)
        .output()
        .unwrap();
    let key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    let mut answered = BTreeSet::new();
    for round in 0..crashes() {
        let mut tasks = Vec::new();
        for session in 0..SESSIONS {
            tasks.push(work(&server, round, session, marks.path()).await);
        }
        tokio::time::sleep(Duration::from_millis(chance(MAX_WORK_MILLIS))).await;
        server.kill();
        for mut tasks in tasks {
            while let Some(done) = tasks.join_next().await {
                answered.extend(done.unwrap());
            }
        }
        verify(&server, &key);
        server.kill_and_restart();
        verify(&server, &key);
    }
    let log = exported(&server);
    let intents = marked(&log, "execution_intent");
    let ran: BTreeSet<String> = std::fs::read_dir(marks.path())
        .unwrap()
        .flat_map(|file| {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert!(ran.len() as u64 > crashes(), "{} ran", ran.len());
    let unrecorded: Vec<_> = ran.difference(&intents).collect();
    assert_eq!(unrecorded, Vec::<&String>::new(), "ran without an intent");
    let lost: Vec<_> = answered.difference(&intents).collect();
    assert_eq!(lost, Vec::<&String>::new(), "answered and not recorded");
    // Every intent is closed, by its outcome or by the next start.
    let count = |kind: &str| log.matches(&format!("\"kind\":\"{kind}\"")).count();
    let closed = count("execution_outcome") + count("execution_abandoned");
    assert_eq!(count("execution_intent"), closed);
    // What was answered has an outcome, and none of it was given up for lost.
    let (told, ran) = (answered.len(), ran.len());
    assert!(
        count("execution_outcome") >= told,
        "{told} of {ran} were answered"
    );
    println!(
        "{} kills, {ran} commands ran, {told} were answered",
        crashes()
    );
}
