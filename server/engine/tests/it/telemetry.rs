//! What the engine tells of its work, to somebody who writes it down.

use std::sync::{Arc, Mutex};

use execgate_core::policy::Policy;
use execgate_core::trace::TraceContext;
use execgate_engine::fence::FenceSettings;
use execgate_engine::telemetry::{Change, Fact, Placement, Telemetry, cause_word, outcome_word};
use tracing::Span;

use crate::support::{Gate, command, defaults};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What was told, in words.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    /// How often each of these words was told.
    fn count(&self, words: &str) -> usize {
        let told = self.0.lock().unwrap();
        told.iter().filter(|told| *told == words).count()
    }
}

impl Telemetry for Notes {
    fn note(&self, fact: &Fact<'_>) {
        let words = match fact {
            Fact::SessionCreated { target } => format!("created {}", target.as_str()),
            Fact::SessionEnded { target, reason } => {
                format!("session over {} {}", target.as_str(), reason.as_str())
            }
            Fact::Denied { rule } => format!("denied by {rule:?}"),
            Fact::Waiting(Change::More) => "waits".to_owned(),
            Fact::Waiting(Change::Less) => "waits no more".to_owned(),
            Fact::Running(Change::More) => "runs".to_owned(),
            Fact::Running(Change::Less) => "runs no more".to_owned(),
            Fact::Ended { ending, .. } => {
                let (outcome, cause) = (outcome_word(&ending.outcome), cause_word(ending.cause));
                format!("ended {outcome} {cause}")
            }
            Fact::Took { stage, .. } => format!("took {}", stage.as_str()),
            Fact::AuditSynced { .. } => "synced".to_owned(),
        };
        self.0.lock().unwrap().push(words);
    }

    fn place(&self, _span: &Span, placement: &Placement<'_>) -> Option<TraceContext> {
        placement.asked.cloned()
    }
}

async fn told(policy: Policy) -> (Gate, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let telemetry = Arc::<Notes>::clone(&notes);
    let gate = Gate::telling(policy, FenceSettings::default(), telemetry).await;
    (gate, notes)
}

#[tokio::test]
async fn each_command_is_told_of_from_its_judgement_to_its_end() {
    let (gate, notes) = told(Policy::guard()).await;
    let session = gate.session(defaults()).await;
    gate.run(&session, "echo out").await;
    gate.run(&session, "true").await;
    let denied = gate.try_start(&session, command("rm -rf /")).await;
    assert!(denied.is_err());
    gate.engine
        .close_session(&gate.principal, &session.id)
        .await
        .unwrap();
    let counts = [
        ("created local", 1),
        ("took policy", 3),
        ("took audit", 2),
        ("took start", 2),
        ("runs", 2),
        // Only one of them wrote anything.
        ("took first_byte", 1),
        ("ended exit exited", 2),
        ("took total", 2),
        ("runs no more", 2),
        ("denied by Some(\"no-rm-root\")", 1),
        ("session over local closed", 1),
    ];
    for (words, times) in counts {
        assert_eq!(notes.count(words), times, "{words}: {notes:?}");
    }
}

#[tokio::test]
async fn rules_of_a_sessions_own_policy_have_no_names() {
    let (gate, notes) = told(Policy::open()).await;
    let own = "[[rule]]\nid = 'my-own'\neffect = 'deny'\nprogram = 'ls'\nreason = 'no'\n";
    let own = format!("name = 'mine'\ndefault = 'allow'\nunresolved = 'allow'\n{own}");
    let mut settings = defaults();
    settings.policy = Some(Policy::from_toml(&own).unwrap());
    let session = gate.session(settings).await;
    assert!(gate.try_start(&session, command("ls")).await.is_err());
    assert_eq!(notes.count("denied by None"), 1, "{notes:?}");
}

#[tokio::test]
async fn what_begins_to_wait_or_run_ends_it_however_it_ends() {
    let (gate, notes) = told(Policy::open()).await;
    let session = gate.session(defaults()).await;
    let running = gate.start(&session, command("sleep 60")).await;
    let mut waiting = command("echo never");
    waiting.queue_if_busy = true;
    let engine = Arc::clone(&gate.engine);
    let (principal, id) = (gate.principal.clone(), session.id.clone());
    let queued =
        tokio::spawn(async move { engine.exec(&principal, &id, None, waiting).await.is_err() });
    while notes.count("waits") == 0 {
        tokio::task::yield_now().await;
    }
    gate.engine
        .close_session(&gate.principal, &session.id)
        .await
        .unwrap();
    assert!(queued.await.unwrap());
    drop(running);
    for (more, less) in [("waits", "waits no more"), ("runs", "runs no more")] {
        assert_eq!(
            (notes.count(more), notes.count(less)),
            (1, 1),
            "{more}: {notes:?}"
        );
    }
    assert_eq!(notes.count("ended signal session_closed"), 1, "{notes:?}");
}

#[tokio::test]
async fn records_and_commands_are_in_the_trace_of_whoever_asked() {
    let (gate, _notes) = told(Policy::open()).await;
    let session = gate.session(defaults()).await;
    let mut asked = command("echo \"$TRACEPARENT\"");
    asked.origin.trace = TraceContext::parse(PARENT, "");
    let follower = gate.start(&session, asked).await;
    let id = follower.execution().id.to_string();
    let result = follower.result(&session.settings.output_budget).await;
    assert_eq!(&result.stdout.bytes[..], format!("{PARENT}\n").as_bytes());
    let records = gate.records().await;
    let own = records
        .iter()
        .filter(|r| r.execution_id.as_deref() == Some(id.as_str()));
    let traces: Vec<_> = own.map(|record| record.trace_id.as_deref()).collect();
    let trace = Some("0af7651916cd43dd8448eb211c80319c");
    assert_eq!(traces, [trace, trace]);
}
