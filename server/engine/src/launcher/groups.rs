//! The session's own control groups: where the kernel counts what it uses, and ends it as a
//! whole. Where none can be made (no root, nothing delegated) there are none, and that is said.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use procfs::process::Process;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::fence::Limits;

/// Name of a session's groups, before the launcher's number.
const PREFIX: &str = "execgate-";

/// Period over which processor time is shared out, in microseconds: the kernel's default.
const CPU_PERIOD: u64 = 100_000;

/// Tries to remove a group whose last process is just being reaped, and the pause between.
const REMOVALS: usize = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(1);

/// One session's groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The one of the unified hierarchy (version 2).
    unified: Option<PathBuf>,
    /// All of them, the unified one included.
    all: Vec<PathBuf>,
    processes: bool,
    memory: bool,
    cpu: bool,
}

/// A mounted hierarchy, at the place where this process is in it.
struct Hierarchy {
    /// Its controllers; nothing for the unified one.
    controllers: Option<Vec<String>>,
    place: PathBuf,
    root: PathBuf,
}

impl Groups {
    /// Makes them below the groups of this process, as far as the system lets it.
    pub(super) fn create(limits: &Limits) -> Self {
        let mut groups = Self::default();
        for hierarchy in hierarchies() {
            let made = match &hierarchy.controllers {
                None => groups.create_unified(&hierarchy, limits),
                Some(controllers) => groups.create_first(&hierarchy.place, controllers, limits),
            };
            // Not ours to make: the session has one limit less.
            let _not_ours = made;
        }
        groups
    }

    fn create_unified(&mut self, hierarchy: &Hierarchy, limits: &Limits) -> io::Result<()> {
        let group = make_counting(&hierarchy.place)
            // A group with processes of its own, such as a service's, cannot have counting
            // ones below it; the root can, for those who may write there.
            .or_else(|| make_counting(&hierarchy.root))
            .map_or_else(|| make(&hierarchy.place), Ok)?;
        self.unified = Some(group.clone());
        self.all.push(group.clone());
        let set = |file: &str, value: Option<String>| {
            value.is_some_and(|value| fs::write(group.join(file), value).is_ok())
        };
        let cpu = limits
            .milli_cpus
            .map(|share| format!("{} {CPU_PERIOD}", share.saturating_mul(CPU_PERIOD) / 1000));
        self.processes |= set("pids.max", limits.processes.map(|n| n.to_string()));
        self.memory |= set("memory.max", limits.memory_bytes.map(|n| n.to_string()));
        self.cpu |= set("cpu.max", cpu);
        Ok(())
    }

    /// A group of a hierarchy of the first version, made only for a limit that is wanted.
    fn create_first(
        &mut self,
        place: &Path,
        controllers: &[String],
        limits: &Limits,
    ) -> io::Result<()> {
        let quota = limits
            .milli_cpus
            .map(|share| share.saturating_mul(CPU_PERIOD) / 1000);
        let wanted = [
            ("pids", "pids.max", limits.processes, &mut self.processes),
            (
                "memory",
                "memory.limit_in_bytes",
                limits.memory_bytes,
                &mut self.memory,
            ),
            ("cpu", "cpu.cfs_quota_us", quota, &mut self.cpu),
        ];
        for (controller, file, limit, done) in wanted {
            let Some(limit) = limit.filter(|_| controllers.iter().any(|own| own == controller))
            else {
                continue;
            };
            let group = make(place)?;
            if !self.all.contains(&group) {
                self.all.push(group.clone());
            }
            *done |= fs::write(group.join(file), limit.to_string()).is_ok();
        }
        Ok(())
    }

    pub(super) fn limits_processes(&self) -> bool {
        self.processes
    }

    pub(super) fn limits_memory(&self) -> bool {
        self.memory
    }

    pub(super) fn limits_cpu(&self) -> bool {
        self.cpu
    }

    /// Takes this process into them.
    pub(super) fn join(&self) {
        for group in &self.all {
            let _refused = fs::write(group.join("cgroup.procs"), "0");
        }
    }

    /// Whether the kernel ends the session as a whole.
    pub(super) fn can_kill(&self) -> bool {
        let file = self.unified.as_ref().map(|group| group.join("cgroup.kill"));
        file.is_some_and(|file| file.exists())
    }

    /// Kills everything in them; answers whether that was one order.
    pub(super) fn kill(&self) -> bool {
        for group in &self.all {
            // Where there is no such order, at least nothing new starts meanwhile.
            let _other_version = fs::write(group.join("pids.max"), "0");
        }
        let file = self.unified.as_ref().map(|group| group.join("cgroup.kill"));
        file.is_some_and(|file| fs::write(file, "1").is_ok())
    }

    /// Stands the session still while `during` runs, so that nothing starts meanwhile.
    pub(super) fn frozen<T>(&self, during: impl FnOnce() -> T) -> T {
        let file = self
            .unified
            .as_ref()
            .map(|group| group.join("cgroup.freeze"));
        let set = |value: &str| {
            if let Some(file) = &file {
                let _refused = fs::write(file, value);
            }
        };
        set("1");
        let result = during();
        set("0");
        result
    }

    /// Removes them, once their processes are gone.
    pub(super) fn remove(&self) {
        for group in &self.all {
            for _ in 0..REMOVALS {
                match fs::remove_dir(group) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => sleep(REMOVAL_PAUSE),
                    _ => break,
                }
            }
        }
    }
}

/// Makes a group of the unified hierarchy in which processes are counted; nothing where that
/// cannot be.
fn make_counting(place: &Path) -> Option<PathBuf> {
    for controller in ["+pids", "+memory", "+cpu"] {
        // Refused where the group holds processes, or there is no such controller.
        let _refused = fs::write(place.join("cgroup.subtree_control"), controller);
    }
    let group = make(place).ok()?;
    if group.join("pids.max").exists() {
        return Some(group);
    }
    let _empty = fs::remove_dir(&group);
    None
}

/// Makes this launcher's group at a place; removes what dead launchers left there.
fn make(place: &Path) -> io::Result<PathBuf> {
    let group = place.join(format!("{PREFIX}{}", std::process::id()));
    match fs::create_dir(&group) {
        Ok(()) => {
            sweep(place);
            Ok(group)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(group),
        Err(error) => Err(error),
    }
}

/// A launcher that was killed could not remove its group; the kernel lets only empty ones go.
/// There is one for each session, and this is done for each: a signal asks faster than /proc.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let pid = number.and_then(|number| number.parse::<i32>().ok());
        let gone = |pid| test_kill_process(pid) == Err(Errno::SRCH);
        if pid.and_then(Pid::from_raw).is_some_and(gone) {
            let _still_used = fs::remove_dir(entry.path());
        }
    }
}

/// The hierarchies that this process can see itself in.
fn hierarchies() -> Vec<Hierarchy> {
    let Ok(process) = Process::myself() else {
        return Vec::new();
    };
    let (Ok(mounts), Ok(own)) = (process.mountinfo(), process.cgroups()) else {
        return Vec::new();
    };
    let hierarchy = |mount: procfs::process::MountInfo| {
        let unified = match mount.fs_type.as_str() {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let own = own.0.iter().find(|own| match unified {
            true => own.hierarchy == 0,
            false => {
                let held = |controller: &String| mount.super_options.contains_key(controller);
                own.controllers.first().is_some_and(held)
            }
        })?;
        let inside = Path::new(&own.pathname).strip_prefix(&mount.root).ok()?;
        Some(Hierarchy {
            controllers: (!unified).then(|| own.controllers.clone()),
            place: mount.mount_point.join(inside),
            root: mount.mount_point,
        })
    };
    mounts.0.into_iter().filter_map(hierarchy).collect()
}
