//! Bad input: a typed answer that names the field, and the server lives on.

use execgate_proto::v1;
use tonic::Code;

use crate::support::{Server, refused, run_request, spec, stdout};

#[tokio::test]
async fn bad_fields_of_a_command_are_named() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let good = || run_request("s", "echo hi");
    let with = |change: fn(&mut v1::ExecutionSpec)| {
        let mut request = good();
        change(request.spec.as_mut().unwrap());
        request
    };
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let mut absurd = good();
    absurd.spec.as_mut().unwrap().timeout = seconds(i64::MAX);
    let mut negative = good();
    negative.spec.as_mut().unwrap().timeout = seconds(-1);
    let cases = [
        (
            "session_id",
            v1::RunRequest {
                session_id: "NO/T".into(),
                ..good()
            },
        ),
        (
            "execution_id",
            v1::RunRequest {
                execution_id: "x".repeat(65),
                ..good()
            },
        ),
        (
            "spec",
            v1::RunRequest {
                spec: None,
                ..good()
            },
        ),
        ("spec.command", with(|spec| spec.command = None)),
        ("spec.script", run_request("s", " \n")),
        ("spec.script", run_request("s", "echo \0")),
        (
            "spec.script",
            run_request("s", &"x".repeat(2 * 1024 * 1024)),
        ),
        ("spec.timeout", absurd),
        ("spec.timeout", negative),
        ("spec.timeout_action", with(|spec| spec.timeout_action = 77)),
        (
            "spec.env",
            with(|spec| spec.env = [("A-B".to_owned(), String::new())].into()),
        ),
        (
            "on_disconnect",
            v1::RunRequest {
                on_disconnect: 9,
                ..good()
            },
        ),
        (
            "output_budget.max_bytes",
            v1::RunRequest {
                output_budget: Some(v1::OutputBudget {
                    max_bytes: Some(0),
                    ..Default::default()
                }),
                ..good()
            },
        ),
    ];
    for (field, request) in cases {
        let answer = refused(client.try_run(request).await);
        assert_eq!(
            (answer.code, answer.reason.as_str()),
            (Code::InvalidArgument, "INVALID_FIELD")
        );
        assert_eq!(answer.fields, [field]);
    }
    assert_eq!(stdout(&client.run("s", "echo alive").await), "alive\n");
}

#[tokio::test]
async fn bad_fields_of_a_session_are_named() {
    let server = Server::start();
    let mut client = server.client().await;
    let base = v1::CreateSessionRequest::default;
    let terminal = |rows| v1::Terminal {
        size: Some(v1::TerminalSize { rows, columns: 80 }),
        term: String::new(),
    };
    let cases = [
        (
            "session_id",
            v1::CreateSessionRequest {
                session_id: "Ä".into(),
                ..base()
            },
        ),
        (
            "cwd",
            v1::CreateSessionRequest {
                cwd: "relative".into(),
                ..base()
            },
        ),
        (
            "cwd",
            v1::CreateSessionRequest {
                cwd: "/no/such/place".into(),
                ..base()
            },
        ),
        (
            "shell",
            v1::CreateSessionRequest {
                shell: "fish".into(),
                ..base()
            },
        ),
        (
            "on_shell_exit",
            v1::CreateSessionRequest {
                on_shell_exit: 5,
                ..base()
            },
        ),
        (
            "terminal.size.rows",
            v1::CreateSessionRequest {
                terminal: Some(terminal(100_000)),
                ..base()
            },
        ),
        (
            "labels",
            v1::CreateSessionRequest {
                labels: [("Bad Key".to_owned(), String::new())].into(),
                ..base()
            },
        ),
        (
            "idle_ttl",
            v1::CreateSessionRequest {
                idle_ttl: Some(prost_types::Duration::default()),
                ..base()
            },
        ),
    ];
    for (field, request) in cases {
        let answer = refused(client.sessions.create_session(request).await);
        assert_eq!(
            (answer.code, answer.reason.as_str()),
            (Code::InvalidArgument, "INVALID_FIELD"),
            "{field}"
        );
        assert_eq!(answer.fields, [field]);
    }
    client.session("fine").await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_with_a_reason() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let answer = client
        .try_run(run_request("s", &"x".repeat(5_000_000)))
        .await;
    let answer = refused(answer);
    assert_eq!(
        (answer.code, answer.reason.as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );
    assert_eq!(stdout(&client.run("s", "echo alive").await), "alive\n");
}

#[tokio::test]
async fn unknown_things_are_not_found() {
    let server = Server::start();
    let mut client = server.client().await;
    let answer = refused(client.try_run(run_request("nobody", "echo")).await);
    assert_eq!(
        (answer.code, answer.reason.as_str()),
        (Code::NotFound, "SESSION_NOT_FOUND")
    );
    client.session("s").await;
    let request = v1::GetExecutionRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
    };
    let answer = refused(client.execs.get_execution(request).await);
    assert_eq!(
        (answer.code, answer.reason.as_str()),
        (Code::NotFound, "EXECUTION_NOT_FOUND")
    );
    let request = v1::CloseSessionRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    client.sessions.close_session(request).await.unwrap();
    let answer = refused(client.try_run(run_request("s", "echo")).await);
    assert_eq!(
        (answer.code, answer.reason.as_str()),
        (Code::FailedPrecondition, "SESSION_ENDED")
    );
}

#[tokio::test]
async fn what_is_not_there_yet_says_so() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let close = v1::CloseSessionRequest {
        session_id: "s".into(),
        grace_period: Some(prost_types::Duration::default()),
    };
    let answer = refused(client.sessions.close_session(close).await);
    let told = (answer.code, answer.reason.as_str());
    assert_eq!(told, (Code::Unimplemented, "NOT_IMPLEMENTED"));
    assert_eq!(answer.metadata["missing"], "field grace_period");
}

#[tokio::test]
async fn what_cannot_be_said_to_an_execution_is_refused() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let mut open = run_request("s", "cat");
    open.spec.as_mut().unwrap().stdin =
        Some(v1::execution_spec::Stdin::Open(v1::OpenStdin::default()));
    let mut ended = run_request("s", "true");
    ended.execution_id = "ended".to_owned();
    client.try_run(ended).await.unwrap();
    let ids = || ("s".to_owned(), "ended".to_owned());
    let (session_id, execution_id) = ids();
    let write = v1::WriteStdinRequest {
        session_id,
        execution_id,
        eof: true,
        ..Default::default()
    };
    let large = v1::WriteStdinRequest {
        data: vec![0; 1024 * 1024 + 1].into(),
        ..write.clone()
    };
    let (session_id, execution_id) = ids();
    let signal = v1::SignalRequest {
        session_id,
        execution_id,
        signal: v1::SignalKind::Term.into(),
    };
    let no_signal = v1::SignalRequest {
        signal: 0,
        ..signal.clone()
    };
    let resize = v1::ResizeTerminalRequest {
        session_id: "s".to_owned(),
        size: Some(v1::TerminalSize {
            rows: 1,
            columns: 1,
        }),
    };
    let answers = [
        refused(client.try_run(open).await),
        refused(client.execs.write_stdin(write).await),
        refused(client.execs.write_stdin(large).await),
        refused(client.execs.signal(signal).await),
        refused(client.execs.signal(no_signal).await),
        refused(client.execs.resize_terminal(resize).await),
    ];
    let told: Vec<_> = answers
        .iter()
        .map(|answer| (answer.code, answer.reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Code::InvalidArgument, "INVALID_FIELD"),
            (Code::FailedPrecondition, "EXECUTION_NOT_RUNNING"),
            (Code::InvalidArgument, "INVALID_FIELD"),
            (Code::FailedPrecondition, "EXECUTION_NOT_RUNNING"),
            (Code::InvalidArgument, "INVALID_FIELD"),
            (Code::FailedPrecondition, "NO_TERMINAL"),
        ]
    );
}

#[tokio::test]
async fn a_fence_that_is_not_there_is_not_promised() {
    let server = Server::start();
    let mut client = server.client().await;
    let require = vec![v1::ControlRequirement {
        control: v1::Control::Network.into(),
        at_least: v1::EnforcementLevel::Enforced.into(),
    }];
    let fence = Some(v1::FenceRequirement {
        require,
        ..Default::default()
    });
    let request = v1::CreateSessionRequest {
        fence,
        ..Default::default()
    };
    let answer = refused(client.sessions.create_session(request).await);
    assert_eq!(
        (answer.code, answer.reason.as_str()),
        (Code::FailedPrecondition, "FENCE_UNAVAILABLE")
    );
    assert_eq!(answer.metadata["control"], "CONTROL_NETWORK");
}

#[tokio::test]
async fn a_denied_command_says_where_and_why() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let answer = refused(client.try_run(run_request("s", "echo ok; rm -rf /")).await);
    assert_eq!(
        (answer.code, answer.reason.as_str()),
        (Code::PermissionDenied, "POLICY_DENIED")
    );
    assert_eq!(answer.metadata["span"], "9-17");
    assert_eq!(answer.metadata["excerpt"], "rm -rf /");
    assert_eq!(answer.metadata["layer"], "operator");
    let request = v1::EvaluatePolicyRequest {
        spec: Some(spec("rm -rf /")),
        policy: None,
        session_id: "s".into(),
    };
    let verdict = client
        .execs
        .evaluate_policy(request)
        .await
        .unwrap()
        .into_inner()
        .verdict;
    let verdict = verdict.unwrap();
    assert_eq!(verdict.decision(), v1::Decision::Deny);
    assert_eq!(verdict.rule_id, answer.metadata["rule"]);
}

#[tokio::test]
async fn a_session_can_only_narrow_what_may_run() {
    let server = Server::start();
    let mut client = server.client().await;
    let policy = v1::SessionPolicy {
        deny_programs: vec!["ls".into()],
        ..Default::default()
    };
    let request = v1::CreateSessionRequest {
        session_id: "s".into(),
        policy: Some(policy),
        ..Default::default()
    };
    client.sessions.create_session(request).await.unwrap();
    let answer = refused(client.try_run(run_request("s", "ls /")).await);
    assert_eq!(answer.metadata["layer"], "session");
    let answer = refused(client.try_run(run_request("s", "rm -rf /")).await);
    assert_eq!(answer.metadata["layer"], "operator");
    assert_eq!(stdout(&client.run("s", "echo fine").await), "fine\n");
}
