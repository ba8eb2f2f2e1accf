//! What is kept of checkpoints, for how long, and who can read it.

use execgate_proto::v1;
use tonic::Code;

use super::{Story, local, workspace};
use crate::support::{refused, stdout};

#[tokio::test]
async fn checkpoints_outlive_session_and_server_and_begin_new_sessions_elsewhere() {
    let mut place = local();
    let folder = workspace();
    let saved;
    {
        let mut story =
            Story::begin(&place, folder.path(), v1::CreateSessionRequest::default()).await;
        story.run("umask 022; mkdir d; echo kept >d/file").await;
        saved = story.save().await;
    }
    place.server.kill_and_restart();
    let elsewhere = workspace();
    let target = elsewhere.path().join("new");
    std::fs::create_dir(&target).unwrap();
    std::os::unix::fs::chown(&target, Some(65_534), Some(65_534)).unwrap();
    let request = v1::CreateSessionRequest {
        from_checkpoint: saved.checkpoint_id.clone(),
        ..Default::default()
    };
    let mut story = Story::begin(&place, &target, request).await;
    assert_eq!(
        stdout(&story.run("cat d/file; pwd").await),
        format!("kept\n{}\n", target.display())
    );
    let get = v1::GetCheckpointRequest {
        checkpoint_id: saved.checkpoint_id.clone(),
    };
    let got = story.client.checkpoints.get_checkpoint(get).await.unwrap();
    assert_eq!(got.into_inner().checkpoint.unwrap(), saved);
    let delete = v1::DeleteCheckpointRequest {
        checkpoint_id: saved.checkpoint_id.clone(),
    };
    let deleted = story
        .client
        .checkpoints
        .delete_checkpoint(delete.clone())
        .await;
    assert_eq!(deleted.unwrap().into_inner().checkpoint.unwrap(), saved);
    let again = story.client.checkpoints.delete_checkpoint(delete).await;
    let again = refused(again);
    assert_eq!(
        (again.code, again.reason.as_str()),
        (Code::NotFound, "CHECKPOINT_NOT_FOUND")
    );
}

#[tokio::test]
async fn any_git_can_read_the_store() {
    let place = local();
    let folder = workspace();
    let mut story = Story::begin(&place, folder.path(), v1::CreateSessionRequest::default()).await;
    story
        .run("umask 022; mkdir -p d/.git; echo ref >d/.git/HEAD; echo hello >file; mkdir e")
        .await;
    let saved = story.save().await;
    let stores = std::fs::read_dir(place.server.data_dir.join("checkpoints")).unwrap();
    let store = stores
        .map(|entry| entry.unwrap().path().join("git"))
        .next()
        .unwrap();
    let git = |words: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.arg("--git-dir").arg(&store).args(words);
        let done = git.output().unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    git(&["fsck", "--full"]);
    let name = format!("refs/execgate/{}", saved.checkpoint_id);
    assert_eq!(
        git(&["rev-parse", &format!("{name}^{{tree}}")]).trim_end(),
        saved.content_digest
    );
    assert_eq!(git(&["show", &format!("{name}:file")]), "hello\n");
    assert_eq!(git(&["show", &format!("{name}:d/.git%/HEAD")]), "ref\n");
}
