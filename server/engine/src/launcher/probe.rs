//! Tries, as a process confined like a session's, what must not work. What a fence is worth
//! is what this finds, not what was asked of the kernel.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::confine::Confinement;
use super::messages::{Attempts, ProbeResult};

/// An address that no machine has (RFC 5737); a connected datagram socket sends nothing.
const NOWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// Name of a file that is made where none may be.
const TRACE: &str = ".execgate-probe";

/// The kernel's number for a filter of system calls in force.
const FILTERED: libc::c_int = 2;

/// Forks a process like a session's and lets it try.
pub(super) fn run(confinement: &Confinement, attempts: &Attempts) -> io::Result<ProbeResult> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: this process has one thread; the child may run any code.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(reader);
        if confinement.apply().is_ok() {
            let result = attempt(confinement, attempts);
            let text = serde_json::to_vec(&result).unwrap_or_default();
            let _unread = File::from(writer).write_all(&text);
        }
        // SAFETY: ends the child without running the launcher's destructors.
        unsafe { libc::_exit(0) }
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    drop(writer);
    let mut text = Vec::new();
    File::from(reader).read_to_end(&mut text)?;
    let _reaped = waitpid(Pid::from_raw(pid), WaitOptions::empty());
    Ok(serde_json::from_slice(&text)?)
}

fn attempt(confinement: &Confinement, attempts: &Attempts) -> ProbeResult {
    let any = |paths: &[std::path::PathBuf], works: fn(&Path) -> bool| {
        paths.iter().any(|path| works(path))
    };
    let server = Pid::from_raw(attempts.server);
    let mut result = ProbeResult {
        data_file: attempts.data_file.as_deref().is_some_and(opens),
        server_memory: fs::read(format!("/proc/{}/environ", attempts.server)).is_ok(),
        server_signal: server.is_some_and(|pid| kill_process(pid, Signal::CONT).is_ok()),
        withheld_program: any(&attempts.withheld, opens),
        outside_read: any(&attempts.outside_read, opens),
        outside_write: any(&attempts.outside_write, makes),
        network: attempts.network && leads_out() || attempts.port.is_some_and(connects),
        // SAFETY: asks for numbers.
        new_privileges: unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } != 1,
        // SAFETY: as above.
        syscalls: unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) } == FILTERED,
        cgroup_kill: confinement.groups.can_kill(),
        limited: confinement.limiters(),
        user_namespace: false,
    };
    // SAFETY: this process has one thread and ends soon.
    result.user_namespace = unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.is_ok();
    result
}

fn opens(path: &Path) -> bool {
    File::open(path).is_ok()
}

fn makes(directory: &Path) -> bool {
    let trace = directory.join(format!("{TRACE}-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&trace);
    let _never_made = fs::remove_file(&trace);
    made.is_ok()
}

fn leads_out() -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    socket.is_ok_and(|socket| socket.connect(NOWHERE).is_ok() && socket.as_raw_fd() >= 0)
}

/// Whether a connection is refused by nobody but its other end.
fn connects(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpStream::connect(address) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::PermissionDenied,
    }
}
