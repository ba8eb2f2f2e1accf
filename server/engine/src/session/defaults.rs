//! What of a session's settings can be changed while it lives. The rest is what it was
//! created with.

use std::collections::BTreeMap;
use std::time::Duration;

use execgate_core::budget::OutputBudget;

use super::SessionSettings;

/// A session's defaults, as they are now.
#[derive(Debug, Clone)]
pub struct SessionDefaults {
    /// How much output Run returns where the request does not say.
    pub output_budget: OutputBudget,
    /// How long a command may run where it does not say.
    pub default_timeout: Duration,
    /// How long the session may be idle.
    pub idle_ttl: Duration,
    /// The client's own notes.
    pub labels: BTreeMap<String, String>,
}

/// What is to become of them; what is nothing stays.
#[derive(Debug, Clone, Default)]
pub struct SessionUpdate {
    /// As in [`SessionDefaults`].
    pub output_budget: Option<OutputBudget>,
    /// As in [`SessionDefaults`].
    pub default_timeout: Option<Duration>,
    /// As in [`SessionDefaults`].
    pub idle_ttl: Option<Duration>,
    /// As in [`SessionDefaults`]; all of them are replaced.
    pub labels: Option<BTreeMap<String, String>>,
}

impl SessionDefaults {
    pub(super) fn of(settings: &SessionSettings) -> Self {
        Self {
            output_budget: settings.output_budget.clone(),
            default_timeout: settings.default_timeout,
            idle_ttl: settings.idle_ttl,
            labels: settings.labels.clone(),
        }
    }

    pub(super) fn update(&mut self, update: SessionUpdate) {
        let Self {
            output_budget,
            default_timeout,
            idle_ttl,
            labels,
        } = self;
        replace(output_budget, update.output_budget);
        replace(default_timeout, update.default_timeout);
        replace(idle_ttl, update.idle_ttl);
        replace(labels, update.labels);
    }
}

fn replace<T>(old: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *old = new;
    }
}
