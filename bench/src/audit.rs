//! What it costs that each intent is on the disk before its command starts: the same server
//! with and without waiting for it, with one, some and many sessions at work at once.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::client::{Address, Client};
use crate::report::{Report, Unit};
use crate::{Plan, Result, Servers};

/// The command.
const TRUE: &str = "true";

/// Sessions at once.
const SESSIONS: [usize; 3] = [1, 8, 64];

/// Commands in one turn of one session are the plan's, shared by the sessions, but no fewer.
const MIN_COMMANDS: usize = 20;

/// Fills the rows.
pub(crate) async fn measure(servers: &Servers, plan: Plan, report: &mut Report) -> Result<()> {
    let contenders = [
        ("audit synced", servers.execgate.unix()),
        ("audit not synced", servers.unsynced.unix()),
    ];
    for (_, address) in &contenders {
        let mut client = Client::connect(address).await?;
        for index in 0..SESSIONS.into_iter().max().unwrap_or_default() {
            client.open(&session(index)).await?;
        }
    }
    for sessions in SESSIONS {
        let latency = format!("durable audit: `true` in {sessions} sessions, each command");
        let rate = format!("durable audit: `true` in {sessions} sessions, all commands");
        for turn in 0..=plan.turns.min(5) {
            for (name, address) in &contenders {
                let commands = (plan.commands / sessions).max(MIN_COMMANDS);
                let start = Instant::now();
                let taken = turn_of(address, sessions, commands).await?;
                let elapsed = start.elapsed().as_secs_f64();
                // The first turn warms up and does not count.
                if turn > 0 {
                    let all = taken.len() as f64;
                    for seconds in taken {
                        report.sample(&latency, name, Unit::Time, seconds);
                    }
                    report.sample(&rate, name, Unit::Rate, all / elapsed);
                }
            }
        }
    }
    Ok(())
}

/// Seconds of each command.
async fn turn_of(address: &Address, sessions: usize, commands: usize) -> Result<Vec<f64>> {
    let client = Client::connect(address).await?;
    let mut tasks = JoinSet::new();
    for index in 0..sessions {
        let mut client = client.clone();
        tasks.spawn(async move {
            let session = session(index);
            let mut taken = Vec::with_capacity(commands);
            for _ in 0..commands {
                let start = Instant::now();
                client.run(&session, TRUE).await?;
                taken.push(start.elapsed().as_secs_f64());
            }
            Result::Ok(taken)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended??);
    }
    Ok(all)
}

fn session(index: usize) -> String {
    format!("audited-{index}")
}
