//! Facts about policies and what they see.

mod guard;
mod hidden;

use proptest::prelude::*;

use super::*;

fn deny(program: &str) -> Policy {
    Policy::lists(&[], &[program.to_owned()]).unwrap()
}

#[track_caller]
fn denied(policy: &Policy, script: &str) -> Denial {
    match policy.judge_script(script) {
        Verdict::Denied(denial) => denial,
        Verdict::Allowed(allowed) => panic!("{script:?} was allowed: {allowed:?}"),
    }
}

#[track_caller]
fn allowed(policy: &Policy, script: &str) -> Allowed {
    match policy.judge_script(script) {
        Verdict::Allowed(allowed) => allowed,
        Verdict::Denied(denial) => panic!("{script:?} was denied: {denial:?}"),
    }
}

#[test]
fn names_in_data_are_not_commands() {
    for script in [
        "echo curl",
        "echo 'see curl for details'",
        "grep -r curl .",
        "cat <<'EOF'\ncurl x\n$(curl)\nEOF",
        "# curl",
        "echo a # ; curl",
        "x='; curl'",
        "printf '%s\\n' \"curl\"",
        "ls curl",
        "command -v curl",
        "case curl in curl) echo;; esac",
        "for curl in a b; do echo; done",
        "[[ $x == curl ]]",
        "a=(curl)",
        "git commit -m 'add curl; it is (good)'",
        "echo \"a; curl b\"",
    ] {
        allowed(&deny("curl"), script);
    }
}

#[test]
fn deny_rm_sees_long_options_and_words() {
    denied(&deny("rm"), "rm -r --force x");
    allowed(&deny("dd"), "echo 'see dd for details'");
}

#[test]
fn allow_list_denies_the_rest() {
    let policy =
        Policy::lists(&["ls".to_owned(), "cat".to_owned(), "env".to_owned()], &[]).unwrap();
    assert_eq!(
        allowed(&policy, "ls | cat").rule.as_deref(),
        Some("allow-ls")
    );
    assert_eq!(denied(&policy, "ls; rm x").rule, "default");
    assert_eq!(denied(&policy, "env rm x").rule, "default");
    allowed(&policy, "f() { ls; }; f");
}

#[test]
fn found_commands_are_reported() {
    let found = allowed(&deny("x"), "A=1 env /bin/ls -l 'a b' \"$c\"");
    let command = |program: &str, argv: &[&str], span| FoundCommand {
        program: Some(program.to_owned()),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        span,
    };
    let expected = [
        command("env", &["env", "/bin/ls", "-l", "a b", "$c"], 4..29),
        command("ls", &["/bin/ls", "-l", "a b", "$c"], 4..29),
    ];
    assert_eq!(found.commands, expected);
}

#[test]
fn argv_is_judged_by_the_same_rules() {
    let argv = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let policy = deny("curl");
    assert!(
        !policy
            .judge_argv(&argv(&["/usr/bin/curl", "x"]))
            .is_allowed()
    );
    assert!(
        !policy
            .judge_argv(&argv(&["sh", "-c", "true; curl x"]))
            .is_allowed()
    );
    assert!(
        !policy
            .judge_argv(&argv(&["timeout", "5", "curl"]))
            .is_allowed()
    );
    assert!(
        policy
            .judge_argv(&argv(&["echo", "$(curl)", ";", "curl"]))
            .is_allowed()
    );
}

#[test]
fn open_policy_reads_nothing() {
    assert_eq!(
        allowed(&Policy::open(), "\"$( unclosed \0"),
        Allowed::default()
    );
}

#[test]
fn layers_only_narrow() {
    let stack = PolicyStack::new(Policy::open())
        .narrowed_by(deny("a"))
        .narrowed_by(Policy::open());
    assert!(!stack.judge_script("a").is_allowed());
    assert!(stack.judge_script("b").is_allowed());
    assert_eq!(stack.name(), "open+lists+open");
    assert_ne!(
        stack.content_hash(),
        PolicyStack::new(Policy::open()).content_hash()
    );
}

#[test]
fn bad_policies_are_refused_with_their_place() {
    let error = |text: &str| Policy::from_toml(text).unwrap_err().to_string();
    let unknown = error(
        "default = \"allow\"\n[[rule]]\nid = \"a\"\neffect = \"deny\"\nprogram = \"x\"\nredirects = []\n",
    );
    assert!(
        unknown.starts_with("policy, line 6: unknown field `redirects`"),
        "{unknown}"
    );
    let rule = "[[rule]]\nid = \"a\"\neffect = \"deny\"\nprogram = \"rm\"\n";
    assert_eq!(
        error(&format!("default = \"allow\"\n{rule}match = [\"ls\"]\n")),
        "rule \"a\", example \"ls\": is not decided by it"
    );
    assert_eq!(
        error(&format!(
            "default = \"allow\"\n{rule}not_match = [\"rm x\"]\n"
        )),
        "rule \"a\", example \"rm x\": is decided by it"
    );
    assert_eq!(
        error(&format!("default = \"allow\"\n{rule}{rule}")),
        "rule \"a\", id: is used twice"
    );
    assert!(error("").contains("missing field `default`"));
    assert!(Policy::lists(&[], &["/bin/rm".to_owned()]).is_err());
}

#[test]
fn hash_follows_the_content() {
    let text = "default = \"allow\"\n";
    let hash = |text: &str| Policy::from_toml(text).unwrap().content_hash();
    assert_eq!(hash(text), hash("# same\ndefault='allow'"));
    assert_ne!(hash(text), hash("default = \"deny\""));
}

/// What scripts are made of.
const PIECES: &[&str] = &[
    "curl",
    "echo",
    "a",
    "x=",
    "\"",
    "'",
    "$(",
    ")",
    "(",
    ";",
    "|",
    "&&",
    "\n",
    "((",
    "))",
    "$((",
    "{",
    "}",
    "if ",
    "then ",
    "fi",
    "while ",
    "do ",
    "done",
    "case ",
    " in ",
    "esac",
    ";;",
    "f()",
    "<<A",
    "\nA\n",
    "#",
    "\\",
    "${x:-",
    "`",
    "! ",
    "time ",
    "[[ ",
    " ]]",
    ">",
    "<",
    "<(",
    " ",
    "\t",
    "\u{e9}",
    "\u{1f600}",
    "\0",
    "$'",
    "eval ",
    "env ",
    "sh -c ",
    "find -exec ",
    "xargs -",
    "-c",
    "--",
    "[",
    "]",
    "@P}",
    "~",
    "*",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_has_a_verdict_within_it(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..30),
    ) {
        let script = pieces.concat();
        match deny("curl").judge_script(&script) {
            Verdict::Denied(denial) => prop_assert!(script.get(denial.span).is_some()),
            Verdict::Allowed(allowed) => {
                for command in allowed.commands {
                    prop_assert!(script.get(command.span).is_some());
                    prop_assert_ne!(command.program.as_deref(), Some("curl"));
                }
            }
        }
    }

    #[test]
    fn any_bytes_have_a_verdict(script in "\\PC{0,40}") {
        let _ = deny("curl").judge_script(&script);
        let _ = Policy::guard().judge_argv(&[script]);
    }
}
