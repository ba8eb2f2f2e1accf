//! The RPC's own deadline, as the client sent it. It has nothing to do with a command's
//! time limit: when it passes, the call ends and the command is left to
//! `on_disconnect`. The library beneath watches it only until the first answer, and
//! calls it CANCELLED.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// How much earlier than the library's the deadline passes here, so that the answer is
/// ours.
const MARGIN: Duration = Duration::from_millis(5);
/// Digits of a timeout at most, by the gRPC specification.
const MAX_DIGITS: usize = 8;

/// When the call's deadline passes, if it has one.
pub(crate) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let timeout = metadata
        .get("grpc-timeout")?
        .to_str()
        .ok()
        .and_then(parse)?;
    Instant::now().checked_add(timeout.saturating_sub(MARGIN))
}

/// Waits for a deadline; for ever where there is none.
pub(crate) async fn passes(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn parse(text: &str) -> Option<Duration> {
    let (unit, digits) = (
        text.chars().last()?,
        text.get(..text.len().checked_sub(1)?)?,
    );
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number * 60 * 60),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_read_as_the_specification_writes_them() {
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("99999999u"), Some(Duration::from_micros(99_999_999)));
        for bad in ["", "S", "-1S", "1x", "123456789S", "1.5S", "1ü"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
