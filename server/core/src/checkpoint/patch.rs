//! What differs between two texts, as a unified diff.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

/// Lines around a change.
const CONTEXT: u32 = 3;

/// The largest text that is compared line by line, in bytes: beyond it a diff is no reading.
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

/// A unified diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    /// Of two texts.
    Text(Vec<u8>),
    /// Either side is no text.
    Binary,
    /// Either side is too large for one.
    TooLarge,
}

/// Whether this is text: nothing in it is a NUL byte.
#[must_use]
pub fn is_text(content: &[u8]) -> bool {
    memchr::memchr(0, content).is_none()
}

/// The hunks that make `after` of `before`, without a header.
#[must_use]
pub fn patch(before: &[u8], after: &[u8]) -> Patch {
    if !is_text(before) || !is_text(after) {
        return Patch::Binary;
    }
    if before.len().max(after.len()) > MAX_TEXT_BYTES {
        return Patch::TooLarge;
    }
    let input = InternedInput::new(before, after);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let (old, new): (Vec<&[u8]>, Vec<&[u8]>) = (lines(before), lines(after));
    let mut text = Vec::new();
    let mut group: Vec<(Range<u32>, Range<u32>)> = Vec::new();
    for hunk in diff.hunks() {
        let far = group
            .last()
            .is_some_and(|(last, _)| hunk.before.start > last.end + 2 * CONTEXT);
        if far {
            write(&mut text, &std::mem::take(&mut group), &old, &new);
        }
        group.push((hunk.before, hunk.after));
    }
    write(&mut text, &group, &old, &new);
    Patch::Text(text)
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Writes hunks that share their context as one.
fn write(text: &mut Vec<u8>, group: &[(Range<u32>, Range<u32>)], old: &[&[u8]], new: &[&[u8]]) {
    let (Some((first, first_new)), Some((last, last_new))) = (group.first(), group.last()) else {
        return;
    };
    let before = first.start.min(CONTEXT);
    let end = (last.end + CONTEXT).min(count(old));
    let start = first.start - before;
    let new_start = first_new.start - before;
    let new_end = last_new.end + (end - last.end);
    let range = |start: u32, end: u32| match end - start {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        lines => format!("{},{lines}", start + 1),
    };
    let header = format!(
        "@@ -{} +{} @@\n",
        range(start, end),
        range(new_start, new_end)
    );
    text.extend_from_slice(header.as_bytes());
    let mut at = start;
    for (removed, added) in group {
        put(text, b' ', old, at..removed.start);
        put(text, b'-', old, removed.clone());
        put(text, b'+', new, added.clone());
        at = removed.end;
    }
    put(text, b' ', old, at..end);
}

fn put(text: &mut Vec<u8>, sign: u8, lines: &[&[u8]], range: Range<u32>) {
    let range = range.start as usize..range.end as usize;
    for line in lines.get(range).unwrap_or_default() {
        text.push(sign);
        text.extend_from_slice(line);
        if line.last() != Some(&b'\n') {
            text.extend_from_slice(b"\n\\ No newline at end of file\n");
        }
    }
}

fn count(lines: &[&[u8]]) -> u32 {
    u32::try_from(lines.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(before: &str, after: &str) -> String {
        match patch(before.as_bytes(), after.as_bytes()) {
            Patch::Text(text) => String::from_utf8(text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_patch_is_what_diff_u_prints() {
        assert_eq!(
            text("a\nb\nc\n", "a\nB\nc\n"),
            "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"
        );
        assert_eq!(text("", "a\n"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(text("a\n", ""), "@@ -1 +0,0 @@\n-a\n");
        assert_eq!(
            text("a", "a\n"),
            "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"
        );
        let long: String = (0..20).map(|n| format!("{n}\n")).collect();
        let changed = long.replace("2\n3\n", "2\nx\n").replace("15\n", "");
        assert_eq!(
            text(&long, &changed),
            "@@ -1,7 +1,7 @@\n 0\n 1\n 2\n-3\n+x\n 4\n 5\n 6\n\
             @@ -13,7 +13,6 @@\n 12\n 13\n 14\n-15\n 16\n 17\n 18\n"
        );
        assert_eq!(patch(b"a\0", b"b"), Patch::Binary);
    }
}
