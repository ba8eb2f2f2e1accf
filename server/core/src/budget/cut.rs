//! The bound in bytes, and the text that says what is missing. Cuts at line ends
//! where one is near, never inside a character, and not between a character and
//! the marks that belong to it.

use std::ops::Range;

use super::Select;
use super::lines::Lines;

/// How far in bytes a cut moves to meet a line end: far enough for a line of a
/// build log, near enough not to waste a small budget.
const SNAP_TO_LINE: usize = 512;

/// The part of the budget, as a divisor, that snapping to a line may cost at most.
const SNAP_SHARE: usize = 8;

/// How many characters a cut looks back for the start of a cluster: longer
/// clusters than this are attacks on a renderer, not text.
const CLUSTER_LOOK_BACK: usize = 16;

/// Stands between groups of lines that a grep found, as in grep itself.
const SEPARATOR: &[u8] = b"--\n";

/// What is left within the bound.
pub(super) struct Cut {
    /// Sorted, not overlapping.
    pub(super) ranges: Vec<Range<usize>>,
    /// Whether anything had to go.
    pub(super) truncated: bool,
}

/// Keeps at most `max_bytes` of `ranges`, from the side or sides `select` asks for.
/// Separators count, so that a grep with many groups cannot exceed the bound.
pub(super) fn to_bytes(
    stream: &[u8],
    ranges: &[Range<usize>],
    max_bytes: usize,
    select: Select,
) -> Cut {
    let cost: usize = ranges
        .iter()
        .map(|range| range.len() + SEPARATOR.len())
        .sum();
    if cost.saturating_sub(SEPARATOR.len()) <= max_bytes {
        return Cut {
            ranges: ranges.to_vec(),
            truncated: false,
        };
    }
    let head = match select {
        Select::Head { .. } => max_bytes,
        Select::Tail { .. } => 0,
        Select::All | Select::HeadTail { .. } => max_bytes / 2,
    };
    let mut kept = take_front(stream, ranges, head);
    kept.extend(take_back(stream, ranges, max_bytes - head));
    Cut {
        ranges: kept,
        truncated: true,
    }
}

fn take_front(stream: &[u8], ranges: &[Range<usize>], budget: usize) -> Vec<Range<usize>> {
    let mut kept = Vec::new();
    let mut left = budget;
    for range in ranges {
        if range.len() > left {
            let end = end_at_or_before(stream, range, range.start + left, budget);
            if end > range.start {
                kept.push(range.start..end);
            }
            break;
        }
        kept.push(range.clone());
        left = (left - range.len()).saturating_sub(SEPARATOR.len());
    }
    kept
}

fn take_back(stream: &[u8], ranges: &[Range<usize>], budget: usize) -> Vec<Range<usize>> {
    let mut kept = Vec::new();
    let mut left = budget;
    for range in ranges.iter().rev() {
        if range.len() > left {
            let start = start_at_or_after(stream, range, range.end - left, budget);
            if start < range.end {
                kept.push(start..range.end);
            }
            break;
        }
        kept.push(range.clone());
        left = (left - range.len()).saturating_sub(SEPARATOR.len());
    }
    kept.reverse();
    kept
}

fn snap(budget: usize) -> usize {
    SNAP_TO_LINE.min(budget / SNAP_SHARE)
}

/// The best place to end at or before `wanted`.
fn end_at_or_before(stream: &[u8], range: &Range<usize>, wanted: usize, budget: usize) -> usize {
    let from = wanted.saturating_sub(snap(budget)).max(range.start);
    let near = stream.get(from..wanted).unwrap_or_default();
    match memchr::memrchr(b'\n', near) {
        Some(at) => from + at + 1,
        None => boundary_at_or_before(stream, wanted).max(range.start),
    }
}

/// The best place to start at or after `wanted`.
fn start_at_or_after(stream: &[u8], range: &Range<usize>, wanted: usize, budget: usize) -> usize {
    let to = wanted.saturating_add(snap(budget)).min(range.end);
    // The byte before counts: a cut right behind a line end is already a good one.
    let from = wanted.saturating_sub(1);
    let near = stream.get(from..to).unwrap_or_default();
    match memchr::memchr(b'\n', near) {
        Some(at) if from + at + 1 < range.end => from + at + 1,
        _ => boundary_at_or_after(stream, wanted).min(range.end),
    }
}

fn boundary_at_or_before(stream: &[u8], wanted: usize) -> usize {
    let mut at = wanted;
    for _ in 0..CLUSTER_LOOK_BACK {
        at = char_start(stream, at);
        if at == 0 || !splits_cluster(stream, at) {
            return at;
        }
        at -= 1;
    }
    char_start(stream, wanted)
}

fn boundary_at_or_after(stream: &[u8], wanted: usize) -> usize {
    let mut at = wanted;
    for _ in 0..CLUSTER_LOOK_BACK {
        let start = char_start(stream, at);
        if start < at {
            at += 1;
        } else if splits_cluster(stream, at) {
            at += char_from(stream, at).map_or(1, char::len_utf8);
        } else {
            return at;
        }
    }
    at
}

/// The start of the character that `at` lies within; `at` itself when it is a
/// boundary or the bytes are no UTF-8.
fn char_start(stream: &[u8], at: usize) -> usize {
    for back in 1..=3 {
        let Some(start) = at.checked_sub(back) else {
            break;
        };
        if char_from(stream, start).is_some_and(|found| found.len_utf8() > back) {
            return start;
        }
    }
    at
}

fn char_from(stream: &[u8], at: usize) -> Option<char> {
    let bytes = stream.get(at..stream.len().min(at + 4))?;
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?,
    };
    text.chars().next()
}

/// Whether a cut right before `at` would take a mark from its character.
fn splits_cluster(stream: &[u8], at: usize) -> bool {
    let before = at
        .checked_sub(1)
        .and_then(|last| char_from(stream, char_start(stream, last)));
    let (Some(before), Some(after)) = (before, char_from(stream, at)) else {
        return false;
    };
    (before == '\r' && after == '\n') || before == '\u{200d}' || extends_cluster(after)
}

/// The marks that terminals and people see as part of the character before:
/// combining marks, joiners, variation selectors, skin tones, tags.
fn extends_cluster(mark: char) -> bool {
    matches!(mark,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}'
        | '\u{64b}'..='\u{65f}' | '\u{93e}'..='\u{94d}' | '\u{e31}' | '\u{e34}'..='\u{e3a}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{200c}' | '\u{200d}'
        | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}' | '\u{3099}' | '\u{309a}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
}

/// Writes `ranges`, with a line in each gap. A gap that only the grep made is a
/// separator as grep writes it; any other says how much is missing.
pub(super) fn render(
    stream: &[u8],
    lines: &Lines,
    found: &[Range<usize>],
    ranges: &[Range<usize>],
) -> Vec<u8> {
    let found = lines.byte_ranges(found);
    let mut out = Vec::new();
    let mut at = 0;
    for range in ranges {
        gap(&mut out, lines, &found, at..range.start);
        out.extend_from_slice(stream.get(range.clone()).unwrap_or_default());
        at = range.end;
    }
    gap(&mut out, lines, &found, at..stream.len());
    out
}

fn gap(out: &mut Vec<u8>, lines: &Lines, found: &[Range<usize>], gap: Range<usize>) {
    if gap.is_empty() {
        return;
    }
    // Found ranges are sorted: the first that ends behind the gap's start decides.
    let next = found.partition_point(|range| range.end <= gap.start);
    let hides_found = found.get(next).is_some_and(|range| range.start < gap.end);
    let between = !out.is_empty() && next < found.len();
    if !hides_found && !between {
        return;
    }
    if out.last().is_some_and(|last| *last != b'\n') {
        out.push(b'\n');
    }
    if hides_found {
        let (bytes, count) = (gap.len(), lines.within(&gap));
        let plural = if count == 1 { "" } else { "s" };
        out.extend_from_slice(
            format!("[... {bytes} bytes in {count} line{plural} omitted ...]\n").as_bytes(),
        );
    } else {
        out.extend_from_slice(SEPARATOR);
    }
}
