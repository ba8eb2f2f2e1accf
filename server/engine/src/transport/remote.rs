//! What transports to other machines and containers share: programs of POSIX sh that stand
//! in for what a launcher does on this machine.
//!
//! ```text
//! start   `env -i sh -c LOADER nonce` reads its orders from its own stdin: environment,
//!         directory, words; says its pid in one line and becomes the program
//! beside  the same with `processes.sh` as orders: signals, looks, the end of a session
//! ```
//!
//! Orders come through stdin and not as words, so that neither variables nor arguments can
//! be seen in a list of processes, and no limit on a command line's length applies. The
//! line with the pid is taken off the stream here; nothing above the seam sees it. What is
//! run here never asks the session's shell for anything.

mod beside;
mod clock;
mod input;
mod later;
mod orders;
mod quote;
mod standing;
mod survey;
mod wrapped;

pub(super) use beside::{close, drop_program, forget, inspect, signal, waits_for_input};
pub(super) use clock::Clock;
pub(super) use input::open_input;
pub(super) use later::{LATER_LIMIT, LATER_PAUSE, close_later};
pub(super) use orders::{MAX_NOISE_BYTES, Orders, Preface, launch_error, loader};
pub(super) use standing::Standing;
pub(super) use survey::{Survey, survey};
pub(super) use wrapped::try_wrapper;

use std::fmt;

use futures::future::BoxFuture;

use super::{Process, TransportError};

/// The variable by which a session's processes are known when they have left its tree.
pub(super) const MARKER_NAME: &str = "EXECGATE_SESSION";

/// A way to run programs of sh on a target, apart from those of sessions.
pub(super) trait Beside: fmt::Debug + Send + Sync {
    /// Starts `script` with a clean environment and a fixed PATH, or, for a survey, with
    /// what the target gives a login. Its streams are as those of any program.
    fn start<'a>(
        &'a self,
        script: &'a str,
        environment: Environment,
    ) -> BoxFuture<'a, Result<Process, TransportError>>;

    /// What the target's clock says, once it has been asked. Where that is not kept, ages
    /// of processes are told with a margin.
    fn clock(&self) -> Option<&Clock> {
        None
    }

    /// Where a program is kept that answers one question after another; nothing where
    /// each has a program of its own.
    fn standing(&self) -> Option<&Standing> {
        None
    }

    /// What records call the target.
    fn target(&self) -> &str;
}

/// What a program beside a session finds in its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Environment {
    /// A fixed PATH and nothing else.
    Clean,
    /// What the target gives a login.
    Login,
}
