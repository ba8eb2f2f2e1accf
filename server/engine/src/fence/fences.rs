//! The fences that are ready: made once for each profile, policy and shell, and tried before
//! the first session of theirs begins. Making one takes milliseconds, a session less.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_core::policy::PolicyStack;

use super::report::Fenced;
use super::ruleset::Files;
use super::{DEFAULT_PROFILE, FenceProfile, Network, Search, Withheld, build, isolation};
use crate::error::Error;
use crate::isolation::Isolation;
use crate::launcher::{Attempts, ProbeResult};
use crate::local::LocalSettings;
use crate::target::DEFAULT_PATH;
use crate::transport::TransportError;
use crate::transport::local::{Inputs, LocalTransport};

/// Fences that are kept ready: profiles times policies in use. The rest are made again.
const MAX_READY: usize = 64;

/// Withheld programs that are tried; they are withheld alike.
const MAX_TRIED: usize = 32;

/// Where a file is made, if that is outside of what may be written.
const WRITABLE: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/"];

/// What is opened, if that is outside of what may be read.
const READABLE: [&str; 4] = ["/etc/passwd", "/etc/hostname", "/usr/bin/env", "/bin/sh"];

/// A port that a session may not connect to, if it is not among its own.
const CLOSED_PORT: u16 = 9;

/// The fences of a server's local sessions.
#[derive(Debug)]
pub(crate) struct Fences {
    settings: LocalSettings,
    inputs: Arc<Inputs>,
    /// A file of the data directory, which no session may open.
    data_file: PathBuf,
    ready: Mutex<HashMap<Key, Arc<Ready>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    profile: String,
    policy: [u8; 32],
    shell: String,
}

/// A fence that was made and tried.
#[derive(Debug)]
struct Ready {
    ruleset: Option<OwnedFd>,
    withheld: Withheld,
    isolation: Isolation,
}

impl Fences {
    pub(crate) fn new(settings: LocalSettings, data_file: PathBuf) -> Self {
        Self {
            settings,
            inputs: Arc::new(Inputs::default()),
            data_file,
            ready: Mutex::default(),
        }
    }

    /// A session's way to its processes, behind the fence of its profile and policy.
    pub(crate) async fn transport(
        &self,
        profile: Option<&str>,
        policy: &PolicyStack,
        shell: Option<&str>,
    ) -> Result<(LocalTransport, Isolation), Error> {
        let name = profile.unwrap_or(DEFAULT_PROFILE);
        let Some(profile) = self.settings.fence.profiles.get(name) else {
            return Err(Error::UnknownFence {
                profile: name.to_owned(),
            });
        };
        let key = Key {
            profile: name.to_owned(),
            policy: policy.content_hash(),
            shell: shell.unwrap_or_default().to_owned(),
        };
        if let Some(ready) = self.find(&key) {
            let transport = self.start(profile, &ready.ruleset)?;
            return Ok((transport, ready.isolation.clone()));
        }
        let (ruleset, withheld) = self.make(profile, policy, shell).await?;
        let transport = self.start(profile, &ruleset)?;
        let attempts = self.attempts(profile, &withheld);
        let probe = transport.probe(attempts).await?;
        let isolation = self.report(name, profile, policy, &withheld, &probe);
        let ready = Ready {
            ruleset,
            withheld,
            isolation: isolation.clone(),
        };
        self.keep(key, ready);
        Ok((transport, isolation))
    }

    fn find(&self, key: &Key) -> Option<Arc<Ready>> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let found = Arc::clone(ready.get(key)?);
        if found.withheld.is_stale() {
            // Programs came or went where some are withheld.
            ready.remove(key);
            return None;
        }
        Some(found)
    }

    fn keep(&self, key: Key, fence: Ready) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= MAX_READY {
            ready.clear();
        }
        ready.insert(key, Arc::new(fence));
    }

    fn start(
        &self,
        profile: &FenceProfile,
        ruleset: &Option<OwnedFd>,
    ) -> Result<LocalTransport, TransportError> {
        LocalTransport::start(
            &self.settings.launcher,
            self.settings.setup(profile),
            ruleset.as_ref().map(AsFd::as_fd),
            Arc::clone(&self.inputs),
        )
    }

    /// Looks files up and has the kernel take in the rules, off the runtime's own threads.
    async fn make(
        &self,
        profile: &FenceProfile,
        policy: &PolicyStack,
        shell: Option<&str>,
    ) -> Result<(Option<OwnedFd>, Withheld), TransportError> {
        let failed = |source: io::Error| TransportError::Io {
            action: "make the fence",
            source,
        };
        let search = self.search(shell);
        // Nobody reads them where the directory cannot be made.
        let inputs = match super::is_all(&profile.read) {
            true => None,
            false => self.inputs.path().ok(),
        };
        let (profile, policy) = (profile.clone(), policy.clone());
        let made = tokio::task::spawn_blocking(move || {
            let withheld = Withheld::find(&policy, &search);
            let files = Files {
                profile: &profile,
                withheld: &withheld,
                programs: &search.directories(),
                inputs: inputs.as_deref(),
            };
            build(&files).map(|ruleset| (ruleset, withheld))
        });
        made.await
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed)
    }

    fn search(&self, shell: Option<&str>) -> Search {
        let settings = &self.settings;
        let (uid, gid) = match &settings.user {
            Some(user) => (user.uid, user.gid),
            None => (
                rustix::process::getuid().as_raw(),
                rustix::process::getgid().as_raw(),
            ),
        };
        let path = settings
            .env
            .get("PATH")
            .map_or(DEFAULT_PATH, String::as_str);
        Search::new(path, uid, gid, shell)
    }

    fn attempts(&self, profile: &FenceProfile, withheld: &Withheld) -> Attempts {
        let outside = |trees: &[PathBuf], candidates: &[&str]| {
            let candidates = candidates.iter().map(PathBuf::from);
            let outside =
                candidates.filter(|path| !trees.iter().any(|tree| path.starts_with(tree)));
            outside.collect()
        };
        Attempts {
            data_file: Some(self.data_file.clone()),
            server: rustix::process::getpid().as_raw_nonzero().get(),
            withheld: withheld.files.iter().take(MAX_TRIED).cloned().collect(),
            outside_read: outside(&profile.read, &READABLE),
            outside_write: outside(&profile.write, &WRITABLE),
            port: match &profile.network {
                Network::Tcp(ports) => (!ports.contains(&CLOSED_PORT)).then_some(CLOSED_PORT),
                Network::Open | Network::None => None,
            },
            network: profile.network == Network::None,
        }
    }

    fn report(
        &self,
        name: &str,
        profile: &FenceProfile,
        policy: &PolicyStack,
        withheld: &Withheld,
        probe: &ProbeResult,
    ) -> Isolation {
        isolation(&Fenced {
            name,
            profile,
            rules: policy.program_rules(),
            withheld,
            probe,
            settings: &self.settings,
        })
    }
}
