//! A planted secret is looked for wherever bytes can rest or leave, after hundreds of
//! executions that use it, print it, learn it and fail with it.

use std::path::Path;

use execgate_proto::v1;
use tonic::Code;
use v1::create_session_request::Target;
use v1::execution_spec::Command;

use crate::docker::engine::images_are_there;
use crate::sshd::Sshd;
use crate::support::{Client, Server, refused, run_request, stdout};

/// One that the operator hands out, one that the operator registers, one that a command
/// assigns, one that a request's variable has, one that a session wants hidden.
const PLANTED: [&str; 5] = [
    "Hand3d-out/Bq7+Zk2Wm9Xt4",
    "Reg1stered/Ym5+Lp8Rc3Vd6",
    "Ass1gned/Gt6+Nw4Jh2Ks9",
    "Var1able/Fd8+Qz3Px7Mb5",
    "S3ssions/Uc2+Ra9Ty6He4",
];

const OPEN: &str = "policy.name = 'open'\n";

const CONFIG: &str = "limits.retained_output_bytes = 65536\n\
                      [secrets.deploy]\nvalue = 'Hand3d-out/Bq7+Zk2Wm9Xt4'\n\
                      [[redaction.secret]]\nname = 'reg'\nvalue = 'Reg1stered/Ym5+Lp8Rc3Vd6'\n";

/// Scripts that give them away as they can; `$DEPLOY`, `$reg`, `$A_TOKEN`, `$V_SECRET` and
/// `$mine` hold them.
const SCRIPTS: &[&str] = &[
    "echo \"$DEPLOY $reg $A_TOKEN $V_SECRET $mine\"",
    "printf '%s\\n' \"$DEPLOY\" \"$A_TOKEN\" >&2",
    "env; set",
    "export -p",
    "\"$DEPLOY\" \"$reg\"",
    "ls \"/no/$A_TOKEN\" \"/no/$V_SECRET\"",
    "mkdir -p \"/tmp/$DEPLOY\"; cd \"/tmp/$DEPLOY\" && pwd; cd /tmp; rm -rf \"/tmp/${DEPLOY%%/*}\"",
    "printf %s \"$DEPLOY$reg\" | base64; printf %s \"x$A_TOKEN\" | base64 -w 20; printf %s \"xy$mine\" | base64",
    "printf %s \"$V_SECRET\" | od -An -tx1 | tr -d ' \\n'; printf %s \"$DEPLOY\" | rev",
    "for i in $(seq 30); do printf '%s' \"$DEPLOY\" | cut -c$i | tr -d '\\n'; done",
    "printf %s \"${DEPLOY%????????}\"; sleep 0.15; printf '%s\\n' \"${DEPLOY#????????????????}\"",
    "set -x; : \"$DEPLOY\" \"$A_TOKEN\"; set +x",
    "(sleep 0.05; echo \"late $DEPLOY $mine\") & true",
    "yes \"$DEPLOY and $A_TOKEN\" | head -n 6000",
    "sh -c 'echo \"$1\"; exit 3' sh \"$reg\"",
    "trap 'echo \"trapped $DEPLOY\"' EXIT; exit 4",
    "echo 'no end of a quote: '\"$DEPLOY",
    "kill -9 $$",
];

fn secret(variable: &str) -> v1::SecretReference {
    v1::SecretReference {
        name: "deploy".to_owned(),
        variable: variable.to_owned(),
    }
}

/// Every form that must not be found.
fn needles() -> Vec<Vec<u8>> {
    let mut needles = Vec::new();
    for value in PLANTED {
        let bytes = value.as_bytes();
        needles.push(bytes.to_vec());
        needles.push(bytes.iter().rev().copied().collect());
        needles.push(data_encoding::HEXLOWER.encode(bytes).into_bytes());
        for before in ["", "x", "xy"] {
            let encoded = data_encoding::BASE64.encode(format!("{before}{value}").as_bytes());
            needles.push(encoded.bytes().skip(4).take(20).collect());
        }
        // The beginning of a registered value is kept back, too.
        needles.push(bytes.iter().copied().take(12).collect());
    }
    needles
}

fn check(what: &str, bytes: &[u8]) {
    for needle in needles() {
        let found = bytes.windows(needle.len()).position(|at| at == needle);
        if let Some(at) = found {
            let from = at.saturating_sub(100);
            let around: Vec<u8> = bytes.iter().copied().skip(from).take(160).collect();
            panic!("in {what}: ...{}...", around.escape_ascii());
        }
    }
}

fn check_files(folder: &Path) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += check_files(&path);
        } else if path.is_file() {
            check(&path.display().to_string(), &std::fs::read(&path).unwrap());
            files += 1;
        }
    }
    files
}

/// Creates a session that knows all of them and runs every script in it, `rounds` times;
/// answers how many executions that were.
async fn work(client: &mut Client, id: &str, target: Option<Target>, rounds: usize) -> usize {
    let [_, registered, assigned, variable, of_session] = PLANTED;
    let created = v1::CreateSessionRequest {
        session_id: id.to_owned(),
        target,
        secrets: vec![secret("DEPLOY")],
        env: [
            ("V_SECRET".to_owned(), variable.to_owned()),
            ("reg".to_owned(), registered.to_owned()),
            ("mine".to_owned(), of_session.to_owned()),
        ]
        .into(),
        redaction: Some(v1::SessionRedaction {
            values: vec![v1::RedactedValue {
                name: "mine".to_owned(),
                value: of_session.as_bytes().to_vec().into(),
            }],
            rules: Vec::new(),
        }),
        ..Default::default()
    };
    let session = client.sessions.create_session(created).await.unwrap();
    check("the session", format!("{session:?}").as_bytes());
    let mut executions = 0;
    for round in 0..rounds {
        let assigns = format!("export A_TOKEN='{assigned}'; echo \"$A_TOKEN\"");
        for script in std::iter::once(assigns.as_str()).chain(SCRIPTS.iter().copied()) {
            let execution_id = format!("e{executions}");
            let mut request = run_request(id, script);
            request.execution_id.clone_from(&execution_id);
            if round % 2 == 1 {
                request.spec.as_mut().unwrap().secrets = vec![secret("ONCE")];
            }
            executions += 1;
            match client.try_run(request).await {
                Ok(result) => {
                    check(script, &result.stdout);
                    check(script, &result.stderr);
                    check(script, format!("{result:?}").as_bytes());
                }
                Err(status) => check(script, format!("{status:?}").as_bytes()),
            }
            let read = v1::ReadOutputRequest {
                session_id: id.to_owned(),
                execution_id,
                ..Default::default()
            };
            if let Ok(read) = client.execs.read_output(read).await {
                check("ReadOutput", format!("{:?}", read.into_inner()).as_bytes());
            }
        }
        executions += beside(client, id).await;
    }
    let found = v1::GetSessionRequest {
        session_id: id.to_owned(),
    };
    let found = client.sessions.get_session(found).await.unwrap();
    check("the session", format!("{found:?}").as_bytes());
    let close = v1::CloseSessionRequest {
        session_id: id.to_owned(),
        ..Default::default()
    };
    let closed = client.sessions.close_session(close).await.unwrap();
    check("the closed session", format!("{closed:?}").as_bytes());
    executions
}

/// A program beside the shell, and one that does not exist.
async fn beside(client: &mut Client, id: &str) -> usize {
    let programs = [
        ["sh", "-c", "echo \"$ONCE\" >&2; echo \"$DEPLOY $A_TOKEN\""],
        ["/no/such/program", "--password", PLANTED[2]],
    ];
    for words in programs {
        let mut request = run_request(id, "");
        let spec = request.spec.as_mut().unwrap();
        spec.command = Some(Command::Argv(v1::Argv {
            arguments: words.map(str::to_owned).to_vec(),
        }));
        spec.env
            .insert("ONCE".to_owned(), "secret://deploy".to_owned());
        match client.try_run(request).await {
            Ok(result) => {
                check("a program", &result.stdout);
                check("a program", &result.stderr);
                check("a program", format!("{result:?}").as_bytes());
            }
            Err(status) => check("a program", format!("{status:?}").as_bytes()),
        }
    }
    programs.len()
}

/// Looks at what is left: records, files of the data directory, the log.
async fn check_rest(client: &mut Client, server: &Server, log: &Path) {
    let mut token = String::new();
    loop {
        let request = v1::ListAuditRecordsRequest {
            page_size: 1000,
            page_token: token,
            ..Default::default()
        };
        let page = client.audits.list_audit_records(request).await.unwrap();
        let page = page.into_inner();
        check("the audit log", format!("{page:?}").as_bytes());
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert!(check_files(&server.data_dir) > 2);
    check("retained output", &crate::retained::spilled(server.pid()));
    let log = std::fs::read(log).unwrap();
    assert!(log.len() > 1000, "{} bytes of log", log.len());
    check("the log", &log);
}

#[tokio::test]
async fn planted_secrets_are_nowhere_after_hundreds_of_local_executions() {
    let (server, log) = Server::start_traced(&format!("{OPEN}{CONFIG}"));
    let mut client = server.client().await;
    let executions = work(&mut client, "s", None, 15).await;
    assert!(executions >= 300, "{executions}");
    client.session("t").await;
    let script = format!("TOKEN={}; echo $TOKEN", PLANTED[2]);
    let mut stream = client.exec("t", "e", &script).await;
    while let Some(event) = stream.message().await.unwrap() {
        check("a stream", format!("{event:?}").as_bytes());
    }
    check_rest(&mut client, &server, &log).await;
}

#[tokio::test]
async fn a_denial_shows_no_secret_of_the_command_that_it_denies() {
    let (server, log) = Server::start_traced(CONFIG);
    let mut client = server.client().await;
    client.session("t").await;
    let denied = format!("B_TOKEN={} dd if=/dev/zero of=/dev/sda", PLANTED[2]);
    let refusal = client.try_run(run_request("t", &denied)).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    check("a denial", format!("{refusal:?}").as_bytes());
    check("a denial", refusal.details());
    check_rest(&mut client, &server, &log).await;
}

#[tokio::test]
async fn planted_secrets_are_nowhere_after_executions_through_ssh() {
    let sshd = Sshd::start();
    let (server, log) = Server::start_traced(&format!("{OPEN}{CONFIG}{}", sshd.profile("build")));
    let mut client = server.client().await;
    let target = Target::Ssh(v1::SshTarget {
        profile: "build".to_owned(),
        inline: None,
    });
    work(&mut client, "s", Some(target), 1).await;
    check_rest(&mut client, &server, &log).await;
}

#[tokio::test]
async fn planted_secrets_are_nowhere_after_executions_in_a_container() {
    images_are_there();
    let (server, log) = Server::start_traced(&format!("{OPEN}{CONFIG}"));
    let mut client = server.client().await;
    let image = v1::DockerImage {
        reference: "execgate-test-runtime".to_owned(),
    };
    let target = Target::Docker(v1::DockerTarget {
        source: Some(v1::docker_target::Source::Image(image)),
        ..Default::default()
    });
    work(&mut client, "s", Some(target), 1).await;
    check_rest(&mut client, &server, &log).await;
}

#[tokio::test]
async fn a_secret_is_named_and_nobody_learns_which_there_are() {
    let config = "[secrets.far]\nvalue = 'only-far-away-1'\ntargets = ['ssh:far']\n";
    let server = Server::start_with(config);
    let mut client = server.client().await;
    client.session("s").await;
    let mut answers = Vec::new();
    for name in ["far", "no-such"] {
        let mut request = run_request("s", "true");
        let spec = request.spec.as_mut().unwrap();
        spec.env.insert("X".to_owned(), format!("secret://{name}"));
        let answer = refused(client.try_run(request).await);
        assert_eq!(
            (answer.code, answer.reason.as_str()),
            (Code::NotFound, "SECRET_NOT_FOUND")
        );
        answers.push(format!("{answer:?}").replace(name, "NAME"));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn equal_secrets_have_equal_tags_and_results_count_them() {
    let server = Server::start_with(CONFIG);
    let mut client = server.client().await;
    client.session("s").await;
    let script = format!(
        "echo {0}; printf %s {0} | od -An -v -tx1 | tr -d ' \\n'",
        PLANTED[1]
    );
    let result = client.run("s", &script).await;
    let shown = stdout(&result);
    let (first, second) = shown.split_once('\n').unwrap();
    assert_eq!(first, second);
    assert!(
        first.starts_with("[REDACTED:reg#") && first.len() == 19,
        "{first}"
    );
    let counts: Vec<_> = result.finished.unwrap().channels[0]
        .redacted
        .iter()
        .map(|count| (count.name.clone(), count.count))
        .collect();
    assert_eq!(counts, [("reg".to_owned(), 2)]);
}
