//! The launcher's loop: requests from the server, ends of children, and the last duty.

use std::collections::HashMap;
use std::io::{
    self,
    ErrorKind::{BrokenPipe, ConnectionReset},
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Signal, getpid, kill_process, kill_process_group, set_child_subreaper, test_kill_process,
};

use super::children::{self, Failure};
use super::confine::Confinement;
use super::messages::{Event, MAX_MESSAGE_BYTES, Request, SpawnRequest};
use super::{input, probe, reaper, receive, send, tree};
use crate::transport::{
    EndedProcess, InputSource, InputWait, Inspection, Job, Leftovers, SignalScope,
};

/// How long the launcher goes on killing what appears faster than it dies (a fork bomb).
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Pause between two looks at processes that were told to end.
const KILL_PAUSE: Duration = Duration::from_millis(1);

/// Most lines in the report of what was ended; a fork bomb is named once too often.
const MAX_REPORTED: usize = 256;

/// Most background jobs that are listed.
const MAX_JOBS: usize = 100;

struct Program {
    id: u64,
    /// Its end is nobody's news.
    unreported: bool,
    /// Its standard input, as /proc names it.
    stdin: Option<String>,
}

struct Launcher {
    socket: OwnedFd,
    /// What each program is confined by.
    confinement: Confinement,
    /// Programs that the server asked for, by pid.
    programs: HashMap<i32, Program>,
    myself: i32,
}

/// Serves until the server goes away or asks to close.
pub(super) fn serve() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    let ended = reaper::child_signal()?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut launcher = Launcher {
        socket,
        confinement: Confinement::default(),
        programs: HashMap::new(),
        myself: getpid().as_raw_nonzero().get(),
    };
    let result = launcher.run(&ended);
    launcher.end_all(Duration::ZERO);
    launcher.confinement.groups.remove();
    match result {
        // The server has gone without a word.
        Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => Ok(()),
        other => other,
    }
}

impl Launcher {
    fn run(&mut self, ended: &OwnedFd) -> io::Result<()> {
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        loop {
            let (request, child) = wait_readable(self.socket.as_fd(), ended.as_fd())?;
            if child {
                drain(ended);
                self.reap();
            }
            if !request {
                continue;
            }
            let Some((request, fds)) = receive::<Request>(&self.socket, &mut buffer)? else {
                return Ok(());
            };
            if self.handle(request, fds)?.is_break() {
                return Ok(());
            }
        }
    }

    fn handle(
        &mut self,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> io::Result<std::ops::ControlFlow<()>> {
        let answer = match request {
            Request::Setup(setup) => {
                self.confinement = Confinement::prepare(setup, fds.into_iter().next());
                return Ok(std::ops::ControlFlow::Continue(()));
            }
            Request::Spawn(spawn) => self.spawn(&spawn, &fds),
            Request::Signal {
                call,
                id,
                scope,
                signal,
            } => self.signal(call, id, scope, signal),
            Request::Inspect { call, id } => self.inspect(call, id),
            Request::Waits { call, id, source } => Event::Waits {
                call,
                wait: self.waits(id, &source),
            },
            Request::Jobs { call, at_least } => Event::Jobs {
                call,
                jobs: self.jobs(at_least),
            },
            Request::Probe { call, attempts } => match probe::run(&self.confinement, &attempts) {
                Ok(result) => Event::Probed { call, result },
                Err(error) => Event::Refused {
                    call,
                    errno: error.raw_os_error().unwrap_or(libc::EIO),
                },
            },
            Request::Close {
                call,
                leftovers,
                grace,
            } => {
                let ended = match leftovers {
                    Leftovers::Kill => self.end_all(grace),
                    Leftovers::Keep => {
                        let ended = self.end_programs();
                        self.confinement.release();
                        ended
                    }
                };
                self.say(&Event::Closed { call, ended })?;
                return match leftovers {
                    Leftovers::Kill => Ok(std::ops::ControlFlow::Break(())),
                    // What stays is init's from here on.
                    Leftovers::Keep => std::process::exit(0),
                };
            }
        };
        self.say(&answer)?;
        Ok(std::ops::ControlFlow::Continue(()))
    }

    fn say(&self, event: &Event) -> io::Result<()> {
        send(self.socket.as_fd(), event, &[])
    }

    fn spawn(&mut self, request: &SpawnRequest, fds: &[OwnedFd]) -> Event {
        match children::start(request, fds, &self.confinement) {
            Ok(pid) => {
                let program = Program {
                    id: request.id,
                    unreported: request.unreported,
                    stdin: fds.first().and_then(input::link_of_pipe),
                };
                self.programs.insert(pid, program);
                Event::Spawned { id: request.id }
            }
            Err(Failure { step, errno }) => Event::SpawnFailed {
                id: request.id,
                step: step.name().to_owned(),
                errno,
            },
        }
    }

    fn reap(&mut self) {
        for (pid, end, usage) in reaper::ended() {
            if let Some(program) = self.programs.remove(&pid) {
                let id = program.id;
                // Where the server is gone, the loop's next receive says so.
                let _ = self.say(&Event::Ended { id, end, usage });
            }
        }
    }

    fn pid_of(&self, id: u64) -> Option<i32> {
        self.programs
            .iter()
            .find(|(_, program)| program.id == id)
            .map(|(pid, _)| *pid)
    }

    fn signal(&self, call: u64, id: u64, scope: SignalScope, number: i32) -> Event {
        let Some(pid) = self.pid_of(id) else {
            return Event::Refused {
                call,
                errno: libc::ESRCH,
            };
        };
        let Some(signal) = Signal::from_named_raw(number) else {
            return Event::Refused {
                call,
                errno: libc::EINVAL,
            };
        };
        let processes = match scope {
            SignalScope::Foreground => {
                // The program leads a session and so a group of its own.
                usize::from(
                    Pid::from_raw(pid).is_some_and(|pid| kill_process_group(pid, signal).is_ok()),
                )
            }
            SignalScope::ForegroundAgain => usize::from(signal_again(pid, signal)),
            SignalScope::Program => usize::from(kill(pid, signal)),
            SignalScope::StartedWithin(age) => {
                let oldest = tick_before(age);
                let sweep = || {
                    let young = tree::descendants(pid)
                        .into_iter()
                        .filter(|p| p.started >= oldest);
                    young.filter(|process| kill(process.pid, signal)).count()
                };
                match signal {
                    // What multiplies faster than it is found must not run meanwhile.
                    Signal::KILL => self.confinement.groups.frozen(sweep),
                    _ => sweep(),
                }
            }
        };
        Event::Signalled { call, processes }
    }

    fn inspect(&self, call: u64, id: u64) -> Event {
        let seen = self
            .pid_of(id)
            .and_then(|pid| Some((pid, tree::look(pid)?)));
        match seen {
            None => Event::Refused {
                call,
                errno: libc::ESRCH,
            },
            Some((pid, living)) => Event::Inspected {
                call,
                inspection: Inspection {
                    stopped: matches!(living.state, 'T' | 't'),
                    sleeping: living.state == 'S',
                    children: tree::children(pid).len(),
                    unread_input: None,
                },
            },
        }
    }

    fn jobs(&self, at_least: Duration) -> Vec<Job> {
        let newest = tick_before(at_least);
        tree::descendants(self.myself)
            .into_iter()
            .filter(|process| process.started <= newest)
            .filter(|process| !self.programs.contains_key(&process.pid))
            .take(MAX_JOBS)
            .map(|process| {
                let EndedProcess { pid, command, .. } = tree::describe(process.pid, 0);
                Job { pid, command }
            })
            .collect()
    }

    /// Whether something below a program, or it itself, waits for its input.
    fn waits(&self, id: u64, source: &InputSource) -> Option<InputWait> {
        let (pid, program) = self.programs.iter().find(|(_, p)| p.id == id)?;
        let link = match source {
            InputSource::Stdin => program.stdin.clone()?,
            InputSource::Named(path) => path.clone(),
            InputSource::Terminal => input::TERMINAL.to_owned(),
        };
        input::wait_below(*pid, &link)
    }

    /// Ends every process of the session: asks the background jobs first, if there is a
    /// grace, then kills until nothing is left.
    fn end_all(&mut self, grace: Duration) -> Vec<EndedProcess> {
        let mut report = Vec::new();
        let jobs = tree::descendants(self.myself)
            .into_iter()
            .filter(|process| !self.programs.contains_key(&process.pid))
            .count();
        if jobs > 0 && !grace.is_zero() {
            self.end_until(Instant::now() + grace, Signal::TERM, &mut report);
        }
        let unreported: Vec<i32> = self
            .programs
            .iter()
            .filter(|(_, program)| program.unreported)
            .map(|(pid, _)| *pid)
            .collect();
        self.end_until(Instant::now() + KILL_LIMIT, Signal::KILL, &mut report);
        report.retain(|ended| !unreported.contains(&ended.pid));
        report
    }

    /// Signals what is alive, anew each time it looks, until nothing is or time is up.
    fn end_until(&mut self, deadline: Instant, signal: Signal, report: &mut Vec<EndedProcess>) {
        loop {
            let living = tree::descendants(self.myself);
            for process in &living {
                let told = report.iter_mut().find(|ended| ended.pid == process.pid);
                let known = match told {
                    Some(ended) => {
                        ended.signal = signal.as_raw();
                        true
                    }
                    None => false,
                };
                if !known && report.len() < MAX_REPORTED {
                    report.push(tree::describe(process.pid, signal.as_raw()));
                }
                if !known || signal == Signal::KILL {
                    kill(process.pid, signal);
                    // A stopped process takes SIGTERM only once it goes on.
                    kill(process.pid, Signal::CONT);
                }
            }
            if signal == Signal::KILL && !living.is_empty() {
                self.confinement.groups.kill();
            }
            self.reap();
            let orphan_left = rustix::process::Pid::from_raw(self.myself).is_some()
                && !tree::children(self.myself).is_empty();
            if (living.is_empty() && !orphan_left) || Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(KILL_PAUSE);
        }
    }

    /// Ends only the programs that the server asked for.
    fn end_programs(&mut self) -> Vec<EndedProcess> {
        let mut report = Vec::new();
        for (&pid, program) in &self.programs {
            if !program.unreported {
                report.push(tree::describe(pid, Signal::KILL.as_raw()));
            }
            kill(pid, Signal::KILL);
        }
        report
    }
}

fn kill(pid: i32, signal: Signal) -> bool {
    Pid::from_raw(pid)
        .is_some_and(|pid| test_kill_process(pid).is_ok() && kill_process(pid, signal).is_ok())
}

/// Sends a signal to the foreground group of a program's session if a process in it lives
/// that would die of it; answers whether it was sent.
fn signal_again(pid: i32, signal: Signal) -> bool {
    let Some(group) = tree::foreground_group(pid) else {
        return false;
    };
    let deaf = tree::descendants(pid)
        .into_iter()
        .any(|process| tree::would_die(process.pid, group, signal.as_raw()));
    deaf && Pid::from_raw(group).is_some_and(|group| kill_process_group(group, signal).is_ok())
}

/// The kernel's clock tick a while ago, in which processes' start times are counted.
fn tick_before(age: Duration) -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    );
    let ticks = since_boot.saturating_sub(age).as_secs_f64() * procfs::ticks_per_second() as f64;
    // Start times are rounded down to a tick.
    ticks as u64
}

/// Waits for a request or an ended child.
fn wait_readable(socket: BorrowedFd<'_>, ended: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
    let mut fds = [
        PollFd::from_borrowed_fd(socket, PollFlags::IN),
        PollFd::from_borrowed_fd(ended, PollFlags::IN),
    ];
    loop {
        match poll(&mut fds, None::<&Timespec>) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let [socket, ended] = &fds;
    Ok((!socket.revents().is_empty(), !ended.revents().is_empty()))
}

/// Takes the pending notices; one `waitpid` loop answers all of them.
fn drain(signals: &OwnedFd) {
    // One signalfd_siginfo; pending SIGCHLDs are one.
    let mut notice = [0_u8; 128];
    while rustix::io::read(signals, &mut notice).is_ok_and(|read| read > 0) {}
}
