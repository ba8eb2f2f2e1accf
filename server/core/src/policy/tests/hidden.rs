//! Commands that hide: found, or unresolved, whatever the shell would make of them.

use super::*;

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
        "env -S 'a $b'",
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
        "watch $x",
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
    for script in [
        format!(
            "alias a='b ' b='c ' c='a '\n{}",
            "a b c a b c\n".repeat(1000)
        ),
        format!("echo 'a;a;a;a' > s\n{}", ". ./s;".repeat(2500)),
        "echo '. ./s; . ./s' > s\n. ./s".to_owned(),
    ] {
        let _bounded = policy.judge_script(&script);
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
        assert!(!in_posix(&policy, script), "{script:?}");
        let within = format!("dash <<'EOF'\n{script}\nEOF");
        assert!(denied(&policy, &within).unresolved.is_some(), "{within:?}");
    }
    for script in [
        "if [ a ] && b; then echo \"$(c)\" $((1 + 2)); fi > d 2>&1",
        "f() { case a in b) c;; esac; }",
    ] {
        assert!(in_posix(&policy, script), "{script:?}");
    }
}

fn in_posix(policy: &Policy, script: &str) -> bool {
    let question = Question::script(Dialect::Posix, script);
    policy.judge(&question).verdict.is_allowed()
}
