//! ExportRecording: what a session, or one execution of it, did and printed, in one of
//! three forms. Output is what is kept of it, as it left redaction; records are read from
//! the log. What still runs is exported up to now.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use data_encoding::BASE64;
use execgate_core::audit::ocsf;
use execgate_core::ids::Principal;
use execgate_core::outcome::{Channel, Ending, Outcome, SHELL_SIGNAL_BASE};
use execgate_engine::audit::{AuditQuery, AuditRecord, PageStart};
use execgate_engine::execution::{Event, EventKind, Execution, Follower};
use execgate_engine::session::Session;
use execgate_proto::v1;
use futures::Stream;
use serde_json::json;
use tonic::Status;

use super::asciicast::Asciicast;
use super::refused;
use crate::audit_check::jsonl;
use crate::grpc::edge::Edge;
use crate::grpc::exec::MAX_CHUNK_BYTES;
use crate::grpc::from_proto::{Recording, RecordingForm};
use crate::grpc::refusal::Refusal;

/// Size of a terminal that there is none of.
const COLUMNS: u16 = 80;
const ROWS: u16 = 24;
/// Exit status of what has none: what a shell says of a command that it cannot find.
const NO_STATUS: i32 = 127;

/// A recording on its way out.
pub(super) struct Export {
    edge: Arc<Edge>,
    form: RecordingForm,
    /// What is asked of the log; nothing once all is read, or where no records are wanted.
    query: Option<AuditQuery>,
    records: VecDeque<AuditRecord>,
    /// Executions whose output is still to come.
    executions: VecDeque<Arc<Execution>>,
    current: Option<(Arc<Execution>, Follower)>,
    cast: Option<Asciicast>,
    status: Option<(SystemTime, i32)>,
    /// Text that has not been handed out yet.
    text: VecDeque<Bytes>,
    /// The lowest and highest record.
    range: (u64, u64),
    over: bool,
}

/// Finds what is to be exported.
pub(super) async fn start(
    edge: Arc<Edge>,
    principal: &Principal,
    wanted: Recording,
) -> Result<Export, Refusal> {
    let engine = &edge.engine;
    let session = engine.find_session(principal, &wanted.session)?;
    let executions = match &wanted.execution {
        Some(id) => vec![engine.execution(principal, &wanted.session, id)?],
        None => engine.executions(principal, &wanted.session)?,
    };
    let query = AuditQuery {
        principal: Some(principal.to_string()),
        session_ids: vec![wanted.session.to_string()],
        execution_id: wanted.execution.as_ref().map(ToString::to_string),
        ..AuditQuery::default()
    };
    let mut export = Export {
        form: wanted.form,
        query: (wanted.form != RecordingForm::Asciicast).then_some(query),
        records: VecDeque::new(),
        executions: match wanted.form {
            RecordingForm::Ocsf => VecDeque::new(),
            _ => executions.into(),
        },
        current: None,
        cast: None,
        status: None,
        text: VecDeque::new(),
        range: (0, 0),
        over: false,
        edge,
    };
    if wanted.form == RecordingForm::Asciicast {
        export.begin_cast(&session);
    }
    export.read_records().await?;
    Ok(export)
}

impl Export {
    /// The records that are in it, as far as they were read when it began.
    pub(super) const fn sequences(&self) -> (u64, u64) {
        self.range
    }

    /// The same as a stream.
    pub(super) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<v1::ExportRecordingResponse, Status>> {
        futures::stream::unfold(self, async |mut export| {
            if export.over {
                return None;
            }
            match export.next().await {
                Ok(Some(data)) => Some((Ok(v1::ExportRecordingResponse { data }), export)),
                Ok(None) => None,
                Err(refusal) => {
                    export.over = true;
                    Some((Err(Status::from(refusal)), export))
                }
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if let Some(text) = self.text.pop_front() {
                return Ok(Some(text));
            }
            if let Some(record) = self.records.pop_front() {
                let line = match self.form {
                    RecordingForm::Ocsf => ocsf::event(&record).to_string(),
                    _ => jsonl(&record),
                };
                self.give(&format!("{line}\n"));
            } else if self.query.is_some() {
                self.read_records().await?;
            } else if let Some((execution, follower)) = &mut self.current {
                let execution = Arc::clone(execution);
                match follower.next_kept().await {
                    Some(event) => self.event(&execution, event),
                    None => self.current = None,
                }
            } else if let Some(execution) = self.executions.pop_front() {
                let follower = execution.follow();
                self.current = Some((execution, follower));
            } else {
                let end = self.status.take().zip(self.cast.as_mut());
                let Some(((time, status), cast)) = end else {
                    return Ok(None);
                };
                let line = cast.exit(time, status);
                self.give(&line);
            }
        }
    }

    fn begin_cast(&mut self, session: &Session) {
        let started = self.executions.iter().filter_map(|one| one.started());
        let terminal = session.snapshot().terminal;
        let size = terminal.map_or((COLUMNS, ROWS), |size| (size.columns, size.rows));
        let start = started.min().unwrap_or(session.created);
        let (cast, header) = Asciicast::new(start, size, terminal.is_some(), session.id.as_str());
        self.cast = Some(cast);
        self.give(&header);
    }

    async fn read_records(&mut self) -> Result<(), Refusal> {
        let Some(query) = self.query.take() else {
            return Ok(());
        };
        let page = self.edge.engine.audit().list(query.clone()).await;
        let page = page.map_err(refused)?;
        self.query = page.next.map(|start: PageStart| AuditQuery {
            start,
            through: Some(page.through),
            ..query
        });
        let sequences = page.records.iter().map(|record| record.sequence);
        if let (Some(first), Some(last)) = (sequences.clone().min(), sequences.max()) {
            let known = self.range.0;
            self.range = (if known == 0 { first } else { known }, last);
        }
        self.records = page.records.into();
        Ok(())
    }

    fn event(&mut self, execution: &Execution, event: Event) {
        let text = match (&self.form, self.cast.as_mut()) {
            (RecordingForm::Asciicast, Some(cast)) => {
                if let EventKind::Finished(ending) = &event.kind {
                    self.status = Some((event.time, status(ending)));
                }
                cast_event(cast, execution, &event)
            }
            _ => output_line(execution, &event),
        };
        self.give(&text);
    }

    /// Hands text out in pieces.
    fn give(&mut self, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let mut rest = bytes;
        while !rest.is_empty() {
            self.text
                .push_back(rest.split_to(rest.len().min(MAX_CHUNK_BYTES)));
        }
    }
}

fn cast_event(cast: &mut Asciicast, execution: &Execution, event: &Event) -> String {
    match &event.kind {
        EventKind::Started => cast.command(event.time, &execution.command),
        EventKind::Output { data, .. } => cast.output(event.time, data),
        EventKind::Gap { from, to, .. } => cast.gap(event.time, to.saturating_sub(*from)),
        EventKind::Notice(_) | EventKind::Finished(_) => String::new(),
    }
}

/// Output as one line of JSON; what else happened is in the records.
fn output_line(execution: &Execution, event: &Event) -> String {
    let line = match &event.kind {
        EventKind::Output {
            channel,
            offset,
            data,
        } => json!({ "output": {
            "execution_id": execution.id.as_str(),
            "time_micros": micros(event.time),
            "channel": name(*channel),
            "offset": offset,
            "data": BASE64.encode(data),
        }}),
        EventKind::Gap {
            channel, from, to, ..
        } => json!({ "gap": {
            "execution_id": execution.id.as_str(),
            "channel": name(*channel),
            "from": from,
            "to": to,
        }}),
        EventKind::Started | EventKind::Notice(_) | EventKind::Finished(_) => {
            return String::new();
        }
    };
    format!("{line}\n")
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

const fn name(channel: Channel) -> &'static str {
    match channel {
        Channel::Stdout => "stdout",
        Channel::Stderr => "stderr",
        Channel::Terminal => "terminal",
        Channel::Background => "background",
    }
}

/// The status as a shell would tell it.
fn status(ending: &Ending) -> i32 {
    match &ending.outcome {
        Outcome::ExitCode(code) => *code,
        Outcome::Signal(number) => SHELL_SIGNAL_BASE.saturating_add(*number),
        Outcome::LaunchFailure { .. } | Outcome::Lost { .. } => NO_STATUS,
    }
}
