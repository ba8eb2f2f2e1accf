//! Machines that have little: dash or busybox alone, no base64, no mktemp, nowhere to write.
//! They are made of this one, in namespaces of their own.

use execgate_proto::v1;

use crate::client::connect;
use crate::ssh::{create, profile};
use crate::sshd::{Sshd, is_root};
use crate::support::{Client, Refused, Server, refused, run_request, stdout};

/// A user whose login shell is dash, on a machine without base64 and mktemp, and with a /tmp
/// that cannot be written to.
const DASH: &str = r#"
mount --bind /tmp /tmp
mount --bind "$F" "$F"
mkdir -p "$F/home"
chown 4242 "$F/home"
cp /etc/passwd "$F/passwd"
echo "tester:x:4242:4242::$F/home:$(command -v dash)" >>"$F/passwd"
mount --bind "$F/passwd" /etc/passwd
mount -o remount,bind,ro /tmp
for tool in base64 mktemp bash; do
    for at in /bin /usr/bin; do
        if [ -e "$at/$tool" ]; then mount --bind /dev/null "$at/$tool"; fi
    done
done
"#;

/// Where nothing can be written to.
const NOWHERE: &str = r#"
mount -t tmpfs -o ro none /dev/shm
mount -t tmpfs -o ro none /var/tmp
mount -t tmpfs -o ro none "$F/home"
"#;

/// A machine that is busybox and nothing else, without the names of these applets.
fn busybox(without: &str) -> String {
    format!(
        r#"
mount -t tmpfs -o mode=755 none /mnt
mkdir -p /mnt/bin /mnt/proc /mnt/dev "/mnt$F/home"
chown 4242 "/mnt$F/home"
cp "$(command -v busybox)" /mnt/bin/busybox
for applet in $(busybox --list); do
    case " busybox {without} " in
    *" $applet "*) ;;
    *) ln -s busybox "/mnt/bin/$applet" ;;
    esac
done
mount --bind /proc /mnt/proc
mount --rbind /dev /mnt/dev
cp /etc/passwd "$F/passwd"
echo "tester:x:4242:4242::$F/home:/bin/sh" >>"$F/passwd"
mount --bind "$F/passwd" /etc/passwd
"#
    )
}

const BUSYBOX_ONLY: &str = "ChrootDirectory /mnt";

/// A server that reaches the machine.
fn gate(sshd: &Sshd) -> Server {
    let lines = format!(
        "key = {:?}\nhost_key = {:?}",
        sshd.path("user"),
        sshd.fingerprint()
    );
    Server::start_with(&sshd.profile_as("build", "tester", &lines))
}

fn may_make_machines() -> bool {
    if !is_root() {
        eprintln!("only root can make machines: not tried");
    }
    is_root()
}

fn with_input(script: &str) -> v1::RunRequest {
    let mut request = run_request("s", script);
    request.spec.as_mut().unwrap().stdin =
        Some(v1::execution_spec::Stdin::Inline(v1::InlineStdin {
            data: b"given\n".to_vec().into(),
        }));
    request
}

/// All that a session can do, on a machine that has what it needs.
async fn does_everything(server: &Server, tools: &str) {
    let mut client = server.client().await;
    let session = create(&mut client, profile("build")).await.unwrap();
    assert_eq!(session.shell.unwrap().kind(), v1::ShellKind::Sh);
    let result = client
        .run("s", "cd /; x=kept; echo out; echo err >&2")
        .await;
    assert_eq!(
        (stdout(&result).as_str(), &result.stderr[..]),
        ("out\n", &b"err\n"[..])
    );
    let look = format!("for tool in {tools}; do command -v $tool; done; echo $x in $PWD");
    assert_eq!(stdout(&client.run("s", &look).await), "kept in /\n");
    let read = client.try_run(with_input("cat")).await.unwrap();
    assert_eq!(stdout(&read), "given\n");
    let mut slow = run_request("s", "sleep 60");
    slow.spec.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 1,
        nanos: 0,
    });
    assert!(client.try_run(slow).await.unwrap().timed_out);
    assert_eq!(stdout(&client.run("s", "echo $x").await), "kept\n");
    ends_what_is_left(&mut client).await;
    has_a_terminal(&mut client).await;
    moves_files(server).await;
}

async fn ends_what_is_left(client: &mut Client) {
    client.run("s", "sleep 543 & setsid sleep 654 &").await;
    let close = v1::CloseSessionRequest {
        session_id: "s".to_owned(),
        ..Default::default()
    };
    let closed = client.sessions.close_session(close).await.unwrap();
    let ended = closed.into_inner().ended_processes.into_iter();
    let mut ended: Vec<_> = ended
        .map(|process| process.command.trim().to_owned())
        .collect();
    ended.sort();
    assert_eq!(ended, ["sleep 543", "sleep 654"]);
}

async fn has_a_terminal(client: &mut Client) {
    let mut request = profile("build");
    request.session_id = "t".to_owned();
    request.terminal = Some(v1::Terminal {
        size: Some(v1::TerminalSize {
            rows: 30,
            columns: 100,
        }),
        term: String::new(),
    });
    create(client, request).await.unwrap();
    let size = client.run("t", "stty size").await;
    assert_eq!(size.terminal.trim_ascii(), b"30 100");
}

async fn moves_files(server: &Server) {
    let client = connect(server).await;
    let target = profile("build").target.unwrap();
    let session = client.session().target(target).await.unwrap();
    let data: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let written = session.put(data.clone(), "file").await.unwrap();
    assert_eq!((written.size, written.verified), (1_200_000, true));
    assert!(session.get("file").bytes().await.unwrap() == data);
}

#[tokio::test]
async fn a_machine_with_dash_and_a_tmp_that_is_read_only_does_everything() {
    if !may_make_machines() {
        return;
    }
    let sshd = Sshd::start_in("", DASH);
    does_everything(&gate(&sshd), "base64 mktemp bash").await;
}

#[tokio::test]
async fn a_machine_that_is_busybox_alone_does_everything() {
    if !may_make_machines() {
        return;
    }
    let sshd = Sshd::start_in(BUSYBOX_ONLY, &busybox(""));
    // Its shell has the applets in itself.
    does_everything(&gate(&sshd), "bash git perl").await;
}

async fn refused_input(server: &Server) -> Refused {
    let mut client = server.client().await;
    create(&mut client, profile("build")).await.unwrap();
    assert_eq!(stdout(&client.run("s", "echo works").await), "works\n");
    refused(client.try_run(with_input("cat")).await)
}

#[tokio::test]
async fn what_a_machine_lacks_is_said_where_it_is_needed() {
    if !may_make_machines() {
        return;
    }
    let nowhere = Sshd::start_in("", &format!("{DASH}{NOWHERE}"));
    let refusal = refused_input(&gate(&nowhere)).await;
    assert_eq!(refusal.reason, "TARGET_UNAVAILABLE");
    assert!(
        refusal.message.contains("a directory to write to"),
        "{refusal:?}"
    );
    // What is a device of nothing cannot be run.
    let hidden = "mount --bind /dev/null /usr/bin/mkfifo\nmount --bind /dev/null /usr/bin/grep\n";
    let bare = Sshd::start_in("", &format!("{DASH}{hidden}"));
    let server = gate(&bare);
    let refusal = refused_input(&server).await;
    assert_eq!(refusal.reason, "TARGET_UNAVAILABLE");
    assert!(refusal.message.contains("mkfifo"), "{refusal:?}");
    // Without grep nothing is found that left the session's tree, and the fence says so.
    let mut client = server.client().await;
    let mut request = profile("build");
    request.session_id = "t".to_owned();
    let fence = create(&mut client, request).await.unwrap().fence.unwrap();
    let kill = fence
        .controls
        .into_iter()
        .find(|row| row.control() == v1::Control::Kill)
        .unwrap();
    assert!(kill.detail.contains("grep"), "{kill:?}");
    let without_a_shell = Sshd::start_in(BUSYBOX_ONLY, &busybox("sh ash"));
    let refusal =
        refused(create(&mut gate(&without_a_shell).client().await, profile("build")).await);
    assert_eq!(refusal.reason, "TARGET_UNAVAILABLE");
    assert!(refusal.message.contains("/bin/sh"), "{refusal:?}");
}
