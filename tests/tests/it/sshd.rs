//! A real OpenSSH server for a test: its own port, keys and configuration, and the user who
//! runs the tests. It goes with the value.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
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
        Self::start_in(more, "")
    }

    /// The same in namespaces of its own (mounts, network), which these lines of sh prepare:
    /// `$F` is the server's folder. Needs root.
    pub(crate) fn start_in(more: &str, world: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Other users log in too.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self::start_at(folder, more, world, |_pid| {})
    }

    /// The same in a network of its own, which `join` is told the process of.
    pub(crate) fn start_joined(world: &str, join: impl Fn(u32)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_at(folder, "", world, join)
    }

    fn start_at(folder: TempDir, more: &str, world: &str, join: impl Fn(u32)) -> Self {
        fs::write(folder.path().join("world"), world).unwrap();
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
        key("authority", "ed25519", &[]);
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
            if let Some(child) = launch(folder.path(), port, &join) {
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
        self.child =
            launch(self.folder.path(), self.port, &|_pid| {}).expect("the port is free again");
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
        self.fingerprint_of("host")
    }

    /// The fingerprint of one of its keys.
    pub(crate) fn fingerprint_of(&self, name: &str) -> String {
        let printed = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.path(&format!("{name}.pub")))
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
        self.profile_as(name, &user(), lines)
    }

    /// A profile for another user, with these lines.
    pub(crate) fn profile_as(&self, name: &str, user: &str, lines: &str) -> String {
        let port = self.port;
        format!(
            "[ssh.hosts.{name}]\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"{user}\"\n{lines}\n"
        )
    }

    /// Certifies one of its keys for a user, until it `expires`.
    pub(crate) fn certify(&self, name: &str, user: &str, validity: &str) -> PathBuf {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-I", "test", "-n", user, "-V", validity, "-s"])
            .arg(self.path("authority"))
            .arg(self.path(&format!("{name}.pub")))
            .status()
            .unwrap();
        assert!(made.success());
        self.path(&format!("{name}-cert.pub"))
    }

    /// The process that listens, in whose namespaces the host is.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote into its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
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

fn launch(folder: &Path, port: u16, join: &dyn Fn(u32)) -> Option<Child> {
    let at = |name: &str| folder.join(name).display().to_string();
    let more = fs::read_to_string(folder.join("more")).unwrap();
    // In a network of its own it listens for whoever gets there.
    let world = fs::read_to_string(folder.join("world")).unwrap();
    let is_apart = world.contains("eth0");
    let address = if is_apart { "0.0.0.0" } else { "127.0.0.1" };
    let config = format!(
        "{more}\nPort {port}\nListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\n\
         PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nUseDNS no\n\
         MaxStartups 100\nTrustedUserCAKeys {}\n\
         PasswordAuthentication yes\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n",
        at("host"),
        at("authorized"),
        at("authority.pub"),
    );
    fs::write(folder.join("config"), config).unwrap();
    let program = ["/usr/sbin/sshd", "/usr/bin/sshd"];
    let program = program.iter().find(|path| Path::new(path).exists());
    let program = program.expect("openssh-server is installed");
    let mut command = match world.as_str() {
        "" => Command::new(program),
        world => {
            let mut command = Command::new("unshare");
            let network = is_apart.then_some("--net");
            let script = format!("set -eu\nF=$1\nshift\n{world}\nexec {program} \"$@\"");
            command
                .arg("--mount")
                .args(network)
                .args(["--", "sh", "-c", &script, "world"])
                .arg(folder);
            command
        }
    };
    let mut child = command
        .args(["-D", "-f", &at("config"), "-E", &at("log")])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    if is_apart {
        until_apart(child.id());
    }
    join(child.id());
    let begin = Instant::now();
    while begin.elapsed() < LIMIT && child.try_wait().unwrap().is_none() {
        let says = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        if match is_apart {
            true => says().contains("Server listening"),
            false => TcpStream::connect(("127.0.0.1", port)).is_ok(),
        } {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ended = child.kill();
    child.wait().unwrap();
    None
}

/// Waits until a process is in a network of its own.
fn until_apart(pid: u32) {
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let ours = network("self");
    let begin = Instant::now();
    while begin.elapsed() < LIMIT && network(&pid.to_string()) == ours {
        std::thread::sleep(Duration::from_millis(10));
    }
}
