//! An OpenSSH server of one's own on loopback, and a slow way to it.

use std::fs;
use std::net::TcpListener as StdListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::Result;

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Pause between two tries to reach it.
const START_PAUSE: Duration = Duration::from_millis(20);

/// Chunks on their way, at most; at 64 KiB each more than any window holds.
const CHUNKS: usize = 256;

/// Largest chunk, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// A server, its keys, and the user who measures.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) fingerprint: String,
    folder: TempDir,
    _child: Child,
}

impl Host {
    pub(super) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        for name in ["host", "user"] {
            let file = at(name);
            said(
                "ssh-keygen",
                &["-q", "-t", "ed25519", "-N", "", "-f", &file],
            )
            .await?;
        }
        let print = said("ssh-keygen", &["-lf", &at("host.pub")]).await?;
        let fingerprint = print.split_whitespace().nth(1).ok_or("no fingerprint")?;
        let user = said("id", &["-un"]).await?.trim().to_owned();
        let port = StdListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        // A bash that sshd starts reads the user's start-up file, unless it is not the first:
        // what is in there is nobody's round trip.
        let config = format!(
            "SetEnv SHLVL=2\nPort {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
             PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nUseDNS no\n",
            at("host"),
            at("user.pub")
        );
        fs::write(at("config"), config)?;
        // Where the unprivileged half of a server of root's lives; others need none.
        let _refused = fs::create_dir_all("/run/sshd");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-q", "-f", &at("config"), "-E", &at("log")])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("start sshd (package openssh-server): {error}"))?;
        let deadline = Instant::now() + START_LIMIT;
        while let Err(error) = TcpStream::connect(("127.0.0.1", port)).await {
            if Instant::now() > deadline {
                return Err(format!("sshd does not listen: {error}").into());
            }
            tokio::time::sleep(START_PAUSE).await;
        }
        Ok(Self {
            port,
            user,
            fingerprint: fingerprint.to_owned(),
            folder,
            _child: child,
        })
    }

    /// A profile of the server's configuration.
    pub(super) fn profile(&self, name: &str, port: u16) -> String {
        format!(
            "[ssh.hosts.{name}]\nhost = \"127.0.0.1\"\nport = {port}\nuser = {:?}\nkey = {:?}\n\
             host_key = {:?}\n",
            self.user,
            self.folder.path().join("user"),
            self.fingerprint
        )
    }

    /// The user's key.
    pub(super) fn key(&self) -> PathBuf {
        self.folder.path().join("user")
    }

    /// A path of its own for somebody's socket.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Words of OpenSSH's client on the way to it; what to run there comes next.
    pub(super) fn words(&self, port: u16, more: &[&str]) -> Vec<String> {
        let words = ["-F", "none", "-T", "-q", "-o", "StrictHostKeyChecking=no"];
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        words.extend(
            ["-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"].map(String::from),
        );
        // The cipher that execgate asks for first, so that both do the same work.
        words.extend(["-c", "aes256-gcm@openssh.com", "-i"].map(String::from));
        words.push(self.key().display().to_string());
        words.extend(more.iter().map(|&word| word.to_owned()));
        words.extend(["-p".to_owned(), port.to_string(), "-l".to_owned()]);
        words.extend([self.user.clone(), "127.0.0.1".to_owned()]);
        words
    }

    /// OpenSSH's client on the way to it; what to run there comes next.
    pub(super) fn ssh(&self, port: u16) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(self.words(port, &[])).kill_on_drop(true);
        ssh
    }
}

async fn said(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output().await?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{program} {words:?}: {output:?}").into()),
    }
}

/// A way on which each byte takes its time, and none waits for another.
#[derive(Debug)]
pub(super) struct SlowWay {
    pub(super) port: u16,
}

impl SlowWay {
    /// To this port, for as long as the program runs.
    pub(super) async fn open(to: u16, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else {
                    continue;
                };
                // Otherwise small pieces would wait for each other's receipt.
                let _small = (near.set_nodelay(true), far.set_nodelay(true));
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(carry(near_read, far_write, delay));
                tokio::spawn(carry(far_read, near_write, delay));
            }
        });
        Ok(Self { port })
    }
}

async fn carry(
    mut from: impl AsyncRead + Send + Unpin + 'static,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) {
    let (sender, mut chunks) = mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(CHUNKS);
    tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let due = tokio::time::Instant::now() + delay;
            let chunk = buffer.get(..read).unwrap_or_default().to_vec();
            if sender.send((due, chunk)).await.is_err() {
                break;
            }
        }
    });
    while let Some((due, chunk)) = chunks.recv().await {
        tokio::time::sleep_until(due).await;
        if to.write_all(&chunk).await.is_err() {
            break;
        }
    }
}
