//! Commands that try to break the framing. After each, the next command gives its own
//! right result, in the same shell or in one that was restarted. Nothing hangs.

use execgate_proto::v1;

use super::Target;
use crate::support::{run_request, stdout};

/// Shells that every target has.
pub(super) const SHELLS: [&str; 2] = ["bash", "dash"];

/// Scripts, and whether a restarted shell is an acceptable price.
const SABOTAGE: [(&str, bool); 24] = [
    ("echo hi # comment", false),
    ("cat <<X\nfoo", false),
    ("echo \"abc", false),
    ("echo $(", false),
    ("set -u; set -x; set -v; set -f", false),
    ("exec >/dev/null", false),
    ("exec 1>&-", false),
    ("exec 0<&-", false),
    ("exec 8>&- 9>&-", false),
    ("IFS=0123456789", false),
    ("PATH=", false),
    ("printf(){ :; }", false),
    ("kill(){ :; }; sleep(){ :; }", false),
    ("trap 'echo bye' EXIT", false),
    ("cat", false),
    ("read x", false),
    ("readonly IFS PWD", false),
    ("(sleep 0.3; echo later) &", false),
    ("set -e; false", true),
    ("exit 3", true),
    ("kill -9 $$", true),
    ("kill -STOP $$", false),
    ("exec cat", true),
    ("command(){ :; }", true),
];

pub(super) async fn try_all(target: &Target, shell: &str) {
    let mut client = target.open.client().await;
    for (n, (script, may_restart)) in SABOTAGE.iter().enumerate() {
        let id = format!("sabotage-{shell}-{n}");
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
            seconds: 10,
            nanos: 0,
        });
        let ended = client.try_run(broken).await.unwrap();
        let finished = ended.finished.unwrap();
        assert_ne!(finished.cause(), v1::Cause::Timeout, "{shell}: {script}");
        let next = client
            .run(&id, "command printf '%s|' right \"${kept-}\"")
            .await;
        let said = stdout(&next);
        let survived = said == "right|yes|";
        let restarted = said == "right||" && next.finished.unwrap().generation > 1;
        assert!(
            survived || (*may_restart && restarted),
            "{shell}: {script}: {said:?}"
        );
        let close = v1::CloseSessionRequest {
            session_id: id,
            ..Default::default()
        };
        client.sessions.close_session(close).await.unwrap();
    }
}
