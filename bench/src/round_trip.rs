//! How long `true` takes, from the request to the result: one command after the other, and
//! many sessions at once.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Address, Client};
use crate::peer::{self, Peer};
use crate::report::{Report, Unit};
use crate::shell::BareShell;
use crate::{Plan, Result, Servers};

/// The command.
const TRUE: &str = "true";

/// The session of the sequential measurements, on every server.
const SESSION: &str = "round-trip";

/// How a client asks.
#[derive(Debug, Clone, Copy)]
enum Call {
    Nothing,
    Run,
    Exec,
}

/// A row: a name and what is called.
struct Contender {
    name: &'static str,
    client: Client,
    call: Call,
}

/// Fills the rows of round trips.
pub(crate) async fn measure(servers: &Servers, plan: Plan, report: &mut Report) -> Result<()> {
    let mut contenders = contenders(servers).await?;
    let mut shell = BareShell::start()?;
    let mut peer = Peer::open()?;
    for turn in 0..=plan.turns {
        // The first turn warms up and does not count.
        let counts = turn > 0;
        let mut note = |name: &str, taken| {
            if counts {
                report.sample("round trip of `true`", name, Unit::Time, taken);
            }
        };
        for _ in 0..plan.commands {
            let start = Instant::now();
            shell.run(TRUE).await?;
            note(
                "bash eval, three pipes, no server",
                seconds(start.elapsed()),
            );
        }
        for contender in &mut contenders {
            for _ in 0..plan.commands {
                let start = Instant::now();
                contender.once().await?;
                note(contender.name, seconds(start.elapsed()));
            }
        }
        for _ in 0..plan.slow_commands {
            note("execkit local (in process)", seconds(peer.run(TRUE)?));
        }
    }
    at_once(servers, plan, report).await
}

async fn contenders(servers: &Servers) -> Result<Vec<Contender>> {
    let Servers {
        execgate: server,
        unsynced,
        floor,
    } = servers;
    let rows = [
        ("empty RPC, TCP", floor.tcp(), Call::Nothing),
        ("empty RPC, Unix socket", floor.unix(), Call::Nothing),
        ("floor Run, TCP", floor.tcp(), Call::Run),
        ("execgate Run, TCP", server.tcp(), Call::Run),
        ("floor Run, Unix socket", floor.unix(), Call::Run),
        ("execgate Run, Unix socket", server.unix(), Call::Run),
        ("execgate Run, audit not synced", unsynced.unix(), Call::Run),
        ("floor Exec, TCP", floor.tcp(), Call::Exec),
        ("execgate Exec, TCP", server.tcp(), Call::Exec),
        ("floor Exec, Unix socket", floor.unix(), Call::Exec),
        ("execgate Exec, Unix socket", server.unix(), Call::Exec),
    ];
    for server in [server, unsynced] {
        Client::connect(&server.tcp()).await?.open(SESSION).await?;
    }
    let mut contenders = Vec::new();
    for (name, address, call) in rows {
        contenders.push(Contender {
            name,
            client: Client::connect(&address).await?,
            call,
        });
    }
    Ok(contenders)
}

impl Contender {
    async fn once(&mut self) -> Result<()> {
        match self.call {
            Call::Nothing => self.client.nothing().await,
            Call::Run => self.client.run(SESSION, TRUE).await,
            Call::Exec => self.client.exec(SESSION, TRUE).await.map(|_| ()),
        }
    }
}

/// Many sessions at once over one connection, in commands a second.
async fn at_once(servers: &Servers, plan: Plan, report: &mut Report) -> Result<()> {
    let Servers {
        execgate: server,
        floor,
        ..
    } = servers;
    let sessions = plan.parallel_sessions;
    let table = format!("`true` in {sessions} sessions at once");
    let mut client = Client::connect(&server.unix()).await?;
    for index in 0..sessions {
        client.open(&parallel_session(index)).await?;
    }
    for turn in 0..=plan.turns.min(5) {
        for (name, address) in [("floor", floor.unix()), ("execgate", server.unix())] {
            let rate = rate(&address, sessions, plan.commands / 10).await?;
            if turn > 0 {
                report.sample(
                    &table,
                    &format!("{name} Run, Unix socket"),
                    Unit::Rate,
                    rate,
                );
            }
        }
        if turn > 0 {
            let rate = peer::parallel(sessions, plan.slow_commands.min(5))?;
            report.sample(&table, "execkit local (in process)", Unit::Rate, rate);
        }
    }
    Ok(())
}

async fn rate(address: &Address, sessions: usize, commands: usize) -> Result<f64> {
    let client = Client::connect(address).await?;
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for index in 0..sessions {
        let mut client = client.clone();
        tasks.spawn(async move {
            let session = parallel_session(index);
            for _ in 0..commands {
                client.run(&session, TRUE).await?;
            }
            Result::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok((sessions * commands) as f64 / start.elapsed().as_secs_f64())
}

fn parallel_session(index: usize) -> String {
    format!("parallel-{index}")
}

fn seconds(taken: Duration) -> f64 {
    taken.as_secs_f64()
}
