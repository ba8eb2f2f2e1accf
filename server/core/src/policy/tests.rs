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
    for script in [
        "f",
        "f; f() { ls; }",
        "(f() { ls; }); f",
        "false && f() { ls; }; f",
        "f() { ls; }; env f",
        "f() { ls; }; unset -f f; f",
        "g() { f; }; g; f() { ls; }",
        "./ls",
        "/tmp/ls",
        "cat /usr/bin/rm x; ls() { rm; }",
    ] {
        denied(&policy, script);
    }
    allowed(&policy, "/bin/ls; /usr/bin/cat x");
}

#[test]
fn found_commands_are_reported() {
    let script = "A=1 env /bin/ls -l 'a b' \"$c\" >f | cat";
    let judgement = deny("x").judge(&Question::script(Dialect::Bash, script));
    let word = |text: &str| FoundWord {
        text: text.to_owned(),
        knowledge: match text.starts_with('$') {
            true => Knowledge::Unknown,
            false => Knowledge::Literal,
        },
    };
    let command = |program: &str, words: &[&str], span| FoundCommand {
        program: Some(program.to_owned()),
        words: words.iter().map(|text| word(text)).collect(),
        assignments: Vec::new(),
        redirects: Vec::new(),
        contexts: vec![Context::Pipeline],
        wrappers: Vec::new(),
        span,
        decision: Decision::Allow,
        rule: "default".to_owned(),
        beyond: false,
    };
    let expected = [
        FoundCommand {
            assignments: vec![("A".to_owned(), word("1"))],
            redirects: vec![(">", word("f"))],
            ..command("env", &["env", "/bin/ls", "-l", "a b", "$c"], 4..29)
        },
        FoundCommand {
            wrappers: vec!["env".to_owned()],
            ..command("ls", &["/bin/ls", "-l", "a b", "$c"], 4..29)
        },
        command("cat", &["cat"], 35..38),
    ];
    assert_eq!(judgement.commands, expected);
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
    let may_run = |words: &[&str]| {
        let words = argv(words);
        policy.judge(&Question::argv(&words)).verdict.is_allowed()
    };
    assert!(!may_run(&["/usr/bin/curl", "x"]));
    assert!(!may_run(&["sh", "-c", "true; curl x"]));
    assert!(!may_run(&["timeout", "5", "curl"]));
    assert!(may_run(&["echo", "$(curl)", ";", "curl"]));
}

#[test]
fn variables_of_a_command_are_judged() {
    let env = |name: &str, value: &str| {
        let env = [(name.to_owned(), value.to_owned())].into();
        let question = Question {
            env: &env,
            ..Question::script(Dialect::Bash, "true")
        };
        deny("curl").judge(&question).verdict.is_allowed()
    };
    assert!(env("RUST_LOG", "debug; curl x"));
    assert!(env("PAGER", "cat"));
    assert!(!env("PAGER", "curl x"));
    assert!(!env("LD_PRELOAD", "/x.so"));
    assert!(!env("BASH_FUNC_ls%%", "() { curl; }"));
}

#[test]
fn aliases_of_a_session_are_looked_through() {
    let policy = deny("curl");
    let mut names = SessionNames::default();
    let mut run = |script: &str| {
        let before = names.clone();
        let question = Question {
            names: &before,
            ..Question::script(Dialect::Bash, script)
        };
        let judgement = policy.judge(&question);
        names.learn(&judgement.defined);
        judgement.verdict.is_allowed()
    };
    assert!(run("e curl; ll"));
    assert!(run("alias e='env ' ll='ls -l' x=\"cd ..\" ls='ls --color'"));
    assert!(run("ll; ls; e ls; x"));
    assert!(!run("e curl"));
    assert!(!run("cd /; e A=1 curl"));
    assert!(run("echo e curl; \\ls"));
}

#[test]
fn rules_may_be_about_paths_redirections_and_variables() {
    let policy = Policy::from_toml(
        "default = \"allow\"\n\
         [[rule]]\nid = \"etc\"\neffect = \"deny\"\nredirects = [\"> /etc/*|>> /etc/*\"]\n\
         match = [\"echo x > /etc/hosts\", \"> /etc/../etc/x\", \"{ ls; } &> //etc/x\"]\n\
         not_match = [\"cat < /etc/hosts\", \"ls > /dev/null 2>&1\"]\n\
         [[rule]]\nid = \"opt\"\neffect = \"deny\"\npath = \"/opt/*|./*\"\n\
         match = [\"/opt/x/y z\", \"./run.sh\"]\nnot_match = [\"run.sh\", \"ls /opt/x\"]\n\
         [[rule]]\nid = \"token\"\neffect = \"deny\"\nprogram = \"git|hg\"\nenv = [\"TOKEN=*\"]\n\
         match = [\"TOKEN=x git push\", \"TOKEN=$y hg pull\"]\nnot_match = [\"TOKEN=x ls\", \"git push\"]\n",
    );
    policy.unwrap();
    let error = |rule: &str| {
        let text =
            format!("default = \"allow\"\n[[rule]]\nid = \"a\"\neffect = \"deny\"\n{rule}\n");
        Policy::from_toml(&text).unwrap_err()
    };
    assert_eq!(error("").line(), Some(2));
    assert_eq!(error("path = \"x\"").line(), Some(5));
    assert_eq!(error("redirects = [\">x\"]").line(), Some(5));
    assert_eq!(error("program = \"a\"\nenv = [\"x\"]").line(), Some(6));
}

#[test]
fn strict_reads_and_writes_nothing() {
    let strict = Policy::strict();
    for script in [
        "ls -la | grep x 2>/dev/null | head",
        "find . -name '*.rs' | xargs wc -l",
        "git log --oneline -3 && git diff HEAD~1",
        "for f in *.md; do echo \"$f\"; head -n 2 \"$f\"; done",
        "cat <<'E' | wc -l\nx\nE",
    ] {
        allowed(&strict, script);
    }
    for script in [
        "ls > f",
        "rm f",
        "python3 x.py",
        "sh -c 'ls'",
        "find . -exec rm {} \\;",
        "git commit -m x",
        "git -c core.pager=./x log",
        "PATH=$PWD:$PATH ls",
        "./cat f",
        "LD_PRELOAD=./x.so ls",
        "LESSOPEN='|x %s' less f",
        "> f",
        "sort -of f",
        "time make",
        "cp /bin/rm ls",
    ] {
        denied(&strict, script);
    }
}

#[test]
fn code_that_is_not_judged_is_said_to_be_beyond() {
    let question = Question::script(Dialect::Bash, "ls; python3 x.py; awk '{print}' f");
    let commands = deny("x").judge(&question).commands;
    let beyond: Vec<_> = commands.iter().map(|command| command.beyond).collect();
    assert_eq!(beyond, [false, true, true]);
}

#[test]
fn open_policy_reads_nothing() {
    let question = Question::script(Dialect::Bash, "\"$( unclosed \0");
    assert_eq!(Policy::open().judge(&question), Judgement::default());
}

#[test]
fn layers_only_narrow() {
    let stack = PolicyStack::new(Policy::open())
        .narrowed_by(Layer::Profile, deny("a"))
        .narrowed_by(Layer::Session, Policy::open());
    let judgement = stack.judge(&Question::script(Dialect::Bash, "a"));
    let Verdict::Denied(denial) = judgement.verdict else {
        panic!("allowed");
    };
    assert_eq!(
        (judgement.layer, denial.layer),
        (Layer::Profile, Layer::Profile)
    );
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
        "default = \"allow\"\n[[rule]]\nid = \"a\"\neffect = \"deny\"\nprogram = \"x\"\nredirect = []\n",
    );
    assert!(
        unknown.starts_with("policy, line 6: unknown field `redirect`"),
        "{unknown}"
    );
    let rule = "[[rule]]\nid = \"a\"\neffect = \"deny\"\nprogram = \"rm\"\n";
    assert_eq!(
        error(&format!("default = \"allow\"\n{rule}match = [\"ls\"]\n")),
        "policy, line 6: rule \"a\", example \"ls\": is not decided by it"
    );
    assert_eq!(
        error(&format!(
            "default = \"allow\"\n{rule}not_match = [\"rm x\"]\n"
        )),
        "policy, line 6: rule \"a\", example \"rm x\": is decided by it"
    );
    assert_eq!(
        error(&format!("default = \"allow\"\n{rule}{rule}")),
        "policy, line 7: rule \"a\", id: is used twice"
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
        let judgement = deny("curl").judge(&Question::script(Dialect::Bash, &script));
        let denied = match judgement.verdict {
            Verdict::Denied(denial) => {
                prop_assert!(script.get(denial.span).is_some());
                true
            }
            Verdict::Allowed(_) => false,
        };
        for command in judgement.commands {
            prop_assert!(script.get(command.span).is_some());
            prop_assert!(denied || command.program.as_deref() != Some("curl"));
        }
    }

    #[test]
    fn any_bytes_have_a_verdict(script in "\\PC{0,40}") {
        let _ = deny("curl").judge_script(&script);
        let _ = Policy::guard().judge(&Question::argv(&[script]));
    }
}
