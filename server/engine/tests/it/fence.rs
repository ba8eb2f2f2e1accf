//! What the kernel keeps sessions from, whatever the policy could read of a command: these
//! commands reach a program that the policy denies on ways that no reader of scripts sees.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use execgate_core::outcome::Outcome;
use execgate_core::policy::Policy;
use execgate_engine::Error;
use execgate_engine::fence::{DEFAULT_PROFILE, FenceProfile, FenceSettings, Limits, Network};
use execgate_engine::isolation::{ControlKind, ControlLevel, Demand};
use execgate_engine::session::SessionSettings;

use crate::support::{Gate, argv, defaults, finish, seen};

/// Nothing but `rm` is denied, and what cannot be read may run.
const NO_RM: &str = "default = \"allow\"\nunresolved = \"allow\"\n\
    [[rule]]\nid = \"no-rm\"\neffect = \"deny\"\nprogram = \"rm\"\n";

fn no_rm() -> Policy {
    Policy::from_toml(NO_RM).unwrap()
}

/// A fence whose only profile is this one.
fn fenced(profile: FenceProfile) -> FenceSettings {
    FenceSettings {
        profiles: BTreeMap::from([(DEFAULT_PROFILE.to_owned(), profile)]),
    }
}

fn level(gate: &Gate, kind: ControlKind) -> ControlLevel {
    let rows = &gate.engine.isolation().controls;
    rows.iter().find(|row| row.kind == kind).unwrap().level
}

/// A directory in which the sessions' user may do anything.
fn open_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    dir
}

/// Runs a script where no policy reads it: a program takes it to a shell of its own.
async fn unread(gate: &Gate, session: &execgate_engine::session::Session, script: &str) -> String {
    let program = "import subprocess, sys; subprocess.run(['bash', '-c', sys.argv[1]])";
    let command = argv(&["python3", "-c", program, script]);
    let result = finish(gate.start(session, command).await).await;
    let (_, stdout, stderr) = seen(&result);
    stdout + &stderr
}

#[tokio::test]
async fn a_denied_program_does_not_run_even_where_no_policy_reads_the_command() {
    let gate = Gate::with_policy(no_rm()).await;
    let session = gate.session(defaults()).await;
    let dir = open_directory();
    let work = dir.path().display();
    for attempt in [
        "rm $f",
        "/bin/rm $f",
        "r''m $f",
        "echo rm $f | bash",
        "cp /bin/rm $d/copy; chmod +x $d/copy; $d/copy $f",
        "cat /bin/rm > $d/cat; chmod +x $d/cat; $d/cat $f",
        "ln /bin/rm $d/link; $d/link $f",
        "ln -s /bin/rm $d/sym; $d/sym $f",
        "/lib64/ld-linux-x86-64.so.2 /bin/rm $f",
        "busybox rm $f",
        "(exec -a ls rm $f)",
        "env rm $f",
        "find $f -exec rm {} +",
        "echo $f | xargs rm",
        "perl -e 'exec \"rm\", $ARGV[0]' $f",
        "python3 -c 'import os, sys; os.execvp(\"rm\", [\"rm\", sys.argv[1]])' $f",
        "enable -f /bin/rm rm; rm $f",
        "hash -p /bin/rm ls; ls $f",
        "dd if=/bin/rm of=$d/dd; chmod +x $d/dd; $d/dd $f",
        "exec 9</bin/rm; /proc/self/fd/9 $f",
    ] {
        let file = dir.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        let said = unread(
            &gate,
            &session,
            &format!("d={work}; f={work}/file; {attempt}"),
        )
        .await;
        assert!(file.exists(), "{attempt}: {said}");
    }
    // The rest of the machine is as it was.
    let said = unread(
        &gate,
        &session,
        "ls / | grep -c usr; mkdir -p $HOME; cat /bin/ls | wc -c",
    )
    .await;
    assert!(
        said.starts_with("1\n") && !said.contains("denied"),
        "{said}"
    );
    assert_eq!(
        level(&gate, ControlKind::ProgramExecution),
        ControlLevel::Enforced
    );
}

#[tokio::test]
async fn an_allow_list_lets_the_kernel_execute_nothing_else() {
    let policy = Policy::from_toml(
        "default = \"deny\"\nunresolved = \"allow\"\n[[rule]]\nid = \"ls\"\neffect = \"allow\"\nprogram = \"ls\"\n\
         [[rule]]\nid = \"python\"\neffect = \"allow\"\nprogram = \"python3\"\n",
    );
    let gate = Gate::with_policy(policy.unwrap()).await;
    let session = gate.session(defaults()).await;
    let program = "import subprocess\n\
        for name in ['ls', 'cat', '/tmp/../bin/id']:\n \
        \ttry: print(name, subprocess.run([name, '/dev/null'], capture_output=True).returncode)\n \
        \texcept OSError as error: print(name, error.strerror)\n";
    let result = finish(
        gate.start(&session, argv(&["python3", "-c", program]))
            .await,
    )
    .await;
    let (_, stdout, stderr) = seen(&result);
    let expected = "ls 0\ncat Permission denied\n/tmp/../bin/id Permission denied\n";
    assert_eq!((stdout.as_str(), stderr.as_str()), (expected, ""));
    assert_eq!(
        level(&gate, ControlKind::ProgramExecution),
        ControlLevel::Partial
    );
}

#[tokio::test]
async fn files_still_move_between_directories() {
    let gate = Gate::with_policy(no_rm()).await;
    let session = gate.session(defaults()).await;
    let dir = open_directory();
    let program = "import os\nos.mkdir('a')\nopen('f', 'w').close()\nos.rename('f', 'a/f')\nos.link('a/f', 'g')\n";
    let script = format!(
        "cd {} && python3 -c \"{program}\" && ls a g",
        dir.path().display()
    );
    let (outcome, stdout, stderr) = seen(&gate.run(&session, &script).await);
    assert_eq!(
        (outcome, stdout.as_str()),
        (Outcome::ExitCode(0), "g\n\na:\nf\n"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_profile_says_which_files_are_read_and_written() {
    let (work, other) = (open_directory(), open_directory());
    let list = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut read = list(&["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/tmp"]);
    read.push(work.path().to_owned());
    std::fs::write(other.path().join("secret"), "secret").unwrap();
    let hidden = Path::new("/etc/hostname");
    let profile = FenceProfile {
        read,
        write: vec![work.path().to_owned()],
        ..FenceProfile::default()
    };
    let gate = Gate::with_fence(Policy::open(), fenced(profile)).await;
    let session = gate.session(defaults()).await;
    let (work, other) = (work.path().display(), other.path().display());
    for (script, works) in [
        (
            format!("echo 1 > {work}/a && cat {work}/a && rm {work}/a"),
            true,
        ),
        ("echo 1 > /dev/null".to_owned(), true),
        ("cat <<< text; echo a | cat".to_owned(), true),
        (format!("echo 1 > {other}/a"), false),
        (format!("rm {other}/secret"), false),
        (format!("mv {other}/secret {work}/"), false),
        (format!("cat {}", hidden.display()), false),
        ("ls /etc".to_owned(), false),
    ] {
        let (outcome, stdout, stderr) = seen(&gate.run(&session, &script).await);
        assert_eq!(
            outcome == Outcome::ExitCode(0),
            works,
            "{script}: {stdout}{stderr}"
        );
    }
    let levels = [ControlKind::FileRead, ControlKind::FileWrite].map(|kind| level(&gate, kind));
    assert_eq!(levels, [ControlLevel::Enforced; 2]);
}

#[tokio::test]
async fn a_session_without_a_network_has_a_loopback_of_its_own() {
    let profile = FenceProfile {
        network: Network::None,
        ..FenceProfile::default()
    };
    let gate = Gate::with_fence(Policy::open(), fenced(profile)).await;
    let session = gate.session(defaults()).await;
    let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let program = format!(
        "import socket\n\
         def reach(*a):\n try: socket.create_connection(a, 2); return 'reached'\n except OSError as e: return e.strerror\n\
         print(reach('127.0.0.1', {port}), reach('192.0.2.1', 80))\n\
         own = socket.create_server(('127.0.0.1', 0)); print(reach(*own.getsockname()))\n\
         try: socket.socket(40, socket.SOCK_STREAM); print('vsock')\n\
         except OSError as e: print(e.strerror)\n"
    );
    let result = finish(
        gate.start(&session, argv(&["python3", "-c", &program]))
            .await,
    )
    .await;
    let (_, stdout, stderr) = seen(&result);
    let expected = "Connection refused Network is unreachable\nreached\nOperation not permitted\n";
    assert_eq!((stdout.as_str(), stderr.as_str()), (expected, ""));
    assert_eq!(level(&gate, ControlKind::Network), ControlLevel::Enforced);
}

#[tokio::test]
async fn ports_that_are_not_named_are_not_connected_to() {
    let (allowed, other) = (0, 0);
    let [allowed, other] =
        [allowed, other].map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
    let ports = [&allowed, &other].map(|listener| listener.local_addr().unwrap().port());
    let profile = FenceProfile {
        network: Network::Tcp(vec![ports[0]]),
        ..FenceProfile::default()
    };
    let gate = Gate::with_fence(Policy::open(), fenced(profile)).await;
    let session = gate.session(defaults()).await;
    let connect = |port| format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo {port}");
    let script = ports.map(connect).join("; ");
    let (_, stdout, _) = seen(&gate.run(&session, &script).await);
    assert_eq!(stdout, format!("{}\n", ports[0]));
    // Names are looked up through UDP, which Landlock does not know.
    assert_eq!(level(&gate, ControlKind::Network), ControlLevel::Partial);
}

#[tokio::test]
async fn what_no_command_needs_is_refused_by_the_kernel() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    for script in [
        "unshare -U true",
        "unshare -r true",
        "python3 -c 'import ctypes; l = ctypes.CDLL(None, use_errno=True); exit(0 if l.syscall(321, 0, 0, 0) != -1 or ctypes.get_errno() != 1 else 1)'",
    ] {
        let (outcome, stdout, stderr) = seen(&gate.run(&session, script).await);
        assert_ne!(outcome, Outcome::ExitCode(0), "{script}: {stdout}{stderr}");
    }
    assert_eq!(level(&gate, ControlKind::Privilege), ControlLevel::Enforced);
}

#[tokio::test]
async fn a_fork_bomb_is_gone_within_a_second_and_only_its_session_suffers() {
    let limits = Limits {
        processes: Some(200),
        ..Limits::default()
    };
    let profile = FenceProfile {
        limits,
        ..FenceProfile::default()
    };
    let gate = Gate::with_fence(Policy::open(), fenced(profile)).await;
    let bombed = gate.session(defaults()).await;
    let other = gate.session(defaults()).await;
    let _running = gate
        .start(
            &bombed,
            crate::support::command("b() { b | b & }; b; sleep 30"),
        )
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (outcome, stdout, _) = seen(&gate.run(&other, "echo alive | cat").await);
    assert_eq!(
        (outcome, stdout.as_str()),
        (Outcome::ExitCode(0), "alive\n")
    );
    let begun = Instant::now();
    gate.close(&bombed).await;
    let closing = begun.elapsed();
    assert!(closing < Duration::from_secs(3), "{closing:?}");
    if level(&gate, ControlKind::Resources) == ControlLevel::Enforced {
        let (_, stdout, _) = seen(
            &gate
                .run(&other, "echo $(seq 50 | xargs -P 50 -n 1 echo | wc -l)")
                .await,
        );
        assert_eq!(stdout, "50\n");
    }
}

#[tokio::test]
async fn a_demand_that_is_not_met_refuses_the_session_and_an_unknown_profile_too() {
    let gate = Gate::open().await;
    let demand = |profile: Option<&str>, kind, level| SessionSettings {
        fence: Demand {
            profile: profile.map(str::to_owned),
            require: vec![(kind, level)],
        },
        ..defaults()
    };
    let create = |settings| gate.engine.create_session(&gate.principal, None, settings);
    let refused = create(demand(None, ControlKind::Network, ControlLevel::Advisory)).await;
    assert!(
        matches!(&refused, Err(Error::FenceUnavailable(row)) if row.kind == ControlKind::Network),
        "{refused:?}"
    );
    let unknown = create(demand(
        Some("other"),
        ControlKind::Gate,
        ControlLevel::Partial,
    ))
    .await;
    assert!(
        matches!(unknown, Err(Error::UnknownFence { .. })),
        "{unknown:?}"
    );
    let held = create(demand(
        Some(DEFAULT_PROFILE),
        ControlKind::Gate,
        ControlLevel::Enforced,
    ))
    .await;
    assert_eq!(held.unwrap().isolation.profile, DEFAULT_PROFILE);
}

#[tokio::test]
async fn sockets_of_services_are_out_of_reach() {
    let gate = Gate::open().await;
    let dir = tempfile::Builder::new()
        .prefix("execgate-test-")
        .tempdir_in("/run");
    // Only root may put a socket there.
    let Ok(dir) = dir else { return };
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = dir.path().join("service.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    let session = gate.session(defaults()).await;
    let program = format!(
        "import socket; socket.socket(socket.AF_UNIX).connect('{}')",
        path.display()
    );
    let result = finish(
        gate.start(&session, argv(&["python3", "-c", &program]))
            .await,
    )
    .await;
    let (outcome, _, stderr) = seen(&result);
    assert_ne!(outcome, Outcome::ExitCode(0));
    assert!(
        stderr.contains("refused") || stderr.contains("denied"),
        "{stderr}"
    );
    drop(listener);
}
