//! The container of a session: made from an image after the operator's profile, or one
//! that runs already, looked at before it is entered.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, ImageConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use data_encoding::HEXLOWER;
use execgate_core::outcome::ObservedBy;
use futures::StreamExt;

use super::direct::Direct;
use super::errors::{in_full, is_missing, refused};
use super::judge;
use super::settings::{DockerProfile, Pull, Risk, RootFiles};
use crate::isolation::Isolation;
use crate::pattern::is_listed;
use crate::random;
use crate::target::{DockerTarget, Place};
use crate::transport::TransportError;

/// Label of the containers that a server has made; its value says which server.
const INSTANCE_LABEL: &str = "dev.execgate.instance";

/// What the names of these containers begin with.
const NAME_PREFIX: &str = "execgate-";

/// What a container that is made for a session does by itself: it waits, and buries the
/// processes whose parents have ended. It ends where there is no `sleep`.
const KEEPER: &str = r#"while sleep 86400 & wait "$!"; [ "$?" != 127 ]; do :; done"#;

/// A container that a session can be in.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: String,
    /// What records call it.
    pub(super) name: String,
    pub(super) owned: Owned,
    /// Whose processes a session's are; the container's own user where there is none.
    pub(super) user: Option<String>,
    /// Where sessions begin, where that is not at home.
    pub(super) start: Option<String>,
    /// Where its user is at home, where that is known.
    pub(super) home: Option<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) isolation: Isolation,
}

/// Where a container comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was there.
    Entered,
    /// It was made for the session and goes with it.
    Made,
}

/// The container that a session has of its own, or not. Dropping it removes what was made.
#[derive(Debug)]
pub(super) struct Owned(Option<Made>);

#[derive(Debug)]
struct Made {
    engine: bollard::Docker,
    id: String,
    removed: AtomicBool,
    left: Left,
}

/// Containers that could not be removed when their sessions ended: the engine was away.
#[derive(Debug, Clone, Default)]
pub(super) struct Left(Arc<Mutex<Vec<String>>>);

impl Left {
    /// Tries again.
    pub(super) async fn remove(&self, engine: &bollard::Docker) {
        let left = std::mem::take(&mut *self.lock());
        for id in left {
            self.end(engine, &id).await;
        }
    }

    /// Removes a container, or remembers it.
    async fn end(&self, engine: &bollard::Docker, id: &str) {
        if !remove(engine, id).await {
            self.lock().push(id.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owned {
    /// Whether the container was made for the session.
    pub(super) fn is_made(&self) -> bool {
        self.0.is_some()
    }

    /// The number of the container that was made.
    pub(super) fn id(&self) -> &str {
        self.0.as_ref().map_or("", |made| made.id.as_str())
    }

    /// Removes the container, if it was made for the session.
    pub(super) async fn remove(&self) {
        if let Some(made) = &self.0
            && !made.removed.swap(true, Ordering::Relaxed)
        {
            made.left.end(&made.engine, &made.id).await;
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.removed.load(Ordering::Relaxed) {
            return;
        }
        let (engine, id) = (self.engine.clone(), std::mem::take(&mut self.id));
        let left = self.left.clone();
        // Without a runtime the next server finds it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { left.end(&engine, &id).await });
        }
    }
}

/// Looks at a container that runs.
pub(super) async fn enter(
    engine: &bollard::Docker,
    profile: &DockerProfile,
    target: &DockerTarget,
    name: &str,
) -> Result<Found, TransportError> {
    let target_name = format!("docker:{name}");
    let looked = engine.inspect_container(name, None::<InspectContainerOptions>);
    let seen = looked
        .await
        .map_err(|error| refused(&target_name, &error))?;
    let own_name = seen.name.as_deref().unwrap_or(name).trim_start_matches('/');
    let not_allowed = |reason: String| TransportError::NotAllowed {
        target: target_name.clone(),
        reason,
    };
    // By its own name, whatever it was called by: an id or a part of one is no way around.
    if !is_listed(&profile.containers, own_name) {
        let reason = "the profile's `containers` do not name it".to_owned();
        return Err(not_allowed(reason));
    }
    let config = seen.config.clone().unwrap_or_default();
    let own_user = config.user.clone().unwrap_or_default();
    if let Some((risk, why)) = judge::risks(&seen)
        .into_iter()
        .find(|(risk, _)| !profile.allows(*risk))
    {
        return Err(not_allowed(format!(
            "{why}; `{}` would allow it",
            risk.name()
        )));
    }
    let user = target.user.clone();
    let becomes_root = user.as_deref().is_some_and(is_root) && !is_root(&own_user);
    if becomes_root && !profile.allows(Risk::Root) {
        return Err(not_allowed("its own user is not root".to_owned()));
    }
    let state = seen.state.clone().unwrap_or_default();
    if state.running != Some(true) || state.paused == Some(true) {
        return Err(TransportError::Unreachable {
            target: target_name,
            reason: match state.paused {
                Some(true) => "it is paused".to_owned(),
                _ => "it does not run".to_owned(),
            },
        });
    }
    Ok(Found {
        id: seen.id.clone().unwrap_or_else(|| name.to_owned()),
        name: target_name,
        owned: Owned(None),
        user,
        start: config.working_dir.clone().filter(|dir| !dir.is_empty()),
        home: None,
        env: environment(config.env.as_deref().unwrap_or_default()),
        isolation: judge::isolation(&seen, Origin::Entered),
    })
}

/// How containers of a session are made.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) engine: bollard::Docker,
    /// What records call the target.
    pub(super) target: String,
    reference: String,
    instance: String,
    profile: DockerProfile,
    user: String,
    /// The image's own environment.
    env: BTreeMap<String, String>,
    left: Left,
}

impl Recipe {
    /// One for this target, if the profile allows it.
    pub(super) async fn new(
        engine: &bollard::Docker,
        (instance, left): (&str, &Left),
        profile: &DockerProfile,
        target: &DockerTarget,
        reference: &str,
    ) -> Result<Self, TransportError> {
        let target_name = format!("docker:{reference}");
        let not_allowed = |reason: &str| TransportError::NotAllowed {
            target: target_name.clone(),
            reason: reason.to_owned(),
        };
        if !is_listed(&profile.images, reference) {
            return Err(not_allowed("the profile's `images` do not name it"));
        }
        let image = image(engine, profile, &target_name, reference).await?;
        let user = match &target.user {
            Some(user) if is_root(user) && !profile.allows(Risk::Root) => {
                return Err(not_allowed("sessions are not root in their containers"));
            }
            Some(user) => user.clone(),
            None => image
                .user
                .clone()
                .filter(|user| !is_root(user))
                .unwrap_or_else(|| profile.user.clone()),
        };
        Ok(Self {
            engine: engine.clone(),
            target: target_name,
            reference: reference.to_owned(),
            instance: instance.to_owned(),
            profile: profile.clone(),
            user,
            env: environment(image.env.as_deref().unwrap_or_default()),
            left: left.clone(),
        })
    }

    /// A container that waits, after the operator's profile.
    pub(super) fn body(&self) -> ContainerCreateBody {
        let text = |word: &str| word.to_owned();
        let labels = HashMap::from([(text(INSTANCE_LABEL), self.instance.clone())]);
        ContainerCreateBody {
            image: Some(self.reference.clone()),
            user: Some(self.user.clone()),
            entrypoint: Some(vec![text("sh"), text("-c"), text(KEEPER)]),
            // An image's own command would be the keeper's arguments.
            cmd: Some(Vec::new()),
            labels: Some(labels),
            host_config: Some(host_config(&self.profile)),
            ..ContainerCreateBody::default()
        }
    }

    /// Makes a container that does not run yet.
    pub(super) async fn create(&self, body: ContainerCreateBody) -> Result<Owned, TransportError> {
        let name = format!("{NAME_PREFIX}{}", HEXLOWER.encode(&random::bytes::<8>()?));
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let created = self.engine.create_container(Some(options), body).await;
        let created = created.map_err(|error| refused(&self.target, &error))?;
        Ok(Owned(Some(Made {
            engine: self.engine.clone(),
            id: created.id,
            removed: AtomicBool::new(false),
            left: self.left.clone(),
        })))
    }

    /// Makes the container of a session, and starts it.
    pub(super) async fn make(&self) -> Result<Found, TransportError> {
        let owned = self.create(self.body()).await?;
        let id = owned.id().to_owned();
        let started = self
            .engine
            .start_container(&id, None::<StartContainerOptions>);
        if let Err(error) = started.await {
            owned.remove().await;
            return Err(not_started(&self.target, &error));
        }
        let seen = self
            .engine
            .inspect_container(&id, None::<InspectContainerOptions>)
            .await
            .map_err(|error| refused(&self.target, &error))?;
        Ok(Found {
            id,
            name: self.target.clone(),
            owned,
            user: Some(self.user.clone()),
            start: None,
            home: Some(self.profile.workspace.clone()),
            env: self.env.clone(),
            isolation: judge::isolation(&seen, Origin::Made),
        })
    }

    /// A session whose programs have a container each: none is made yet.
    pub(super) fn place(self) -> Place {
        let will_be = ContainerInspectResponse {
            host_config: Some(host_config(&self.profile)),
            ..ContainerInspectResponse::default()
        };
        Place {
            name: self.target.clone(),
            home: self.profile.workspace.clone(),
            start: None,
            env: self.env.clone(),
            isolation: judge::isolation(&will_be, Origin::Made),
            observer: ObservedBy::Dockerd,
            secrets: Vec::new(),
            transport: Arc::new(Direct::Made(Box::new(self))),
        }
    }
}

/// The image, fetched where that is allowed.
async fn image(
    engine: &bollard::Docker,
    profile: &DockerProfile,
    target: &str,
    reference: &str,
) -> Result<ImageConfig, TransportError> {
    let config = match engine.inspect_image(reference).await {
        Ok(image) => return Ok(image.config.unwrap_or_default()),
        Err(error) if is_missing(&error) && profile.pull == Pull::Missing => {
            let options = CreateImageOptionsBuilder::new().from_image(reference);
            let mut pulling = Box::pin(engine.create_image(Some(options.build()), None, None));
            while let Some(step) = pulling.next().await {
                step.map_err(|error| refused(target, &error))?;
            }
            engine.inspect_image(reference).await
        }
        Err(error) => Err(error),
    };
    match config {
        Ok(image) => Ok(image.config.unwrap_or_default()),
        Err(error) if is_missing(&error) => Err(TransportError::NoSuchTarget {
            target: target.to_owned(),
            reason: "the engine has no such image, and may not fetch it".to_owned(),
        }),
        Err(error) => Err(refused(target, &error)),
    }
}

fn host_config(profile: &DockerProfile) -> HostConfig {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mounted = format!(
        "rw,exec,nosuid,nodev,mode=1777,size={}",
        profile.workspace_bytes
    );
    let tmpfs =
        [profile.workspace.clone(), "/tmp".to_owned()].map(|place| (place, mounted.clone()));
    // A directory that is there already would give them its own mode, so nothing else may
    // make the workspace: the container has no working directory.
    HostConfig {
        network_mode: Some(profile.network.clone()),
        readonly_rootfs: Some(profile.root == RootFiles::ReadOnly),
        tmpfs: Some(HashMap::from(tmpfs)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        memory: Some(number(profile.memory_bytes)),
        // Swap would let memory grow beyond its limit.
        memory_swap: Some(number(profile.memory_bytes)),
        pids_limit: Some(profile.pids.into()),
        nano_cpus: Some(i64::from(profile.milli_cpus) * 1_000_000),
        ..HostConfig::default()
    }
}

/// Why a container did not start; mostly because its image has no shell.
fn not_started(target: &str, error: &bollard::errors::Error) -> TransportError {
    let text = in_full(error);
    let no_shell = text.contains("\"sh\"")
        && (text.contains("not found") || text.contains("no such file or directory"));
    if !no_shell {
        return refused(target, error);
    }
    TransportError::Launch {
        program: "sh".to_owned(),
        kind: execgate_core::outcome::LaunchFailureKind::NotFound,
        errno: libc::ENOENT,
        message: format!("{target} has no shell"),
    }
}

/// Whether a user is root, as far as its name tells.
fn is_root(user: &str) -> bool {
    let user = user.split(':').next().unwrap_or_default();
    // An image that names nobody means root, and `00` is a number too.
    user.is_empty() || user == "root" || user.parse::<u64>() == Ok(0)
}

/// `NAME=value` as pairs.
fn environment(variables: &[String]) -> BTreeMap<String, String> {
    let pairs = variables.iter().filter_map(|text| text.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Removes a container and what runs in it; answers whether it is gone.
async fn remove(engine: &bollard::Docker, id: &str) -> bool {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true);
    match engine.remove_container(id, Some(options.build())).await {
        Ok(()) => true,
        Err(error) if is_missing(&error) => true,
        Err(error) => {
            let error = in_full(&error);
            tracing::warn!(
                container = id,
                error,
                "a session's container was not removed"
            );
            false
        }
    }
}

/// Removes what an earlier server of this instance left.
pub(super) async fn sweep(engine: &bollard::Docker, instance: &str) {
    let label = format!("{INSTANCE_LABEL}={instance}");
    let filters = HashMap::from([("label".to_owned(), vec![label])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let left = engine.list_containers(Some(options)).await;
    for container in left.unwrap_or_default() {
        if let Some(id) = container.id {
            remove(engine, &id).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_many_names() {
        for root in ["", "root", "0", "00", "0:1000", "root:users"] {
            assert!(is_root(root), "{root:?}");
        }
        for other in ["nobody", "1000", "65534:0", "roots"] {
            assert!(!is_root(other), "{other:?}");
        }
    }

    #[test]
    fn a_container_is_made_as_narrow_as_its_profile() {
        let made = host_config(&DockerProfile::default());
        let mounted = "rw,exec,nosuid,nodev,mode=1777,size=536870912".to_owned();
        let expected = HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([
                ("/workspace".to_owned(), mounted.clone()),
                ("/tmp".to_owned(), mounted),
            ])),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            memory: Some(1 << 30),
            memory_swap: Some(1 << 30),
            pids_limit: Some(512),
            nano_cpus: Some(2_000_000_000),
            ..HostConfig::default()
        };
        assert_eq!(made, expected);
    }
}
