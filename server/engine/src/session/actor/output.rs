//! What the pipeline lets go, and where it belongs: to the execution that runs, or to what is
//! kept of background jobs until somebody asks.

use execgate_core::outcome::Channel;
use execgate_core::pipeline::PipelineEvent;
use tokio::time::Instant;

use super::Actor;
use crate::execution::EventKind;
use crate::session::BACKGROUND_BYTES;

impl Actor {
    /// Puts what the pipeline let go where it belongs.
    pub(super) async fn absorb(&mut self, events: &mut Vec<PipelineEvent>) {
        self.last_output = Instant::now();
        for event in events.drain(..) {
            match event {
                PipelineEvent::Output {
                    channel: Channel::Background,
                    ..
                } => self.keep_background(event),
                PipelineEvent::Output {
                    channel,
                    offset,
                    data,
                } => {
                    if let Some(running) = &mut self.running {
                        running.course.output(channel, offset, data);
                        if running.input.is_some() {
                            running.course.execution.note_input(None);
                            running.watchdog.heard(self.last_output);
                        }
                    }
                }
                PipelineEvent::Ended(end) => {
                    let totals = self
                        .shell
                        .as_ref()
                        .map(|shell| shell.pump.pipeline.totals());
                    let running = self.running.as_ref();
                    // A marker for nobody: the trailer of a command that is over.
                    let Some(running) = running else { continue };
                    let ending = running.ending(&end, totals.unwrap_or_default());
                    let cwd = running.cwd_after(&end);
                    self.session.update(|now| now.cwd = cwd);
                    self.complete(ending).await;
                }
                // An answer that came too late.
                PipelineEvent::Environment(_) => {}
            }
        }
    }

    fn keep_background(&mut self, event: PipelineEvent) {
        if let PipelineEvent::Output { channel, data, .. } = &event {
            let offset = self.background_end;
            self.background_end += data.len() as u64;
            self.session.background().log.push(EventKind::Output {
                channel: *channel,
                offset,
                data: data.clone(),
            });
        }
        let bytes = |event: &PipelineEvent| match event {
            PipelineEvent::Output { data, .. } => data.len(),
            PipelineEvent::Ended(_) | PipelineEvent::Environment(_) => 0,
        };
        self.background_bytes += bytes(&event);
        self.background.push_back(event);
        while self.background_bytes > BACKGROUND_BYTES {
            let Some(oldest) = self.background.pop_front() else {
                break;
            };
            self.background_bytes -= bytes(&oldest);
        }
    }
}
