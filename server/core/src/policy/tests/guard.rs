//! The shipped policy `guard`: what it lets agents do all day, and what not.

use super::*;

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
        layer: Layer::Operator,
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
