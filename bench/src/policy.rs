//! What judging a command takes, and how fast text is redacted, both without a shell.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use tempfile::TempDir;
use tokio::process::Command;

use crate::caller::{Call, Caller};
use crate::client::{Address, Client};
use crate::plan::Plan;
use crate::race::{Contender, Race};
use crate::report::{Report, Unit};
use crate::streaming::LINE;
use crate::{Result, Servers};

/// What is judged, and the name of its table.
const JUDGED: [(&str, &str); 3] = [
    ("policy: a judgement of `true`", "true"),
    (
        "policy: a judgement of a pipeline",
        "cd src && grep -rn TODO . | sort | uniq -c | head -n 20 >out.txt 2>&1",
    ),
    (
        "policy: a judgement of a build script",
        "set -eu\nfor d in a b c; do\n  (cd \"$d\" && ./configure --prefix=/tmp/x && make -j2 all)\n\
         done\nif [ -f out.log ]; then tail -n 50 out.log | grep -c error || true; fi\n\
         env LANG=C timeout 30 find . -name \"*.o\" -newer stamp -print | xargs -r ls -l",
    ),
];

/// A line of a long script; forty bytes.
const LINE_OF_CODE: &str = "mkdir -p out/a && cp src/x out/a/y || :\n";

/// Lines of the shorter long script.
const LINES: usize = 25;

/// Rows of judgements.
const EMPTY: &str = "empty RPC, Unix socket";
const JUDGEMENT: &str = "execgate EvaluatePolicy, Unix socket";

/// A line with something to hide.
const SECRET_LINE: &str = "2026-01-02T03:04:05.678901Z DEBUG worker-07 retry with api_token=8f3kD02kLmQ9xT7vB1nR url=/api/items/4711";

/// The session.
const SESSION: &str = "policy";

/// Fills the rows of judgements and of redaction.
pub(crate) async fn measure(
    program: &Path,
    servers: &Servers,
    plan: Plan,
    report: &mut Report,
) -> Result<()> {
    let unix = servers.execgate.unix();
    Client::connect(&unix).await?.open(SESSION).await?;
    let mut race = Race::default();
    let empty = Caller::connect(&servers.floor.unix(), SESSION, Call::Nothing).await;
    race.offer(EMPTY, plan.commands, empty);
    race.offer(JUDGEMENT, plan.commands, Judge::connect(&unix).await);
    race.versus(JUDGEMENT, EMPTY);
    let long = LINE_OF_CODE.repeat(LINES);
    let longer = LINE_OF_CODE.repeat(10 * LINES);
    let long = [
        ("policy: a judgement of 1 KB of code", long.as_str()),
        ("policy: a judgement of 10 KB of code", longer.as_str()),
    ];
    for (table, script) in JUDGED.into_iter().chain(long) {
        race.run(table, script, plan.fewer_turns(), report).await;
        let medians = (report.median(table, JUDGEMENT), report.median(table, EMPTY));
        if let (Some(with), Some(without)) = medians {
            let row = "execgate, judging alone (difference of the medians)";
            report.sample(table, row, Unit::Time, with - without);
        }
    }
    redaction(program, plan, report).await
}

/// Asks for judgements.
struct Judge(Client);

impl Judge {
    async fn connect(address: &Address) -> Result<Self> {
        Ok(Self(Client::connect(address).await?))
    }
}

#[tonic::async_trait(?Send)]
impl Contender for Judge {
    async fn once(&mut self, script: &str) -> Result<()> {
        self.0.judge(SESSION, script).await
    }
}

async fn redaction(program: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    let texts = [
        ("log lines", [LINE; 10]),
        ("log lines, a secret in every tenth", {
            let mut lines = [LINE; 10];
            lines[9] = SECRET_LINE;
            lines
        }),
    ];
    for (name, lines) in texts {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("text");
        let bytes = write(&file, &lines, plan.stream_bytes)?;
        let table = format!("redaction: {} MB of {name}", plan.stream_bytes / 1_000_000);
        let mut race = Race::default();
        let file = std::rc::Rc::new((file, folder));
        let (cat, redact) = ("cat", program.display().to_string());
        race.add(cat, plan.streams, Filter::new(cat, &[], &file));
        let filter = Filter::new(&redact, &["redact"], &file);
        race.add("execgate redact", plan.streams, filter);
        race.versus("execgate redact", cat);
        race.stream(&table, "", bytes, report).await;
    }
    Ok(())
}

/// Writes lines again and again, up to so many bytes; answers how many it were.
fn write(path: &Path, lines: &[&str], bytes: u64) -> Result<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut written = 0;
    for line in lines.iter().cycle() {
        if written >= bytes {
            break;
        }
        writeln!(file, "{line}")?;
        written += line.len() as u64 + 1;
    }
    file.flush()?;
    Ok(written)
}

/// A program that passes a text through.
struct Filter {
    program: String,
    words: Vec<String>,
    text: std::rc::Rc<(PathBuf, TempDir)>,
}

impl Filter {
    fn new(program: &str, words: &[&str], text: &std::rc::Rc<(PathBuf, TempDir)>) -> Self {
        Self {
            program: program.to_owned(),
            words: words.iter().map(|&word| word.to_owned()).collect(),
            text: std::rc::Rc::clone(text),
        }
    }
}

#[tonic::async_trait(?Send)]
impl Contender for Filter {
    async fn once(&mut self, _script: &str) -> Result<()> {
        let status = Command::new(&self.program)
            .args(&self.words)
            .stdin(File::open(&self.text.0)?)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .status()
            .await?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{}: {status}", self.program).into()),
        }
    }

    async fn stream(&mut self, script: &str, _bytes: u64) -> Result<f64> {
        let start = Instant::now();
        self.once(script).await?;
        Ok(start.elapsed().as_secs_f64())
    }
}
