//! Contenders in Python: scripts below `python/` that live as long as the value, and answer
//! requests by lines of JSON (`python/answering.py` tells them). They measure within
//! themselves, so that neither their start nor these lines count.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::Result;
use crate::client::Address;

/// The scripts.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

/// The Python that has grpcio: the repository's own environment.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/python");

/// Our Python client, as it is in this tree and not as it is installed.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../client-py/src");

/// Where environments of peers are made: what is built is there too, and kept out of git.
const ENVIRONMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python");

/// What SWE-ReX is made of, with versions.
const SWE_REX: &str = "requirements-swe-rex.txt";

/// How long a script may take for one answer: far above the slowest, so that none holds up
/// the run.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);

/// How long installing a peer may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// A script that waits for requests.
#[derive(Debug)]
pub(crate) struct PythonContender {
    /// What it says it is, with its version.
    pub(crate) name: String,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

/// What a script answers: one of these.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Error { error: String },
    Ready { ready: String },
    Whole(Streamed),
    Each { seconds: Vec<f64> },
}

/// A stream that was followed to its end.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Streamed {
    /// How long it took.
    pub(crate) seconds: f64,
    /// Bytes of output.
    pub(crate) bytes: u64,
    /// Pieces that they came in.
    pub(crate) chunks: u64,
}

impl PythonContender {
    /// Our own client: all acts but `nothing`. It opens the session, if it is not there.
    pub(crate) async fn own(address: &Address, session: &str) -> Result<Self> {
        Self::ours("own_client.py", address, session).await
    }

    /// The same with asyncio.
    pub(crate) async fn own_asyncio(address: &Address, session: &str) -> Result<Self> {
        Self::ours("own_aio_client.py", address, session).await
    }

    /// grpcio and the stubs alone: all acts; `nothing` against the floor. The session must
    /// be there, where the server is not the floor.
    pub(crate) async fn grpcio(address: &Address, session: &str) -> Result<Self> {
        Self::ours("raw_grpcio.py", address, session).await
    }

    /// SWE-ReX, its server and a session: `run` and `stream`. Installs it first, the first
    /// time.
    pub(crate) async fn swe_rex() -> Result<Self> {
        let python = environment("swe-rex", SWE_REX).await?;
        Self::start(Command::new(python), "swe_rex.py", []).await
    }

    async fn ours(script: &str, address: &Address, session: &str) -> Result<Self> {
        let mut python = Command::new(PYTHON);
        python.env("PYTHONPATH", CLIENT);
        python.env("EXECGATE_TOKEN", address.token.as_deref().unwrap_or(""));
        let uri = address.uri.trim_start_matches("http://");
        Self::start(python, script, [uri, session]).await
    }

    /// Starts one of the scripts and waits until it is ready.
    async fn start<const N: usize>(
        mut python: Command,
        script: &str,
        arguments: [&str; N],
    ) -> Result<Self> {
        let mut child = python
            .arg(Path::new(SCRIPTS).join(script))
            .args(arguments)
            // No `__pycache__` beside the sources.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("start {script}: {error} (scripts/setup-tests --venv)"))?;
        let missing = "the script has no pipes";
        let requests = child.stdin.take().ok_or(missing)?;
        let answers = BufReader::new(child.stdout.take().ok_or(missing)?).lines();
        let mut contender = Self {
            name: String::new(),
            requests,
            answers,
            _child: child,
        };
        match contender.answer().await? {
            Answer::Ready { ready } => contender.name = ready,
            other => return Err(unexpected(&other)),
        }
        Ok(contender)
    }

    /// Makes the empty RPC so many times; the seconds of each.
    pub(crate) async fn nothing(&mut self, times: usize) -> Result<Vec<f64>> {
        self.each(json!({"act": "nothing", "times": times})).await
    }

    /// Runs a command to its result so many times; the seconds of each.
    pub(crate) async fn run(&mut self, command: &str, times: usize) -> Result<Vec<f64>> {
        self.each(json!({"act": "run", "command": command, "times": times}))
            .await
    }

    /// Runs a command and follows it so many times; the seconds of each.
    pub(crate) async fn exec(&mut self, command: &str, times: usize) -> Result<Vec<f64>> {
        self.each(json!({"act": "exec", "command": command, "times": times}))
            .await
    }

    /// Runs a command and follows its output.
    pub(crate) async fn stream(&mut self, command: &str) -> Result<Streamed> {
        self.whole(json!({"act": "stream", "command": command}))
            .await
    }

    /// Reads so many bytes from the floor's memory in chunks of this size.
    pub(crate) async fn memory(&mut self, bytes: u64, chunk: u64) -> Result<Streamed> {
        let size = format!("{bytes}/{chunk}");
        self.whole(json!({"act": "memory", "command": size})).await
    }

    async fn whole(&mut self, request: Value) -> Result<Streamed> {
        match self.ask(&request).await? {
            Answer::Whole(streamed) => Ok(streamed),
            other => Err(unexpected(&other)),
        }
    }

    async fn each(&mut self, request: Value) -> Result<Vec<f64>> {
        match self.ask(&request).await? {
            Answer::Each { seconds } => Ok(seconds),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&mut self, request: &Value) -> Result<Answer> {
        let line = format!("{request}\n");
        self.requests.write_all(line.as_bytes()).await?;
        self.requests.flush().await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer> {
        let line = timeout(ANSWER_LIMIT, self.answers.next_line())
            .await
            .map_err(|_| format!("no answer after {ANSWER_LIMIT:?}"))??;
        match serde_json::from_str(&line.ok_or("the script has ended")?)? {
            Answer::Error { error } => Err(error.into()),
            answer => Ok(answer),
        }
    }
}

fn unexpected(answer: &Answer) -> Box<dyn std::error::Error + Send + Sync> {
    format!("not what was asked: {answer:?}").into()
}

/// An environment of its own for a peer; made when what it is made of has changed. Answers
/// its Python.
async fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    let folder = Path::new(ENVIRONMENTS).join(name);
    let python = folder.join("bin/python");
    let requirements = Path::new(SCRIPTS).join(requirements);
    let wanted = std::fs::read_to_string(&requirements)?;
    let stamp = folder.join("made-of");
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }
    eprintln!("installing {name}");
    let venv = ["-m", "venv", "--clear"].map(OsStr::new);
    succeed(Command::new("python3").args(venv).arg(&folder)).await?;
    succeed(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(&requirements),
    )
    .await?;
    std::fs::write(stamp, wanted)?;
    Ok(python)
}

/// Runs a command to its end; what it said is the error, if it failed.
async fn succeed(command: &mut Command) -> Result<()> {
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(INSTALL_LIMIT, ended)
        .await
        .map_err(|_| format!("not installed after {INSTALL_LIMIT:?}"))??;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(format!("cannot be installed: {last}").into())
}
