//! What a story asks for, in the client's own words.

use execgate_client::proto;
use execgate_client::proto::create_session_request::Target;
use execgate_client::{Client, Command, OnDisconnect, OutputBudget, Session};

use super::story::{Budget, Given, Input, Settings, With, at};

/// The session of a story.
pub(crate) async fn open(
    client: &Client,
    settings: &Settings,
    dir: &str,
    target: Option<Target>,
) -> Session {
    let mut builder = client
        .session()
        .cwd(at(dir, settings.cwd.as_deref().unwrap_or("@dir@")))
        .policy(proto::SessionPolicy {
            allow_programs: settings.allow.clone(),
            deny_programs: settings.deny.clone(),
            ..Default::default()
        });
    if let Some(target) = target {
        builder = builder.target(target);
    }
    if let Some(shell) = &settings.shell {
        builder = builder.shell(shell);
    }
    for (name, value) in &settings.env {
        builder = builder.env(name, at(dir, value));
    }
    if let Some((rows, columns)) = settings.terminal {
        builder = builder.terminal(rows, columns);
    }
    if let Some(timeout) = settings.timeout {
        builder = builder.default_timeout(timeout.0);
    }
    if let Some(action) = &settings.on_shell_exit {
        let name = format!("ON_SHELL_EXIT_{action}");
        builder = builder.on_shell_exit(proto::OnShellExit::from_str_name(&name).unwrap());
    }
    if let Some(budget) = &settings.budget {
        builder = builder.output_budget(to_budget(budget));
    }
    builder.await.unwrap()
}

/// The command of a step.
pub(crate) fn command(dir: &str, given: &Given, with: &With) -> Command {
    let mut command = match given {
        Given::Script(script) => Command::script(at(dir, script)),
        Given::Argv(words) => Command::argv(words.iter().map(|word| at(dir, word))),
    };
    if let Some(id) = &with.id {
        command = command.execution_id(id);
    }
    if let Some(timeout) = with.timeout {
        command = command.timeout(timeout.0);
    }
    for (name, value) in &with.env {
        command = command.env(name, at(dir, value));
    }
    if let Some(cwd) = &with.cwd {
        command = command.cwd(at(dir, cwd));
    }
    command = match &with.stdin {
        Some(Input::Open(open)) if open.open => command.open_stdin(),
        Some(Input::Bytes(text)) => command.stdin(text.bytes(dir)),
        Some(Input::Open(_)) | None => command,
    };
    if with.queue {
        command = command.queue_if_busy();
    }
    if let Some(generation) = with.generation {
        command = command.expected_generation(generation);
    }
    command = match with.on_disconnect.as_deref() {
        Some("CANCEL") => command.on_disconnect(OnDisconnect::Cancel),
        Some("DETACH") | None => command,
        Some(other) => panic!("on_disconnect = {other:?}"),
    };
    if let Some(budget) = &with.budget {
        command = command.output_budget(to_budget(budget));
    }
    command
}

fn to_budget(wanted: &Budget) -> OutputBudget {
    let mut budget = execgate_client::Budget::new();
    if let Some(bytes) = wanted.max_bytes {
        budget = budget.max_bytes(bytes);
    }
    if let Some(lines) = wanted.head {
        budget = budget.head(lines);
    }
    if let Some(lines) = wanted.tail {
        budget = budget.tail(lines);
    }
    budget = match &wanted.grep {
        Some(pattern) if wanted.invert => budget.grep_not(pattern),
        Some(pattern) => budget.grep(pattern),
        None => budget,
    };
    let mut budget = OutputBudget::from(budget);
    if let Some(grep) = &mut budget.grep {
        grep.before = wanted.before;
        grep.after = wanted.after;
    }
    budget
}
