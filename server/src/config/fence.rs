//! `[fence]`: what the kernel keeps local sessions from, and what every session must have.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use execgate_engine::fence::{DEFAULT_PROCESSES, FenceProfile, FenceSettings, Limits, Network};
use execgate_engine::isolation::ControlKind;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[fence]`: profiles for local sessions, and what every session must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fence {
    /// Controls that must be ENFORCED for a session to be created, wherever it runs.
    pub require: Vec<RequiredControl>,
    /// `[fence.profiles.NAME]`; `default` is that of sessions which ask for none.
    pub profiles: BTreeMap<String, Profile>,
}

/// A control, as the configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequiredControl {
    /// Running programs that the policy denies.
    ProgramExecution,
    /// Reading files outside of the profile.
    FileRead,
    /// Writing files outside of the profile.
    FileWrite,
    /// Using the network beyond the profile.
    Network,
    /// Gaining privileges.
    Privilege,
    /// Using more of the machine than the profile allows.
    Resources,
    /// Leaving processes behind.
    Kill,
    /// Reaching the gate itself.
    Gate,
}

/// One profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Trees whose files may be read; `~` is the home of sessions.
    pub read: Vec<PathBuf>,
    /// Trees in which files may be made, changed and removed.
    pub write: Vec<PathBuf>,
    /// Trees whose programs may be executed.
    pub execute: Vec<PathBuf>,
    /// The network: `open`, `none`, or the TCP ports that may be used.
    pub network: NetworkAccess,
    /// Processes and threads of a session.
    pub processes: NonZeroU64,
    /// Memory of a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<NonZeroU64>,
    /// Share of the processors, in thousandths of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milli_cpus: Option<NonZeroU64>,
    /// Open files of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<NonZeroU64>,
    /// Largest file that a process may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<NonZeroU64>,
}

/// What of the network a session may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NetworkAccess {
    /// All of it, or nothing.
    Word(NetworkWord),
    /// TCP connections to these ports.
    Tcp(Vec<u16>),
}

/// All of the network, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkWord {
    /// All of it.
    Open,
    /// Nothing but a loopback of the session's own.
    None,
}

impl Default for Profile {
    fn default() -> Self {
        let all = || vec![PathBuf::from("/")];
        Self {
            read: all(),
            write: all(),
            execute: all(),
            network: NetworkAccess::Word(NetworkWord::Open),
            processes: const { NonZeroU64::new(DEFAULT_PROCESSES).unwrap() },
            memory_bytes: None,
            milli_cpus: None,
            open_files: None,
            file_bytes: None,
        }
    }
}

impl Profile {
    fn settings(&self, home: &str) -> FenceProfile {
        let trees = |trees: &[PathBuf]| {
            let resolve = |tree: &PathBuf| match tree.strip_prefix("~") {
                Ok(rest) => Path::new(home).join(rest),
                Err(_) => tree.clone(),
            };
            trees.iter().map(resolve).collect()
        };
        FenceProfile {
            read: trees(&self.read),
            write: trees(&self.write),
            execute: trees(&self.execute),
            network: match &self.network {
                NetworkAccess::Word(NetworkWord::Open) => Network::Open,
                NetworkAccess::Word(NetworkWord::None) => Network::None,
                NetworkAccess::Tcp(ports) => Network::Tcp(ports.clone()),
            },
            limits: Limits {
                processes: Some(self.processes.get()),
                memory_bytes: self.memory_bytes.map(NonZeroU64::get),
                milli_cpus: self.milli_cpus.map(NonZeroU64::get),
                open_files: self.open_files.map(NonZeroU64::get),
                file_bytes: self.file_bytes.map(NonZeroU64::get),
            },
        }
    }
}

impl Fence {
    /// The profiles as the engine takes them; `home` is where sessions are at home.
    #[must_use]
    pub fn settings(&self, home: &str) -> FenceSettings {
        let mut settings = FenceSettings::default();
        for (name, profile) in &self.profiles {
            settings
                .profiles
                .insert(name.clone(), profile.settings(home));
        }
        settings
    }

    /// What every session must have.
    #[must_use]
    pub fn required(&self) -> Vec<ControlKind> {
        self.require.iter().map(|control| control.kind()).collect()
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (name, profile) in &self.profiles {
            let trees = [&profile.read, &profile.write, &profile.execute];
            let wrong = trees
                .into_iter()
                .flatten()
                .find(|tree| !tree.is_absolute() && !tree.starts_with("~"));
            if let Some(tree) = wrong {
                let problem = format!(
                    "{name}: `{}` begins with neither `/` nor `~`",
                    tree.display()
                );
                let key = "fence.profiles";
                return Err(ConfigError::Value { key, problem });
            }
            if profile.execute.is_empty() {
                let problem = format!("{name}: without `execute` not even a shell starts");
                let key = "fence.profiles";
                return Err(ConfigError::Value { key, problem });
            }
        }
        Ok(())
    }
}

impl RequiredControl {
    fn kind(self) -> ControlKind {
        match self {
            Self::ProgramExecution => ControlKind::ProgramExecution,
            Self::FileRead => ControlKind::FileRead,
            Self::FileWrite => ControlKind::FileWrite,
            Self::Network => ControlKind::Network,
            Self::Privilege => ControlKind::Privilege,
            Self::Resources => ControlKind::Resources,
            Self::Kill => ControlKind::Kill,
            Self::Gate => ControlKind::Gate,
        }
    }
}

#[cfg(test)]
mod tests {
    use execgate_engine::fence::DEFAULT_PROFILE;

    use super::*;

    fn parse(text: &str) -> Result<Fence, String> {
        let fence: Fence = toml::from_str(text).map_err(|error| error.to_string())?;
        fence.validate().map_err(|error| error.to_string())?;
        Ok(fence)
    }

    #[test]
    fn an_empty_profile_is_the_engines_default() {
        assert_eq!(
            Profile::default().settings("/home/a"),
            FenceProfile::default()
        );
        assert_eq!(Fence::default().settings("/"), FenceSettings::default());
    }

    #[test]
    fn a_profile_says_what_may_be_used() {
        let fence = parse(
            "require = [\"network\", \"gate\"]\n\
             [profiles.build]\nread = [\"/usr\", \"~\"]\nwrite = [\"~/work\"]\nnetwork = [443]\n\
             processes = 10\nmemory_bytes = 1000\n\
             [profiles.sealed]\nnetwork = \"none\"\n",
        )
        .unwrap();
        assert_eq!(fence.required(), [ControlKind::Network, ControlKind::Gate]);
        let settings = fence.settings("/home/a");
        let build = settings.profiles.get("build").unwrap();
        assert_eq!(
            build.read,
            [PathBuf::from("/usr"), PathBuf::from("/home/a/")]
        );
        assert_eq!(build.write, [PathBuf::from("/home/a/work")]);
        assert_eq!(build.network, Network::Tcp(vec![443]));
        assert_eq!(build.limits.processes, Some(10));
        assert_eq!(
            settings.profiles.get("sealed").unwrap().network,
            Network::None
        );
        assert!(settings.profiles.contains_key(DEFAULT_PROFILE));
    }

    #[test]
    fn what_is_no_profile_is_refused_with_its_name() {
        let refused = |text: &str| parse(text).unwrap_err();
        let relative = refused("[profiles.a]\nwrite = [\"work\"]\n");
        assert!(
            relative.contains("a: `work` begins with neither"),
            "{relative}"
        );
        assert!(refused("[profiles.a]\nexecute = []\n").contains("not even a shell"));
        assert!(parse("[profiles.a]\nnetwork = \"some\"\n").is_err());
        assert!(parse("require = [\"peace\"]\n").is_err());
    }
}
