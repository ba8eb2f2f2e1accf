//! Starts one program as the session's user: fork, confine, exec.
//!
//! The launcher has one thread, so that after fork any code may run. A pipe that closes
//! at exec brings back what went wrong before it.

use std::ffi::{CString, NulError};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::{FdFlags, dup2, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, chdir, ioctl_tiocsctty, set_parent_process_death_signal, setsid};

use super::confine::Confinement;
use super::files;
use super::messages::SpawnRequest;
use super::reaper::default_signals;

/// Exit code of a child that could not become its program.
const FAILED: i32 = 127;

/// A step on the way to a program, as errors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Fork,
    Streams,
    Confine,
    Directory,
    Execute,
}

impl Step {
    const ALL: [Self; 5] = [
        Self::Fork,
        Self::Streams,
        Self::Confine,
        Self::Directory,
        Self::Execute,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Streams => "streams",
            Self::Confine => "confine",
            Self::Directory => super::STEP_DIRECTORY,
            Self::Execute => super::STEP_EXECUTE,
        }
    }
}

/// Why a program did not start.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) errno: i32,
}

fn at(step: Step) -> impl Fn(io::Error) -> Failure {
    move |error| Failure {
        step,
        errno: error.raw_os_error().unwrap_or(0),
    }
}

/// Starts a program; answers its pid once it runs.
pub(super) fn start(
    request: &SpawnRequest,
    fds: &[OwnedFd],
    confinement: &Confinement,
) -> Result<i32, Failure> {
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| at(Step::Fork)(error.into()))?;
    // SAFETY: this process has one thread; the child may run any code.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => {
            drop(reader);
            let failure = become_program(request, fds, confinement, &writer);
            let step = Step::ALL
                .iter()
                .position(|step| *step == failure.step)
                .unwrap_or(0);
            let message = format!("{step} {}", failure.errno);
            let _ = File::from(writer).write_all(message.as_bytes());
            // SAFETY: ends the child without running the launcher's destructors.
            unsafe { libc::_exit(FAILED) }
        }
        pid if pid < 0 => Err(at(Step::Fork)(io::Error::last_os_error())),
        pid => {
            drop(writer);
            let mut message = String::new();
            let _ = File::from(reader).read_to_string(&mut message);
            match parse_failure(&message) {
                Some(failure) => Err(failure),
                None => Ok(pid),
            }
        }
    }
}

fn parse_failure(message: &str) -> Option<Failure> {
    let (step, errno) = message.split_once(' ')?;
    let step = step
        .parse()
        .ok()
        .and_then(|index: usize| Step::ALL.get(index).copied())?;
    Some(Failure {
        step,
        errno: errno.parse().unwrap_or(0),
    })
}

/// Runs in the child; comes back only with a failure.
fn become_program(
    request: &SpawnRequest,
    fds: &[OwnedFd],
    confinement: &Confinement,
    report: &OwnedFd,
) -> Failure {
    let prepared = streams(request, fds, report)
        .map_err(at(Step::Streams))
        .and_then(|()| confinement.apply().map_err(at(Step::Confine)))
        // Should the launcher itself be killed, its programs must not outlive it.
        .and_then(|()| {
            set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(|e| at(Step::Confine)(e.into()))
        })
        .and_then(|()| chdir(request.cwd.as_str()).map_err(|e| at(Step::Directory)(e.into())));
    match prepared {
        Err(failure) => failure,
        Ok(()) => {
            default_signals();
            if request.program == files::PROGRAM {
                look_after_files(request);
            }
            at(Step::Execute)(execute(request))
        }
    }
}

/// Stays what it is, and does not come back. What is closed here would have been closed by
/// the program that is executed otherwise, the report among it: that says that it runs.
fn look_after_files(request: &SpawnRequest) -> ! {
    // SAFETY: nothing in this process uses these any more.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    let workspace = request.arguments.first().map_or("", String::as_str);
    let code = files::main(workspace);
    // SAFETY: ends the child without running the launcher's destructors.
    unsafe { libc::_exit(code) }
}

/// A session of its own, the three streams in their places, everything else closed at exec.
fn streams(request: &SpawnRequest, fds: &[OwnedFd], report: &OwnedFd) -> io::Result<()> {
    setsid()?;
    let [stdin, stdout, stderr] = fds else {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    };
    if request.terminal {
        ioctl_tiocsctty(stdout.as_fd())?;
    }
    // SAFETY: marks descriptors for closing at exec; it closes none now.
    let marked = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as _) };
    if marked != 0 {
        fcntl_setfd(report, FdFlags::CLOEXEC)?;
    }
    for (stream, target) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
        // SAFETY: 0 to 2 are this process's standard streams, which it gives up here.
        let mut target = std::mem::ManuallyDrop::new(unsafe { borrow_standard(target) });
        if stream.as_raw_fd() == target.as_raw_fd() {
            fcntl_setfd(stream, FdFlags::empty())?;
        } else {
            dup2(stream, &mut target)?;
        }
    }
    Ok(())
}

/// # Safety
/// The caller must not let the value close the descriptor.
unsafe fn borrow_standard(fd: i32) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the launcher was started with all three standard descriptors open.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Replaces the process; comes back only with the reason why not.
fn execute(request: &SpawnRequest) -> io::Error {
    let words = std::iter::once(&request.program).chain(&request.arguments);
    let variables = request
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let (Ok(arguments), Ok(environment)) = (
        words
            .map(|word| CString::new(word.as_str()))
            .collect::<Result<Vec<_>, NulError>>(),
        variables
            .map(CString::new)
            .collect::<Result<Vec<_>, NulError>>(),
    ) else {
        return io::Error::from_raw_os_error(libc::EINVAL);
    };
    let search = request
        .env
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path.as_str());
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates(&request.program, search) {
        let Ok(path) = CString::new(candidate) else {
            continue;
        };
        let error = execve(&path, &arguments, &environment);
        // A file that is there but may not be run is the better answer; a directory that may
        // not be entered is none.
        if rustix::fs::stat(&path).is_ok() {
            last = error;
        }
    }
    last
}

/// Where a program may be, as `execvp` looks for it.
fn candidates(program: &str, search: Option<&str>) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    search
        .unwrap_or("/usr/bin:/bin")
        .split(':')
        .map(|directory| match directory {
            "" => format!("./{program}"),
            directory => format!("{directory}/{program}"),
        })
        .collect()
}

fn execve(path: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |words: &[CString]| -> Vec<*const libc::c_char> {
        words
            .iter()
            .map(|word| word.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: path and both null-terminated lists of C strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}
