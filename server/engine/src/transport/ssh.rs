//! The SSH transport: processes of another machine, each on a channel of a connection that
//! many sessions of one principal share.

mod settings;

use execgate_core::ids::Principal;

use super::TransportError;
use crate::target::{Place, SshTarget};
pub use settings::{
    Credential, DEFAULT_CONNECT_TIMEOUT, DEFAULT_KEEPALIVE, DEFAULT_PORT, Host, KEEPALIVE_MISSES,
    Password, SshSettings, Trust, UnknownHost,
};

/// The connections to machines reached through SSH.
#[derive(Debug)]
pub(crate) struct Ssh {
    settings: SshSettings,
}

impl Ssh {
    pub(crate) fn new(settings: SshSettings) -> Self {
        Self { settings }
    }

    /// Reaches a target.
    pub(crate) async fn reach(
        &self,
        _principal: &Principal,
        target: &SshTarget,
    ) -> Result<Place, TransportError> {
        let target = match target {
            SshTarget::Profile(name) => format!("ssh:{name}"),
            SshTarget::Inline(host) => format!("ssh:{}", host.host),
        };
        Err(TransportError::Unreachable {
            reason: format!("{} profiles, no connection yet", self.settings.hosts.len()),
            target,
        })
    }
}
