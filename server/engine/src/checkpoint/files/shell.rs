//! The files of a workspace on a target that has only its own programs: a POSIX sh that stays
//! beside the session's shell, and what every system has: find, stat, cat, readlink; tar and
//! xargs to bring files back.
//!
//! It runs as the session's user, and that user can hinder and deceive it, as it can any
//! program of its own; what it says is bounded and parsed as somebody else's.

mod answers;
mod archive;
mod records;
mod scripts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use execgate_core::checkpoint::{FileKind, Omission, TreePath};

use super::{Load, Put, Question, Take, unreachable};
use crate::checkpoint::found::{Content, FilesError, Looked, Signature};
use crate::checkpoint::wire::Order;
use crate::random;
use crate::transport::{Program, ProgramStdin, ProgramStreams, Transport};
use answers::{Answers, Once};
use records::{Record, User};

/// Files that are read with one command, and their bytes.
const BATCH_FILES: usize = 256;
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// How often a file is read that changes meanwhile.
const TRIES: usize = 3;

/// How long one command may take: a look goes through everything.
const LIMIT: Duration = Duration::from_secs(300);

/// A shell beside the session's.
pub(crate) struct Shell {
    transport: Arc<dyn Transport>,
    workspace: String,
    answers: Answers,
    user: User,
    /// The target's clock before the last look.
    clock: i64,
    /// What the last look has seen of each file.
    seen: HashMap<TreePath, (Signature, u32)>,
    /// Where links led, and how they looked then.
    links: HashMap<TreePath, (Signature, Vec<u8>)>,
    /// The directory of what was put aside, and the workspace's mode where it was changed.
    aside: Option<String>,
    failed: Option<String>,
}

impl Shell {
    pub(super) async fn start(
        transport: Arc<dyn Transport>,
        workspace: &str,
    ) -> Result<Self, FilesError> {
        let program = program(Vec::new(), ProgramStdin::Pipe);
        let process = transport.spawn(&program).await;
        let mut answers = Answers::new(process.map_err(|error| unreachable(&error))?);
        let said = answers.ask(scripts::HELLO, LIMIT).await?;
        let said = String::from_utf8_lossy(&said).into_owned();
        if let Some(missing) = said.lines().find_map(|line| line.strip_prefix("missing ")) {
            return Err(FilesError::Missing {
                program: missing.to_owned(),
            });
        }
        Ok(Self {
            user: User::parse(&said).ok_or_else(|| unreachable(&"it does not say who it is"))?,
            transport,
            workspace: workspace.to_owned(),
            answers,
            clock: 0,
            seen: HashMap::new(),
            links: HashMap::new(),
            aside: None,
            failed: None,
        })
    }

    pub(super) async fn look(&mut self, question: &Question<'_>) -> Result<Looked, FilesError> {
        let nonce = nonce()?;
        let script = scripts::look(
            &self.workspace,
            &nonce,
            question.rules.patterns().is_empty(),
        );
        let said = self.answers.ask(&script, LIMIT).await?;
        let mut lines = said.splitn(2, |byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let clock = std::str::from_utf8(first)
            .ok()
            .and_then(|text| text.parse::<i64>().ok());
        let clock = clock.ok_or_else(|| self.refused(first))?;
        let records = records::parse(lines.next().unwrap_or_default(), &nonce)?;
        if records.len() > question.max_files {
            let limit = question.max_files;
            return Err(FilesError::TooMany { limit });
        }
        self.read_links(&records).await?;
        let listings = records::listings(records, question, &self.user, &self.links);
        self.seen.clear();
        for listing in &listings {
            for found in &listing.found {
                if found.kind == FileKind::File {
                    let path = listing.path.join(&found.name);
                    self.seen.insert(path, (found.signature, found.mode));
                }
            }
        }
        self.clock = clock.saturating_mul(1_000_000_000);
        Ok(Looked {
            complete: true,
            watching: false,
            clock: self.clock,
            listings,
        })
    }

    /// Why there is nothing to look at.
    fn refused(&self, said: &[u8]) -> FilesError {
        let said = String::from_utf8_lossy(said.get(..200).unwrap_or(said)).into_owned();
        unreachable(&format!("look at {}: {said}", self.workspace))
    }

    /// Where links lead that were not known, or look otherwise now.
    async fn read_links(&mut self, records: &[Record]) -> Result<(), FilesError> {
        let mut known = std::mem::take(&mut self.links);
        let mut unknown = Vec::new();
        for record in records.iter().filter(|record| record.is_link()) {
            match known.remove(&record.path) {
                Some((signature, leads)) if signature == record.signature => {
                    self.links.insert(record.path.clone(), (signature, leads));
                }
                _ => unknown.push(record),
            }
        }
        for batch in unknown.chunks(BATCH_FILES) {
            let paths: Vec<&TreePath> = batch.iter().map(|record| &record.path).collect();
            let script = scripts::links(&self.workspace, &paths);
            let said = self.answers.ask(&script, LIMIT).await?;
            let said: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
            for (record, leads) in batch.iter().zip(said) {
                // What is gone says nothing, and no link leads nowhere.
                if !leads.is_empty() {
                    let link = (record.signature, leads.to_vec());
                    self.links.insert(record.path.clone(), link);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn read(
        &mut self,
        paths: &[TreePath],
        take: &mut Take<'_>,
    ) -> Result<(), FilesError> {
        let mut from = 0;
        while from < paths.len() {
            let mut to = from;
            let mut bytes = 0;
            while let Some(path) = paths.get(to) {
                bytes += self
                    .seen
                    .get(path)
                    .map_or(0, |(signature, _)| signature.size);
                let full = to - from >= BATCH_FILES || bytes > BATCH_BYTES;
                if to > from && full {
                    break;
                }
                to += 1;
            }
            self.read_range(paths, (from, to), take).await?;
            from = to;
        }
        Ok(())
    }

    /// Reads some files with one command; where anything changed meanwhile, each half again.
    async fn read_range(
        &mut self,
        paths: &[TreePath],
        range: (usize, usize),
        take: &mut Take<'_>,
    ) -> Result<(), FilesError> {
        let mut waiting = vec![range];
        while let Some((from, to)) = waiting.pop() {
            let batch = paths.get(from..to).unwrap_or_default();
            if let [path] = batch {
                let content = self.read_one(path).await?;
                take(from, content).map_err(|error| unreachable(&error))?;
                continue;
            }
            match self.read_all(batch).await? {
                Some(contents) => {
                    for (number, content) in (from..).zip(contents) {
                        take(number, content).map_err(|error| unreachable(&error))?;
                    }
                }
                None => {
                    let middle = from + (to - from) / 2;
                    waiting.extend([(middle, to), (from, middle)]);
                }
            }
        }
        Ok(())
    }

    /// Several files, if all are as they were seen, before and after.
    async fn read_all(&mut self, batch: &[TreePath]) -> Result<Option<Vec<Content>>, FilesError> {
        let mut expected = Vec::new();
        for path in batch {
            match self.seen.get(path) {
                Some(seen) => expected.push(*seen),
                None => return Ok(None),
            }
        }
        let nonce = nonce()?;
        let total: u64 = expected.iter().map(|(signature, _)| signature.size).sum();
        let script = scripts::read(&self.workspace, &nonce, batch);
        let said = self.answers.ask(&script, LIMIT).await?;
        let clock = self.clock;
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        let Some((mut bytes, rest)) = said.split_at_checked(total) else {
            return Ok(None);
        };
        let Ok(records) = records::parse(rest, &nonce) else {
            return Ok(None);
        };
        let same = records.len() == batch.len()
            && records
                .iter()
                .zip(&expected)
                .zip(batch)
                .all(|((record, expected), path)| {
                    (record.signature, record.mode) == *expected && record.path == *path
                });
        if !same {
            return Ok(None);
        }
        let mut contents = Vec::new();
        for (signature, mode) in expected {
            let size = usize::try_from(signature.size).unwrap_or(usize::MAX);
            let (own, rest) = bytes.split_at_checked(size).unwrap_or((bytes, &[]));
            bytes = rest;
            contents.push(Content::Read {
                signature,
                mode,
                clock,
                bytes: own.to_vec(),
            });
        }
        Ok(Some(contents))
    }

    async fn read_one(&mut self, path: &TreePath) -> Result<Content, FilesError> {
        for _ in 0..TRIES {
            let nonce = nonce()?;
            let script = scripts::look_at(&self.workspace, &nonce, path);
            let said = self.answers.ask(&script, LIMIT).await?;
            let Some(record) = records::parse(&said, &nonce)?.into_iter().next() else {
                return Ok(Content::Gone);
            };
            if !record.is_file() {
                return Ok(Content::Gone);
            }
            if !self.user.can_read(&record) {
                return Ok(Content::Left(Omission::Unreadable));
            }
            let seen = (record.signature, record.mode);
            self.seen.insert(path.clone(), seen);
            if let Some(content) = self.read_all(std::slice::from_ref(path)).await? {
                return Ok(content.into_iter().next().unwrap_or(Content::Gone));
            }
        }
        Ok(Content::Left(Omission::Changing))
    }

    pub(super) async fn stage(
        &mut self,
        name: &str,
        puts: &[Put],
        load: &Load<'_>,
    ) -> Result<(), FilesError> {
        self.aside = Some(name.to_owned());
        self.failed = None;
        let words = [scripts::STAGE, "sh", &self.workspace, name];
        let mut once = Once::start(self.transport.as_ref(), &one(&words)).await?;
        let said = once.run(archive::write(puts, load), LIMIT).await?;
        self.outcome("put files aside in", said)
    }

    pub(super) async fn apply(&mut self, orders: Vec<Order>) -> Result<(), FilesError> {
        if orders.is_empty() {
            return Ok(());
        }
        let aside = self.aside.clone().unwrap_or_default();
        let words = [
            scripts::APPLY,
            "sh",
            &self.workspace,
            &aside,
            scripts::ORDERS,
        ];
        let mut once = Once::start(self.transport.as_ref(), &one(&words)).await?;
        let input = std::iter::once(Ok(scripts::orders(&orders)));
        let said = once.run(input, LIMIT).await?;
        self.outcome("bring back files in", said)
    }

    pub(super) async fn finish(&mut self) -> Result<(), FilesError> {
        let Some(aside) = self.aside.take() else {
            return Ok(());
        };
        let said = self
            .answers
            .ask(&scripts::finish(&self.workspace, &aside), LIMIT)
            .await?;
        match said.is_empty() {
            true => Ok(()),
            false => Err(self.refused(&said)),
        }
    }

    fn outcome(&mut self, action: &str, said: Option<String>) -> Result<(), FilesError> {
        match said {
            None => Ok(()),
            Some(missing) if missing.starts_with("missing ") => Err(FilesError::Missing {
                program: missing.trim_start_matches("missing ").trim().to_owned(),
            }),
            Some(said) => Err(unreachable(&format!("{action} {}: {said}", self.workspace))),
        }
    }
}

fn nonce() -> Result<String, FilesError> {
    let random = random::bytes::<16>().map_err(|error| unreachable(&error))?;
    Ok(HEXLOWER.encode(&random))
}

/// `sh` with these words after its name, in an environment of its own.
fn program(words: Vec<String>, stdin: ProgramStdin) -> Program {
    let env = [
        ("PATH", crate::target::DEFAULT_PATH),
        ("LC_ALL", "C"),
        ("TZ", "UTC0"),
        ("HOME", "/"),
    ];
    Program {
        program: "sh".to_owned(),
        arguments: words,
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        cwd: "/".to_owned(),
        stdin,
        streams: ProgramStreams::Separate,
    }
}

/// A program that runs once: a script, its name and its words.
fn one(words: &[&str]) -> Program {
    let words = std::iter::once("-c").chain(words.iter().copied());
    program(words.map(str::to_owned).collect(), ProgramStdin::Pipe)
}
