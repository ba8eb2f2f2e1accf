//! A Docker engine of a test's own, which it may stop: nobody else's containers are in it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::BUSYBOX;
use super::engine::{images_are_there, output, run};

/// Longest time an engine may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// An engine, with the image of busybox.
pub(super) struct OwnEngine {
    folder: TempDir,
    options: Vec<String>,
    running: Option<Child>,
}

impl OwnEngine {
    /// One that answers.
    pub(super) fn start(options: &[&str]) -> Self {
        images_are_there();
        let folder = tempfile::tempdir().unwrap();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut engine = Self {
            folder,
            options,
            running: None,
        };
        engine.launch();
        let load = format!(
            "docker save {BUSYBOX} | docker --host {} load",
            engine.host()
        );
        run(Command::new("sh").args(["-c", &load]));
        engine
    }

    /// Where it answers.
    pub(super) fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.path().display())
    }

    /// Starts it, the first time or again.
    pub(super) fn launch(&mut self) {
        let place = |name: &str| self.folder.path().join(name);
        let log = std::fs::File::create(place("log")).unwrap();
        let mut engine = Command::new("dockerd");
        engine
            .args(["--host", &self.host()])
            .arg("--data-root")
            .arg(place("data"))
            .arg("--exec-root")
            .arg(place("exec"))
            .arg("--pidfile")
            .arg(place("pid"))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--ip-forward=false", "--ip-masq=false", "--log-level=warn"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.running = Some(engine.spawn().unwrap());
        let began = Instant::now();
        while !output(self.command().arg("version")).status.success() {
            let said = || std::fs::read_to_string(place("log")).unwrap_or_default();
            assert!(began.elapsed() < LIMIT, "{}", said());
            std::thread::sleep(PAUSE);
        }
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        let pid = i32::try_from(running.id()).unwrap();
        // SAFETY: kill takes no memory; the child has not been waited for, so the number is
        // still its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        running.wait().unwrap();
    }

    /// What `docker` printed, asking this engine.
    pub(super) fn docker(&self, arguments: &[&str]) -> String {
        run(self.command().args(arguments)).trim_end().to_owned()
    }

    /// A container that waits, by its name.
    pub(super) fn container(&self, name: &str) -> String {
        // It ends when it is told to: an engine that stops need not wait for it.
        let waits = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done";
        let start = ["run", "--detach", "--network", "none", "--name", name];
        self.docker(&[&start[..], &[BUSYBOX, "sh", "-c", waits]].concat());
        name.to_owned()
    }

    fn command(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.args(["--host", &self.host()]);
        docker
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if self.running.is_some() {
            let left = output(self.command().args(["ps", "--all", "--quiet"]));
            let left = String::from_utf8_lossy(&left.stdout).into_owned();
            let left: Vec<_> = left.split_whitespace().collect();
            if !left.is_empty() {
                output(self.command().args(["rm", "--force"]).args(left));
            }
        }
        self.stop();
    }
}
