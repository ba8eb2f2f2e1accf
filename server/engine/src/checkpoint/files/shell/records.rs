//! What `stat` says of files, as records: a nonce, numbers and times, a name. Names hold any
//! bytes, so a record ends where the next nonce begins, which no name can know.

use std::collections::{BTreeMap, HashMap};

use execgate_core::checkpoint::{FileKind, MAX_DEPTH, Omission, TreePath};

use super::super::{Question, unreachable};
use crate::checkpoint::found::{FilesError, Found, Listing, OmittedName, Signature};

/// Who the shell is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    id: u32,
    groups: Vec<u32>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) path: TreePath,
    /// Type and mode, as the system has them.
    raw: u32,
    pub(super) mode: u32,
    pub(super) signature: Signature,
    device: u64,
    user: u32,
    group: u32,
}

impl User {
    /// Reads `user ID GROUP...`.
    pub(super) fn parse(said: &str) -> Option<Self> {
        let line = said.lines().find_map(|line| line.strip_prefix("user "))?;
        let mut numbers = line.split_whitespace().map_while(|word| word.parse().ok());
        Some(Self {
            id: numbers.next()?,
            groups: numbers.collect(),
        })
    }

    /// Whether it may read a file.
    pub(super) fn can_read(&self, record: &Record) -> bool {
        self.bits(record) & 4 != 0
    }

    /// Whether it may see what is in a directory.
    fn can_enter(&self, record: &Record) -> bool {
        self.bits(record) & 5 == 5
    }

    fn bits(&self, record: &Record) -> u32 {
        match record {
            _ if self.id == 0 => 7,
            record if record.user == self.id => record.mode >> 6,
            record if self.groups.contains(&record.group) => record.mode >> 3,
            record => record.mode,
        }
    }
}

impl Record {
    pub(super) fn is_link(&self) -> bool {
        self.raw & libc::S_IFMT == libc::S_IFLNK
    }

    pub(super) fn is_file(&self) -> bool {
        self.raw & libc::S_IFMT == libc::S_IFREG
    }

    fn kind(&self) -> Option<FileKind> {
        match self.raw & libc::S_IFMT {
            libc::S_IFREG => Some(FileKind::File),
            libc::S_IFLNK => Some(FileKind::Link),
            libc::S_IFDIR => Some(FileKind::Directory),
            _ => None,
        }
    }
}

/// Reads records, the workspace's own too.
pub(super) fn parse(text: &[u8], nonce: &str) -> Result<Vec<Record>, FilesError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let broken = || unreachable(&"stat does not make sense");
    let start = format!("{nonce} ");
    let text = text.strip_prefix(start.as_bytes()).ok_or_else(broken)?;
    let between = format!("\n{nonce} ");
    let mut records = Vec::new();
    let mut from = 0;
    let ends = memchr::memmem::find_iter(text, between.as_bytes()).chain([text.len()]);
    for end in ends {
        let record = text.get(from..end).unwrap_or_default();
        // The last one has its line's end still.
        let record = match end == text.len() {
            true => record.strip_suffix(b"\n").unwrap_or(record),
            false => record,
        };
        records.push(record_of(record).ok_or_else(broken)?);
        from = end + between.len();
    }
    Ok(records)
}

fn record_of(text: &[u8]) -> Option<Record> {
    let mut words = text.splitn(13, |byte| *byte == b' ');
    let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok());
    let raw = u32::from_str_radix(word()?, 16).ok()?;
    let size = word()?.parse().ok()?;
    let modified = time(word()?, word()?, word()?)?;
    let changed = time(word()?, word()?, word()?)?;
    let inode = word()?.parse().ok()?;
    let device = word()?.parse().ok()?;
    let user = word()?.parse().ok()?;
    let group = word()?.parse().ok()?;
    let name = words.next()?;
    let path = match name {
        b"." => TreePath::default(),
        name => TreePath::parse(name.strip_prefix(b"./")?).ok()?,
    };
    Some(Record {
        path,
        raw,
        mode: raw & 0o7777,
        signature: Signature {
            size,
            modified,
            changed,
            inode,
        },
        device,
        user,
        group,
    })
}

/// `2026-11-22 08:18:54.278555424 +0000` in nanoseconds since 1970.
fn time(date: &str, clock: &str, zone: &str) -> Option<i64> {
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let mut next = || date.next()?.ok();
    let (year, month, day) = (next()?, next()?, next()?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.splitn(3, ':').map(str::parse::<i64>);
    let mut next = || clock.next()?.ok();
    let (hour, minute, second) = (next()?, next()?, next()?);
    let fraction: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("-", zone) => (-1, zone),
        (_, zone) => (1, zone),
    };
    let zone: i64 = zone.parse().ok()?;
    let offset = sign * (zone / 100 * 3600 + zone % 100 * 60);
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(fraction.parse().ok()?)
}

/// Days since 1970-01-01, in the calendar that counts backwards too.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// What is to be kept of all that was found, directory by directory.
pub(super) fn listings(
    records: Vec<Record>,
    question: &Question<'_>,
    user: &User,
    links: &HashMap<TreePath, (Signature, Vec<u8>)>,
) -> Vec<Listing> {
    let device = records
        .iter()
        .find(|record| record.path.is_root())
        .map(|record| record.device);
    let mut listings: BTreeMap<TreePath, Listing> = BTreeMap::new();
    // Each directory before what is in it: `find` says so, and a sort makes sure.
    let mut records = records;
    records.sort_by(|a, b| a.path.names().cmp(b.path.names()));
    for record in records {
        let Some((parent, name)) = record.path.split() else {
            listings.insert(
                TreePath::default(),
                listing(TreePath::default(), record.mode),
            );
            continue;
        };
        // One that is left out has no listing, and what is in it neither.
        let Some(into) = listings.get_mut(&parent) else {
            continue;
        };
        let kind = record.kind();
        match omission(&record, (&parent, name), question, user, device) {
            Some(reason) => into.omitted.push(OmittedName {
                name: name.to_vec(),
                reason,
                directory: kind == Some(FileKind::Directory),
            }),
            None => {
                let leads = match (record.is_link(), links.get(&record.path)) {
                    (false, _) => Vec::new(),
                    (true, Some((_, leads))) => leads.clone(),
                    // It has gone meanwhile.
                    (true, None) => continue,
                };
                into.found.push(Found {
                    name: name.to_vec(),
                    kind: kind.unwrap_or(FileKind::File),
                    mode: record.mode,
                    signature: record.signature,
                    leads,
                });
                if kind == Some(FileKind::Directory) {
                    let path = record.path.clone();
                    listings.insert(path.clone(), listing(path, record.mode));
                }
            }
        }
    }
    listings.into_values().collect()
}

fn listing(path: TreePath, mode: u32) -> Listing {
    Listing {
        path,
        mode,
        ..Listing::default()
    }
}

fn omission(
    record: &Record,
    (parent, name): (&TreePath, &[u8]),
    question: &Question<'_>,
    user: &User,
    device: Option<u64>,
) -> Option<Omission> {
    let kind = record.kind();
    let directory = kind == Some(FileKind::Directory);
    if let Some(reason) = question.rules.judge(parent, name, directory) {
        return Some(reason);
    }
    match kind {
        None => Some(Omission::Special),
        Some(FileKind::File) if record.signature.size > question.max_file_bytes => {
            Some(Omission::TooLarge)
        }
        Some(FileKind::File) if !user.can_read(record) => Some(Omission::Unreadable),
        Some(FileKind::Directory) if device.is_some_and(|own| own != record.device) => {
            Some(Omission::Special)
        }
        Some(FileKind::Directory) if record.path.depth() >= MAX_DEPTH => Some(Omission::TooLarge),
        Some(FileKind::Directory) if !user.can_enter(record) => Some(Omission::Unreadable),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_whatever_their_names_hold() {
        let text = b"N 41ed 4096 2026-11-22 08:18:54.278555424 +0000 \
            1970-01-01 00:00:01.000000000 +0100 7 1 0 0 .\n\
            N 81a4 3 2026-11-22 08:18:54.2 +0000 2026-11-22 08:18:54.0 +0000 8 1 0 0 ./a\nM b\xff\n\n";
        let records = parse(text, "N").unwrap();
        let seen: Vec<_> = records
            .iter()
            .map(|r| (r.path.as_bytes().to_vec(), r.mode, r.signature.changed))
            .collect();
        let at = 1_795_335_534_000_000_000;
        assert_eq!(
            seen,
            [
                (Vec::new(), 0o755, -3_599_000_000_000),
                (b"a\nM b\xff\n".to_vec(), 0o644, at)
            ]
        );
        assert_eq!(records.last().unwrap().signature.modified, at + 200_000_000);
        assert!(parse(b"nonsense", "N").is_err());
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 3, 1), 11_017);
        assert_eq!(days(1969, 12, 31), -1);
        assert_eq!(days(2024, 2, 29), 19_782);
    }
}
