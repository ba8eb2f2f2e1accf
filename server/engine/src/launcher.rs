//! The launcher: the server's own binary, executed again, once for each local session.
//!
//! It is the session's subreaper, so that a child that detaches itself (`setsid`, a
//! double fork) becomes the launcher's child and not init's, and is found and ended. It
//! keeps the server's identity, while everything it starts loses it (`confine`).
//! One thread, no tokio; it serves requests from the server over a socket on fd 0, and
//! when the server is gone it ends everything and goes too.
//!
//! ```text
//! server ── seqpacket (fd 0) ──► launcher ── fork, confine, exec ──► shell ── …
//! ```

mod children;
mod confine;
pub(crate) mod files;
mod groups;
mod input;
pub mod leftovers;
mod messages;
mod namespaces;
mod probe;
mod reaper;
mod serve;
mod syscalls;
mod tree;

pub(crate) use messages::{
    Attempts, Event, Limited, MAX_MESSAGE_BYTES, Request, SpawnRequest, receive, send,
};
pub use messages::{Identity, ProbeResult, Setup};

/// Steps of a start that failures name, where the server tells them apart.
pub(crate) const STEP_DIRECTORY: &str = "directory";
pub(crate) const STEP_EXECUTE: &str = "execute";

/// The hidden first argument that makes a program with [`main`] a launcher.
pub const ARGUMENT: &str = "__launcher";

/// The launcher's whole life; returns its exit code.
#[must_use]
pub fn main() -> i32 {
    match serve::serve() {
        Ok(()) => 0,
        Err(error) => {
            // The server reads the launcher's stderr with its own logs.
            eprintln!("execgate launcher: {error}");
            1
        }
    }
}
