//! What goes wrong: the server's death, a full disk, two at once, files that change, limits,
//! links that lead elsewhere.

use execgate_proto::v1;
use tempfile::TempDir;
use tonic::Code;
use v1::create_session_request::Target as Wanted;

use super::trees::Tree;
use super::{Place, Story, local, ssh, workspace};
use crate::support::{Server, refused, stdout};

#[tokio::test]
async fn a_restore_that_the_servers_death_cut_short_is_finished_by_a_repeat() {
    let mut place = local();
    let folder = workspace();
    let script =
        "umask 022; mkdir a b; i=0; while [ $i -lt 3000 ]; do echo $i >a/$i; i=$((i+1)); done";
    let (saved, first, second);
    {
        let mut story =
            Story::begin(&place, folder.path(), v1::CreateSessionRequest::default()).await;
        story.run(script).await;
        first = story.tree();
        saved = story.save().await;
        story
            .run("rm -r a; mkdir c; echo x >c/x; echo y >b/y")
            .await;
        second = story.tree();
        let stores = std::fs::read_dir(place.server.data_dir.join("checkpoints")).unwrap();
        let journal = stores.map(|entry| entry.unwrap().path()).next().unwrap();
        let journal = journal.join("restore.json");
        let mut other = place.server.client().await;
        let request = v1::RestoreCheckpointRequest {
            checkpoint_id: saved.checkpoint_id.clone(),
            ..Default::default()
        };
        let restoring =
            tokio::spawn(async move { other.checkpoints.restore_checkpoint(request).await });
        while !journal.exists() {
            tokio::task::yield_now().await;
        }
        place.server.kill();
        assert!(restoring.await.unwrap().is_err());
        assert!(journal.exists());
    }
    place.server.kill_and_restart();
    let mut story = Story::begin(&place, folder.path(), v1::CreateSessionRequest::default()).await;
    let restored = story.restore(&saved.checkpoint_id).await;
    assert_eq!(story.tree().differences(&first), "");
    story.restore(&restored.pre_restore_checkpoint_id).await;
    // The state before the first attempt.
    assert_eq!(story.tree().differences(&second), "");
}

/// A small file system of its own.
struct Small(TempDir);

impl Small {
    fn mount(options: &str) -> Self {
        let folder = workspace();
        let mut mount = std::process::Command::new("mount");
        let done = mount
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(folder.path());
        assert!(done.status().unwrap().success(), "mounts need root");
        Self(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // What is left is gone with the machine.
        let _left = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

#[tokio::test]
async fn a_full_disk_leaves_the_workspace_as_it_was() {
    let small = Small::mount("size=600k,mode=777");
    for place in [local(), ssh()] {
        let path = small.0.path();
        let mut story = Story::begin(&place, path, v1::CreateSessionRequest::default()).await;
        story
            .run("umask 022; dd if=/dev/urandom of=a bs=1000 count=300 2>/dev/null")
            .await;
        let first = story.tree();
        let saved = story.save().await;
        story
            .run("rm a; dd if=/dev/urandom of=b bs=1000 count=400 2>/dev/null")
            .await;
        let second = story.tree();
        let request = v1::RestoreCheckpointRequest {
            checkpoint_id: saved.checkpoint_id.clone(),
            ..Default::default()
        };
        let full = refused(story.try_restore(request).await);
        assert_eq!(
            (full.code, full.reason.as_str()),
            (Code::Unavailable, "CHECKPOINT_FAILED")
        );
        assert_eq!(story.tree().differences(&second), "");
        story.run("rm b").await;
        story.restore(&saved.checkpoint_id).await;
        assert_eq!(story.tree().differences(&first), "");
        story.run("rm a").await;
    }
}

#[tokio::test]
async fn two_restores_at_once_are_one_and_a_refusal() {
    let place = local();
    let folder = workspace();
    let mut story = Story::begin(&place, folder.path(), v1::CreateSessionRequest::default()).await;
    let script = "umask 022; i=0; while [ $i -lt 500 ]; do echo $i >$i; i=$((i+1)); done";
    story.run(script).await;
    let first = story.tree();
    let saved = story.save().await;
    story.run("rm -f *").await;
    let restore = || {
        let (mut client, checkpoint_id) = (story.client.clone(), saved.checkpoint_id.clone());
        let request = v1::RestoreCheckpointRequest {
            checkpoint_id,
            ..Default::default()
        };
        async move { client.checkpoints.restore_checkpoint(request).await }
    };
    let (one, other) = tokio::join!(restore(), restore());
    let mut done = 0;
    for result in [one, other] {
        match result {
            Ok(_) => done += 1,
            Err(status) => {
                let busy = refused::<()>(Err(status));
                assert_eq!(
                    (busy.code, busy.reason.as_str()),
                    (Code::Aborted, "CHECKPOINT_BUSY")
                );
            }
        }
    }
    assert!(done >= 1);
    assert_eq!(story.tree().differences(&first), "");
}

#[tokio::test]
async fn files_that_change_while_they_are_read_are_whole_or_named() {
    for place in [local(), ssh()] {
        let folder = workspace();
        let mut story =
            Story::begin(&place, folder.path(), v1::CreateSessionRequest::default()).await;
        story
            .run("echo calm >calm; (while :; do echo xxxxxxxxxxxxxxx >>log; done) & sleep 0.1")
            .await;
        for _ in 0..5 {
            let saved = story.save().await;
            // It may also have grown too large meanwhile.
            let named = saved.omitted.iter().any(|file| &file.path[..] == b"log");
            assert_eq!(saved.file_count + u64::from(named), 2, "{saved:?}");
        }
        story.run("kill %1; wait").await;
    }
}

#[tokio::test]
async fn what_nobody_asked_for_goes_first_and_requests_are_refused_at_the_limit() {
    let config = "[policy]\nname = \"open\"\n[checkpoints]\nkeep = 3\n";
    let place = Place {
        server: Server::start_with(config),
        wanted: Wanted::Local(v1::LocalTarget::default()),
        _keep: Box::new(()),
    };
    let folder = workspace();
    let request = v1::CreateSessionRequest {
        checkpoints: v1::CheckpointMode::Every.into(),
        ..Default::default()
    };
    let mut story = Story::begin(&place, folder.path(), request).await;
    let kept = story.save().await;
    for number in 0..8 {
        story.run(&format!("echo {number} >file")).await;
    }
    let listed = story
        .client
        .checkpoints
        .list_checkpoints(v1::ListCheckpointsRequest::default());
    let listed = listed.await.unwrap().into_inner().checkpoints;
    // The newest may still be on its way to be counted.
    assert!((3..=4).contains(&listed.len()), "{}", listed.len());
    assert!(listed.contains(&kept));
    for _ in 0..2 {
        story.run("date >file").await;
        story.save().await;
    }
    let request = v1::CreateCheckpointRequest {
        session_id: story.session.clone(),
        ..Default::default()
    };
    let full = refused(story.client.checkpoints.create_checkpoint(request).await);
    assert_eq!(
        (full.code, full.reason.as_str()),
        (Code::ResourceExhausted, "CHECKPOINT_LIMIT")
    );
}

#[tokio::test]
async fn links_lead_no_restore_out_of_the_workspace() {
    let place = local();
    let (folder, outside) = (workspace(), workspace());
    let mut story = Story::begin(&place, folder.path(), v1::CreateSessionRequest::default()).await;
    story
        .run("umask 022; mkdir -p d/e; echo in >d/e/file")
        .await;
    let saved = story.save().await;
    let precious = outside.path().join("e");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("other"), "precious").unwrap();
    let before = Tree::read(outside.path());
    story
        .run(&format!("rm -r d; ln -s {} d", outside.path().display()))
        .await;
    story.restore(&saved.checkpoint_id).await;
    assert_eq!(Tree::read(outside.path()), before);
    assert_eq!(
        stdout(&story.run("cat d/e/file; [ -h d ] || echo directory").await),
        "in\ndirectory\n"
    );
}
