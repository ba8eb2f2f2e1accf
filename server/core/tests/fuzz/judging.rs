//! What may run: scripts, programs and policies of callers.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use execgate_core::policy::{
    Asked, Dialect, Judgement, Layer, MAX_COMMANDS, MAX_EXCERPT_BYTES, MAX_UNRESOLVED, Policy,
    PolicyStack, Question, Verdict,
};

use super::Input;

/// No judgement of so few bytes takes longer, on a machine that does much else.
const LONGEST: Duration = Duration::from_secs(10);

static POLICIES: LazyLock<[Policy; 3]> = LazyLock::new(|| {
    let lists = Policy::lists(&["ls".into(), "git".into()], &["rm".into()]);
    [Policy::guard(), Policy::strict(), lists.unwrap()]
});

/// Any script gets an answer, soon and the same one each time; layers only narrow.
pub(crate) fn script(data: &[u8]) {
    let mut input = Input(data);
    let dialect = match input.byte() % 2 {
        0 => Dialect::Bash,
        _ => Dialect::Posix,
    };
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    judged(&Question::script(dialect, &text), &text);
}

/// The same for a program with its arguments.
pub(crate) fn argv(data: &[u8]) {
    let words: Vec<String> = data
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    judged(&Question::argv(&words), &words.join(" "));
}

fn judged(question: &Question<'_>, text: &str) {
    let begun = Instant::now();
    let mut answers = Vec::new();
    for policy in POLICIES.iter() {
        let answer = policy.judge(question);
        sound(&answer, text);
        assert_eq!(answer, policy.judge(question), "{text:?}");
        answers.push(answer.verdict.is_allowed());
    }
    assert!(
        begun.elapsed() < LONGEST,
        "{:?} for {text:?}",
        begun.elapsed()
    );
    let [guard, strict, lists] = &*POLICIES;
    for other in [strict, lists] {
        let stack = PolicyStack::new(guard.clone()).narrowed_by(Layer::Session, other.clone());
        let allowed = stack.judge(question).verdict.is_allowed();
        let both = guard.judge(question).verdict.is_allowed()
            && other.judge(question).verdict.is_allowed();
        assert_eq!(allowed, both, "{text:?}");
    }
    if let Asked::Script(Dialect::Bash, script) = question.asked {
        assert_eq!(guard.judge_script(script).is_allowed(), answers[0]);
    }
}

fn sound(answer: &Judgement, text: &str) {
    assert!(answer.commands.len() <= MAX_COMMANDS);
    assert!(answer.unresolved.len() <= MAX_UNRESOLVED);
    if let Verdict::Denied(denial) = &answer.verdict {
        assert!(
            !denial.rule.is_empty() && !denial.reason.is_empty(),
            "{text:?}"
        );
        assert!(denial.span.start <= denial.span.end, "{text:?}");
        assert!(
            denial.span.end <= text.len(),
            "{:?} of {text:?}",
            denial.span
        );
        assert!(denial.excerpt.len() <= MAX_EXCERPT_BYTES + 4, "{text:?}");
    }
}

/// Any text is a policy or a complaint; what is one judges, and is what it says again.
pub(crate) fn rules(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Policy::from_toml(&text) {
        Ok(policy) => {
            for script in [
                "",
                "ls -l",
                "rm -rf /",
                "sudo sh -c 'echo x | tee /etc/y'",
                "$(x)",
            ] {
                let question = Question::script(Dialect::Bash, script);
                sound(&policy.judge(&question), script);
            }
            let again = Policy::from_toml(&text).unwrap();
            assert_eq!(again.content_hash(), policy.content_hash());
        }
        Err(error) => {
            let lines = text.lines().count() + 1;
            assert!(error.line().is_none_or(|line| line >= 1 && line <= lines));
            assert!(!error.to_string().is_empty());
        }
    }
}
