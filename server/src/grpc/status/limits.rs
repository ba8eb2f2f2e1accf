//! The rows of limits: who has too much of what, how much it may be, and when to try again.

use execgate_engine::quotas::{LimitHolder, LimitKind, LimitReached};
use execgate_proto::v1::ErrorReason;
use tonic::Code;

use super::Answer;
use crate::grpc::refusal::TooFast;

impl Answer {
    /// A quota of a principal, or a limit of all, that is reached.
    pub(super) fn of_limit(reached: &LimitReached) -> Self {
        let reason = match reached.kind {
            LimitKind::Sessions => ErrorReason::SessionLimit,
            LimitKind::Executions => ErrorReason::ExecutionLimit,
            LimitKind::RetainedBytes => ErrorReason::StorageFull,
        };
        let subject = match &reached.holder {
            LimitHolder::Principal(principal) => format!("principal:{principal}"),
            LimitHolder::Session => "session".to_owned(),
            LimitHolder::Server => "server".to_owned(),
        };
        Self::new(Code::ResourceExhausted, reason, reached.to_string())
            .with("limit", reached.limit.to_string())
            .with("current", reached.current.to_string())
            .quota(&subject)
            .retry(reached.retry_after)
    }

    /// Calls that come too fast.
    pub(super) fn of_too_fast(too_fast: &TooFast) -> Self {
        let TooFast {
            subject,
            what,
            limit,
            retry_after,
        } = too_fast;
        let message = format!("{subject} makes too many {what}; the limit is {limit}");
        Self::new(Code::ResourceExhausted, ErrorReason::RateLimited, message)
            .with("limit", limit.as_str())
            .quota(subject)
            .retry(*retry_after)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use execgate_core::ids::Principal;
    use execgate_engine::Error;
    use tonic::Status;
    use tonic_types::StatusExt;

    use super::*;
    use crate::grpc::refusal::Refusal;

    /// Reason, subject, description and delay of an answer.
    fn told(refusal: Refusal) -> (Code, String, String, String, Option<Duration>) {
        let status = Status::from(refusal);
        let details = status.get_error_details();
        let violation = details.quota_failure().unwrap().violations[0].clone();
        let retry = details.retry_info().and_then(|info| info.retry_delay);
        let reason = details.error_info().unwrap().reason.clone();
        let (subject, description) = (violation.subject, violation.description);
        (status.code(), reason, subject, description, retry)
    }

    #[test]
    fn each_kind_has_its_reason_and_says_whose_limit_it_is() {
        let retry_after = Duration::from_secs(5);
        let reached = |kind, holder| {
            Refusal::from(Error::from(LimitReached {
                kind,
                holder,
                current: 3,
                limit: 3,
                retry_after,
            }))
        };
        let one = || LimitHolder::Principal(Principal::new("ci"));
        let cases = [
            (
                reached(LimitKind::Sessions, one()),
                "SESSION_LIMIT",
                "principal:ci",
                "principal ci has 3 sessions, and the limit is 3",
            ),
            (
                reached(LimitKind::Executions, LimitHolder::Session),
                "EXECUTION_LIMIT",
                "session",
                "the session has 3 running executions, and the limit is 3",
            ),
            (
                reached(LimitKind::RetainedBytes, LimitHolder::Server),
                "STORAGE_FULL",
                "server",
                "the server has 3 bytes of retained output, and the limit is 3",
            ),
            (
                Refusal::TooFast(Box::new(TooFast {
                    subject: "principal:ci".to_owned(),
                    what: "calls",
                    limit: "2 a second".to_owned(),
                    retry_after,
                })),
                "RATE_LIMITED",
                "principal:ci",
                "principal:ci makes too many calls; the limit is 2 a second",
            ),
        ];
        for (refusal, reason, subject, description) in cases {
            let expected = (
                Code::ResourceExhausted,
                reason.to_owned(),
                subject.to_owned(),
                description.to_owned(),
                Some(retry_after),
            );
            assert_eq!(told(refusal), expected);
        }
    }
}
