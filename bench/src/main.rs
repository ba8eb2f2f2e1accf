//! Measures the server beside the floor (the least that any such server must do) and a
//! peer, in one run and in turns, so that what disturbs the machine disturbs all of them.
//!
//! Nothing is asserted here: the numbers are printed and kept, people judge them.

mod audit;
mod client;
mod floor;
mod memory;
mod peer;
#[expect(dead_code, reason = "its rows come next")]
mod python;
mod report;
mod round_trip;
mod server;
mod shell;
mod ssh;
mod streaming;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::report::Report;
use crate::server::{Audit, Server};

/// Errors end the run and are printed; nothing handles them apart.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures execgate beside the floor and a peer.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server's binary, built with the release profile.
    #[arg(
        long,
        env = "EXECGATE_BIN",
        default_value = "../target/release/execgate"
    )]
    server: PathBuf,
    /// Fewer and smaller measurements: a look, not a result.
    #[arg(long)]
    quick: bool,
    /// Directory for the results as JSON.
    #[arg(long, default_value = "results")]
    results: PathBuf,
    /// Sessions through SSH alone.
    #[arg(long)]
    ssh: bool,
    /// What durable audit costs, alone.
    #[arg(long)]
    audit: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is, if not the one who measures.
#[derive(Debug, Subcommand)]
enum Role {
    /// The floor, as a server of its own.
    #[command(hide = true)]
    Floor {
        /// Where it listens: TCP port on 127.0.0.1.
        port: u16,
        /// Where it listens: Unix socket.
        socket: PathBuf,
    },
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Turns that every contender gets.
    turns: usize,
    /// Commands in a turn, where one takes some hundred microseconds.
    commands: usize,
    /// Commands in a turn of the peer, where one takes some ten milliseconds.
    slow_commands: usize,
    /// Bytes of one stream.
    stream_bytes: u64,
    /// Streams of every contender.
    streams: usize,
    /// Idle sessions whose memory is taken.
    idle_sessions: usize,
    /// Sessions that run commands at the same time.
    parallel_sessions: usize,
}

const FULL: Plan = Plan {
    turns: 10,
    commands: 500,
    slow_commands: 20,
    stream_bytes: 200_000_000,
    streams: 5,
    idle_sessions: 100,
    parallel_sessions: 32,
};

const QUICK: Plan = Plan {
    turns: 3,
    commands: 200,
    slow_commands: 5,
    stream_bytes: 50_000_000,
    streams: 2,
    idle_sessions: 20,
    parallel_sessions: 8,
};

/// The servers that are measured in turns.
#[derive(Debug)]
struct Servers {
    /// With its defaults.
    execgate: Server,
    /// Without waiting for the disk.
    unsynced: Server,
    floor: Server,
}

// One thread, as an agent's client has; on few cores more of them only get in the way.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Floor { port, socket }) => floor::serve(port, &socket).await,
        None => measure(arguments).await,
    }
}

async fn measure(arguments: Arguments) -> Result<()> {
    let plan = if arguments.quick { QUICK } else { FULL };
    let mut report = Report::new(arguments.quick);
    if arguments.audit {
        audit::measure(&servers(&arguments).await?, plan, &mut report).await?;
    } else {
        if !arguments.ssh {
            local(&arguments, plan, &mut report).await?;
        }
        eprintln!("through SSH");
        ssh::measure(&arguments.server, plan, &mut report).await?;
    }
    print!("{report}");
    let kept = report.keep(&arguments.results)?;
    println!("\nkept in {}", kept.display());
    Ok(())
}

async fn servers(arguments: &Arguments) -> Result<Servers> {
    Ok(Servers {
        execgate: Server::execgate(&arguments.server, Audit::Durable).await?,
        unsynced: Server::execgate(&arguments.server, Audit::Written).await?,
        floor: Server::floor().await?,
    })
}

/// Sessions on this machine.
async fn local(arguments: &Arguments, plan: Plan, report: &mut Report) -> Result<()> {
    eprintln!("memory");
    memory::measure(&arguments.server, plan, report).await?;
    let servers = servers(arguments).await?;
    eprintln!("round trips");
    round_trip::measure(&servers, plan, report).await?;
    eprintln!("durable audit");
    audit::measure(&servers, plan, report).await?;
    eprintln!("streams");
    streaming::measure(&servers, plan, report).await
}
