//! Programs that talk: driven through standard input, in pipes and on a terminal.

use std::time::{Duration, Instant};

use bytes::Bytes;
use execgate_core::outcome::Outcome;
use execgate_engine::execution::{Command, Event, EventKind, ExecResult, Follower, Notice, Stdin};
use execgate_engine::session::{Session, SessionSettings, WantedShell};
use execgate_engine::transport::WindowSize;

use crate::support::{Gate, argv, command, defaults, finish, seen};

/// Longest wait for something on the screen.
const PATIENCE: Duration = Duration::from_secs(15);

/// A conversation with one command.
struct Talk<'a> {
    gate: &'a Gate,
    session: &'a Session,
    follower: Follower,
    screen: String,
}

impl<'a> Talk<'a> {
    async fn begin(gate: &'a Gate, session: &'a Session, command: Command) -> Self {
        let open = Command {
            stdin: Stdin::Open,
            ..command
        };
        let follower = gate.start(session, open).await;
        Self {
            gate,
            session,
            follower,
            screen: String::new(),
        }
    }

    async fn say(&self, text: &str) {
        let id = &self.follower.execution().id;
        let bytes = (None, Bytes::copy_from_slice(text.as_bytes()), false);
        let engine = &self.gate.engine;
        let written = engine.write_stdin(&self.gate.principal, &self.session.id, id, bytes);
        written.await.unwrap();
    }

    async fn next(&mut self, wanted: &str) -> Event {
        let next = tokio::time::timeout(PATIENCE, self.follower.next()).await;
        let Ok(Some(event)) = next else {
            let last = self.screen.len().saturating_sub(300);
            panic!("no {wanted:?} after {:?}", self.screen.get(last..));
        };
        if let EventKind::Output { data, .. } = &event.kind {
            self.screen.push_str(&String::from_utf8_lossy(data));
        }
        event
    }

    /// Waits until this was shown, and forgets what came up to it.
    async fn until(&mut self, wanted: &str) {
        while !self.screen.contains(wanted) {
            self.next(wanted).await;
        }
        self.screen.clear();
    }

    /// Waits for the notice that input is wanted; answers how that is known.
    async fn until_wanted(&mut self) -> (bool, bool) {
        loop {
            if let EventKind::Notice(Notice::InputWanted { observed, hidden }) =
                self.next("a wish for input").await.kind
            {
                return (observed, hidden);
            }
        }
    }

    async fn end(self) -> ExecResult {
        finish(self.follower).await
    }
}

async fn on_terminal(gate: &Gate) -> std::sync::Arc<Session> {
    gate.session(SessionSettings {
        shell: WantedShell::Named("bash".into()),
        terminal: Some(WindowSize {
            rows: 24,
            columns: 80,
        }),
        ..defaults()
    })
    .await
}

#[tokio::test]
async fn python_is_driven_in_pipes() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    for command in [command("python3 -i"), argv(&["python3", "-i"])] {
        let mut talk = Talk::begin(&gate, &session, command).await;
        talk.until(">>> ").await;
        talk.say("x = 20\n").await;
        talk.until(">>> ").await;
        talk.say("print(x * 2 + 2)\n").await;
        talk.until("42\n").await;
        talk.say("exit(3)\n").await;
        assert_eq!(seen(&talk.end().await).0, Outcome::ExitCode(3));
    }
}

#[tokio::test]
async fn python_is_driven_on_a_terminal_and_interrupted() {
    let gate = Gate::open().await;
    let session = on_terminal(&gate).await;
    let mut talk = Talk::begin(&gate, &session, command("python3 -q")).await;
    talk.until(">>> ").await;
    talk.say("while True: pass\n\n").await;
    talk.until("... ").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Ctrl-C, as bytes.
    talk.say("\u{3}").await;
    talk.until("KeyboardInterrupt").await;
    talk.say("print(6 * 7)\n").await;
    talk.until("42").await;
    talk.say("exit()\n").await;
    assert_eq!(seen(&talk.end().await).0, Outcome::ExitCode(0));
    let after = gate.run(&session, "echo still here").await;
    assert_eq!(seen(&after).1, "still here\r\n");
}

#[tokio::test]
async fn screens_are_drawn_and_left() {
    let gate = Gate::open().await;
    let session = on_terminal(&gate).await;
    gate.run(&session, "cd \"$(mktemp -d)\"; seq 1000 > numbers")
        .await;

    let mut vi = Talk::begin(&gate, &session, command("vi -u NONE note")).await;
    vi.until("note").await;
    vi.say("ihello from vi\u{1b}").await;
    vi.until("hello").await;
    vi.say(":wq\r").await;
    assert_eq!(seen(&vi.end().await).0, Outcome::ExitCode(0));
    let note = gate.run(&session, "cat note").await;
    assert_eq!(seen(&note).1, "hello from vi\r\n");

    // Ctrl-\ as bytes.
    let mut sleep = Talk::begin(&gate, &session, command("echo go; sleep 60")).await;
    sleep.until("go").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    sleep.say("\u{1c}").await;
    assert_eq!(seen(&sleep.end().await).0, Outcome::ExitCode(131));

    let mut less = Talk::begin(&gate, &session, command("less numbers")).await;
    less.until("numbers").await;
    less.say("G").await;
    less.until("1000").await;
    less.say("q").await;
    assert_eq!(seen(&less.end().await).0, Outcome::ExitCode(0));

    let mut top = Talk::begin(&gate, &session, command("top -d 0.2")).await;
    top.until("Cpu").await;
    top.until("Cpu").await;
    top.say("q").await;
    assert_eq!(seen(&top.end().await).0, Outcome::ExitCode(0));
}

#[tokio::test]
async fn a_terminal_is_resized_while_a_program_runs() {
    let gate = Gate::open().await;
    let session = on_terminal(&gate).await;
    // Without a trap bash goes on after an interrupt that meets the end of a sleep.
    let script = "trap 'stty size' WINCH; trap 'exit 130' INT; echo ready; \
                  while :; do sleep 0.05; done";
    let mut talk = Talk::begin(&gate, &session, argv_in_shell(script)).await;
    talk.until("ready").await;
    let size = WindowSize {
        rows: 50,
        columns: 132,
    };
    let engine = &gate.engine;
    let resized = engine.resize_terminal(&gate.principal, &session.id, size);
    resized.await.unwrap();
    talk.until("50 132").await;
    talk.say("\u{3}").await;
    assert_eq!(seen(&talk.end().await).0, Outcome::ExitCode(130));
    assert_eq!(session.snapshot().terminal, Some(size));
}

fn argv_in_shell(script: &str) -> Command {
    command(&format!("bash -c '{}'", script.replace('\'', "'\\''")))
}

#[tokio::test]
async fn ctrl_z_gives_the_shell_back_and_typed_bytes_never_reach_it() {
    let gate = Gate::open().await;
    let session = on_terminal(&gate).await;
    let mut talk = Talk::begin(&gate, &session, command("cat")).await;
    talk.say("one\n").await;
    talk.until("one\r\none").await;
    talk.say("\u{1a}touch typed-into-the-shell\n").await;
    // The shell says 128 + SIGTSTP of a job that was stopped.
    assert_eq!(seen(&talk.end().await).0, Outcome::ExitCode(148));
    let after = gate
        .run(&session, "ls typed-into-the-shell 2>&1; jobs")
        .await;
    let (_, text, _) = seen(&after);
    assert!(text.contains("No such file"), "{text}");
    assert!(text.contains("Stopped"), "{text}");
}

#[tokio::test]
async fn a_wish_for_input_is_seen_in_a_read_and_guessed_in_a_poll() {
    let gate = Gate::open().await;
    let pipes = gate.shell("bash").await;
    let terminal = on_terminal(&gate).await;
    let poll = "python3 -c 'import select, sys; select.select([sys.stdin], [], []); input()'";
    let password = "python3 -c 'import getpass; getpass.getpass()'";
    for (session, command, known) in [
        (&pipes, command("cat"), (true, false)),
        (&pipes, command("read line"), (true, false)),
        (&pipes, argv(&["cat"]), (true, false)),
        (&pipes, command(poll), (false, false)),
        (&terminal, command("cat"), (true, false)),
        (&terminal, command("read -r line"), (true, false)),
        (&terminal, command(password), (true, true)),
    ] {
        let text = format!("{:?}", command.line);
        let mut talk = Talk::begin(&gate, session, command).await;
        assert_eq!(talk.until_wanted().await, known, "{text}");
        assert!(talk.follower.execution().wants_input(), "{text}");
        talk.say("enough\n").await;
        let id = talk.follower.execution().id.clone();
        let eof = (None, Bytes::new(), true);
        let engine = &gate.engine;
        // Some of them have had enough with one line.
        let _ended = engine
            .write_stdin(&gate.principal, &session.id, &id, eof)
            .await;
        talk.end().await;
    }
}

#[tokio::test]
async fn what_computes_or_is_fed_wants_no_input() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let busy = Command {
        stdin: Stdin::Inline(Bytes::from_static(b"all of it\n")),
        ..command("cat; sleep 0.7")
    };
    let result = finish(gate.start(&session, busy).await).await;
    assert_eq!(result.notices, []);
    let result = gate.run(&session, "sleep 0.7").await;
    assert_eq!(result.notices, []);
}

#[tokio::test]
async fn what_a_program_used_is_measured() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let begun = Instant::now();
    let spin = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let result = finish(gate.start(&session, argv(&["sh", "-c", spin])).await).await;
    let usage = result.ending.unwrap().usage.unwrap();
    assert!(usage.user > Duration::from_millis(10), "{usage:?}");
    assert!(usage.user + usage.system < begun.elapsed() * 2, "{usage:?}");
    assert!(usage.max_resident_bytes > 500_000, "{usage:?}");
    // A script shares its shell: nobody can say what it used.
    assert_eq!(gate.run(&session, ":").await.ending.unwrap().usage, None);
}
