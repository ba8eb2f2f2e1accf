//! What the Docker engine tells of one container: how its execs end, and when it is over.
//!
//! One stream of events for each session. Where it breaks, the container is asked for; an
//! engine that answers no more is as good as gone:
//!
//! ```text
//! watched ── die, destroy ─────────────────────────────► over, for good
//!    │ ▲ └── pause ◄──► unpause
//!    │ └──── the session connects again, and the container runs ───┐
//!    └────── no answer, for longer than a moment ──► out of sight ─┘
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::transport::ProcessEnd;

/// Ends of execs that nobody has asked for yet. Who comes later asks the engine.
const KEPT_ENDS: usize = 256;

/// Time between two questions whether the engine still answers.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long the engine may take for an answer.
const PING_LIMIT: Duration = Duration::from_secs(10);

/// How often a broken stream of events is opened again while the container lives on.
const REOPEN_TIMES: u32 = 5;

/// Pause before a broken stream of events is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// The watch over a container, begun anew when the engine had been out of sight.
#[derive(Debug)]
pub(super) struct Watching {
    engine: bollard::Docker,
    container: String,
    current: Mutex<Arc<Watch>>,
}

impl Watching {
    /// Watches from now on.
    pub(super) fn start(engine: bollard::Docker, container: String) -> Self {
        let first = Watch::start(engine.clone(), container.clone());
        Self {
            engine,
            container,
            current: Mutex::new(Arc::new(first)),
        }
    }

    /// The watch as it is now.
    pub(super) fn now(&self) -> Arc<Watch> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// How the container is, where it was out of sight: nothing if it lives, and is watched
    /// again.
    pub(super) async fn again(&self) -> Option<ProcessEnd> {
        // The new stream comes first, so that nothing happens unseen between the two.
        let next = Watch::start(self.engine.clone(), self.container.clone());
        let over = ask(&self.engine, &self.container).await.over;
        if over.is_none() {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            *current = Arc::new(next);
        }
        over
    }
}

/// The watch over one container. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Watch {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

/// What has been seen of a container.
#[derive(Debug, Default)]
struct Seen {
    ends: HashMap<String, i32>,
    order: VecDeque<String>,
    over: Option<ProcessEnd>,
    out_of_memory: bool,
    paused: bool,
}

/// How a container is now.
struct Now {
    over: Option<ProcessEnd>,
    paused: bool,
}

impl Seen {
    fn exec_ended(&mut self, exec: String, code: i32) {
        while self.order.len() >= KEPT_ENDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ends.remove(&oldest);
        }
        self.order.push_back(exec.clone());
        self.ends.insert(exec, code);
    }

    /// Takes in one event.
    fn take(&mut self, event: EventMessage) {
        let attributes = event.actor.and_then(|actor| actor.attributes);
        let attribute = |name: &str| attributes.as_ref()?.get(name).cloned();
        match event.action.as_deref() {
            Some("exec_die") => {
                let code = attribute("exitCode").and_then(|code| code.parse().ok());
                if let (Some(exec), Some(code)) = (attribute("execID"), code) {
                    self.exec_ended(exec, code);
                }
            }
            Some("oom") => self.out_of_memory = true,
            Some("pause") => self.paused = true,
            Some("unpause") => self.paused = false,
            Some("die") => {
                self.over = Some(match self.out_of_memory {
                    true => ProcessEnd::OutOfMemory,
                    false => ProcessEnd::Stopped,
                });
            }
            Some("destroy") => self.over = self.over.or(Some(ProcessEnd::Stopped)),
            _ => {}
        }
    }
}

impl Watch {
    /// Watches from now on.
    fn start(engine: bollard::Docker, container: String) -> Self {
        let (sender, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(follow(engine, container, sender));
        Self { seen, task }
    }

    /// Waits until the exec has ended, or the container is over.
    pub(super) async fn end_of(&self, exec: &str) -> ProcessEnd {
        let mut seen = self.seen.clone();
        let known = seen
            .wait_for(|seen| seen.over.is_some() || seen.ends.contains_key(exec))
            .await;
        match known {
            Ok(seen) => match seen.ends.get(exec) {
                Some(code) => ProcessEnd::Code(*code),
                None => seen.over.unwrap_or(ProcessEnd::Unknown),
            },
            Err(_task_gone) => ProcessEnd::Unknown,
        }
    }

    /// Waits until the container is over; its end.
    pub(super) async fn until_over(&self) -> ProcessEnd {
        let mut seen = self.seen.clone();
        let known = seen.wait_for(|seen| seen.over.is_some()).await;
        let over = known.ok().and_then(|seen| seen.over);
        over.unwrap_or(ProcessEnd::Unknown)
    }

    /// Waits until a container that is paused goes on, or is over.
    pub(super) async fn until_it_goes_on(&self) {
        let mut seen = self.seen.clone();
        // Where the task has gone, so has the session.
        let _goes_on = seen
            .wait_for(|seen| !seen.paused || seen.over.is_some())
            .await;
    }

    /// How the container ended, if it has.
    pub(super) fn over(&self) -> Option<ProcessEnd> {
        self.seen.borrow().over
    }

    /// Whether the container is paused: nothing in it moves, and nothing can be started.
    pub(super) fn is_paused(&self) -> bool {
        self.seen.borrow().paused
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(engine: bollard::Docker, container: String, sender: watch::Sender<Seen>) {
    let mut broken = 0;
    while broken < REOPEN_TIMES {
        let pings = pinging(&engine);
        tokio::select! {
            () = one_stream(&engine, &container, &sender) => {}
            () = pings => {
                sender.send_modify(|seen| seen.over = Some(ProcessEnd::Unknown));
            }
        }
        if sender.borrow().over.is_some() {
            return;
        }
        let now = ask(&engine, &container).await;
        sender.send_modify(|seen| (seen.over, seen.paused) = (now.over, now.paused));
        if now.over.is_some() {
            return;
        }
        broken += 1;
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
    sender.send_modify(|seen| seen.over = Some(ProcessEnd::Unknown));
}

/// Takes in events until the container is over or the stream breaks.
async fn one_stream(engine: &bollard::Docker, container: &str, sender: &watch::Sender<Seen>) {
    let wanted = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    let filters = HashMap::from([
        ("type".to_owned(), wanted(&["container"])),
        ("container".to_owned(), wanted(&[container])),
        (
            "event".to_owned(),
            wanted(&["exec_die", "oom", "die", "destroy", "pause", "unpause"]),
        ),
    ]);
    let options = EventsOptionsBuilder::new().filters(&filters).build();
    let mut events = Box::pin(engine.events(Some(options)));
    while let Some(Ok(event)) = events.next().await {
        sender.send_modify(|seen| seen.take(event));
        if sender.borrow().over.is_some() {
            return;
        }
    }
}

/// Ends when the engine no longer answers.
async fn pinging(engine: &bollard::Docker) {
    loop {
        tokio::time::sleep(PING_INTERVAL).await;
        let answer = tokio::time::timeout(PING_LIMIT, engine.ping()).await;
        if !matches!(answer, Ok(Ok(_))) {
            return;
        }
    }
}

/// How the container is, as the engine tells it now.
async fn ask(engine: &bollard::Docker, container: &str) -> Now {
    let asked = engine.inspect_container(container, None::<InspectContainerOptions>);
    let (over, paused) = match tokio::time::timeout(PING_LIMIT, asked).await {
        Ok(Ok(answer)) => {
            let state = answer.state.unwrap_or_default();
            let over = match (state.running, state.oom_killed) {
                (Some(true), _) => None,
                (_, Some(true)) => Some(ProcessEnd::OutOfMemory),
                _ => Some(ProcessEnd::Stopped),
            };
            (over, state.paused == Some(true))
        }
        Ok(Err(error)) if super::errors::is_missing(&error) => (Some(ProcessEnd::Stopped), false),
        Ok(Err(_)) | Err(_) => (Some(ProcessEnd::Unknown), false),
    };
    Now { over, paused }
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn event(action: &str, attributes: &[(&str, &str)]) -> EventMessage {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: None,
                attributes: Some(attributes.collect()),
            }),
            ..EventMessage::default()
        }
    }

    #[test]
    fn an_exec_ends_with_its_own_code() {
        let mut seen = Seen::default();
        seen.take(event("exec_die", &[("execID", "a"), ("exitCode", "3")]));
        assert_eq!(seen.ends, HashMap::from([("a".to_owned(), 3)]));
        assert_eq!(seen.over, None);
    }

    #[test]
    fn a_container_that_dies_of_memory_says_so() {
        let mut seen = Seen::default();
        seen.take(event("oom", &[]));
        assert_eq!(seen.over, None);
        seen.take(event("die", &[("exitCode", "137")]));
        assert_eq!(seen.over, Some(ProcessEnd::OutOfMemory));
    }

    #[test]
    fn a_paused_container_is_not_over() {
        let mut seen = Seen::default();
        seen.take(event("pause", &[]));
        assert_eq!((seen.paused, seen.over), (true, None));
        seen.take(event("unpause", &[]));
        assert_eq!((seen.paused, seen.over), (false, None));
    }

    #[test]
    fn a_container_that_is_killed_has_stopped() {
        let mut seen = Seen::default();
        seen.take(event("die", &[("exitCode", "137")]));
        seen.take(event("destroy", &[]));
        assert_eq!(seen.over, Some(ProcessEnd::Stopped));
    }

    #[test]
    fn ends_that_nobody_asks_for_are_bounded() {
        let mut seen = Seen::default();
        for n in 0..2 * KEPT_ENDS {
            seen.exec_ended(n.to_string(), 0);
        }
        assert_eq!((seen.ends.len(), seen.order.len()), (KEPT_ENDS, KEPT_ENDS));
    }
}
