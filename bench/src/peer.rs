//! The peer: execkit, as a library in a thread of its own, with a policy and an audit log as
//! our server has them.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use execkit::{AuditLog, Policy, Session};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::Result;
use crate::race::Contender;

/// Longer than any measured command takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A session of the peer.
pub(crate) struct Peer {
    session: Session,
    _folder: tempfile::TempDir,
}

impl Peer {
    /// Opens one on this machine.
    pub(crate) fn open() -> Result<Self> {
        Self::of(Session::local()?)
    }

    /// The same for one that is open, anywhere.
    fn of(session: Session) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let policy = Policy {
            allow: Vec::new(),
            deny: vec!["mkfs".to_owned()],
        };
        let session = session
            .with_policy(policy)
            .with_audit(AuditLog::new(folder.path().join("audit.jsonl")))
            .with_timeout(TIMEOUT);
        Ok(Self {
            session,
            _folder: folder,
        })
    }

    /// Runs a command and says how long it took.
    pub(crate) fn exec(&mut self, command: &str) -> Result<Duration> {
        let start = Instant::now();
        let result = self.session.exec(command)?;
        let taken = start.elapsed();
        match result.exit_code {
            0 => Ok(taken),
            code => Err(format!("the peer's command ended with {code}").into()),
        }
    }
}

/// A session of the peer in a thread of its own: it blocks, which the thread that measures
/// must not. What the hand-over to and fro takes is not counted.
pub(crate) struct PeerThread {
    scripts: mpsc::Sender<String>,
    taken: UnboundedReceiver<Result<Duration>>,
}

impl PeerThread {
    /// Opens a session on this machine.
    pub(crate) async fn local() -> Result<Self> {
        Self::open(|| Ok(Session::local()?)).await
    }

    /// Opens a session.
    pub(crate) async fn open(
        session: impl FnOnce() -> Result<Session> + Send + 'static,
    ) -> Result<Self> {
        let (scripts, asked) = mpsc::channel::<String>();
        let (answers, taken) = unbounded_channel();
        thread::spawn(move || {
            let start = Instant::now();
            let mut peer = match session().and_then(Peer::of) {
                Ok(peer) => peer,
                Err(error) => return answers.send(Err(error)),
            };
            answers.send(Ok(start.elapsed()))?;
            for script in asked {
                answers.send(peer.exec(&script))?;
            }
            Ok(())
        });
        let mut thread = Self { scripts, taken };
        thread.answer().await?;
        Ok(thread)
    }

    async fn answer(&mut self) -> Result<Duration> {
        self.taken.recv().await.ok_or("the peer has ended")?
    }

    async fn exec(&mut self, script: &str) -> Result<f64> {
        self.scripts.send(script.to_owned())?;
        Ok(self.answer().await?.as_secs_f64())
    }
}

#[tonic::async_trait(?Send)]
impl Contender for PeerThread {
    async fn once(&mut self, script: &str) -> Result<()> {
        self.exec(script).await.map(|_| ())
    }

    async fn run(&mut self, script: &str, times: usize) -> Result<Vec<f64>> {
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            taken.push(self.exec(script).await?);
        }
        Ok(taken)
    }

    /// The peer keeps a part of the output only, and nothing says how much came.
    async fn stream(&mut self, script: &str, _bytes: u64) -> Result<f64> {
        self.exec(script).await
    }
}

/// Runs `commands` in each of `sessions` sessions at once; answers commands a second.
pub(crate) fn parallel(sessions: usize, commands: usize) -> Result<f64> {
    let mut peers = (0..sessions)
        .map(|_| Peer::open())
        .collect::<Result<Vec<_>>>()?;
    for peer in &mut peers {
        peer.exec("true")?;
    }
    let start = Instant::now();
    let threads: Vec<JoinHandle<Result<Peer>>> = peers
        .into_iter()
        .map(|mut peer| {
            thread::spawn(move || {
                for _ in 0..commands {
                    peer.exec("true")?;
                }
                // Handed back, so that its end is not measured.
                Ok(peer)
            })
        })
        .collect();
    let mut done = Vec::new();
    for thread in threads {
        done.push(
            thread
                .join()
                .map_err(|_| "a thread of the peer panicked")??,
        );
    }
    Ok((sessions * commands) as f64 / start.elapsed().as_secs_f64())
}
