//! Measures the server beside the floor (the least that any such server must do) and what
//! people would use instead, in one run and in turns, so that what disturbs the machine
//! disturbs all of them.
//!
//! Nothing is asserted here: the numbers are printed, drawn and kept, and held against the
//! targets; people judge them.

mod at_once;
mod audit;
mod caller;
mod client;
mod concurrency;
mod disk;
mod docker;
mod first_byte;
mod floor;
mod growth;
mod held;
mod large;
mod peer;
mod plan;
mod policy;
mod processes;
mod python;
mod python_row;
mod race;
mod report;
mod round_trip;
mod server;
mod sessions;
mod shell;
mod spawn;
mod ssh;
mod streaming;
mod targets;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::plan::{FULL, Plan, QUICK};
use crate::report::Report;
use crate::server::{Audit, Server};

/// File descriptors that all measured sessions of a server take, twice.
const FILES: u64 = 50_000;

/// Errors end a group and are printed; nothing handles them apart.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures execgate beside the floor and what people would use instead.
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
    /// Directory for the results.
    #[arg(long, default_value = "results")]
    results: PathBuf,
    /// These groups of rows alone.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What is measured together, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    RoundTrip,
    FirstByte,
    Large,
    Policy,
    Concurrency,
    Audit,
    Streaming,
    Ssh,
    Docker,
    Growth,
    Sessions,
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
    /// A client that takes all that comes.
    #[command(hide = true)]
    Flood {
        /// Where the server is.
        uri: String,
        /// The session that floods.
        session: String,
    },
}

/// The servers that are measured in turns.
#[derive(Debug)]
struct Servers {
    /// With its defaults.
    execgate: Server,
    /// Without waiting for the disk.
    unsynced: Server,
    floor: Server,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // One thread, as an agent's client has; on few cores more of them only get in the way.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match &arguments.role {
        Some(Role::Floor { port, socket }) => runtime.block_on(floor::serve(*port, socket)),
        Some(Role::Flood { uri, session }) => {
            runtime.block_on(concurrency::flood(uri.clone(), session))
        }
        None => {
            if arguments.groups().contains(&Group::Docker) {
                name_engine();
            }
            raise_files();
            runtime.block_on(measure(&arguments))
        }
    }
}

/// Lets the servers, which inherit it, have as many descriptors as thousands of sessions take,
/// or as many as this user may have.
fn raise_files() {
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(FILES, |most| most.max(FILES));
    let limits = [Some(wanted), now.maximum].map(|files| Rlimit {
        current: files,
        maximum: files,
    });
    if !limits
        .into_iter()
        .any(|limit| setrlimit(Resource::Nofile, limit).is_ok())
    {
        eprintln!("the limit of file descriptors stays as it is");
    }
}

/// Puts the Docker engine into the variable by which clients and the peer find it. Where there
/// is none, the variable stays as it is, and the group says so.
fn name_engine() {
    match docker::find_engine() {
        // SAFETY: this is the only thread so far.
        Ok(host) => unsafe { std::env::set_var("DOCKER_HOST", host) },
        Err(error) => eprintln!("no Docker engine: {error}"),
    }
}

impl Arguments {
    fn groups(&self) -> Vec<Group> {
        let all = Group::value_variants().iter().copied();
        all.filter(|group| self.only.is_empty() || self.only.contains(group))
            .collect()
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let plan = if arguments.quick { QUICK } else { FULL };
    let mut report = Report::new(arguments.quick, &arguments.server);
    for group in arguments.groups() {
        let start = Instant::now();
        eprintln!("{group:?}");
        // What a group has measured before it failed stays.
        if let Err(error) = group.measure(arguments, plan, &mut report).await {
            let name = format!("{group:?}");
            report.left_out(&name, "the rest", &error.to_string());
        }
        eprintln!("{group:?}: {:.0} s", start.elapsed().as_secs_f64());
    }
    let targets = targets::judge(&report, plan);
    report.close(targets);
    print!("{report}");
    for kept in report.keep(&arguments.results)? {
        println!("kept in {}", kept.display());
    }
    Ok(())
}

impl Group {
    async fn measure(self, arguments: &Arguments, plan: Plan, report: &mut Report) -> Result<()> {
        let program = std::path::absolute(&arguments.server)?;
        let program = program.as_path();
        match self {
            Self::RoundTrip => {
                round_trip::measure(&Servers::start(program).await?, plan, report).await
            }
            Self::FirstByte => {
                first_byte::measure(&Servers::start(program).await?, plan, report).await
            }
            Self::Large => large::measure(&Servers::start(program).await?, plan, report).await,
            Self::Policy => {
                let servers = Servers::start(program).await?;
                policy::measure(program, &servers, plan, report).await
            }
            Self::Concurrency => {
                concurrency::measure(&Servers::start(program).await?, plan, report).await
            }
            Self::Audit => audit::measure(program, plan, report).await,
            Self::Streaming => streaming::measure(program, plan, report).await,
            Self::Ssh => ssh::measure(program, plan, report).await,
            Self::Docker => docker::measure(program, plan, report).await,
            Self::Growth => growth::measure(program, plan, report).await,
            Self::Sessions => sessions::measure(program, plan, report).await,
        }
    }
}

impl Servers {
    async fn start(program: &std::path::Path) -> Result<Self> {
        Ok(Self {
            execgate: Server::execgate(program, Audit::Durable).await?,
            unsynced: Server::execgate(program, Audit::Written).await?,
            floor: Server::floor().await?,
        })
    }
}
