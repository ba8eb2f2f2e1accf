//! Takes a story's steps, through execgate-client.

use std::collections::HashMap;
use std::fmt::Debug;
use std::os::unix::fs::PermissionsExt;

use execgate_client::proto;
use execgate_client::proto::create_session_request::Target;
use execgate_client::{Client, Error, Event, ExecStream, Session, SignalKind};
use tokio_stream::StreamExt;

use super::asked::{command, open};
use super::seen::{Before, Seen, Shown, name, plain, topic};
use super::story::{ANY, Expect, ExpectedError, ExpectedEvent, Given, Step, Story, Text, With, at};
use crate::support::Server;

/// Tells a story from its beginning to its end.
pub(crate) async fn tell(server: &Server, story: Story, target: Option<Target>) {
    let folder = tempfile::tempdir().unwrap();
    // Sessions may run as another user.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let dir = folder.path().to_str().unwrap().to_owned();
    let client = Client::builder()
        .address(server.address.clone())
        .token(server.token())
        .connect()
        .await
        .unwrap();
    let session = open(&client, &story.session, &dir, target).await;
    let mut teller = Teller {
        cwd: at(&dir, story.session.cwd.as_deref().unwrap_or("@dir@")),
        terminal: story.session.terminal.is_some(),
        generation: 1,
        session,
        dir,
        kept: HashMap::new(),
        closed: false,
    };
    for (i, step) in story.step.into_iter().enumerate() {
        // Shown if the story fails.
        println!("step {}", i + 1);
        teller.take(step).await;
    }
    if !teller.closed {
        teller.session.close().await.unwrap();
    }
}

/// A session, and what is known of it.
struct Teller {
    session: Session,
    dir: String,
    terminal: bool,
    cwd: String,
    generation: u64,
    kept: HashMap<String, Kept>,
    closed: bool,
}

/// A stream that was begun, and what it said so far.
struct Kept {
    stream: ExecStream,
    given: Given,
    cwd: String,
    events: Vec<Event>,
}

impl Teller {
    async fn take(&mut self, step: Step) {
        let expect = &step.expect;
        if let Some(given) = &step.run {
            let wanted = command(&self.dir, given, &step.with);
            let result = self.session.run(wanted).await;
            if let Some(result) = self.answered(result, expect) {
                let seen = Seen::of_result(&result, self.terminal);
                self.compare(&seen, expect, Some(given));
            }
        } else if let Some(given) = &step.exec {
            let wanted = command(&self.dir, given, &step.with);
            let stream = self.session.exec(wanted).await;
            if let Some(stream) = self.answered(stream, expect) {
                self.follow(stream, expect, Some(given)).await;
            }
        } else if let Some(id) = &step.attach {
            let stream = self.session.attach(id).await;
            if let Some(stream) = self.answered(stream, expect) {
                self.follow(stream, expect, None).await;
            }
        } else if let Some(given) = &step.start {
            self.start(given, &step.with, expect).await;
        } else if let Some(id) = &step.read {
            let until = step.until.as_ref().expect("`read` has an `until`");
            self.read(id, until).await;
        } else if let Some(id) = &step.finish {
            self.finish(id, expect).await;
        } else if let Some(id) = &step.drop {
            drop(self.kept.remove(id).unwrap());
        } else if step.close.is_some() {
            let closed = self.session.close().await;
            self.closed = true;
            if let Some(closed) = self.answered(closed, expect) {
                let ended = expect.ended.expect("`close` expects `ended`");
                assert_eq!(closed.ended_process_count, ended);
            }
        } else {
            self.take_more(step).await;
        }
    }

    /// The verbs that talk to a running command, ask, or move files.
    async fn take_more(&mut self, step: Step) {
        let expect = &step.expect;
        if let Some(id) = &step.write {
            let stdin = self.kept.get(id).unwrap().stream.stdin();
            let data = step.data.bytes(&self.dir);
            let written = async {
                let offset = stdin.write(data).await?;
                match step.eof {
                    true => stdin.close().await,
                    false => Ok(offset),
                }
            };
            if let Some(offset) = self.answered(written.await, expect) {
                let expected = expect.next_offset.expect("`write` expects a `next_offset`");
                assert_eq!(offset, expected);
            }
        } else if let Some(id) = &step.signal {
            let name = step.name.as_ref().expect("`signal` has a `name`");
            let signal = SignalKind::from_str_name(&format!("SIGNAL_KIND_{name}")).unwrap();
            let sent = self.session.signal(id, signal).await;
            self.answered(sent, expect);
        } else if let Some(given) = &step.evaluate {
            let wanted = command(&self.dir, given, &step.with);
            let verdict = self.session.evaluate(wanted).await;
            if let Some(verdict) = self.answered(verdict, expect) {
                compare_verdict(&verdict, expect, &self.dir);
            }
        } else if let Some(path) = &step.put {
            self.put(path, &step).await;
        } else if let Some(path) = &step.get {
            self.get(path, expect).await;
        } else {
            panic!("a step that is not taken: {step:?}");
        }
    }

    async fn put(&self, path: &str, step: &Step) {
        let data = step.data.bytes(&self.dir);
        let local = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(local.path(), &data).unwrap();
        let mode = u32::from_str_radix(step.mode.as_deref().unwrap_or("0644"), 8).unwrap();
        std::fs::set_permissions(local.path(), PermissionsExt::from_mode(mode)).unwrap();
        let written = self.session.put(local.path(), at(&self.dir, path)).await;
        if let Some(written) = self.answered(written, &step.expect) {
            let size = step.expect.size.unwrap_or(data.len() as u64);
            assert_eq!((written.size, written.verified), (size, true));
        }
    }

    async fn get(&self, path: &str, expect: &Expect) {
        let folder = tempfile::tempdir().unwrap();
        let local = folder.path().join("file");
        let read = self.session.get(at(&self.dir, path)).to_file(&local).await;
        let Some(read) = self.answered(read, expect) else {
            assert!(!local.exists(), "a failed get leaves nothing");
            return;
        };
        let mode = expect.mode.as_ref().expect("`get` expects a `mode`");
        let mode = u32::from_str_radix(mode, 8).unwrap();
        let data = expect.data.bytes(&self.dir);
        assert!(read.verified);
        assert_eq!((read.size, read.mode), (data.len() as u64, Some(mode)));
        assert_eq!(Shown(std::fs::read(&local).unwrap()), Shown(data));
        let metadata = std::fs::metadata(&local).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode);
    }

    async fn start(&mut self, given: &Given, with: &With, expect: &Expect) {
        let id = with.id.clone().expect("`start` names its execution");
        let wanted = command(&self.dir, given, with);
        let stream = self.session.exec(wanted).await;
        let Some(mut stream) = self.answered(stream, expect) else {
            return;
        };
        assert_eq!(stream.execution_id(), id);
        let events = vec![stream.next().await.unwrap().unwrap()];
        let kept = Kept {
            stream,
            given: given.clone(),
            cwd: self.cwd.clone(),
            events,
        };
        self.kept.insert(id, kept);
    }

    async fn read(&mut self, id: &str, until: &Text) {
        let until = until.bytes(&self.dir);
        let kept = self.kept.get_mut(id).unwrap();
        loop {
            let seen: Vec<u8> = kept.events.iter().filter_map(text).flatten().collect();
            if seen.ends_with(&until) {
                return;
            }
            let event = kept.stream.next().await.unwrap().unwrap();
            let ended = matches!(event, Event::Finished(_));
            assert!(!ended, "ended before {:?}", String::from_utf8_lossy(&until));
            kept.events.push(event);
        }
    }

    async fn finish(&mut self, id: &str, expect: &Expect) {
        let mut kept = self.kept.remove(id).unwrap();
        while let Some(event) = kept.stream.next().await {
            kept.events.push(event.unwrap());
        }
        let cwd = std::mem::replace(&mut self.cwd, kept.cwd);
        self.compare_events(&kept.events, expect, Some(&kept.given));
        // What ran meanwhile may have changed it.
        if expect.cwd.is_none() {
            self.cwd = cwd;
        }
    }

    /// Reads a stream to its end: as events if the story says in which order, else as
    /// one result.
    async fn follow(&mut self, mut stream: ExecStream, expect: &Expect, given: Option<&Given>) {
        if expect.events.is_none() {
            let result = stream.result().await.unwrap();
            let seen = Seen::of_result(&result, self.terminal);
            return self.compare(&seen, expect, given);
        }
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event.unwrap());
        }
        self.compare_events(&events, expect, given);
    }

    fn compare_events(&mut self, events: &[Event], expect: &Expect, given: Option<&Given>) {
        if let Some(expected) = &expect.events {
            assert_eq!(joined(events), self.expected_events(expected));
        }
        if let Some(Event::Started(started)) = events.first() {
            assert_eq!(
                (&started.cwd, started.generation),
                (&self.cwd, self.generation)
            );
        }
        let seen = Seen::of_events(events, self.terminal);
        self.compare(&seen, expect, given);
    }

    fn compare(&mut self, seen: &Seen, expect: &Expect, given: Option<&Given>) {
        let before = Before {
            dir: &self.dir,
            terminal: self.terminal,
            cwd: &self.cwd,
            generation: self.generation,
        };
        assert_eq!(seen, &seen.expected(expect, &before, given));
        self.cwd.clone_from(&seen.cwd);
        self.generation = seen.generation;
    }

    /// The answer; `None` if it is the expected error.
    fn answered<T: Debug>(&self, answer: Result<T, Error>, expect: &Expect) -> Option<T> {
        let Some(expected) = &expect.error else {
            return Some(answer.unwrap());
        };
        let error = answer.unwrap_err();
        if let Error::File(failed) = &error {
            let seen = (String::new(), failed.reason.name().to_owned());
            assert_eq!(seen, (expected.code.clone(), expected.reason.clone()));
            return None;
        }
        let refusal = error.refusal().unwrap_or_else(|| panic!("{error:?}"));
        let seen = ExpectedError {
            code: code_name(refusal.code),
            reason: refusal.reason_name.clone(),
            metadata: refusal.metadata.clone(),
            fields: refusal.violations.iter().map(|v| v.field.clone()).collect(),
            retry: refusal.retry_after.is_some(),
        };
        let mut expected = expected.clone();
        for (key, value) in &mut expected.metadata {
            let seen = seen.metadata.get(key).map_or("", String::as_str);
            *value = any_or(value, seen, &self.dir);
        }
        assert_eq!(seen, expected, "{error}");
        None
    }

    fn expected_events(&self, events: &[ExpectedEvent]) -> Vec<(String, Shown)> {
        let bytes = |name: &str, text: &Text| (name.to_owned(), Shown(text.bytes(&self.dir)));
        let event = |event: &ExpectedEvent| match event {
            ExpectedEvent::Stdout(text) => bytes("stdout", text),
            ExpectedEvent::Stderr(text) => bytes("stderr", text),
            ExpectedEvent::Terminal(text) => bytes("terminal", text),
            ExpectedEvent::Notice(topic) => (format!("notice {topic}"), Shown::default()),
        };
        events.iter().map(event).collect()
    }
}

/// What happened between start and end, neighbours of the same channel joined.
fn joined(events: &[Event]) -> Vec<(String, Shown)> {
    let mut joined: Vec<(String, Shown)> = Vec::new();
    for event in events {
        match event {
            Event::Output(output) => match joined.last_mut() {
                Some((channel, bytes)) if channel == name(output.channel) => {
                    bytes.0.extend_from_slice(&output.data);
                }
                _ => joined.push((name(output.channel).to_owned(), Shown(output.data.to_vec()))),
            },
            Event::Notice(notice) => {
                joined.push((format!("notice {}", topic(notice)), Shown::default()));
            }
            _ => {}
        }
    }
    joined
}

/// The bytes of standard output, or of the terminal.
fn text(event: &Event) -> Option<Vec<u8>> {
    event
        .stdout()
        .or(event.terminal())
        .map(|bytes| bytes.to_vec())
}

fn any_or(expected: &str, seen: &str, dir: &str) -> String {
    if expected == ANY && !seen.is_empty() {
        return seen.to_owned();
    }
    at(dir, expected)
}

fn compare_verdict(verdict: &proto::PolicyVerdict, expect: &Expect, dir: &str) {
    let decision = plain(verdict.decision().as_str_name(), "DECISION_");
    assert_eq!(decision, expect.decision.as_deref().unwrap_or("ALLOW"));
    if decision == "ALLOW" {
        return;
    }
    let pairs = [
        (&verdict.rule_id, &expect.rule),
        (&verdict.layer, &expect.layer),
        (&verdict.reason, &expect.reason),
        (&verdict.suggestion, &expect.suggestion),
        (&verdict.excerpt, &expect.excerpt),
    ];
    let seen = pairs.map(|(seen, _)| seen.clone());
    let expected = pairs.map(|(seen, expected)| any_or(expected, seen, dir));
    assert_eq!(seen, expected);
}

/// The name of a status code as gRPC spells it.
fn code_name(code: execgate_client::Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
