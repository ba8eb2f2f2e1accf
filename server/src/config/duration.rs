//! Durations as people write them: `90s`, `30m`, `1h 30m`, and `none` where
//! there need not be one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest duration accepted: a year and a day. Anything above is a slip.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A duration greater than zero, written like `30m`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// A duration known to be good.
    #[must_use]
    pub(super) const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Debug for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration = humantime::parse_duration(text)
            .map_err(|error| format!("`{text}` is no duration like `90s` or `1h 30m`: {error}"))?;
        Self::try_from(duration).map_err(|_| format!("`{text}` is not between 1ns and 366 days"))
    }
}

impl TryFrom<Duration> for HumanDuration {
    type Error = String;

    fn try_from(duration: Duration) -> Result<Self, Self::Error> {
        match duration.is_zero() || duration > MAX_DURATION {
            true => Err("is not between 1ns and 366 days".to_owned()),
            false => Ok(Self(duration)),
        }
    }
}

impl TryFrom<String> for HumanDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HumanDuration> for String {
    fn from(duration: HumanDuration) -> Self {
        duration.to_string()
    }
}

/// How long something may live: a duration, or `none` for as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Lifetime {
    /// Until this has passed.
    Limited(HumanDuration),
    /// Without a limit.
    Unlimited,
}

impl Lifetime {
    /// The limit, if there is one.
    #[must_use]
    pub const fn limit(self) -> Option<Duration> {
        match self {
            Self::Limited(duration) => Some(duration.get()),
            Self::Unlimited => None,
        }
    }
}

impl TryFrom<String> for Lifetime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "none" => Ok(Self::Unlimited),
            text => text.parse().map(Self::Limited),
        }
    }
}

impl From<Lifetime> for String {
    fn from(lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Limited(duration) => duration.to_string(),
            Lifetime::Unlimited => "none".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(u64, &str)>) {
        let parsed = text.parse::<HumanDuration>().ok();
        let found = parsed.map(|duration| (duration.get().as_secs(), duration.to_string()));
        assert_eq!(
            found,
            expected.map(|(secs, shown)| (secs, shown.to_owned())),
            "{text}"
        );
    }

    #[test]
    fn durations_read_as_people_write_them() {
        check("30m", Some((1800, "30m")));
        check("1h30m", Some((5400, "1h 30m")));
        check("90s", Some((90, "1m 30s")));
        for bad in ["0s", "", "30", "-1s", "2 years", "soon"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_lifetime_may_be_none() {
        assert_eq!(
            Lifetime::try_from("none".to_owned()),
            Ok(Lifetime::Unlimited)
        );
        let day = Lifetime::Limited(HumanDuration::from_secs(86_400));
        assert_eq!(Lifetime::try_from("24h".to_owned()), Ok(day));
        assert_eq!(String::from(day), "1day");
    }
}
