//! Contenders that do the same work in turns, so that what disturbs the machine disturbs all
//! of them alike. One that fails leaves the race with its reason; the others go on, and what
//! it had done before stays.

use std::time::{Duration, Instant};

use crate::Result;
use crate::report::{Report, Unit};

/// How long one turn of one contender may take, before it counts as failed: many times what
/// the slowest takes.
const TURN_LIMIT: Duration = Duration::from_secs(120);

/// The warm-up is this part of a turn.
const WARM_UP_PART: usize = 4;

/// Something that runs commands.
#[tonic::async_trait(?Send)]
pub(crate) trait Contender {
    /// Runs a script to its end and throws away what it prints.
    async fn once(&mut self, script: &str) -> Result<()>;

    /// Runs a script this many times; answers the seconds of each.
    async fn run(&mut self, script: &str, times: usize) -> Result<Vec<f64>> {
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            let start = Instant::now();
            self.once(script).await?;
            taken.push(start.elapsed().as_secs_f64());
        }
        Ok(taken)
    }

    /// Runs a script that prints this many bytes, and takes them all; answers the seconds.
    async fn stream(&mut self, _script: &str, _bytes: u64) -> Result<f64> {
        Err("it does not stream".into())
    }
}

/// A contender and its row.
struct Lane {
    row: String,
    /// The row that this one is compared with.
    versus: Option<String>,
    times: usize,
    contender: Box<dyn Contender>,
}

/// Who takes turns.
#[derive(Default)]
pub(crate) struct Race {
    lanes: Vec<Lane>,
    /// Who could not be made ready, and why.
    absent: Vec<(String, String)>,
}

impl Race {
    /// A contender that does its work this many times in a turn.
    pub(crate) fn add(&mut self, row: &str, times: usize, contender: impl Contender + 'static) {
        self.lanes.push(Lane {
            row: row.to_owned(),
            versus: None,
            times,
            contender: Box::new(contender),
        });
    }

    /// The same with one that may not be there.
    pub(crate) fn offer<C: Contender + 'static>(
        &mut self,
        row: &str,
        times: usize,
        contender: Result<C>,
    ) {
        match contender {
            Ok(contender) => self.add(row, times, contender),
            Err(error) => self.absent.push((row.to_owned(), error.to_string())),
        }
    }

    /// Compares the contender that was added last with this row, if it is the one meant.
    pub(crate) fn versus(&mut self, row: &str, other: &str) {
        for lane in &mut self.lanes {
            if lane.row == row {
                lane.versus = Some(other.to_owned());
            }
        }
    }

    /// Times single commands.
    pub(crate) async fn run(
        &mut self,
        table: &str,
        script: &str,
        turns: usize,
        report: &mut Report,
    ) {
        self.note_absent(table, report);
        for turn in 0..=turns {
            let mut at = 0;
            while let Some(lane) = self.lanes.get_mut(at) {
                // The first turn warms up and does not count.
                let times = match turn {
                    0 => lane.times.div_ceil(WARM_UP_PART),
                    _ => lane.times,
                };
                let ran = lane.contender.run(script, times);
                let ran = within(TURN_LIMIT, ran).await;
                match ran {
                    Ok(taken) if turn > 0 => {
                        for seconds in taken {
                            report.sample(table, &lane.row, Unit::Time, seconds);
                        }
                        if let Some(other) = &lane.versus {
                            report.compare(table, &lane.row, other);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        report.left_out(table, &lane.row, &error.to_string());
                        self.lanes.remove(at);
                        continue;
                    }
                }
                at += 1;
            }
        }
    }

    /// Times streams whole. The first one of each does not count.
    pub(crate) async fn stream(
        &mut self,
        table: &str,
        script: &str,
        bytes: u64,
        report: &mut Report,
    ) {
        self.note_absent(table, report);
        let most = self.lanes.iter().map(|lane| lane.times).max();
        for turn in 0..=most.unwrap_or_default() {
            let mut at = 0;
            while let Some(lane) = self.lanes.get_mut(at) {
                if turn > lane.times {
                    at += 1;
                    continue;
                }
                match within(TURN_LIMIT, lane.contender.stream(script, bytes)).await {
                    Ok(seconds) if turn > 0 => {
                        let rate = bytes as f64 / seconds;
                        report.sample(table, &lane.row, Unit::Bandwidth, rate);
                        if let Some(other) = &lane.versus {
                            report.compare(table, &lane.row, other);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        report.left_out(table, &lane.row, &error.to_string());
                        self.lanes.remove(at);
                        continue;
                    }
                }
                at += 1;
            }
        }
    }

    fn note_absent(&self, table: &str, report: &mut Report) {
        for (row, reason) in &self.absent {
            report.left_out(table, row, reason);
        }
    }
}

/// An answer, or the failure that there was none in time.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| format!("no answer within {limit:?}"))?
}
