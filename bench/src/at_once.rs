//! Sessions that work at the same time over one connection.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Address, Client};
use crate::report::{Report, Unit};

/// The command.
const TRUE: &str = "true";

/// Turns that every contender gets.
pub(crate) const TURNS: usize = 5;

/// Each session runs this many commands in a turn, if its part of the plan's is less.
const MIN_COMMANDS: usize = 10;

/// The tables of so many sessions, of single commands and of all together.
pub(crate) fn tables(group: &str, sessions: usize) -> (String, String) {
    (
        format!("{group}`true` in {sessions} sessions at once, each command"),
        format!("{group}`true` in {sessions} sessions at once, all commands"),
    )
}

/// Opens the sessions.
pub(crate) async fn open(address: &Address, sessions: usize) -> Result<()> {
    let mut client = Client::connect(address).await?;
    for index in 0..sessions {
        client.open(&session(index)).await?;
    }
    Ok(())
}

/// Lets contenders run the plan's number of commands in turns.
pub(crate) async fn race(
    group: &str,
    contenders: &[(&str, Address)],
    sessions: usize,
    commands: usize,
    turns: usize,
    report: &mut Report,
) -> Result<()> {
    let (latency, rate) = tables(group, sessions);
    let commands = (commands / sessions).max(MIN_COMMANDS);
    for turn in 0..=turns {
        for (name, address) in contenders {
            let client = Client::connect(address).await?;
            let start = Instant::now();
            let taken = this_turn(&client, sessions, commands).await?;
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
    Ok(())
}

/// Runs so many commands in each session; answers the seconds of each.
pub(crate) async fn this_turn(
    client: &Client,
    sessions: usize,
    commands: usize,
) -> Result<Vec<f64>> {
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
    format!("at-once-{index}")
}
