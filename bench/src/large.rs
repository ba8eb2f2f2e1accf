//! Scripts of many kilobytes, as agents send that write files: beside a bash that reads the
//! same from a file in memory, which is the fastest way to hand it one.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::caller::{Call, Caller};
use crate::peer::PeerThread;
use crate::plan::Plan;
use crate::race::{Contender, Race};
use crate::report::Report;
use crate::shell::BareShell;
use crate::streaming::LINE;
use crate::{Result, Servers};

/// Sizes in bytes, and how many commands of each make a turn, as a part of the plan's.
const SIZES: [(usize, usize); 3] = [(10_000, 8), (100_000, 20), (1_000_000, 100)];

/// The largest script that the peer answers to.
const PEER_BYTES: usize = 100_000;

/// Rows.
pub(crate) const MEMFD: &str = "bash, `. /dev/fd/N` of a memfd";
pub(crate) const EXECGATE: &str = "execgate Run, Unix socket";
const EXECKIT: &str = "execkit local, in process";

/// The session.
const SESSION: &str = "large";

/// The table of so many bytes.
pub(crate) fn table(bytes: usize) -> String {
    format!("a script of {} KB", bytes / 1000)
}

/// Fills the rows of large scripts.
pub(crate) async fn measure(servers: &Servers, plan: Plan, report: &mut Report) -> Result<()> {
    let unix = servers.execgate.unix();
    Caller::open(&unix, SESSION, None, Call::Run).await?;
    let without = servers.unsynced.unix();
    Caller::open(&without, SESSION, None, Call::Run).await?;
    for (bytes, part) in SIZES {
        let times = (plan.commands / part).max(2);
        let mut race = Race::default();
        race.offer(MEMFD, times, FromMemory::start());
        let not_synced = "execgate Run, Unix socket, audit not synced";
        for (row, address) in [(not_synced, &without), (EXECGATE, &unix)] {
            let caller = Caller::connect(address, SESSION, Call::Run).await;
            race.offer(row, times, caller);
            race.versus(row, MEMFD);
        }
        if bytes <= PEER_BYTES {
            race.offer(EXECKIT, 2, PeerThread::local().await);
            race.versus(EXECKIT, EXECGATE);
        }
        let turns = plan.turns.min(5);
        race.run(&table(bytes), &script(bytes), turns, report).await;
    }
    Ok(())
}

/// A script of exactly so many bytes: lines of text that are data, given to `:`.
fn script(bytes: usize) -> String {
    let (begin, end) = (": '", "'");
    let mut script = String::with_capacity(bytes);
    script.push_str(begin);
    let text = bytes.saturating_sub(begin.len() + end.len());
    script.extend(LINE.chars().chain(['\n']).cycle().take(text));
    script.push_str(end);
    script
}

/// A bash that reads its scripts from a file in memory.
struct FromMemory {
    shell: BareShell,
    file: File,
    number: RawFd,
}

impl FromMemory {
    fn start() -> Result<Self> {
        // Without CLOEXEC: the shell has it under the same number.
        let file = File::from(memfd_create("script", MemfdFlags::empty())?);
        Ok(Self {
            number: file.as_raw_fd(),
            file,
            shell: BareShell::start()?,
        })
    }
}

#[tonic::async_trait(?Send)]
impl Contender for FromMemory {
    async fn once(&mut self, script: &str) -> Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(script.as_bytes(), 0)?;
        // A path below /dev/fd opens the file anew, at its beginning.
        let source = format!(". /dev/fd/{}", self.number);
        self.shell.once(&source).await
    }
}
