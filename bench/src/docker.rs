//! Sessions in containers, beside what cannot be less, a bash at the end of an attach stream
//! that is held, and beside what people use instead. The engine is `DOCKER_HOST`'s: clients
//! and the peer know no other way to be told.

mod engine;

pub(crate) use engine::find_engine;

use std::path::Path;

use execkit::Session;

use crate::Result;
use crate::caller::{Call, Caller};
use crate::client::{in_container, of_image};
use crate::peer::PeerThread;
use crate::plan::Plan;
use crate::race::Race;
use crate::report::Report;
use crate::server::{Audit, Server};
use crate::sessions;
use crate::shell::BareShell;
use crate::spawn::PerCommand;
use crate::streaming::{self, SLOW_STREAMS, UNREDACTED};
use engine::{Container, ExecPerCommand, IMAGE, PREFIX};

/// The commands, and their tables.
const SCRIPTS: [(&str, &str); 2] = [
    ("true", TABLE),
    ("echo hello", "`echo hello` in a container"),
];

/// Containers that a client program starts and removes.
const DOCKER_RUNS: usize = 5;

/// The table of `true`.
pub(crate) const TABLE: &str = "`true` in a container";

/// Rows that others are compared with.
pub(crate) const BARE: &str = "bash eval, three pipes, no container";
pub(crate) const HELD: &str = "bash at the end of bollard's attach stream";
pub(crate) const LOCAL: &str = "execgate, local session";
pub(crate) const EXECGATE: &str = "execgate in a container";
pub(crate) const EXECKIT: &str = "execkit in a container";
pub(crate) const DOCKER_EXEC: &str = "docker exec per command";

/// Rows of streams.
pub(crate) const BOLLARD: &str = "bollard alone";
pub(crate) const CLIENT: &str = "docker exec";
pub(crate) const UNREDACTED_STREAM: &str = "execgate in a container, nothing redacted";

/// The table of streams.
pub(crate) fn stream_table(plan: Plan) -> String {
    format!("{} from a container", streaming::table(plan))
}

/// Fills the rows of sessions in containers.
pub(crate) async fn measure(program: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    let container = Container::start()?;
    let config = format!(
        "[docker]\nhost = {:?}\n[docker.profiles.default]\ncontainers = [\"{PREFIX}*\"]\n",
        container.host
    );
    let server = Server::execgate_with(program, Audit::Durable, &config).await?;
    let mut race = commands(&container, &server, plan).await;
    for (script, table) in SCRIPTS {
        let turns = match table {
            TABLE => plan.turns,
            _ => plan.fewer_turns(),
        };
        race.run(table, script, turns, report).await;
    }
    drop(race);
    begins(&container, &server, report).await?;
    let config = config + UNREDACTED;
    let unredacted = Server::execgate_with(program, Audit::Durable, &config).await?;
    let mut race = streams(&container, &server, &unredacted, plan).await;
    let (script, bytes) = (streaming::script(plan.stream_bytes), plan.stream_bytes);
    race.stream(&stream_table(plan), &script, bytes, report)
        .await;
    Ok(())
}

async fn begins(container: &Container, server: &Server, report: &mut Report) -> Result<()> {
    let table = "a session's begin and end, in a container";
    let unix = server.unix();
    let there = in_container(&container.name);
    sessions::begins_on(&unix, table, "execgate, a container", there, report).await?;
    let made = of_image(IMAGE);
    sessions::begins_on(&unix, table, "execgate, an image", made, report).await?;
    let mut race = Race::default();
    let words = ["run", "--rm", "--network", "none", IMAGE, "bash", "-c"];
    race.add("docker run --rm", 1, PerCommand::new("docker", words));
    race.run(table, "true", DOCKER_RUNS, report).await;
    Ok(())
}

async fn commands(container: &Container, server: &Server, plan: Plan) -> Race {
    let mut race = Race::default();
    let unix = server.unix();
    race.offer(BARE, plan.commands, BareShell::start());
    race.offer(HELD, plan.commands, container.shell().await);
    let local = Caller::open(&unix, "docker-local", None, Call::Run).await;
    race.offer(LOCAL, plan.commands, local);
    let calls = [
        (EXECGATE, Call::Run),
        ("execgate in a container, Exec", Call::Exec),
    ];
    for (row, call) in calls {
        let target = Some(in_container(&container.name));
        let caller = Caller::open(&unix, &format!("docker-{}", call.word()), target, call).await;
        race.offer(row, plan.commands, caller);
        race.versus(row, HELD);
    }
    race.offer(EXECKIT, plan.slow_commands, peer(container).await);
    let bollard = "bollard, an exec per command";
    let per_command = ExecPerCommand(container.clone_handle());
    race.add(bollard, plan.very_slow_commands, per_command);
    let docker = docker_exec(container);
    race.add(DOCKER_EXEC, plan.very_slow_commands, docker);
    for row in [EXECKIT, bollard, DOCKER_EXEC] {
        race.versus(row, EXECGATE);
    }
    race
}

async fn streams(container: &Container, server: &Server, unredacted: &Server, plan: Plan) -> Race {
    let mut race = Race::default();
    race.offer(BOLLARD, plan.streams, container.shell().await);
    race.add(CLIENT, plan.streams, docker_exec(container));
    for (row, server) in [(UNREDACTED_STREAM, unredacted), (EXECGATE, server)] {
        let target = Some(in_container(&container.name));
        let stream = Caller::open(&server.unix(), "stream", target, Call::Exec).await;
        race.offer(row, plan.streams, stream);
        race.versus(row, BOLLARD);
    }
    race.offer(EXECKIT, SLOW_STREAMS, peer(container).await);
    race.versus(EXECKIT, EXECGATE);
    race
}

fn docker_exec(container: &Container) -> PerCommand {
    let words = [
        "exec",
        &container.name,
        "bash",
        "--noprofile",
        "--norc",
        "-c",
    ];
    PerCommand::new("docker", words)
}

async fn peer(container: &Container) -> Result<PeerThread> {
    let name = container.name.clone();
    PeerThread::open(move || Ok(Session::docker(&name)?)).await
}
