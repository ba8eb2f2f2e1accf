//! Files in and out through the Rust client, where the shared story does not go.

use std::future::IntoFuture;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use execgate_client::{Command, Error, FileErrorReason, Session, Source};
use tempfile::TempDir;

use crate::client::connect;
use crate::support::Server;

/// A session in a directory of its own that it may write to.
async fn session(server: &Server) -> (Session, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let cwd = folder.path().to_str().unwrap();
    let session = connect(server).await.session().cwd(cwd).await.unwrap();
    (session, folder)
}

async fn text(session: &Session, script: &str) -> String {
    let result = session.run(script).await.unwrap();
    result.stdout_text().into_owned()
}

fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> FileErrorReason {
    match result.unwrap_err() {
        Error::File(error) => error.reason,
        other => panic!("{other:?}"),
    }
}

/// Bytes that repeat nowhere soon.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn every_size_around_a_piece_comes_back_as_it_went() {
    let server = Server::start();
    let (session, folder) = session(&server).await;
    for length in [0, 1, 65_536, 1_048_575, 1_048_576, 1_048_577, 5_000_000] {
        let data = noise(length);
        let written = session.put(data.clone(), "file").await.unwrap();
        let local = folder.path().join("back");
        let read = session.get("file").to_file(&local).await.unwrap();
        assert_eq!((written.size, read.size), (length as u64, length as u64));
        assert_eq!((written.verified, read.verified), (true, true), "{length}");
        assert_eq!(written.sha256, read.sha256, "{length}");
        assert!(std::fs::read(&local).unwrap() == data, "{length}");
    }
}

#[tokio::test]
async fn readers_and_writers_do_as_well_as_files() {
    let server = Server::start();
    let (session, _folder) = session(&server).await;
    let data = noise(3_000_000);
    let source = Source::reader(Cursor::new(data.clone()));
    session.put(source, "file").await.unwrap();
    let mut back = Vec::new();
    let read = session.get("file").to_writer(&mut back).await.unwrap();
    assert_eq!(read.size, 3_000_000);
    assert!(back == data);
    assert!(session.get("file").bytes().await.unwrap() == data);
}

#[tokio::test]
async fn mode_is_the_given_one_or_that_of_the_file_replaced() {
    let server = Server::start();
    let (session, _folder) = session(&server).await;
    let put = session.put(b"x", "f").mode(0o751).await.unwrap();
    assert_eq!(put.mode, Some(0o751));
    let put = session.put(b"y", "f").await.unwrap();
    assert_eq!(put.mode, Some(0o751));
    let seen = text(&session, "umask 027; stat -c %a f; cat f").await;
    assert_eq!(seen, "751\ny");
}

#[tokio::test]
async fn link_is_written_through_and_missing_folders_are_made_if_wanted() {
    let server = Server::start();
    let (session, _folder) = session(&server).await;
    session
        .run("echo old >real; ln -s real link")
        .await
        .unwrap();
    session.put(b"new", "link").await.unwrap();
    assert_eq!(text(&session, "cat real; readlink link").await, "newreal\n");
    let refused = session.put(b"x", "a/b/c").without_parents().await;
    assert_eq!(reason(refused), FileErrorReason::NotFound);
    session.put(b"x", "a/b/c").await.unwrap();
    assert_eq!(text(&session, "cat a/b/c").await, "x");
}

#[tokio::test]
async fn what_cannot_be_done_says_why_and_changes_nothing() {
    let server = Server::start();
    let (session, folder) = session(&server).await;
    let local = folder.path().join("local");
    let cases = [
        (
            reason(session.get("absent").to_file(&local).await),
            FileErrorReason::NotFound,
        ),
        (
            reason(session.get(".").to_file(&local).await),
            FileErrorReason::NotRegular,
        ),
        (
            reason(session.get("/dev/null").to_file(&local).await),
            FileErrorReason::NotRegular,
        ),
        (
            reason(session.put(b"x", "/proc/x/y").await),
            FileErrorReason::NotFound,
        ),
        (
            reason(session.put(b"x", "/proc/x").await),
            FileErrorReason::NotWritable,
        ),
    ];
    for (seen, expected) in cases {
        assert_eq!(seen, expected);
    }
    let absent = session.put(Path::new("/nowhere/at/all"), "f").await;
    assert!(matches!(absent, Err(Error::LocalFile { .. })), "{absent:?}");
    assert_eq!(text(&session, "ls -A").await, "");
}

#[tokio::test]
async fn file_that_changes_while_it_is_read_is_no_file() {
    let server = Server::start();
    let (session, folder) = session(&server).await;
    let script = "head -c 20000000 /dev/zero >f; while :; do echo more >>f; done & echo $!";
    session.run(script).await.unwrap();
    let local = folder.path().join("local");
    let read = session.get("f").to_file(&local).await;
    assert_eq!(reason(read), FileErrorReason::Changed);
    assert!(!local.exists());
    session.run("kill %1").await.unwrap();
}

#[tokio::test]
async fn put_that_is_given_up_leaves_nothing_behind() {
    let server = Server::start();
    let (session, folder) = session(&server).await;
    session.put(b"old", "f").await.unwrap();
    let put = session.put(noise(200_000_000), "f").into_future();
    let begun = async {
        while std::fs::read_dir(folder.path()).unwrap().count() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        biased;
        () = begun => {}
        done = put => panic!("200 MB before anybody looked: {done:?}"),
    }
    // The script cleans up when it is told to end, which is soon, but not at once.
    let gone =
        "for i in $(seq 100); do [ \"$(ls -A)\" = f ] && break; sleep 0.1; done; ls -A; cat f";
    assert_eq!(text(&session, gone).await, "f\nold");
}

#[tokio::test]
async fn transfers_run_beside_a_script_and_are_recorded() {
    let server = Server::start();
    let (session, _folder) = session(&server).await;
    let running = session.exec("sleep 1; cat f").await.unwrap();
    session.put(b"beside", "f").await.unwrap();
    assert_eq!(running.result().await.unwrap().stdout_text(), "beside");
    let again = Command::script("cat f").queue_if_busy();
    assert_eq!(session.run(again).await.unwrap().stdout_text(), "beside");
}
