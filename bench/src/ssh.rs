//! Sessions through SSH, beside what cannot be less: a bash at the end of a held channel of
//! OpenSSH's own client, and what that client streams. The host is this machine, over
//! loopback, and over a way that takes its time: what counts there is how many times a
//! command goes to and fro.

mod host;

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};

use crate::client::Client;
use crate::report::{Report, Unit};
use crate::server::{Audit, Server};
use crate::shell::BareShell;
use crate::streaming::LINE;
use crate::{Plan, Result};
use host::{Host, SlowWay};

/// How long a byte takes each way where the way is slow: a country's width.
const SLOW: Duration = Duration::from_millis(5);

/// Commands over the slow way in a turn: each takes at least twice [`SLOW`].
const SLOW_COMMANDS: usize = 20;

/// Largest read of a stream, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The sessions, by where they run.
const NEAR: &str = "ssh-near";
const FAR: &str = "ssh-far";
const LOCAL: &str = "ssh-local";

/// Fills the rows of sessions through SSH.
pub(crate) async fn measure(
    program: &std::path::Path,
    plan: Plan,
    report: &mut Report,
) -> Result<()> {
    let host = Host::start().await?;
    let way = SlowWay::open(host.port, SLOW).await?;
    let config = host.profile("near", host.port) + &host.profile("far", way.port);
    let server = Server::execgate_with(program, Audit::Durable, &config).await?;
    let mut client = Client::connect(&server.tcp()).await?;
    client.open(LOCAL).await?;
    client.open_through_ssh(NEAR, "near").await?;
    client.open_through_ssh(FAR, "far").await?;
    let mut runs = Runs {
        echo: Echo::start(host.ssh(host.port))?,
        near: BareShell::of(bash(host.ssh(host.port)))?,
        far: BareShell::of(bash(host.ssh(way.port)))?,
        client,
    };
    for turn in 0..=plan.turns {
        // The first turn warms up and does not count.
        runs.turn(plan.commands, (turn > 0).then_some(&mut *report))
            .await?;
    }
    stream(&host, &mut runs.client, plan, report).await
}

fn bash(mut ssh: Command) -> Command {
    ssh.arg("exec bash --noprofile --norc");
    ssh
}

struct Runs {
    echo: Echo,
    near: BareShell,
    far: BareShell,
    client: Client,
}

impl Runs {
    async fn turn(&mut self, commands: usize, mut report: Option<&mut Report>) -> Result<()> {
        let mut note = |table: &str, name: &str, start: Instant| {
            if let Some(report) = &mut report {
                let taken = start.elapsed().as_secs_f64();
                report.sample(table, name, Unit::Time, taken);
            }
        };
        let near = "`true` through SSH, loopback";
        for _ in 0..commands {
            let start = Instant::now();
            self.echo.once().await?;
            note(near, "one line through a held channel", start);
        }
        for _ in 0..commands {
            let start = Instant::now();
            self.near.run("true").await?;
            note(near, "floor through SSH", start);
        }
        for (name, session) in [
            ("execgate, local session", LOCAL),
            ("execgate through SSH", NEAR),
        ] {
            for _ in 0..commands {
                let start = Instant::now();
                self.client.run(session, "true").await?;
                note(near, name, start);
            }
        }
        let far = format!(
            "`true` through SSH, {} ms there and back",
            2 * SLOW.as_millis()
        );
        for _ in 0..SLOW_COMMANDS {
            let start = Instant::now();
            self.far.run("true").await?;
            note(&far, "floor through SSH", start);
            let start = Instant::now();
            self.client.run(FAR, "true").await?;
            note(&far, "execgate through SSH", start);
        }
        Ok(())
    }
}

/// `cat` at the end of a channel: what the network and two processes take.
struct Echo {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: String,
    _child: tokio::process::Child,
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

    async fn once(&mut self) -> Result<()> {
        self.stdin.write_all(b"true\n").await?;
        self.line.clear();
        match self.stdout.read_line(&mut self.line).await? {
            0 => Err("ssh has ended".into()),
            _ => Ok(()),
        }
    }
}

async fn stream(host: &Host, client: &mut Client, plan: Plan, report: &mut Report) -> Result<()> {
    let script = format!("yes \"{LINE}\" | head -c {}", plan.stream_bytes);
    let table = format!(
        "{} MB of log lines through SSH",
        plan.stream_bytes / 1_000_000
    );
    for _ in 0..plan.streams {
        let mut note = |name: &str, start: Instant, bytes: u64| {
            if bytes != plan.stream_bytes {
                return Err(format!("{name}: {bytes} bytes came"));
            }
            let rate = bytes as f64 / start.elapsed().as_secs_f64();
            report.sample(&table, name, Unit::Bandwidth, rate);
            Ok(())
        };
        let (start, bytes) = through_openssh(host, &script).await?;
        note("floor through SSH", start, bytes)?;
        let start = Instant::now();
        let bytes = client.exec(LOCAL, &script).await?;
        note("execgate, local session", start, bytes)?;
        let start = Instant::now();
        let bytes = client.exec(NEAR, &script).await?;
        note("execgate through SSH", start, bytes)?;
    }
    Ok(())
}

/// OpenSSH's client with a connection of its own, whose making is not counted; answers when
/// the script began, and how many bytes came.
async fn through_openssh(host: &Host, script: &str) -> Result<(Instant, u64)> {
    let mut ssh = host.ssh(host.port);
    let mut child = ssh
        .arg("bash --noprofile --norc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("ssh has no pipe")?;
    let mut stdout = child.stdout.take().ok_or("ssh has no pipe")?;
    stdin.write_all(b"echo\n").await?;
    stdout.read_exact(&mut [0]).await?;
    let start = Instant::now();
    stdin.write_all(format!("{script}\n").as_bytes()).await?;
    drop(stdin);
    let (mut buffer, mut bytes) = (vec![0; READ_BYTES], 0);
    loop {
        match stdout.read(&mut buffer).await? {
            0 => break,
            read => bytes += read as u64,
        }
    }
    child.wait().await?;
    Ok((start, bytes))
}
