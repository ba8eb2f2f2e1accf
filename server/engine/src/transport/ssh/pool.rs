//! The connections of one principal to one host.
//!
//! ```text
//! session ── its own connections: the shell, the programs beside it
//!         ── the control connections, shared: signals, looks, pipes for input
//! ```
//!
//! A session's connection is nobody else's while the session lives: an output that nobody
//! reads stops a connection, and so its own session at most, and signals still arrive.
//! Sessions that end leave their connection to the next one. How many channels a host
//! allows on one (OpenSSH's MaxSessions, 10) is learned by being refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::Channel;
use russh::client::Msg;

use super::connection::{Connection, NoChannel};
use super::settings::{Host, SshSettings};
use crate::transport::TransportError;

/// Connections without a session that are kept for the next ones.
const IDLE_CONNECTIONS: usize = 4;

/// Connections of one session, or of control, at most: with ten channels each, more than a
/// session may run beside its shell.
const MOST_CONNECTIONS: usize = 8;

/// Connections that are being made to one host at once: OpenSSH drops from ten on.
const MOST_AT_ONCE: usize = 4;

/// The connections of one principal to one host.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) target: String,
    pub(super) host: Arc<Host>,
    settings: Arc<SshSettings>,
    idle: Mutex<Vec<Arc<Connection>>>,
    control: Connections,
    making: tokio::sync::Semaphore,
}

/// Connections that serve one purpose, the newest last.
#[derive(Debug, Default)]
pub(super) struct Connections(tokio::sync::Mutex<Vec<Arc<Connection>>>);

impl Pool {
    pub(super) fn new(target: String, host: Arc<Host>, settings: Arc<SshSettings>) -> Self {
        Self {
            target,
            host,
            settings,
            idle: Mutex::new(Vec::new()),
            control: Connections::default(),
            making: tokio::sync::Semaphore::new(MOST_AT_ONCE),
        }
    }

    /// A channel for a program beside sessions.
    pub(super) async fn control_channel(&self) -> Result<Channel<Msg>, TransportError> {
        self.control.channel(self).await
    }

    /// Takes back what a session used.
    pub(super) fn keep(&self, connections: Vec<Arc<Connection>>) {
        let mut idle = self.lock_idle();
        idle.retain(|connection| !connection.is_closed());
        for connection in connections {
            if !connection.is_closed() && idle.len() < IDLE_CONNECTIONS {
                idle.push(connection);
            }
        }
    }

    /// One that waits for a session. Whether it still works shows when it is used.
    fn idle(&self) -> Option<Arc<Connection>> {
        let mut idle = self.lock_idle();
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }

    async fn connect(&self) -> Result<Arc<Connection>, TransportError> {
        // The semaphore is never closed.
        let _turn = self.making.acquire().await.ok();
        let connection = Connection::open(&self.target, &self.host, &self.settings).await?;
        Ok(Arc::new(connection))
    }

    fn lock_idle(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// A channel on one of these, or on a new one where they are full or gone.
    pub(super) async fn channel(&self, pool: &Pool) -> Result<Channel<Msg>, TransportError> {
        let mut connections = self.0.lock().await;
        connections.retain(|connection| !connection.is_closed());
        let mut last = None;
        for connection in connections.iter().rev() {
            match connection.channel().await {
                Ok(channel) => return Ok(channel),
                Err(NoChannel::Full) => {}
                Err(NoChannel::Broken(reason)) => last = Some(reason),
            }
        }
        let unreachable = |reason: String| TransportError::Unreachable {
            target: pool.target.clone(),
            reason,
        };
        if connections.len() >= MOST_CONNECTIONS {
            let full = format!("all {MOST_CONNECTIONS} connections are full");
            return Err(unreachable(last.unwrap_or(full)));
        }
        while let Some(idle) = pool.idle() {
            if let Ok(channel) = idle.channel().await {
                connections.push(idle);
                return Ok(channel);
            }
        }
        let connection = pool.connect().await?;
        let channel = connection.channel().await.map_err(|refused| {
            unreachable(match refused {
                NoChannel::Full => "it allows no session on a new connection".to_owned(),
                NoChannel::Broken(reason) => reason,
            })
        });
        connections.push(connection);
        channel
    }

    pub(super) async fn take(&self) -> Vec<Arc<Connection>> {
        std::mem::take(&mut *self.0.lock().await)
    }
}
