//! The Docker engine that these tests use, its images, and containers that go with their
//! value.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Longest wait for something in a container.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the repository is.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The engine's address; started and filled with images when the first test asks.
static HOST: LazyLock<String> = LazyLock::new(|| {
    let engine = run(&mut Command::new("scripts/docker-engine"));
    let host = engine.trim().to_owned();
    let mut images = Command::new("scripts/docker-images");
    run(images
        .args(["busybox", "runtime"])
        .env("DOCKER_HOST", &host));
    // SAFETY: tests read no variables of C code, and all that read this one wait here.
    unsafe { std::env::set_var("DOCKER_HOST", &host) };
    host
});

/// Makes sure of the engine and its images; its address is in `DOCKER_HOST` then, which
/// servers inherit.
pub(crate) fn images_are_there() {
    LazyLock::force(&HOST);
}

/// What `docker` printed, without the last line end.
pub(super) fn docker(arguments: &[&str]) -> String {
    let mut command = Command::new("docker");
    run(command.args(arguments).env("DOCKER_HOST", HOST.as_str()))
        .trim_end()
        .to_owned()
}

pub(super) fn run(command: &mut Command) -> String {
    let output = output(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn output(command: &mut Command) -> Output {
    let command = command.current_dir(repository()).stdin(Stdio::null());
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// An image with one program and no shell.
pub(super) fn bare_image() -> &'static str {
    const NAME: &str = "execgate-test-bare";
    static MADE: LazyLock<()> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let program = run(Command::new("sh").args(["-c", "command -v busybox"]));
        std::fs::copy(program.trim(), folder.path().join("busybox")).unwrap();
        let archive = folder.path().join("bare.tar");
        let mut tar = Command::new("tar");
        tar.args(["--create", "--file"])
            .arg(&archive)
            .arg("--directory");
        run(tar.arg(folder.path()).arg("busybox"));
        docker(&["import", archive.to_str().unwrap(), NAME]);
    });
    LazyLock::force(&MADE);
    NAME
}

/// A container that runs until it is dropped.
pub(crate) struct Container {
    pub(crate) name: String,
    pub(super) id: String,
}

impl Container {
    /// One that waits.
    pub(crate) fn run(image: &str, options: &[&str]) -> Self {
        Self::of(image, options, &["sleep", "1000"])
    }

    /// One that does not run yet.
    pub(super) fn made(image: &str, options: &[&str]) -> Self {
        Self::new("create", image, options, &["sleep", "1000"])
    }

    /// One that runs this.
    pub(super) fn of(image: &str, options: &[&str], command: &[&str]) -> Self {
        let container = Self::new("create", image, options, command);
        docker(&["start", &container.name]);
        container
    }

    fn new(verb: &str, image: &str, options: &[&str], command: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("execgate-test-")
            .tempdir()
            .unwrap();
        let name = folder
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let network: &[&str] = match options.contains(&"--network") {
            true => &[],
            false => &["--network", "none"],
        };
        let start = [verb, "--name", &name];
        let id = docker(&[&start, network, options, &[image], command].concat());
        Self { name, id }
    }

    /// Waits until a file is there.
    pub(super) fn wait_for(&self, file: &str) {
        let began = Instant::now();
        let mut look = Command::new("docker");
        look.args(["exec", &self.name, "test", "-e", file])
            .env("DOCKER_HOST", HOST.as_str());
        while !output(&mut look).status.success() {
            assert!(began.elapsed() < LIMIT, "{file} does not come");
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = Command::new("docker");
        // One that a test has removed is gone.
        output(
            remove
                .args(["rm", "--force", &self.name])
                .env("DOCKER_HOST", HOST.as_str()),
        );
    }
}
