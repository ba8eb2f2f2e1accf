//! `[quotas]`: what each principal may have at once.

use std::num::{NonZeroU32, NonZeroU64};

use execgate_engine::authority::ByPrincipal;
use execgate_engine::quotas::{QuotaTable, Quotas as EngineQuotas, RequestRate};
use serde::{Deserialize, Serialize};

use super::Config;

/// `[quotas]`: what each principal may have. One that is at its quota is refused more, and
/// nobody else is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Sessions at once.
    pub sessions: NonZeroU32,
    /// Executions that run or wait for their turn at once.
    pub executions: NonZeroU32,
    /// Bytes of output in memory.
    pub retained_bytes: NonZeroU64,
    /// Calls in a second, in the long run.
    pub requests_per_second: NonZeroU32,
    /// Calls at once, after a silence.
    pub requests_burst: NonZeroU32,
}

impl Default for Quotas {
    fn default() -> Self {
        let quotas = EngineQuotas::default();
        let count = |number: usize| {
            let number = u32::try_from(number).ok().and_then(NonZeroU32::new);
            number.unwrap_or(NonZeroU32::MAX)
        };
        Self {
            sessions: count(quotas.sessions),
            executions: count(quotas.executions),
            retained_bytes: NonZeroU64::new(quotas.retained_bytes).unwrap_or(NonZeroU64::MAX),
            requests_per_second: quotas.requests.per_second,
            requests_burst: quotas.requests.burst,
        }
    }
}

/// `[principals.NAME.quotas]`: what is otherwise for these principals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaKeys {
    /// Sessions at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<NonZeroU32>,
    /// Executions that run or wait for their turn at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executions: Option<NonZeroU32>,
    /// Bytes of output in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained_bytes: Option<NonZeroU64>,
    /// Calls in a second, in the long run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<NonZeroU32>,
    /// Calls at once, after a silence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_burst: Option<NonZeroU32>,
}

impl Quotas {
    /// These, but for what `own` says otherwise.
    pub(super) fn but_for(&self, own: &QuotaKeys) -> Self {
        Self {
            sessions: own.sessions.unwrap_or(self.sessions),
            executions: own.executions.unwrap_or(self.executions),
            retained_bytes: own.retained_bytes.unwrap_or(self.retained_bytes),
            requests_per_second: own.requests_per_second.unwrap_or(self.requests_per_second),
            requests_burst: own.requests_burst.unwrap_or(self.requests_burst),
        }
    }

    /// The same as the engine has it.
    #[must_use]
    pub fn quotas(&self) -> EngineQuotas {
        let count = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
        EngineQuotas {
            sessions: count(self.sessions),
            executions: count(self.executions),
            retained_bytes: self.retained_bytes.get(),
            requests: RequestRate {
                per_second: self.requests_per_second,
                burst: self.requests_burst,
            },
        }
    }
}

impl Config {
    /// What each principal may have: its entry says, else what is for all.
    #[must_use]
    pub fn quota_table(&self) -> QuotaTable {
        let own = self.principals.iter();
        let own = own.map(|(name, keys)| {
            let quotas = self.quotas.but_for(&keys.quotas);
            (name.clone(), quotas.quotas())
        });
        QuotaTable::new(self.quotas.quotas()).with(ByPrincipal::new(own))
    }

    /// The rooms for output that an execution has to fit into, by their keys.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let own = self.principals.values();
        let own = own.filter_map(|keys| keys.quotas.retained_bytes);
        let own = own.map(|bytes| ("principals.NAME.quotas.retained_bytes", bytes.get()));
        let all = [
            ("quotas.retained_bytes", self.quotas.retained_bytes.get()),
            (
                "executions.retained_total_bytes",
                self.executions.retained_total_bytes.get(),
            ),
        ];
        all.into_iter().chain(own)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use execgate_core::ids::Principal;

    use super::*;
    use crate::config::{FileConfig, Overrides};

    fn load(text: &str) -> Result<Config, String> {
        let file = FileConfig::parse(Path::new("gate.toml"), text).unwrap();
        let overrides = Overrides {
            data_dir: Some("/d".into()),
            ..Overrides::default()
        };
        Config::resolve(file, overrides, &|_| None).map_err(|error| error.to_string())
    }

    #[test]
    fn an_entry_says_what_is_otherwise_for_its_principals() {
        let text = "quotas = { sessions = 8, executions = 9 }\n\
                    [principals.ci.quotas]\nsessions = 40\nrequests_burst = 3\n";
        let config = load(text).unwrap();
        let table = config.quota_table();
        let all = EngineQuotas {
            sessions: 8,
            executions: 9,
            ..EngineQuotas::default()
        };
        assert_eq!(table.of(&Principal::new("somebody")), all);
        let ci = EngineQuotas {
            sessions: 40,
            requests: RequestRate {
                burst: 3.try_into().unwrap(),
                ..all.requests
            },
            ..all
        };
        assert_eq!(table.of(&Principal::new("ci")), ci);
        let printed = load(&config.to_toml().unwrap()).unwrap();
        assert_eq!(printed.quota_table(), table);
    }

    #[test]
    fn an_execution_fits_into_every_room() {
        let small = "[principals.ci.quotas]\nretained_bytes = 100\n";
        assert_eq!(
            load(small).unwrap_err(),
            "use the configuration: `principals.NAME.quotas.retained_bytes`: 100 is less than \
             limits.retained_output_bytes"
        );
    }
}
