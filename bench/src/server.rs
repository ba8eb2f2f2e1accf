//! A server under measurement: a process, its two addresses and its token. It ends with the
//! value.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::Result;
use crate::client::{Address, Client};

/// How long a server may take to answer first.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Pause between two tries to reach it.
const START_PAUSE: Duration = Duration::from_millis(20);

/// Sessions that the measurements open at once, and some more.
const MAX_SESSIONS: usize = 4_200;
/// Commands at once, and some more.
const MAX_EXECUTIONS: usize = 400;
/// Room for the output of all of them, in bytes.
const RETAINED_BYTES: u64 = 4 << 30;
/// More calls in a second than any machine makes.
const CALLS: u32 = 1_000_000;

/// What a command waits for before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audit {
    /// Its intent is on the disk: the default.
    Durable,
    /// Its intent is written. Shows what the disk costs.
    Written,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// The release binary with its defaults, but for room for more sessions.
    pub(crate) async fn execgate(program: &Path, audit: Audit) -> Result<Self> {
        Self::execgate_with(program, audit, "").await
    }

    /// The same with more configuration.
    pub(crate) async fn execgate_with(program: &Path, audit: Audit, more: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let config = folder.path().join("config.toml");
        let sync = audit == Audit::Durable;
        let text = format!(
            "[sessions]\nmax = {MAX_SESSIONS}\n[executions]\nmax = {MAX_EXECUTIONS}\n\
             retained_total_bytes = {RETAINED_BYTES}\n[quotas]\nsessions = {MAX_SESSIONS}\n\
             executions = {MAX_EXECUTIONS}\nretained_bytes = {RETAINED_BYTES}\n\
             requests_per_second = {CALLS}\nrequests_burst = {CALLS}\n\
             [audit]\nsync = {sync}\n{more}"
        );
        std::fs::write(&config, text)?;
        let program = std::path::absolute(program)?;
        let child = Command::new(&program)
            .arg("serve")
            .args(["--log", "error", "--config"])
            .arg(config)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .arg("--listen")
            .arg(format!("unix:{}", socket(&folder).display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("start {}: {error}", program.display()))?;
        Self {
            child,
            folder,
            port,
        }
        .ready()
        .await
    }

    /// The floor: this program again.
    pub(crate) async fn floor() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let child = Command::new(std::env::current_exe()?)
            .arg("floor")
            .arg(port.to_string())
            .arg(socket(&folder))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Self {
            child,
            folder,
            port,
        }
        .ready()
        .await
    }

    async fn ready(self) -> Result<Self> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let mut failure = String::new();
            for address in [self.tcp(), self.unix()] {
                if let Err(error) = Client::connect(&address).await {
                    failure = error.to_string();
                }
            }
            match failure {
                none if none.is_empty() => return Ok(self),
                failure if Instant::now() > deadline => {
                    return Err(format!("no server after {START_LIMIT:?}: {failure}").into());
                }
                _ => tokio::time::sleep(START_PAUSE).await,
            }
        }
    }

    /// Its TCP address.
    pub(crate) fn tcp(&self) -> Address {
        Address {
            uri: format!("http://127.0.0.1:{}", self.port),
            token: self.token(),
        }
    }

    /// Its Unix socket.
    pub(crate) fn unix(&self) -> Address {
        Address {
            uri: format!("unix:{}", socket(&self.folder).display()),
            token: self.token(),
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.child.id().ok_or("the server has ended")?)
    }

    fn token(&self) -> Option<String> {
        let file = self.folder.path().join("data/token");
        std::fs::read_to_string(file)
            .ok()
            .map(|text| text.trim().to_owned())
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("socket")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
