//! Commands that try to break the framing, as the engine's own tests have them. After each,
//! the next command gives its own right result, in the same shell or in one that was
//! restarted. Nothing hangs.

#[path = "../../../../server/engine/tests/it/sabotage/scripts.rs"]
mod scripts;

use std::time::Duration;

use execgate_proto::v1;
use futures::StreamExt;
use scripts::{Price, SABOTAGE};

use super::Target;
use crate::support::{Client, exit_code, run_request, stdout};

/// Scripts that are tried at once, each in a session of its own.
const AT_ONCE: usize = 4;

/// Longer than the shell waits that `TMOUT=1` ends.
const IDLE: Duration = Duration::from_millis(1500);

/// Says that the shell lives, whether it kept its state, and ends with a code of its own.
const PROBE: &str = "\\command echo alive \"${kept-}\"; (exit 7)";

pub(super) async fn try_all(target: &Target, shell: &str) {
    let client = target.open.client().await;
    let tried = SABOTAGE.iter().enumerate().map(|(n, (script, price))| {
        let id = format!("sabotage-{shell}-{n}");
        attempt(target, client.clone(), id, shell, script, *price)
    });
    let tried: Vec<_> = futures::stream::iter(tried)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let broken: Vec<_> = tried.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{shell}: {}", broken.join("; "));
}

/// What went wrong.
async fn attempt(
    target: &Target,
    mut client: Client,
    id: String,
    shell: &str,
    script: &str,
    price: Price,
) -> Option<String> {
    let request = v1::CreateSessionRequest {
        session_id: id.clone(),
        target: Some(target.wanted.clone()),
        shell: shell.to_owned(),
        ..Default::default()
    };
    client.sessions.create_session(request).await.unwrap();
    client.run(&id, "kept=yes").await;
    let mut broken = run_request(&id, script);
    broken.spec.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 5,
        nanos: 0,
    });
    let ended = client.try_run(broken).await.unwrap().finished.unwrap();
    // What happens between two commands must be survived too.
    if script.contains("TMOUT") {
        tokio::time::sleep(IDLE).await;
    }
    let mut next = client.run(&id, PROBE).await;
    if is_lost(&next) {
        // It never ran; the next one must run.
        next = client.run(&id, PROBE).await;
    }
    let said = ["T\n", "E\n", "later\n"]
        .iter()
        .fold(stdout(&next), |said, noise| said.replace(noise, ""));
    let restarted = next.finished.as_ref().unwrap().generation > 1;
    let kept = if restarted { "" } else { "yes" };
    let close = v1::CloseSessionRequest {
        session_id: id,
        ..Default::default()
    };
    client.sessions.close_session(close).await.unwrap();
    let is_timeout = ended.cause() == v1::Cause::Timeout;
    let holds = (said.as_str(), exit_code(&next)) == (&format!("alive {kept}\n"), Some(7))
        && (!(restarted || is_timeout) || price == Price::Restart);
    (!holds).then(|| format!("{script:?}: {ended:?} {next:?}"))
}

fn is_lost(result: &v1::ExecResult) -> bool {
    let outcome = result.finished.as_ref().unwrap().outcome.as_ref().unwrap();
    matches!(outcome.result, Some(v1::outcome::Result::Lost(_)))
}
