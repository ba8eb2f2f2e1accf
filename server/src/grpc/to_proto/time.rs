//! Times and durations.

use std::time::{Duration, SystemTime};

use prost_types::{Duration as ProtoDuration, Timestamp};

/// A time.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

/// A duration; what protobuf cannot hold is as long as it can.
pub(super) fn duration(duration: Duration) -> ProtoDuration {
    ProtoDuration::try_from(duration).unwrap_or(ProtoDuration {
        seconds: i64::MAX,
        nanos: 999_999_999,
    })
}
