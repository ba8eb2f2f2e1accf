//! How often what was hidden: a bounded list, for results and records.

use std::collections::BTreeMap;

/// Most names that are counted apart; beyond, they are one.
pub const MAX_COUNTED_NAMES: usize = 64;

/// Where the names beyond the bound are counted.
const OTHERS: &str = "other";

/// Places that were hidden, by the name that their markers show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedactionCounts(BTreeMap<String, u64>);

impl RedactionCounts {
    /// Counts one place.
    pub(super) fn add(&mut self, name: &str) {
        if let Some(count) = self.0.get_mut(name) {
            *count += 1;
            return;
        }
        let name = match self.0.len() < MAX_COUNTED_NAMES {
            true => name,
            false => OTHERS,
        };
        *self.0.entry(name.to_owned()).or_default() += 1;
    }

    /// All places.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each name and its places, by name; at most one more than [`MAX_COUNTED_NAMES`].
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_counted_as_one() {
        let mut counts = RedactionCounts::default();
        for name in 0..MAX_COUNTED_NAMES + 3 {
            counts.add(&name.to_string());
        }
        counts.add("0");
        assert_eq!(counts.total(), MAX_COUNTED_NAMES as u64 + 4);
        let counted: Vec<_> = counts.iter().filter(|(_, count)| *count > 1).collect();
        assert_eq!(counted, [("0", 2), ("other", 3)]);
    }
}
