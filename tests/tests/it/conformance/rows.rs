//! What no story tells: bytes in bulk, leftovers, resuming, the shell's own view.

use std::pin::Pin;

use execgate_proto::v1;
use execgate_proto::v1::exec_event::Kind;
use sha2::{Digest, Sha256};

use super::Target;
use crate::support::{Client, exit_code, kinds, run_request, stdout};

type Row = for<'a> fn(&'a Target) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! rows {
    ($($name:ident),* $(,)?) => {
        /// Every row, by its fact.
        pub(super) const ROWS: &[(&str, Row)] = &[
            $((stringify!($name), |target| Box::pin($name(target)))),*
        ];
    };
}

rows! {
    twenty_megabytes_arrive_whole,
    streams_stay_apart_and_live,
    a_command_that_ignores_signals_ends_and_the_shell_lives,
    closing_ends_what_was_left_behind,
    what_was_missed_comes_again,
    an_argv_execution_says_who_saw_its_end,
    a_signal_that_kills_is_told_from_a_code,
    a_program_that_is_not_there_fails_to_launch,
    a_session_starts_at_home_without_the_servers_environment,
    programs_run_beside_a_busy_shell,
    a_command_finds_its_callers_trace,
    a_terminal_changes_its_size,
    many_sessions_at_once,
}

/// A session of its own for a row.
async fn open(
    target: &Target,
    id: &str,
    change: impl FnOnce(&mut v1::CreateSessionRequest),
) -> Client {
    let mut client = target.server.client().await;
    let mut request = v1::CreateSessionRequest {
        session_id: id.to_owned(),
        target: Some(target.wanted.clone()),
        ..Default::default()
    };
    change(&mut request);
    client.sessions.create_session(request).await.unwrap();
    client
}

fn close(id: &str) -> v1::CloseSessionRequest {
    v1::CloseSessionRequest {
        session_id: id.to_owned(),
        ..Default::default()
    }
}

fn argv(session: &str, words: &[&str]) -> v1::RunRequest {
    let words = words.iter().map(|&word| word.to_owned()).collect();
    let mut request = run_request(session, "");
    request.spec.as_mut().unwrap().command = Some(v1::execution_spec::Command::Argv(v1::Argv {
        arguments: words,
    }));
    request
}

async fn twenty_megabytes_arrive_whole(target: &Target) {
    let mut client = open(target, "bulk", |_| {}).await;
    let script = "head -c 20000000 /dev/zero | tr '\\0' 'abcdefgh'; echo end";
    let mut stream = client.exec("bulk", "e", script).await;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut finished = None;
    while let Some(response) = stream.message().await.unwrap() {
        match response.event.unwrap().kind.unwrap() {
            Kind::Output(output) => {
                assert_eq!(output.offset, bytes);
                bytes += output.data.len() as u64;
                hash.update(&output.data);
            }
            Kind::Finished(end) => finished = Some(end),
            Kind::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
    let mut expected = vec![b'a'; 20_000_000];
    expected.extend_from_slice(b"end\n");
    assert_eq!(bytes, expected.len() as u64);
    let expected: Vec<u8> = Sha256::digest(&expected).to_vec();
    assert_eq!(hash.finalize().to_vec(), expected);
    let totals = finished.unwrap().channels;
    let told = totals.first().map(|totals| totals.sha256.to_vec());
    assert_eq!(told, Some(expected));
}

async fn streams_stay_apart_and_live(target: &Target) {
    let mut client = open(target, "live", |_| {}).await;
    let script = "echo one; echo two >&2; sleep 2; echo three";
    let mut stream = client.exec("live", "e", script).await;
    let begin = std::time::Instant::now();
    let mut seen = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        if let Kind::Output(output) = response.event.unwrap().kind.unwrap() {
            let late = begin.elapsed().as_millis() > 1000;
            seen.push((output.channel(), late, output.data.to_vec()));
        }
    }
    seen.sort_by_key(|(channel, late, _)| (*late, *channel as i32));
    let expected = [
        (v1::Channel::Stdout, false, b"one\n".to_vec()),
        (v1::Channel::Stderr, false, b"two\n".to_vec()),
        (v1::Channel::Stdout, true, b"three\n".to_vec()),
    ];
    assert_eq!(seen, expected);
}

async fn a_command_that_ignores_signals_ends_and_the_shell_lives(target: &Target) {
    let mut client = open(target, "deaf", |_| {}).await;
    client.run("deaf", "kept=yes").await;
    let mut request = run_request("deaf", "sh -c \"trap '' INT TERM; sleep 60; sleep 60\"");
    request.spec.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 300_000_000,
    });
    let result = client.try_run(request).await.unwrap();
    assert!(result.timed_out, "{result:?}");
    let after = client.run("deaf", "echo $kept").await;
    assert_eq!(stdout(&after), "yes\n");
    assert_eq!(after.finished.unwrap().generation, 1);
}

async fn closing_ends_what_was_left_behind(target: &Target) {
    let mut client = open(target, "left", |_| {}).await;
    // Not every target has nohup.
    let script = "sleep 7531 & setsid sleep 7532 & \
                  (trap '' HUP; setsid sleep 7533 >/dev/null 2>&1 &) ; sleep 0.2; echo ok";
    assert_eq!(stdout(&client.run("left", script).await), "ok\n");
    let closed = client.sessions.close_session(close("left")).await.unwrap();
    let mut ended: Vec<_> = closed
        .into_inner()
        .ended_processes
        .into_iter()
        .map(|process| process.command.trim().to_owned())
        .collect();
    ended.sort();
    assert_eq!(ended, ["sleep 7531", "sleep 7532", "sleep 7533"]);
    let mut client = open(target, "look", |_| {}).await;
    let look = "grep -lsE 'sleep.753[123]' /proc/[0-9]*/cmdline | grep -v self; echo looked";
    assert_eq!(stdout(&client.run("look", look).await), "looked\n");
}

async fn what_was_missed_comes_again(target: &Target) {
    let mut client = open(target, "again", |_| {}).await;
    let mut stream = client
        .exec("again", "e", "echo one; sleep 0.5; echo two")
        .await;
    while let Some(response) = stream.message().await.unwrap() {
        if let Kind::Output(_) = response.event.unwrap().kind.unwrap() {
            break;
        }
    }
    drop(stream);
    let request = v1::AttachRequest {
        session_id: "again".into(),
        execution_id: "e".into(),
        offsets: vec![v1::ChannelOffset {
            channel: v1::Channel::Stdout.into(),
            offset: 2,
        }],
        notices_seen: 0,
    };
    let mut stream = client.execs.attach(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        if let Kind::Output(output) = response.event.unwrap().kind.unwrap() {
            bytes.extend_from_slice(&output.data);
        }
    }
    assert_eq!(bytes, b"e\ntwo\n");
}

async fn an_argv_execution_says_who_saw_its_end(target: &Target) {
    let mut client = open(target, "argv", |_| {}).await;
    client.run("argv", "cd /; export SEEN=yes").await;
    let request = argv(
        "argv",
        &["sh", "-c", "echo $SEEN $PWD; echo err >&2; exit 7"],
    );
    let result = client.try_run(request).await.unwrap();
    assert_eq!(stdout(&result), "yes /\n");
    assert_eq!(result.stderr.to_vec(), b"err\n");
    assert_eq!(exit_code(&result), Some(7));
    let observer = match target.name {
        "local" => v1::ObservedBy::Kernel,
        "ssh" => v1::ObservedBy::Sshd,
        _ => v1::ObservedBy::Dockerd,
    };
    assert_eq!(result.finished.unwrap().observed_by(), observer);
}

async fn a_signal_that_kills_is_told_from_a_code(target: &Target) {
    let mut client = open(target, "sig", |_| {}).await;
    let result = client
        .try_run(argv("sig", &["sh", "-c", "kill -KILL $$"]))
        .await
        .unwrap();
    let outcome = result.finished.unwrap().outcome.unwrap().result.unwrap();
    let v1::outcome::Result::Signaled(signaled) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(signaled.name, "SIGKILL");
    let result = client
        .try_run(argv("sig", &["sh", "-c", "exit 137"]))
        .await
        .unwrap();
    assert_eq!(exit_code(&result), Some(137));
}

async fn a_program_that_is_not_there_fails_to_launch(target: &Target) {
    let mut client = open(target, "none", |_| {}).await;
    let result = client
        .try_run(argv("none", &["no-such-program-anywhere"]))
        .await
        .unwrap();
    let outcome = result.finished.unwrap().outcome.unwrap().result.unwrap();
    let v1::outcome::Result::LaunchFailed(failed) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(failed.failure(), v1::LaunchFailure::NotFound);
}

async fn a_session_starts_at_home_without_the_servers_environment(target: &Target) {
    let mut client = open(target, "home", |request| {
        request.env.insert("MINE".into(), "it's".into());
    })
    .await;
    let script =
        "[ \"$PWD\" = \"$HOME\" ] && echo home; echo \"${EXECGATE_TEST_SECRET-none} $MINE\"";
    let result = client.run("home", script).await;
    assert_eq!(stdout(&result), "home\nnone it's\n");
}

async fn a_command_finds_its_callers_trace(target: &Target) {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    const STATE: &str = "vendor=it's,other=$2";
    const SHOW: &str = "echo \"$TRACEPARENT|$TRACESTATE|$(env | grep -c ^TRACE)\"";
    let traced = |request: v1::RunRequest| {
        let mut request = tonic::Request::new(request);
        let metadata = request.metadata_mut();
        metadata.insert("traceparent", PARENT.parse().unwrap());
        metadata.insert("tracestate", STATE.parse().unwrap());
        request
    };
    for shell in target.shells {
        let id = format!("traced-{shell}");
        let mut client = open(target, &id, |request| request.shell = (*shell).to_owned()).await;
        let answer = client
            .execs
            .run(traced(run_request(&id, SHOW)))
            .await
            .unwrap();
        let seen = stdout(&answer.into_inner().result.unwrap());
        assert_eq!(seen, format!("{PARENT}|{STATE}|2\n"), "{shell}");
        // They were that command's alone.
        assert_eq!(stdout(&client.run(&id, SHOW).await), "||0\n", "{shell}");
        // What a caller says itself counts.
        let mut own = run_request(&id, SHOW);
        let env = &mut own.spec.as_mut().unwrap().env;
        env.insert("TRACEPARENT".to_owned(), "own".to_owned());
        let answer = client.execs.run(traced(own)).await.unwrap();
        let seen = stdout(&answer.into_inner().result.unwrap());
        assert_eq!(seen, "own||1\n", "{shell}");
        // What the shell had before comes back.
        client.run(&id, "export TRACEPARENT=kept").await;
        let answer = client
            .execs
            .run(traced(run_request(&id, SHOW)))
            .await
            .unwrap();
        let seen = stdout(&answer.into_inner().result.unwrap());
        assert_eq!(seen, format!("{PARENT}|{STATE}|2\n"), "{shell}");
        assert_eq!(stdout(&client.run(&id, SHOW).await), "kept||1\n", "{shell}");
        let answer = client.execs.run(traced(argv(&id, &["env"]))).await.unwrap();
        let seen = stdout(&answer.into_inner().result.unwrap());
        assert!(
            seen.contains(&format!("TRACEPARENT={PARENT}\n")),
            "{shell}: {seen}"
        );
    }
}

async fn programs_run_beside_a_busy_shell(target: &Target) {
    let mut client = open(target, "busy", |_| {}).await;
    let mut shell = client.exec("busy", "shell", "sleep 2; echo slept").await;
    shell.message().await.unwrap();
    let runs = (0..12).map(|n| {
        let mut client = client.clone();
        async move {
            let word = n.to_string();
            let result = client
                .try_run(argv("busy", &["sh", "-c", "sleep 0.5; echo $0", &word]))
                .await;
            assert_eq!(stdout(&result.unwrap()), format!("{n}\n"));
        }
    });
    futures::future::join_all(runs).await;
    let rest = kinds(&mut shell).await;
    assert!(
        rest.iter()
            .any(|kind| matches!(kind, Kind::Output(output) if &output.data[..] == b"slept\n")),
        "{rest:?}"
    );
}

async fn a_terminal_changes_its_size(target: &Target) {
    let mut client = open(target, "tty", |request| {
        request.terminal = Some(v1::Terminal {
            size: Some(v1::TerminalSize {
                rows: 30,
                columns: 100,
            }),
            ..Default::default()
        });
    })
    .await;
    let terminal = |result: &v1::ExecResult| String::from_utf8_lossy(&result.terminal).into_owned();
    let result = client
        .run("tty", "stty size; tty >/dev/null && echo tty")
        .await;
    assert_eq!(terminal(&result), "30 100\r\ntty\r\n");
    let resize = v1::ResizeTerminalRequest {
        session_id: "tty".into(),
        size: Some(v1::TerminalSize {
            rows: 40,
            columns: 120,
        }),
    };
    client.execs.resize_terminal(resize).await.unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do [ \"$(stty size)\" = '40 120' ] && break; \
                  sleep 0.1; done; stty size";
    assert_eq!(terminal(&client.run("tty", script).await), "40 120\r\n");
}

async fn many_sessions_at_once(target: &Target) {
    let opened = (0..6).map(|n| async move {
        let id = format!("many-{n}");
        let mut client = open(target, &id, |_| {}).await;
        client.run(&id, &format!("kept={n}")).await;
        for _ in 0..5 {
            let result = client.run(&id, "echo $kept").await;
            assert_eq!(stdout(&result), format!("{n}\n"));
        }
        client.sessions.close_session(close(&id)).await.unwrap();
    });
    futures::future::join_all(opened).await;
}
