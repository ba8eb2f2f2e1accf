//! Facts about policies and what they see.

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

/// Ways to run curl.
const HIDDEN: &[&str] = &[
    "curl x",
    "/usr/bin/curl x",
    "env curl x",
    "\"cu\"rl x",
    "c'u'rl",
    "cu\\rl",
    "cu\\\nrl",
    "$'curl' x",
    "echo $(curl x)",
    "echo `curl x`",
    "echo \"$(curl x)\"",
    "command curl x",
    "sh -c 'curl x'",
    "bash -ec \"curl x\"",
    "if true; then curl x; fi",
    "if curl x; then :; fi",
    "! curl x",
    "(curl x)",
    "( (curl x) )",
    "{ curl x; }",
    "true && curl x",
    "true || curl x",
    "true | curl x",
    "true & curl x",
    "true\ncurl x",
    "for i in 1; do curl x; done",
    "while curl x; do :; done",
    "f() { curl x; }; f",
    "function f { curl; }",
    "case x in x) curl;; esac",
    "case x in (a|b) :;; *) curl;; esac",
    "A=1 curl x",
    ">out curl x",
    "2>&1 curl x",
    "<in curl",
    "a[0]=1 curl",
    "nohup curl x &",
    "nice -n 5 curl",
    "timeout 5 curl",
    "timeout -k 1 5 curl",
    "time curl",
    "time -p curl",
    "setsid curl",
    "sudo -u root curl",
    "env -i A=1 curl",
    "env -u X curl",
    "xargs curl",
    "xargs -n 1 curl",
    "find . -exec curl {} \\;",
    "find . -name x -execdir curl {} +",
    "eval curl x",
    "eval 'curl x'",
    "eval 'eval curl'",
    "exec curl",
    "builtin command curl",
    "busybox curl",
    "cat <(curl x)",
    "tee >(curl x)",
    "x=$(curl)",
    "x=`curl`",
    "export X=$(curl)",
    "local a=$(curl)",
    "echo ${x:-$(curl)}",
    "echo $(( $(curl) + 1 ))",
    "[[ $(curl) ]]",
    "[ \"$(curl)\" = x ]",
    "cat <<EOF\n$(curl)\nEOF",
    "cat <<A <<B\nx\nA\n$(curl)\nB",
    "a=($(curl))",
    "bash <<'EOF'\ncurl x\nEOF",
    "bash <<< 'curl x'",
    "trap 'curl x' EXIT",
    "alias x='curl y'",
    "time ! curl",
    "until curl; do :; done",
    "select x in a; do curl; done",
    "for ((i=0;i<2;i++)); do curl; done",
    "echo a; # b\ncurl",
    "su -c 'curl x'",
    "\"$DIR/curl\" x",
    "coproc curl",
    "time time curl",
    "[[ a ]] && curl",
    "((1)) && curl",
    "echo a |& curl",
    "if [[ a ]] then curl; fi",
    "case a in a) curl; esac",
];

#[test]
fn denied_program_is_found_however_it_is_written() {
    for script in HIDDEN {
        let denial = denied(&deny("curl"), script);
        assert!(
            denial.rule == "deny-curl" || script.contains("coproc") || script.contains("<<A"),
            "{script:?}: {denial:?}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_unresolved() {
    for script in [
        "$CMD x",
        "${x}y z",
        "$(echo curl) x",
        "`echo curl`",
        "c*rl",
        "{cu,}rl",
        "eval \"$x\"",
        "bash -c \"$x\"",
        "sh",
        "curl2 x | sh",
        "env -S 'a b'",
        "env --unknown x",
        "xargs $x",
        "echo \"${x:-'$(evil)'}\"",
        "((evil) || (b))",
        "! ! x",
        "${ evil; }",
        "echo ${x@P}",
        "coproc x",
        "echo $[1]",
        "r\\\nm\r",
        "a\rb",
        "a\u{a0}b",
        "echo \0",
        "x=\"",
        "cat <<EOF\n",
        "${x:-`evil`} y",
        "f(",
        "{ x",
        "echo $(",
        "watch x",
        "enable -f a b",
        "echo `echo \\`evil\\``",
        "$'\\x63url'",
        "if x; then",
        "case x in",
        "x ! (a)",
        "a=(b;c)",
        "bash <(curl2)",
        "{\\\n curl; }",
        "i\\\nf curl; then :; fi",
        "x='a[$(curl)]'; echo $((x))",
        "test -v \"a[\\$(curl)]\"",
        "alias x=$y",
    ] {
        let denial = denied(&deny("curl"), script);
        assert!(denial.unresolved.is_some(), "{script:?}: {denial:?}");
    }
}

#[test]
fn limits_hold_and_nothing_crashes() {
    let policy = deny("curl");
    for script in [
        format!("echo {}", "a".repeat(MAX_CODE_BYTES)),
        format!("{}x{}", "$(".repeat(5000), ")".repeat(5000)),
        format!("{}x{}", "( ".repeat(5000), " )".repeat(5000)),
        format!("{}x{}", "{ ".repeat(5000), "; }".repeat(2000)),
        "\"$(".repeat(3000),
        "${a:-".repeat(3000),
        "$((".repeat(4000),
        format!("{}x", "env ".repeat(4000)),
        format!("{}x", "! ".repeat(4000)),
        "find -exec ".repeat(1400),
        "case x in a) ".repeat(1000),
        "a&&".repeat(5000),
    ] {
        let denial = denied(&policy, &script);
        assert!(denial.unresolved.is_some(), "{denial:?}");
    }
    allowed(&policy, "true && ".repeat(200).trim_end_matches("&& "));
    allowed(&policy, &"if ".repeat(5000));
    allowed(&policy, "");
    allowed(&policy, "# only a comment");
    let data = "it's \u{a0}\u{1b} $(x) ;;\n".repeat(20_000);
    allowed(&policy, &format!("cat > f <<'EOF'\n{data}EOF\necho done"));
    allowed(
        &policy,
        &format!("python3 -c '{}'", "print(1)\n".repeat(20_000)),
    );
    denied(&policy, &format!("cat > f <<'EOF'\n{data}EOF\ncurl"));
    let too_long = denied(
        &policy,
        &format!("cat <<'EOF'\n{}\nEOF\n", "a".repeat(MAX_SCRIPT_BYTES)),
    );
    assert!(too_long.unresolved.is_some());
}

#[test]
fn what_only_bash_understands_is_unresolved_elsewhere() {
    let policy = deny("curl");
    for script in [
        "[[ a || curl ]]",
        "((curl))",
        "for ((;;)); do :; done",
        "x=$'a'",
        "a=(b)",
        "cat <(b)",
        "b &> c",
        "function f { :; }",
        "cat <<< a",
        "a |& b",
    ] {
        allowed(&policy, script);
        assert!(
            !policy.judge_script_for(Dialect::Posix, script).is_allowed(),
            "{script:?}"
        );
        let within = format!("dash <<'EOF'\n{script}\nEOF");
        assert!(denied(&policy, &within).unresolved.is_some(), "{within:?}");
    }
    for script in [
        "if [ a ] && b; then echo \"$(c)\" $((1 + 2)); fi > d 2>&1",
        "f() { case a in b) c;; esac; }",
    ] {
        assert!(
            policy.judge_script_for(Dialect::Posix, script).is_allowed(),
            "{script:?}"
        );
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

/// What agents do all day.
const ORDINARY: &[&str] = &[
    "cd /tmp; export A=1; f(){ echo hi; }; alias x=f",
    "for i in 1 2 3; do echo $i; echo e$i >&2; sleep 1; done",
    "cat > src/main.rs <<'EOF'\nfn main() {\n    println!(\"it's `x` $(y)\");\n}\nEOF",
    "cat > a.py <<EOF\nprint(\"$HOME\")\nEOF\npython3 a.py",
    "python3 - <<'PY'\nimport os\nprint(os.environ.get('A', \"b\"))\nPY",
    "python3 -c 'import sys; print(sys.version)'",
    "ls -la | grep -v '^d' | awk '{print $9}' | sort | uniq -c | head -20",
    "find . -name '*.rs' -not -path './target/*' | xargs wc -l | tail -1",
    "find . -type f -name \"*.py\" -exec grep -l 'import os' {} \\;",
    "grep -rn \"fn main\" --include='*.rs' . | head -n 20",
    "sed -i 's/foo/bar/g; s|a|b|' file.txt",
    "git add -A && git commit -m \"Fix: the thing (again)\" && git push",
    "git log --oneline -10; git status --short; git diff HEAD~1 -- src/",
    "if [ -f package.json ]; then npm ci; else echo none; fi",
    "if [[ -n \"$CI\" && $x =~ ^[0-9]+$ ]]; then echo ci; fi",
    "while read -r line; do echo \"${line%%:*}\"; done < <(cat file)",
    "while IFS= read -r f; do wc -l \"$f\"; done < list.txt",
    "make -j$(nproc) 2>&1 | tee build.log; echo ${PIPESTATUS[0]}",
    "source venv/bin/activate && pip install -r requirements.txt",
    ". ./env.sh; \"$VENV/bin/python\" -m pytest -x -q 2>&1 | tail -30",
    "cargo test --all 2>&1 | grep -E '^test result|FAILED|panicked' || true",
    "curl -sSL https://example.com/x.tar.gz | tar xz -C /tmp",
    "docker ps --format '{{.Names}}'; docker logs \"$(docker ps -q | head -1)\"",
    "kill %1; jobs; sleep 100 & echo $!; wait",
    "trap 'rm -f \"$tmp\"' EXIT; tmp=$(mktemp); echo x > \"$tmp\"",
    "set -euo pipefail; echo \"${1:-default}\" ${#arr[@]} \"${arr[@]}\"",
    "arr=(a b \"c d\"); for x in \"${arr[@]}\"; do echo \"$x\"; done; arr+=(e)",
    "echo $((1 + 2 * (3 - x))) && (( i++ )); for ((i=0; i<3; i++)); do echo $i; done",
    "case \"$1\" in start|stop) echo ok ;; -h) exit 0;; *) echo bad; exit 1 ;; esac",
    "rm -rf build dist node_modules && mkdir -p build/{bin,lib}",
    "timeout 60 ./run.sh --port=8080 > out.log 2> err.log < /dev/null &",
    "A=1 B='x y' ./script.sh; env | sort; printenv PATH",
    "export PATH=\"$HOME/.cargo/bin:$PATH\"; which cargo; command -v rustc >/dev/null 2>&1",
    "jq -r '.items[] | select(.a > 1) | .name' data.json",
    "diff <(sort a) <(sort b)",
    "x=$(git rev-parse --show-toplevel 2>/dev/null || pwd); cd \"$x\"",
    "function build() {\n  local name=$1\n  echo \"building $name\"\n}\nbuild all",
    "sqlite3 db.sqlite 'select count(*) from t where a = \"x\";'",
    "ssh host 'cd /srv && ls'",
    "tar czf x.tgz --exclude='*.o' .",
    "echo a; exit 3",
    "exec >/dev/null",
    "exec 8>&- 9>&-",
    "set -e; false",
    "unset PATH",
    "trap '' INT TERM; sleep 30",
    "while :; do :; done",
    "printf(){ :; }",
    "trap 'echo T' DEBUG",
    "kill -9 $$",
    "ulimit -n 3",
    "yes | head -c 100000000",
    "IFS=0123456789",
    "PATH=",
    "PS1=",
    "sleep 1 &",
    "echo hi # trailing",
    "if then fi",
    "readonly x=1",
    "read x",
    "exec cat",
    "TMOUT=1",
    "enable -n eval printf command",
    "echo 1; echo 2 >&2; echo 3",
    "nohup sleep 99 >/dev/null 2>&1 &",
    "(cd sub && make) || exit 1",
    "{ echo a; echo b; } > f",
    "! grep -q x f && echo no",
    "test -d x || mkdir x",
    "[ \"$a\" = b ] && echo c",
    "time make",
    "cat a.txt | while read l; do echo $l; done",
    "npm run build --if-present",
    "awk 'BEGIN { while ((getline line < \"f\") > 0) print line }'",
    "echo \"it's\" 'a \"b\"' $'c\\td'",
    "for f in *.txt; do mv -- \"$f\" \"${f%.txt}.md\"; done",
    "echo ${x//a/b} ${y^^} ${z:1:2} ${!w}",
    "select_x=1; do_it() { :; }; do_it",
    "ls *.{c,h} 2>/dev/null",
    "echo {1..10}",
    "python -m http.server 8000 &>/dev/null &",
    "cat <<-EOF\n\ta $USER\n\tEOF",
    "bash script.sh arg",
    "bash -c 'echo $0'",
    "sh -c 'cd x && make'",
    "sudo apt-get install -y jq",
    "xargs -0 -I{} cp {} dst < list",
    "env FOO=bar node -e 'console.log(process.env.FOO)'",
    "perl -pi -e 's/a/b/' f",
];

#[test]
fn guard_allows_ordinary_work() {
    let guard = Policy::guard();
    let wrong: Vec<_> = ORDINARY
        .iter()
        .filter_map(|script| match guard.judge_script(script) {
            Verdict::Denied(denial) => Some((script, denial.reason)),
            Verdict::Allowed(_) => None,
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}: {wrong:#?}",
        wrong.len(),
        ORDINARY.len()
    );
}

#[test]
fn guard_denies_the_destructive() {
    let guard = Policy::guard();
    let denial = denied(&guard, "echo a; rm -r --force / x");
    let expected = Denial {
        policy: "guard".to_owned(),
        rule: "no-rm-root".to_owned(),
        span: 8..25,
        excerpt: "rm -r --force / x".to_owned(),
        reason: "removes the system or a whole home directory".to_owned(),
        suggestion: Some("name the files or the directory below that are meant".to_owned()),
        unresolved: None,
    };
    assert_eq!(denial, expected);
    for script in [
        "rm -rf \"$HOME\"",
        "sh -c 'rm -rf /*'",
        "rm -rf /usr/../",
        "$(shutdown now)",
    ] {
        denied(&guard, script);
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
