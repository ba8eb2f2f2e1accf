//! What a session needs to know of a machine before it runs there.

use super::beside::run;
use super::{Beside, Environment};
use crate::transport::TransportError;

/// What a target said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::transport) struct Survey {
    /// Where the user is at home.
    pub(in crate::transport) home: String,
    /// Where programs are looked for.
    pub(in crate::transport) path: String,
    /// The user's name.
    pub(in crate::transport) user: String,
    /// The user's language.
    pub(in crate::transport) lang: String,
    /// Directories in which pipes for input can be made, best first.
    pub(in crate::transport) inputs: Vec<String>,
    /// Programs that sessions need for some things and that are not there.
    pub(in crate::transport) missing: Vec<String>,
}

impl Survey {
    /// Whether something that sessions need is not there.
    pub(in crate::transport) fn lacks(&self, program: &str) -> bool {
        self.missing.iter().any(|missing| missing == program)
    }
}

/// Asks a target.
pub(in crate::transport) async fn survey(beside: &dyn Beside) -> Result<Survey, TransportError> {
    let said = run(beside, include_str!("survey.sh"), Environment::Login).await?;
    if let (Some(clock), Some(uptime)) = (beside.clock(), uptime(&said)) {
        clock.set(uptime);
    }
    Ok(read(&said))
}

/// The last line's time since boot, in hundredths of a second.
fn uptime(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix("uptime "))?;
    let (seconds, hundredths) = line.trim().split_once('.')?;
    let (seconds, hundredths): (u64, u64) = (seconds.parse().ok()?, hundredths.parse().ok()?);
    Some(seconds * 100 + hundredths)
}

fn read(said: &str) -> Survey {
    let mut survey = Survey::default();
    for line in said.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let words = || {
            value
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
        };
        match key {
            "home" => survey.home = value.to_owned(),
            "path" => survey.path = value.to_owned(),
            "user" => survey.user = value.to_owned(),
            "lang" => survey.lang = value.to_owned(),
            "inputs" => survey.inputs = words().collect(),
            "missing" => survey.missing = words().collect(),
            _ => {}
        }
    }
    survey
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_is_read_line_by_line() {
        let said = "home /home/me\npath /bin\nuser me\nlang C\ninputs /tmp /x\nmissing\n";
        assert_eq!(
            read(said),
            Survey {
                home: "/home/me".into(),
                path: "/bin".into(),
                user: "me".into(),
                lang: "C".into(),
                inputs: vec!["/tmp".into(), "/x".into()],
                missing: Vec::new(),
            }
        );
        assert_eq!(uptime("path x\nuptime 12.07\n"), Some(1207));
    }
}
