//! The peer: execkit, as a library in a thread of its own, with a policy and an audit log as
//! our server has them.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use execkit::{AuditLog, Policy, Session};

use crate::Result;

/// Longer than any measured command takes.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A local session of the peer.
pub(crate) struct Peer {
    session: Session,
    _folder: tempfile::TempDir,
}

impl Peer {
    /// Opens one.
    pub(crate) fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let policy = Policy {
            allow: Vec::new(),
            deny: vec!["mkfs".to_owned()],
        };
        let session = Session::local()?
            .with_policy(policy)
            .with_audit(AuditLog::new(folder.path().join("audit.jsonl")))
            .with_timeout(TIMEOUT);
        Ok(Self {
            session,
            _folder: folder,
        })
    }

    /// Runs a command and says how long it took.
    pub(crate) fn run(&mut self, command: &str) -> Result<Duration> {
        let start = Instant::now();
        let result = self.session.exec(command)?;
        let taken = start.elapsed();
        match result.exit_code {
            0 => Ok(taken),
            code => Err(format!("the peer's command ended with {code}").into()),
        }
    }
}

/// Runs `commands` in each of `sessions` sessions at once; answers commands a second.
pub(crate) fn parallel(sessions: usize, commands: usize) -> Result<f64> {
    let mut peers = (0..sessions)
        .map(|_| Peer::open())
        .collect::<Result<Vec<_>>>()?;
    for peer in &mut peers {
        peer.run("true")?;
    }
    let start = Instant::now();
    let threads: Vec<JoinHandle<Result<Peer>>> = peers
        .into_iter()
        .map(|mut peer| {
            thread::spawn(move || {
                for _ in 0..commands {
                    peer.run("true")?;
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
