//! Sessions through SSH, beside what cannot be less, a bash at the end of a channel that is
//! held, and beside what people use instead. The host is this machine, over loopback, and
//! over a way that takes its time: what counts there is how many times a command goes to and
//! fro.

mod channel;
mod host;

use std::process::Stdio;
use std::time::Duration;

use execkit::{HostKeyVerification, Session, SshAuth, SshConfig};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Result;
use crate::caller::{Call, Caller};
use crate::client::through_ssh;
use crate::peer::PeerThread;
use crate::plan::Plan;
use crate::race::{Contender, Race};
use crate::report::Report;
use crate::server::{Audit, Server};
use crate::sessions;
use crate::shell::BareShell;
use crate::spawn::PerCommand;
use crate::streaming::{self, SLOW_STREAMS, UNREDACTED};
use channel::ChannelPerCommand;
use host::{Host, SlowWay};

/// How long a byte takes each way where the way is slow: a country's width.
const SLOW: Duration = Duration::from_millis(5);

/// Commands over the slow way in a turn: each takes at least twice [`SLOW`].
const FAR_COMMANDS: usize = 20;

/// The commands, and their tables.
const SCRIPTS: [(&str, &str); 2] = [
    ("true", TABLE),
    ("echo hello", "`echo hello` through SSH, loopback"),
];

/// The table of `true`.
pub(crate) const TABLE: &str = "`true` through SSH, loopback";

/// Rows that others are compared with.
pub(crate) const BARE: &str = "bash eval, three pipes, no SSH";
pub(crate) const OPENSSH_HELD: &str = "bash at the end of OpenSSH's held channel";
pub(crate) const RUSSH_HELD: &str = "bash at the end of russh's held channel";
pub(crate) const LOCAL: &str = "execgate, local session";
pub(crate) const EXECGATE: &str = "execgate through SSH";
pub(crate) const EXECKIT: &str = "execkit through SSH";
pub(crate) const CONTROL: &str = "ssh per command, ControlMaster";

/// Rows of streams.
pub(crate) const OPENSSH: &str = "OpenSSH's client";
pub(crate) const RUSSH: &str = "russh alone";
pub(crate) const UNREDACTED_STREAM: &str = "execgate through SSH, nothing redacted";

/// The table of streams.
pub(crate) fn stream_table(plan: Plan) -> String {
    format!("{} through SSH", streaming::table(plan))
}

/// Fills the rows of sessions through SSH.
pub(crate) async fn measure(
    program: &std::path::Path,
    plan: Plan,
    report: &mut Report,
) -> Result<()> {
    let host = Host::start().await?;
    let way = SlowWay::open(host.port, SLOW).await?;
    let profiles = host.profile("near", host.port) + &host.profile("far", way.port);
    let server = Server::execgate_with(program, Audit::Durable, &profiles).await?;
    let master = Master::start(&host).await?;
    let mut race = near(&host, &master, &server, plan).await;
    for (script, table) in SCRIPTS {
        let turns = match table {
            TABLE => plan.turns,
            _ => plan.fewer_turns(),
        };
        race.run(table, script, turns, report).await;
    }
    drop(race);
    far(&host, &way, &server, plan, report).await;
    let begins = "a session's begin and end, through SSH";
    let (unix, near) = (server.unix(), through_ssh("near"));
    sessions::begins_on(&unix, begins, "execgate, a host", near, report).await?;
    let unredacted = profiles + UNREDACTED;
    let unredacted = Server::execgate_with(program, Audit::Durable, &unredacted).await?;
    let mut race = streams(&host, &server, &unredacted, plan).await;
    let (script, bytes) = (streaming::script(plan.stream_bytes), plan.stream_bytes);
    race.stream(&stream_table(plan), &script, bytes, report)
        .await;
    Ok(())
}

async fn near(host: &Host, master: &Master, server: &Server, plan: Plan) -> Race {
    let mut race = Race::default();
    let unix = server.unix();
    let echo = "one line through OpenSSH's held channel";
    race.offer(echo, plan.commands, Echo::start(host.ssh(host.port)));
    race.offer(BARE, plan.commands, BareShell::start());
    let held = BareShell::of(bash(host.ssh(host.port)));
    race.offer(OPENSSH_HELD, plan.commands, held);
    race.offer(RUSSH_HELD, plan.commands, channel::shell(host).await);
    let local = Caller::open(&unix, "ssh-local", None, Call::Run).await;
    race.offer(LOCAL, plan.commands, local);
    for (row, call) in [
        (EXECGATE, Call::Run),
        ("execgate through SSH, Exec", Call::Exec),
    ] {
        let session = format!("near-{}", call.word());
        let near = Caller::open(&unix, &session, Some(through_ssh("near")), call).await;
        race.offer(row, plan.commands, near);
        race.versus(row, RUSSH_HELD);
    }
    race.offer(EXECKIT, plan.slow_commands, peer(host).await);
    let per_command = ChannelPerCommand::connect(host).await;
    race.offer(
        "russh, a channel per command",
        plan.slow_commands,
        per_command,
    );
    race.add(CONTROL, plan.slow_commands, master.per_command(host));
    let alone = PerCommand::new("ssh", host.words(host.port, &[]));
    race.add("ssh per command", plan.very_slow_commands, alone);
    for row in [
        EXECKIT,
        "russh, a channel per command",
        CONTROL,
        "ssh per command",
    ] {
        race.versus(row, EXECGATE);
    }
    race
}

async fn far(host: &Host, way: &SlowWay, server: &Server, plan: Plan, report: &mut Report) {
    let mut race = Race::default();
    let floor = "bash at the end of OpenSSH's held channel";
    race.offer(floor, FAR_COMMANDS, BareShell::of(bash(host.ssh(way.port))));
    let target = Some(through_ssh("far"));
    let far = Caller::open(&server.unix(), "far", target, Call::Run).await;
    race.offer(EXECGATE, FAR_COMMANDS, far);
    race.versus(EXECGATE, floor);
    let table = format!(
        "`true` through SSH, {} ms there and back",
        2 * SLOW.as_millis()
    );
    race.run(&table, "true", plan.turns, report).await;
}

async fn streams(host: &Host, server: &Server, unredacted: &Server, plan: Plan) -> Race {
    let mut race = Race::default();
    // A connection of its own that is made before, as all others have.
    let openssh = BareShell::of(bash(host.ssh(host.port)));
    race.offer(OPENSSH, plan.streams, openssh);
    race.offer(RUSSH, plan.streams, channel::shell(host).await);
    for (row, server) in [(UNREDACTED_STREAM, unredacted), (EXECGATE, server)] {
        let target = Some(through_ssh("near"));
        let stream = Caller::open(&server.unix(), "stream", target, Call::Exec).await;
        race.offer(row, plan.streams, stream);
        race.versus(row, RUSSH);
    }
    race.offer(EXECKIT, SLOW_STREAMS, peer(host).await);
    race.versus(EXECKIT, EXECGATE);
    race
}

fn bash(mut ssh: Command) -> Command {
    ssh.arg("exec bash --noprofile --norc");
    ssh
}

async fn peer(host: &Host) -> Result<PeerThread> {
    let key = SshAuth::Key {
        path: host.key(),
        passphrase: None,
    };
    let host_key = HostKeyVerification::Pinned(host.fingerprint.clone());
    let mut config = SshConfig::new("127.0.0.1", &host.user, key, host_key);
    config.port = host.port;
    PeerThread::open(|| Ok(Session::ssh(config)?)).await
}

/// A connection of OpenSSH's client that others share.
struct Master {
    socket: String,
    _child: Child,
}

impl Master {
    async fn start(host: &Host) -> Result<Self> {
        let socket = host.path("control").display().to_string();
        let words = host.words(host.port, &["-M", "-S", &socket]);
        let mut child = Command::new("ssh")
            .args(words)
            .arg("echo ready; exec sleep 100000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("ssh has no pipe")?;
        BufReader::new(stdout).read_line(&mut String::new()).await?;
        Ok(Self {
            socket,
            _child: child,
        })
    }

    fn per_command(&self, host: &Host) -> PerCommand {
        let words = host.words(host.port, &["-o", "ControlMaster=no", "-S", &self.socket]);
        PerCommand::new("ssh", words)
    }
}

/// `cat` at the end of a channel: what the network and two processes take.
struct Echo {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: String,
    _child: Child,
}

impl Echo {
    fn start(mut ssh: Command) -> Result<Self> {
        let mut child = ssh
            .arg("exec cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = "ssh has no pipes";
        Ok(Self {
            stdin: child.stdin.take().ok_or(missing)?,
            stdout: BufReader::new(child.stdout.take().ok_or(missing)?),
            line: String::new(),
            _child: child,
        })
    }
}

#[tonic::async_trait(?Send)]
impl Contender for Echo {
    async fn once(&mut self, script: &str) -> Result<()> {
        self.stdin
            .write_all(format!("{script}\n").as_bytes())
            .await?;
        self.line.clear();
        match self.stdout.read_line(&mut self.line).await? {
            0 => Err("ssh has ended".into()),
            _ => Ok(()),
        }
    }
}
