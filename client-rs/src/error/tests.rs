//! What becomes of a status.

use std::collections::HashMap;

use super::*;

fn call() -> Call {
    Call {
        address: "http://gate.example:1".into(),
        method: "ExecService/Run",
    }
}

fn refusal(status: Status) -> Refusal {
    match call().failed(status) {
        Error::Refused(refusal) => *refusal,
        other => panic!("not a refusal: {other:?}"),
    }
}

#[test]
fn every_detail_of_a_refusal_is_kept() {
    let metadata = HashMap::from([
        ("rule".to_owned(), "no-rm".to_owned()),
        ("suggestion".to_owned(), "use git clean -n".to_owned()),
    ]);
    let mut details = ErrorDetails::with_error_info("POLICY_DENIED", ERROR_DOMAIN, metadata);
    details
        .set_retry_info(Some(Duration::from_millis(1500)))
        .add_bad_request_violation("spec.script", "is empty");
    let status = Status::with_error_details(Code::PermissionDenied, "rm is denied", details);
    let refusal = refusal(status);
    let expected = Refusal {
        code: Code::PermissionDenied,
        reason: ErrorReason::PolicyDenied,
        reason_name: "POLICY_DENIED".into(),
        message: "rm is denied".into(),
        suggestion: Some("use git clean -n".into()),
        metadata: BTreeMap::from([
            ("rule".into(), "no-rm".into()),
            ("suggestion".into(), "use git clean -n".into()),
        ]),
        retry_after: Some(Duration::from_millis(1500)),
        violations: vec![FieldViolation {
            field: "spec.script".into(),
            description: "is empty".into(),
        }],
    };
    assert_eq!(refusal, expected);
    assert_eq!(
        refusal.to_string(),
        "POLICY_DENIED: rm is denied; spec.script: is empty (use git clean -n)"
    );
}

#[test]
fn status_without_details_is_a_refusal_without_reason() {
    let refusal = refusal(Status::unavailable("the proxy is tired"));
    assert_eq!(refusal.code, Code::Unavailable);
    assert_eq!(refusal.reason, ErrorReason::Unspecified);
    assert_eq!(refusal.reason_name, "");
}

#[test]
fn bare_unimplemented_names_the_call_that_the_server_lacks() {
    let error = call().failed(Status::unimplemented(""));
    assert!(
        matches!(&error, Error::Unsupported { method, .. } if *method == "ExecService/Run"),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("older than this client"), "{text}");
}

#[test]
fn error_that_main_returns_reads_well() {
    let error = Error::Connect {
        address: "http://gate.example:1".into(),
        source: Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)),
    };
    assert_eq!(format!("{error:?}"), format!("Connect: {error}"));
}

#[test]
fn reason_of_a_newer_server_keeps_its_name() {
    let details = ErrorDetails::with_error_info("NOVELTY", ERROR_DOMAIN, HashMap::new());
    let refusal = refusal(Status::with_error_details(Code::Aborted, "", details));
    assert_eq!(refusal.reason, ErrorReason::Unspecified);
    assert_eq!(refusal.reason_name, "NOVELTY");
}

#[test]
fn reason_of_a_foreign_domain_is_not_ours() {
    let details = ErrorDetails::with_error_info("SESSION_BUSY", "proxy.example", HashMap::new());
    let refusal = refusal(Status::with_error_details(Code::Unavailable, "", details));
    assert_eq!(refusal.reason, ErrorReason::Unspecified);
    assert_eq!(refusal.reason_name, "");
}

#[test]
fn broken_connection_is_not_a_refusal() {
    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer");
    let error = call().failed(Status::from_error(Box::new(broken)));
    assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
    assert!(error.to_string().contains("http://gate.example:1"));
}
