//! Random scripts, with the machine's own bash as the judge of what runs: a script that the
//! policy says it could read must run no program that was not found in it.
//!
//! bash runs in namespaces that are thrown away (where that is allowed), with a search path
//! that holds nothing but stand-ins that leave their name. `EXECGATE_FUZZ_SECONDS` and
//! `EXECGATE_FUZZ_SEED` make it longer, and other.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails in here is to fail the test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use execgate_core::policy::{Dialect, Policy, Question};

/// How long it goes on where nobody says: what a run of the tests can spare.
const SECONDS: u64 = 20;

/// Programs that there are.
const PROGRAMS: [&str; 4] = ["evil", "aa", "bb", "x1"];

/// Pieces that scripts are made of: each has fooled some reader of shell scripts.
const PIECES: &[&str] = &[
    "evil",
    "evil ",
    "aa ",
    "bb x",
    "x1",
    "echo ",
    "true",
    ": ",
    "\n",
    "\n",
    " ",
    " ",
    ";",
    "; ",
    "&",
    "&&",
    "||",
    " | ",
    "|&",
    "(",
    ")",
    "( ",
    " )",
    "{ ",
    "; }",
    "}",
    "((",
    "))",
    "$((",
    "$(",
    "$(evil)",
    "`",
    "`evil`",
    "\"",
    "\"",
    "'",
    "'",
    "$'",
    "$\"",
    "\\",
    "\\\n",
    "#",
    " #",
    "${x",
    "${x:-",
    "${x:-$(evil)}",
    "}",
    "${",
    "<",
    ">",
    ">f ",
    "2>&1 ",
    "<<E\n",
    "\nE\n",
    "<<'E'\n",
    "<<-E\n",
    "<<<",
    "<(",
    ">(",
    "if ",
    "then ",
    "; then ",
    "else ",
    "elif ",
    "; fi",
    "fi",
    "while ",
    "until ",
    "do ",
    "; do ",
    "; done",
    "done",
    "for i in ",
    "for ((;;)) ",
    "case x in ",
    "x) ",
    ";; ",
    ";;& ",
    "esac",
    "; esac",
    "function f ",
    "f() ",
    "f",
    "! ",
    "time ",
    "coproc ",
    "[[ ",
    " ]]",
    "[ ",
    " ]",
    "x=",
    "x=1 ",
    "a[0]=",
    "a=(",
    "export ",
    "local ",
    "declare ",
    "eval ",
    "command ",
    "builtin ",
    "exec ",
    "env ",
    "sh -c ",
    "bash -c ",
    "trap ",
    " EXIT",
    "select i in ",
    "{a,b}",
    "*",
    "?",
    "[a]",
    "~",
    "!",
    "=",
    "+=",
    ",",
    "-",
    "--",
    "-c",
    "$x",
    "$@",
    "\t",
    "$",
    "@P}",
    "^",
    "%",
    "/",
    ".",
    ":",
    "0",
    "\u{e9}",
    "in ",
    "in",
    "until",
    "-eq ",
    "test ",
    "let ",
    "read ",
    "printf ",
    "alias e=",
    "set ",
    "shift",
];

/// Frames with holes (`@`) for other scripts.
const FRAMES: &[&str] = &[
    "@; @",
    "@ && @",
    "@ | @",
    "(@)",
    "{ @; }",
    "$(@)",
    "echo \"$(@)\"",
    "echo `@`",
    "if @; then @; fi",
    "while @; do @; break; done",
    "for i in @; do @; done",
    "case @ in x) @;; esac",
    "f() { @; }; f",
    "cat <<E\n@\nE\n",
    "cat <<'E'\n@\nE\n@",
    "echo @ # @\n@",
    "x=@ @",
    "! @",
    "time @",
    "[[ @ ]] && @",
    "((@))",
    "echo $((@))",
    "echo ${x:-@}",
    "echo \"${x:-@}\"",
    "echo '@' @",
    "echo \"@\" @",
    "@ > f",
    "@ <<< @",
    "cat <(@)",
    "a=(@)",
    "eval '@'",
    "bash -c '@'",
    "sh -c \"@\"",
    "trap '@' EXIT",
    "@ & @",
    "( @ ) | { @; }",
    "@\n@",
    "\\\n@",
    "env @",
    "command @",
    "a[@]=1",
    "echo ${a[@]}",
    "echo $'@'",
    "until @; do break; done",
    "function f { @; }; @",
    "case x in (@) @;; *) @;; esac",
    "{ @; } 2>&1 | @",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn soup(&mut self, most: usize) -> String {
        let count = 1 + self.below(most);
        (0..count).map(|_| self.one(PIECES)).collect()
    }

    /// Frames within frames, some of them damaged.
    fn script(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.below(3) {
                0 => self.soup(4),
                1 => "evil".to_owned(),
                _ => self
                    .one(&["aa", "bb y", "echo z", "true", "x", "1"])
                    .to_owned(),
            };
        }
        let frame = self.one(FRAMES);
        let mut script = String::new();
        for (at, part) in frame.split('@').enumerate() {
            if at > 0 {
                let inner = self.below(depth);
                script.push_str(&self.script(inner));
            }
            script.push_str(part);
        }
        script
    }

    fn any(&mut self) -> String {
        let mut script = match self.below(3) {
            0 => self.soup(12),
            _ => {
                let depth = 1 + self.below(3);
                self.script(depth)
            }
        };
        // A piece more or a character less, somewhere.
        for _ in 0..self.below(3) {
            let places: Vec<usize> = script.char_indices().map(|(at, _)| at).collect();
            if places.is_empty() {
                break;
            }
            let at = places[self.below(places.len())];
            match self.below(2) {
                0 => drop(script.remove(at)),
                _ => script.insert_str(at, self.one(PIECES)),
            }
        }
        script
    }
}

/// Runs what it reads, each script in a bash of its own, and answers with the names of the
/// programs that ran.
const DRIVER: &str = r#"
stand=$1 work=$2
cd "$work" || exit
ulimit -u 2000 -f 1000 2>/dev/null
number=0
while IFS= read -r -d '' script; do
    number=$((number + 1)) log=$work/log$((number % 50))
    : >"$log"
    (
        cd "$work/in" || exit
        ulimit -t 1
        exec env -i PATH="$stand" LOG="$log" /usr/bin/timeout -s KILL 3 \
            /bin/bash --noprofile --norc -c "$script" </dev/null >/dev/null 2>&1
    ) 2>/dev/null
    printf '%s\n' $(<"$log")
    echo .
done
"#;

struct Bash {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Bash {
    fn start(dir: &Path) -> Self {
        let (stand, work) = (dir.join("stand"), dir.join("work"));
        fs::create_dir_all(&stand).unwrap();
        fs::create_dir_all(work.join("in")).unwrap();
        for name in PROGRAMS.into_iter().chain(["cat", "sh", "bash", "env"]) {
            let path = stand.join(name);
            let text = match name {
                "cat" => "#!/bin/sh\nexec /bin/cat \"$@\" 2>/dev/null\n".to_owned(),
                "sh" | "bash" | "env" => {
                    let program = match name {
                        "env" => "/usr/bin/env",
                        "sh" => "/bin/sh",
                        _ => "/bin/bash",
                    };
                    format!("#!/bin/sh\nexec {program} \"$@\"\n")
                }
                name => format!("#!/bin/sh\necho {name} >>\"$LOG\"\n"),
            };
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let unshared = [
            "unshare",
            "--user",
            "--map-root-user",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
        ];
        let possible = Command::new(unshared[0])
            .args(&unshared[1..])
            .arg("true")
            .status();
        let alone = !possible.is_ok_and(|status| status.success());
        let prefix: &[&str] = if alone { &["env"] } else { &unshared };
        let mut child = Command::new(prefix[0])
            .args(&prefix[1..])
            .args(["/bin/bash", "-c", DRIVER, "driver"])
            .args([&stand, &work])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// The programs that a script runs.
    fn run(&mut self, script: &str) -> BTreeSet<String> {
        self.input.write_all(script.as_bytes()).unwrap();
        self.input.write_all(b"\0").unwrap();
        self.input.flush().unwrap();
        let mut names = BTreeSet::new();
        loop {
            let mut line = String::new();
            assert!(
                self.output.read_line(&mut line).unwrap() > 0,
                "bash is gone after {script:?}"
            );
            match line.trim() {
                "." => return names,
                "" => {}
                name => drop(names.insert(name.to_owned())),
            }
        }
    }
}

impl Drop for Bash {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn no_program_runs_that_was_not_found() {
    let policy = Policy::from_toml("default = \"allow\"\nunresolved = \"deny\"\n").unwrap();
    // A shell's script file is no command, but may be a program by its name.
    let denying = Policy::lists(&[], &PROGRAMS.map(str::to_owned)).unwrap();
    let dir = std::env::temp_dir().join(format!("execgate-fuzz-{}", std::process::id()));
    let mut bash = Bash::start(&dir);
    let mut random = Random(number("EXECGATE_FUZZ_SEED", 20_261_122));
    let end = Instant::now() + Duration::from_secs(number("EXECGATE_FUZZ_SECONDS", SECONDS));
    let (mut all, mut accepted, mut ran) = (0_u64, 0_u64, 0_u64);
    let mut wrong = Vec::new();
    while Instant::now() < end && wrong.len() < 20 {
        let script = random.any();
        if script.contains('\0') {
            continue;
        }
        all += 1;
        let judgement = policy.judge(&Question::script(Dialect::Bash, &script));
        if !judgement.verdict.is_allowed() {
            continue;
        }
        accepted += 1;
        let commands = judgement.commands.into_iter();
        let found: BTreeSet<String> = commands.filter_map(|command| command.program).collect();
        let seen = bash.run(&script);
        ran += u64::from(!seen.is_empty());
        let denied = || !denying.judge_script(&script).is_allowed();
        if !seen.is_subset(&found) && !denied() {
            wrong.push(format!("{script:?} ran {seen:?}, found {found:?}"));
        }
    }
    drop(bash);
    fs::remove_dir_all(&dir).unwrap();
    println!(
        "{all} scripts, {accepted} read, {ran} ran something, {} wrong",
        wrong.len()
    );
    assert!(ran > 50, "too little was tried: {ran} of {all}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
