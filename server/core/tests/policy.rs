//! The corpora of the policy: what must be denied is, and real work is not.
//!
//! `scripts/prove-bypasses` shows that each bypass really runs `rm` where nothing stops it.

#![expect(clippy::unwrap_used, reason = "what fails in here is to fail the test")]

use execgate_core::policy::{Dialect, Policy, Question, SessionNames, Verdict};
use serde::Deserialize;

/// The smallest policy there is: it denies one program.
const NO_RM: &str = "default = \"allow\"\nunresolved = \"deny\"\n\
    [[rule]]\nid = \"no-rm\"\neffect = \"deny\"\nprogram = \"rm\"\nreason = \"move it to trash/\"\n";

#[derive(Deserialize)]
struct Bypasses {
    technique: Vec<Technique>,
}

#[derive(Deserialize)]
struct Technique {
    name: String,
    named: bool,
    scripts: Vec<Steps>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Steps {
    One(String),
    Several(Vec<String>),
}

impl Steps {
    fn all(&self) -> &[String] {
        match self {
            Self::One(script) => std::slice::from_ref(script),
            Self::Several(scripts) => scripts,
        }
    }
}

#[derive(Deserialize)]
struct Harmless {
    kind: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    name: String,
    scripts: Vec<String>,
}

fn bypasses() -> Vec<Technique> {
    let texts = [
        include_str!("policy/bypass-shell.toml"),
        include_str!("policy/bypass-programs.toml"),
    ];
    let parsed = texts.map(|text| toml::from_str::<Bypasses>(text).unwrap().technique);
    parsed.into_iter().flatten().collect()
}

fn harmless() -> Vec<Kind> {
    let text = include_str!("policy/harmless.toml");
    toml::from_str::<Harmless>(text).unwrap().kind
}

/// Whether one of the executions of a session is denied.
fn is_denied(policy: &Policy, steps: &Steps) -> bool {
    let mut names = SessionNames::default();
    steps.all().iter().any(|script| {
        let judgement = policy.judge(&Question {
            names: &names.clone(),
            ..Question::script(Dialect::Bash, script)
        });
        names.learn(&judgement.defined);
        !judgement.verdict.is_allowed()
    })
}

#[test]
fn bypasses_are_denied() {
    let policy = Policy::from_toml(NO_RM).unwrap();
    let (mut all, mut denied) = ([0_usize; 2], [0_usize; 2]);
    let mut missed = Vec::new();
    let techniques = bypasses();
    for technique in &techniques {
        for steps in &technique.scripts {
            let kind = usize::from(technique.named);
            all[kind] += 1;
            match is_denied(&policy, steps) {
                true => denied[kind] += 1,
                false => missed.push(format!("{}: {:?}", technique.name, steps.all())),
            }
        }
    }
    println!(
        "{} techniques; named: {} of {}; all: {} of {}",
        techniques.len(),
        denied[1],
        all[1],
        denied[0] + denied[1],
        all[0] + all[1],
    );
    assert!(techniques.len() >= 60 && all[0] + all[1] >= 300);
    assert!(missed.is_empty(), "{} allowed: {missed:#?}", missed.len());
}

#[test]
fn real_work_is_allowed() {
    let policies = [Policy::from_toml(NO_RM).unwrap(), Policy::guard()];
    for policy in policies {
        let (mut all, mut wrong) = (0, Vec::new());
        for kind in harmless() {
            for script in &kind.scripts {
                all += 1;
                if let Verdict::Denied(denial) = policy.judge_script(script) {
                    wrong.push(format!("{}: {script:?}: {}", kind.name, denial.reason));
                }
            }
        }
        println!(
            "{}: {} of {all} denied: {wrong:#?}",
            policy.name(),
            wrong.len()
        );
        assert!(all >= 150);
        assert!(
            wrong.len() * 50 <= all,
            "{} of {all}: {wrong:#?}",
            wrong.len()
        );
    }
}
