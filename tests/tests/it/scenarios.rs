//! Stories that every client tells (tests/scenarios), told through the Rust one.

mod asked;
mod seen;
mod story;
mod teller;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use execgate_client::proto::create_session_request::Target;

use crate::support::Server;

/// Longer than any story takes, so that a hang becomes a failure.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

macro_rules! stories {
    ($($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                tell(stringify!($name)).await;
            }
        )*

        #[test]
        fn every_story_is_told() {
            let told = BTreeSet::from([$(stringify!($name).to_owned()),*]);
            let written = fs::read_dir(folder()).unwrap().filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".toml").map(str::to_owned)
            });
            assert_eq!(written.collect::<BTreeSet<_>>(), told);
        }
    };
}

stories! {
    argv, binary, budget, busy, cancel, denial, files, redaction, restart, signals, state, stdin,
    streaming, terminal, timeout, unicode,
}

async fn tell(name: &str) {
    tell_on(&Server::start(), name, None).await;
}

/// Tells a story on a kind of target.
pub(crate) async fn tell_on(server: &Server, name: &str, target: Option<Target>) {
    let text = fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap();
    let story: story::Story = story::read(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    let telling = teller::tell(server, story, target);
    tokio::time::timeout(LIMIT, telling)
        .await
        .unwrap_or_else(|_| panic!("{name}: not at its end after {LIMIT:?}"));
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

#[test]
fn what_no_story_may_say_is_an_error() {
    let refused = [
        "about = ''\nsurprise = 1\nstep = []",
        "about = ''\nstep = [{ run = 'true', expects = {} }]",
        "about = ''\nstep = [{ run = 'true', exec = 'true' }]",
        "about = ''\nstep = [{ run = 'true', until = 'x' }]",
        "about = ''\nstep = [{ run = 'true', expect = { next_offset = 1 } }]",
        "about = ''\nstep = [{ run = 'true', with = { timeot = '1s' } }]",
        "about = ''\nstep = [{ run = 'true', with = { timeout = '1 parsec' } }]",
        "about = ''\nstep = [{ run = 'true', expect = { stdot = 'x' } }]",
        "about = ''\nstep = [{ run = 'true', expect = { stdout = { hexx = '00' } } }]",
        "about = ''\nstep = [{ run = 'true', expect = { error = { reason = 'X' } } }]",
    ];
    for text in refused {
        let story = story::read(text);
        assert!(story.is_err(), "{text}: {story:?}");
    }
}
