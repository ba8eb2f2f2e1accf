//! How soon the first output of a command is there, while the command goes on.

use std::time::Instant;

use crate::client::{Address, Client};
use crate::plan::Plan;
use crate::race::{Contender, Race};
use crate::report::Report;
use crate::shell::BareShell;
use crate::{Result, Servers};

/// What prints, and goes on for long enough that no end brings the output.
const SCRIPT: &str = "echo hello; sleep 0.05";

/// Commands in a turn: each takes what it sleeps.
const COMMANDS: usize = 10;

/// The table.
pub(crate) const TABLE: &str = "first output of `echo hello; sleep 0.05`";

/// Rows.
pub(crate) const FLOOR: &str = "floor Exec, Unix socket";
pub(crate) const EXECGATE: &str = "execgate Exec, Unix socket";
pub(crate) const UNSYNCED: &str = "execgate Exec, Unix socket, audit not synced";

/// The session, on every server.
const SESSION: &str = "first-byte";

/// Fills the rows of first outputs.
pub(crate) async fn measure(servers: &Servers, plan: Plan, report: &mut Report) -> Result<()> {
    let mut race = Race::default();
    let bare = BareShell::start()?;
    race.add("bash eval, three pipes, no server", COMMANDS, Bare(bare));
    for server in [&servers.execgate, &servers.unsynced] {
        let mut client = Client::connect(&server.unix()).await?;
        client.open(SESSION).await?;
    }
    let contenders = [
        (FLOOR, servers.floor.unix()),
        (UNSYNCED, servers.unsynced.unix()),
        (EXECGATE, servers.execgate.unix()),
    ];
    for (row, address) in contenders {
        race.offer(row, COMMANDS, Followed::connect(&address).await);
        if row != FLOOR {
            race.versus(row, FLOOR);
        }
    }
    race.run(TABLE, SCRIPT, plan.turns, report).await;
    Ok(())
}

/// A command that is followed.
struct Followed(Client);

impl Followed {
    async fn connect(address: &Address) -> Result<Self> {
        Ok(Self(Client::connect(address).await?))
    }
}

#[tonic::async_trait(?Send)]
impl Contender for Followed {
    async fn once(&mut self, script: &str) -> Result<()> {
        self.0.exec(SESSION, script).await.map(|_| ())
    }

    async fn run(&mut self, script: &str, times: usize) -> Result<Vec<f64>> {
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            let first = self.0.first_output(SESSION, script).await?;
            taken.push(first.as_secs_f64());
        }
        Ok(taken)
    }
}

/// A shell whose first output is waited for.
struct Bare(BareShell);

#[tonic::async_trait(?Send)]
impl Contender for Bare {
    async fn once(&mut self, script: &str) -> Result<()> {
        self.0.once(script).await
    }

    async fn run(&mut self, script: &str, times: usize) -> Result<Vec<f64>> {
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            let start = Instant::now();
            self.0.begin(script).await?;
            self.0.next().await?.ok_or("there was no output")?;
            taken.push(start.elapsed().as_secs_f64());
            while self.0.next().await?.is_some() {}
        }
        Ok(taken)
    }
}
