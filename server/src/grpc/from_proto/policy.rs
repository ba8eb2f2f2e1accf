//! The policy that a session adds to the operator's.

use execgate_core::policy::{Policy, PolicyError};
use execgate_proto::v1;

use crate::grpc::refusal::Refusal;

/// Names in one list at most, as the API says.
const MAX_PROGRAMS: usize = 1000;
/// Bytes of a policy's text at most, as the API says.
const MAX_POLICY_BYTES: usize = 64 * 1024;

/// A session's own policy; nothing where it adds nothing.
pub(crate) fn session_policy(policy: v1::SessionPolicy) -> Result<Option<Policy>, Refusal> {
    let named = !policy.name.is_empty();
    let listed = !(policy.allow_programs.is_empty() && policy.deny_programs.is_empty());
    let written = !policy.toml.is_empty();
    if [named, listed, written]
        .into_iter()
        .filter(|given| *given)
        .count()
        > 1
    {
        return Err(Refusal::not_implemented(
            "more than one of policy.name, policy.allow_programs and deny_programs, policy.toml",
        ));
    }
    for (field, list) in [
        ("policy.allow_programs", &policy.allow_programs),
        ("policy.deny_programs", &policy.deny_programs),
    ] {
        if list.len() > MAX_PROGRAMS {
            let reason = format!("has {} names, at most {MAX_PROGRAMS}", list.len());
            return Err(Refusal::field(field, reason));
        }
    }
    if policy.toml.len() > MAX_POLICY_BYTES {
        let reason = format!(
            "has {} bytes, at most {MAX_POLICY_BYTES}",
            policy.toml.len()
        );
        return Err(Refusal::field("policy.toml", reason));
    }
    if listed {
        let lists = Policy::lists(&policy.allow_programs, &policy.deny_programs);
        return lists.map(Some).map_err(invalid);
    }
    if written {
        return Policy::from_toml(&policy.toml).map(Some).map_err(invalid);
    }
    match policy.name.as_str() {
        "" => Ok(None),
        "guard" => Ok(Some(Policy::guard())),
        "strict" => Ok(Some(Policy::strict())),
        "open" => Ok(Some(Policy::open())),
        _ => Err(Refusal::field(
            "policy.name",
            "names no policy of this server",
        )),
    }
}

fn invalid(error: PolicyError) -> Refusal {
    Refusal::PolicyInvalid {
        line: error.line(),
        reason: error.to_string(),
    }
}
