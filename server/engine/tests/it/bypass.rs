//! The kernel's fence against the corpus of bypasses, with no policy reading anything: what
//! runs a denied program where there is no fence must not run it behind one.
//!
//! `EXECGATE_TEST_BYPASSES=all` takes every script, else the first of each technique.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use execgate_core::policy::Policy;
use execgate_engine::session::Session;
use serde::Deserialize;

use crate::support::{Gate, argv, defaults, finish};

/// Of those that run without a fence, as many must be stopped by it; in hundredths.
const STOPPED: usize = 98;

/// How long one script may take; some wait for what never comes.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Corpus {
    technique: Vec<Technique>,
}

#[derive(Deserialize)]
struct Technique {
    name: String,
    scripts: Vec<Steps>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Steps {
    One(String),
    Several(Vec<String>),
}

impl Steps {
    /// In one shell, what stands in several executions of one session.
    fn script(self) -> String {
        match self {
            Self::One(script) => script,
            Self::Several(scripts) => scripts.join("\n"),
        }
    }
}

fn corpus() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/policy");
    let every = std::env::var("EXECGATE_TEST_BYPASSES").is_ok_and(|wanted| wanted == "all");
    let take = if every { usize::MAX } else { 1 };
    let mut cases = Vec::new();
    for file in ["bypass-shell.toml", "bypass-programs.toml"] {
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        let corpus: Corpus = toml::from_str(&text).unwrap();
        for technique in corpus.technique {
            let scripts = technique.scripts.into_iter().take(take);
            cases.extend(scripts.map(|steps| (technique.name.clone(), steps.script())));
        }
    }
    cases
}

/// Whether the script's `rm` removed the file that stands in its directory.
async fn removes(gate: &Gate, session: &Session, script: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let victim: PathBuf = dir.path().join("victim");
    std::fs::write(&victim, "").unwrap();
    std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o666)).unwrap();
    let program =
        "import subprocess, sys; subprocess.run(['bash', '-c', sys.argv[1]], cwd=sys.argv[2])";
    let place = dir.path().display().to_string();
    let mut command = argv(&["python3", "-c", program, script, &place]);
    command.timeout = Some(LIMIT);
    command.grace = Duration::ZERO;
    finish(gate.start(session, command).await).await;
    !victim.exists()
}

#[tokio::test]
async fn the_kernel_alone_stops_what_no_policy_reads() {
    let open = Gate::open().await;
    let no_rm = "default = \"allow\"\nunresolved = \"allow\"\n\
        [[rule]]\nid = \"no-rm\"\neffect = \"deny\"\nprogram = \"rm\"\n";
    let fenced = Gate::with_policy(Policy::from_toml(no_rm).unwrap()).await;
    let (free, kept) = (
        open.session(defaults()).await,
        fenced.session(defaults()).await,
    );
    let (mut executing, mut through) = (0, Vec::new());
    for (technique, script) in corpus() {
        if !removes(&open, &free, &script).await {
            continue;
        }
        executing += 1;
        if removes(&fenced, &kept, &script).await {
            through.push(format!("{technique}: {script}"));
        }
    }
    println!(
        "{executing} scripts run rm; behind the fence {}: {through:#?}",
        through.len()
    );
    assert!(executing > 30, "only {executing} scripts run anything here");
    assert!(
        through.len() * 100 <= executing * (100 - STOPPED),
        "{} of {executing}: {through:#?}",
        through.len()
    );
}
