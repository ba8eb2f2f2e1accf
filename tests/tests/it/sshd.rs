//! A real OpenSSH server for a test: its own port, keys and configuration, and the user who
//! runs the tests. It goes with the value.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to listen.
const LIMIT: Duration = Duration::from_secs(20);

/// Ports that are tried: another program may take one between its choice and its use.
const TRIES: usize = 5;

pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
    folder: TempDir,
}

impl Sshd {
    /// A server that listens.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// The same with more lines of sshd_config.
    pub(crate) fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = |name: &str, kind: &str, words: &[&str]| {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", kind, "-f"])
                .arg(folder.path().join(name))
                .args(if words.is_empty() { &["-N", ""] } else { words })
                .status()
                .unwrap();
            assert!(made.success(), "ssh-keygen {kind}");
        };
        key("host", "ed25519", &[]);
        key("user", "ed25519", &[]);
        key("stranger", "ed25519", &[]);
        key("rsa", "rsa", &["-N", "", "-b", "2048"]);
        key("ecdsa", "ecdsa", &["-N", "the passphrase"]);
        let authorized: String = ["user", "rsa", "ecdsa"]
            .map(|name| fs::read_to_string(folder.path().join(format!("{name}.pub"))).unwrap())
            .concat();
        fs::write(folder.path().join("authorized"), authorized).unwrap();
        fs::write(folder.path().join("more"), more).unwrap();
        if is_root() {
            // Where the unprivileged half of a server of root's lives.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        for _ in 0..TRIES {
            let port = free_port();
            if let Some(child) = launch(folder.path(), port) {
                return Self {
                    child,
                    port,
                    folder,
                };
            }
        }
        panic!("sshd does not listen");
    }

    /// Ends it and every connection, and starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = launch(self.folder.path(), self.port).expect("the port is free again");
    }

    /// Ends it and every connection, as a crash of the machine would.
    pub(crate) fn kill(&mut self) {
        let mut pids = vec![self.child.id()];
        pids.extend(self.connections());
        for pid in pids {
            // SAFETY: kill takes no memory; the processes are this server's.
            let _gone = unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGKILL) };
        }
        self.child.wait().unwrap();
    }

    /// Stops every connection and lets none be made, as a cut cable would: nothing is
    /// answered any more, and nothing is closed.
    pub(crate) fn freeze(&self) {
        for pid in self.connections().into_iter().chain([self.child.id()]) {
            // SAFETY: as in `kill`.
            let _gone = unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGSTOP) };
        }
    }

    /// The processes that serve connections.
    fn connections(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut queue = vec![self.child.id()];
        while let Some(parent) = queue.pop() {
            let children = format!("/proc/{parent}/task/{parent}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            for child in children.split_whitespace().map(|pid| pid.parse().unwrap()) {
                let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
                if name.starts_with("sshd") {
                    found.push(child);
                    queue.push(child);
                }
            }
        }
        found
    }

    /// Gives the host another key, as somebody in between would have.
    pub(crate) fn swap_host_key(&mut self) {
        fs::rename(self.path("stranger"), self.path("host")).unwrap();
        fs::rename(self.path("stranger.pub"), self.path("host.pub")).unwrap();
        self.restart();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The fingerprint of its key.
    pub(crate) fn fingerprint(&self) -> String {
        let printed = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.path("host.pub"))
            .output()
            .unwrap();
        let line = String::from_utf8(printed.stdout).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Its line of known hosts.
    pub(crate) fn known_host(&self) -> String {
        let key = fs::read_to_string(self.path("host.pub")).unwrap();
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    /// A profile for the gate's configuration, by the user's key and its known host.
    pub(crate) fn profile(&self, name: &str) -> String {
        fs::write(self.path("known"), self.known_host()).unwrap();
        let known = format!("known_hosts = [{:?}]", self.path("known"));
        self.profile_with(name, &format!("key = {:?}\n{known}", self.path("user")))
    }

    /// A profile with these lines instead.
    pub(crate) fn profile_with(&self, name: &str, lines: &str) -> String {
        let (port, user) = (self.port, user());
        format!(
            "[ssh.hosts.{name}]\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"{user}\"\n{lines}\n"
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Who runs the tests.
pub(crate) fn user() -> String {
    let name = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(name.stdout).unwrap().trim().to_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn launch(folder: &Path, port: u16) -> Option<Child> {
    let at = |name: &str| folder.join(name).display().to_string();
    let more = fs::read_to_string(folder.join("more")).unwrap();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
         PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nUseDNS no\n\
         PasswordAuthentication yes\nKbdInteractiveAuthentication no\nMaxStartups 100\n{more}\n",
        at("host"),
        at("authorized")
    );
    fs::write(folder.join("config"), config).unwrap();
    let program = ["/usr/sbin/sshd", "/usr/bin/sshd"];
    let program = program.iter().find(|path| Path::new(path).exists());
    let mut child = Command::new(program.expect("openssh-server is installed"))
        .args(["-D", "-q", "-f", &at("config"), "-E", &at("log")])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while begin.elapsed() < LIMIT && child.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ended = child.kill();
    child.wait().unwrap();
    None
}
