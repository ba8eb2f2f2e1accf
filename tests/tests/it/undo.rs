//! Checkpoints as their callers see them, on every kind of target: random trees are changed
//! at random by an agent's shell, brought back, and compared byte by byte with what this
//! process reads of the same directory.

mod faults;
mod kept;
mod trees;

use std::path::Path;

use execgate_proto::v1;
use tempfile::TempDir;
use tonic::Code;
use v1::create_session_request::Target as Wanted;

use crate::docker::engine::{Container, images_are_there};
use crate::sshd::Sshd;
use crate::support::{Client, Server, refused, stdout};
use trees::{Tree, Writer};

/// The operator's policy, and what it costs to keep files.
const CONFIG: &str = "[policy]\nname = \"open\"\n[checkpoints]\nmax_file_bytes = 1000000\n";

/// A target, and a directory that both it and this process see.
struct Place {
    server: Server,
    wanted: Wanted,
    _keep: Box<dyn std::any::Any>,
}

fn local() -> Place {
    Place {
        server: Server::start_with(CONFIG),
        wanted: Wanted::Local(v1::LocalTarget::default()),
        _keep: Box::new(()),
    }
}

fn ssh() -> Place {
    let sshd = Sshd::start();
    let wanted = v1::SshTarget {
        profile: "host".to_owned(),
        inline: None,
    };
    Place {
        server: Server::start_with(&format!("{CONFIG}{}", sshd.profile("host"))),
        wanted: Wanted::Ssh(wanted),
        _keep: Box::new(sshd),
    }
}

fn docker(image: &str) -> Place {
    images_are_there();
    let there = Container::run(image, &["--volume", "/tmp:/tmp"]);
    let wanted = v1::DockerTarget {
        source: Some(v1::docker_target::Source::Container(v1::DockerContainer {
            name: there.name.clone(),
        })),
        ..Default::default()
    };
    let config = "[docker.profiles.default]\ncontainers = [\"execgate-test-*\"]\n";
    Place {
        server: Server::start_with(&format!("{CONFIG}{config}")),
        wanted: Wanted::Docker(wanted),
        _keep: Box::new(there),
    }
}

/// A directory that anybody may write in.
fn workspace() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("undo-").tempdir_in("/tmp");
    let folder = folder.unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    folder
}

struct Story<'a> {
    client: Client,
    session: String,
    workspace: &'a Path,
}

impl<'a> Story<'a> {
    async fn begin(place: &Place, workspace: &'a Path, request: v1::CreateSessionRequest) -> Self {
        let mut client = place.server.client().await;
        let request = v1::CreateSessionRequest {
            target: Some(place.wanted.clone()),
            workspace: workspace.display().to_string(),
            ..request
        };
        let made = client.sessions.create_session(request).await.unwrap();
        let session = made.into_inner().session.unwrap().session_id;
        Self {
            client,
            session,
            workspace,
        }
    }

    async fn run(&mut self, script: &str) -> v1::ExecResult {
        let session = self.session.clone();
        self.client.run(&session, script).await
    }

    async fn save(&mut self) -> v1::Checkpoint {
        self.try_save(v1::CreateCheckpointRequest::default()).await
    }

    async fn try_save(&mut self, request: v1::CreateCheckpointRequest) -> v1::Checkpoint {
        let request = v1::CreateCheckpointRequest {
            session_id: self.session.clone(),
            ..request
        };
        let made = self.client.checkpoints.create_checkpoint(request).await;
        made.unwrap().into_inner().checkpoint.unwrap()
    }

    async fn restore(&mut self, id: &str) -> v1::RestoreCheckpointResponse {
        let request = v1::RestoreCheckpointRequest {
            checkpoint_id: id.to_owned(),
            session_id: self.session.clone(),
            ..Default::default()
        };
        self.try_restore(request).await.unwrap()
    }

    async fn try_restore(
        &mut self,
        request: v1::RestoreCheckpointRequest,
    ) -> Result<v1::RestoreCheckpointResponse, tonic::Status> {
        let restored = self.client.checkpoints.restore_checkpoint(request).await;
        restored.map(tonic::Response::into_inner)
    }

    async fn diff(
        &mut self,
        request: v1::DiffCheckpointRequest,
    ) -> (Vec<v1::FileChange>, v1::ChangeSummary) {
        let stream = self.client.checkpoints.diff_checkpoint(request).await;
        let mut stream = stream.unwrap().into_inner();
        let mut changes = Vec::new();
        while let Some(answer) = stream.message().await.unwrap() {
            match answer.item.unwrap() {
                v1::diff_checkpoint_response::Item::Change(change) => changes.push(change),
                v1::diff_checkpoint_response::Item::Summary(summary) => return (changes, summary),
            }
        }
        panic!("a diff ends with its account");
    }

    fn tree(&self) -> Tree {
        Tree::read(self.workspace)
    }
}

/// One random story: build, save, change, look, bring back, and bring that back.
async fn random_story(place: &Place, seed: u64) {
    let folder = workspace();
    let mut story = Story::begin(place, folder.path(), v1::CreateSessionRequest::default()).await;
    let mut writer = Writer::new(seed);
    let built = story.run(&writer.script(folder.path(), 40)).await;
    assert!(built.finished.is_some());
    let first = story.tree();
    let saved = story.save().await;
    story.run(&writer.script(folder.path(), 25)).await;
    let second = story.tree();
    let dry = story
        .try_restore(v1::RestoreCheckpointRequest {
            checkpoint_id: saved.checkpoint_id.clone(),
            dry_run: true,
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(
        story.tree(),
        second,
        "seed {seed}: a dry run changes nothing"
    );
    let restored = story.restore(&saved.checkpoint_id).await;
    assert_eq!(restored.changes, dry.changes, "seed {seed}");
    assert_eq!(story.tree().differences(&first), "", "seed {seed}: undone");
    let again = story.restore(&restored.pre_restore_checkpoint_id).await;
    assert_eq!(
        story.tree().differences(&second),
        "",
        "seed {seed}: undo undone"
    );
    assert_eq!(again.changes.len(), restored.changes.len(), "seed {seed}");
}

async fn random_stories(place: &Place, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        random_story(place, seed).await;
    }
}

#[tokio::test]
async fn random_trees_come_back_on_this_machine() {
    random_stories(&local(), 0..16).await;
}

#[tokio::test]
async fn random_trees_come_back_through_ssh() {
    random_stories(&ssh(), 100..108).await;
}

#[tokio::test]
async fn random_trees_come_back_in_containers() {
    random_stories(&docker("execgate-test-runtime"), 200..205).await;
}

#[tokio::test]
async fn random_trees_come_back_where_there_is_only_busybox() {
    random_stories(&docker("execgate-test-busybox"), 300..305).await;
}

/// What is left out, on whatever target, and that a restore leaves it alone.
async fn leaves_out(place: &Place) {
    let folder = workspace();
    let mut story = Story::begin(place, folder.path(), v1::CreateSessionRequest::default()).await;
    let script = "umask 022; mkdir -p .ssh node_modules/x src; echo k >.ssh/id; echo p >.env
        echo m >node_modules/x/m; echo s >src/s; echo l >src/a.log; mkfifo pipe
        dd if=/dev/zero of=big bs=1024 count=1100 2>/dev/null";
    story.run(script).await;
    let saved = story
        .try_save(v1::CreateCheckpointRequest {
            ignore: vec![
                "*.log".to_owned(),
                "!node_modules/".to_owned(),
                "!.env".to_owned(),
            ],
            ..Default::default()
        })
        .await;
    let mut omitted: Vec<(String, v1::OmissionReason)> = saved
        .omitted
        .iter()
        .map(|file| {
            (
                String::from_utf8(file.path.to_vec()).unwrap(),
                file.reason(),
            )
        })
        .collect();
    omitted.sort();
    use v1::OmissionReason as Reason;
    let expected = [
        (".env", Reason::Secret),
        (".ssh/", Reason::Secret),
        ("big", Reason::TooLarge),
        ("pipe", Reason::SpecialFile),
        ("src/a.log", Reason::Ignored),
    ];
    assert_eq!(
        omitted,
        expected.map(|(path, reason)| (path.to_owned(), reason))
    );
    assert_eq!((saved.file_count, saved.omitted_count), (2, 5));
    story
        .run("rm -r node_modules src/s; echo new >.env; echo new >src/a.log; echo x >big; mkdir d; echo e >d/.env; echo y >d/y")
        .await;
    let restored = story.restore(&saved.checkpoint_id).await;
    let left = story
        .run("cat .env src/a.log big src/s node_modules/x/m; ls -A d")
        .await;
    // `big` was too large to be saved and is small now: unknown files are removed, after
    // they were saved.
    assert_eq!(stdout(&left), "new\nnew\ns\nm\n.env\n");
    let back = story.restore(&restored.pre_restore_checkpoint_id).await;
    assert_eq!(stdout(&story.run("cat big; ls -A d").await), "x\n.env\ny\n");
    assert_eq!(back.left_alone_count, 0);
}

#[tokio::test]
async fn secrets_build_output_and_large_files_are_left_out_and_left_alone() {
    for place in [local(), ssh(), docker("execgate-test-busybox")] {
        leaves_out(&place).await;
    }
}

/// `rm -rf` of the workspace itself, and of a directory on the way to a path.
async fn comes_back_from_nothing(place: &Place) {
    let folder = workspace();
    let inner = folder.path().join("project");
    std::fs::create_dir(&inner).unwrap();
    std::os::unix::fs::chown(&inner, Some(65_534), Some(65_534)).unwrap();
    let mut story = Story::begin(place, &inner, v1::CreateSessionRequest::default()).await;
    story
        .run("umask 022; mkdir -p a/b; echo one >a/b/one; echo two >two")
        .await;
    let first = story.tree();
    let saved = story.save().await;
    story.run("cd /; rm -rf \"$OLDPWD\"").await;
    assert!(!inner.exists());
    story.restore(&saved.checkpoint_id).await;
    assert_eq!(story.tree().differences(&first), "");
    story
        .run(&format!("cd {}; rm -r a; rm two", inner.display()))
        .await;
    let part = v1::RestoreCheckpointRequest {
        checkpoint_id: saved.checkpoint_id.clone(),
        paths: vec![b"a/b".to_vec().into()],
        ..Default::default()
    };
    story.try_restore(part).await.unwrap();
    assert_eq!(stdout(&story.run("find . -type f").await), "./a/b/one\n");
}

#[tokio::test]
async fn a_workspace_that_was_removed_comes_back() {
    for place in [local(), ssh(), docker("execgate-test-busybox")] {
        comes_back_from_nothing(&place).await;
    }
}

#[tokio::test]
async fn a_diff_tells_what_changed_and_hides_secrets() {
    let place = local();
    let folder = workspace();
    let mut story = Story::begin(&place, folder.path(), v1::CreateSessionRequest::default()).await;
    story
        .run("umask 022; echo one >a; printf '\\0' >b; echo x >m")
        .await;
    let saved = story.save().await;
    let token = format!("ghp_{}", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    let changed = format!("echo two >>a; echo {token} >>a; printf '\\1' >b; chmod 600 m; mkdir d");
    story.run(&changed).await;
    let request = v1::DiffCheckpointRequest {
        checkpoint_id: saved.checkpoint_id,
        against: Some(v1::diff_checkpoint_request::Against::Workspace(
            v1::AgainstWorkspace::default(),
        )),
        max_patch_bytes: 10_000,
        ..Default::default()
    };
    let (changes, summary) = story.diff(request).await;
    let seen: Vec<(&[u8], v1::ChangeKind, bool)> = changes
        .iter()
        .map(|change| (&change.path[..], change.kind(), change.binary))
        .collect();
    use v1::ChangeKind as Kind;
    assert_eq!(
        seen,
        [
            (&b"a"[..], Kind::Modified, false),
            (b"b", Kind::Modified, true),
            (b"d", Kind::Added, false),
            (b"m", Kind::ModeChanged, false),
        ]
    );
    assert_eq!(
        (summary.added, summary.modified, summary.deleted),
        (1, 3, 0)
    );
    let patch = String::from_utf8(changes[0].patch.to_vec()).unwrap();
    assert!(
        patch.starts_with("--- a/a\n+++ b/a\n@@ -1 +1,3 @@\n one\n+two\n+"),
        "{patch}"
    );
    assert!(!patch.contains(&token), "{patch}");
}

#[tokio::test]
async fn automatic_checkpoints_are_made_before_what_writes_and_only_where_something_changed() {
    let place = local();
    let folder = workspace();
    let request = v1::CreateSessionRequest {
        checkpoints: v1::CheckpointMode::Auto.into(),
        ..Default::default()
    };
    let mut story = Story::begin(&place, folder.path(), request).await;
    story.run("echo one >a").await;
    story.run("cat a").await;
    story.run("echo two >a").await;
    story.run("touch -c a").await;
    story.run("touch -c nothing").await;
    let session = story.session.clone();
    let list = v1::ListCheckpointsRequest {
        session_id: session.clone(),
        ..Default::default()
    };
    let listed = story
        .client
        .checkpoints
        .list_checkpoints(list)
        .await
        .unwrap();
    let listed = listed.into_inner().checkpoints;
    // Empty, with one, with two; neither before `cat` nor where nothing had changed.
    let digests: std::collections::BTreeSet<_> = listed.iter().map(|c| &c.content_digest).collect();
    assert_eq!((listed.len(), digests.len()), (3, 3));
    assert!(
        listed
            .iter()
            .all(|c| c.trigger() == v1::CheckpointTrigger::BeforeExecution)
    );
    let one = listed.get(1).unwrap().checkpoint_id.clone();
    story.restore(&one).await;
    assert_eq!(stdout(&story.run("cat a").await), "one\n");
    let argv = v1::execution_spec::Command::Argv(v1::Argv {
        arguments: ["rm", "a"].map(str::to_owned).to_vec(),
    });
    let removed = story
        .client
        .try_run(v1::RunRequest {
            session_id: session,
            spec: Some(v1::ExecutionSpec {
                command: Some(argv),
                ..Default::default()
            }),
            ..Default::default()
        })
        .await
        .unwrap();
    assert!(removed.finished.is_some());
    assert!(!folder.path().join("a").exists());
    story.restore(&one).await;
    assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"one\n");
}

#[tokio::test]
async fn restores_wait_for_nobody_and_are_refused_while_commands_run() {
    let place = local();
    let folder = workspace();
    let mut story = Story::begin(&place, folder.path(), v1::CreateSessionRequest::default()).await;
    let saved = story.save().await;
    let session = story.session.clone();
    let _running = story
        .client
        .exec(&session, "sleeper", "echo x >f; sleep 60")
        .await;
    let request = v1::RestoreCheckpointRequest {
        checkpoint_id: saved.checkpoint_id.clone(),
        ..Default::default()
    };
    let busy = refused(story.try_restore(request.clone()).await);
    assert_eq!(
        (busy.code, busy.reason.as_str()),
        (Code::FailedPrecondition, "SESSION_BUSY")
    );
    let while_running = v1::RestoreCheckpointRequest {
        while_running: true,
        ..request
    };
    story.try_restore(while_running).await.unwrap();
    let bare = v1::CreateCheckpointRequest {
        session_id: {
            story.client.session("bare").await;
            "bare".to_owned()
        },
        ..Default::default()
    };
    let bare = story.client.checkpoints.create_checkpoint(bare).await;
    let bare = refused(bare);
    assert_eq!(
        (bare.code, bare.reason.as_str()),
        (Code::FailedPrecondition, "WORKSPACE_REQUIRED")
    );
}
