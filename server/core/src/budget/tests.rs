//! Facts about the output budget.

use proptest::prelude::*;

use super::*;

fn budget(max_bytes: usize, select: Select, grep: Option<Grep>) -> OutputBudget {
    OutputBudget::new(max_bytes, select, grep).unwrap()
}

fn grep(pattern: &str, before: usize, after: usize) -> Option<Grep> {
    Some(Grep::new(pattern, before, after, GrepMode::Matching).unwrap())
}

fn check(budget: &OutputBudget, stream: &str, expected: &str) -> BudgetReport {
    let budgeted = budget.apply(stream.as_bytes());
    assert_eq!(String::from_utf8(budgeted.bytes).unwrap(), expected);
    budgeted.report
}

fn numbered(count: usize) -> String {
    (1..=count)
        .map(|number| format!("line {number}\n"))
        .collect()
}

#[test]
fn small_output_is_kept_byte_for_byte() {
    let stream = b"a\r\n\0\xff\xfe no end";
    let budgeted = OutputBudget::default().apply(stream);
    let report = BudgetReport {
        total_bytes: 13,
        total_lines: 2,
        kept_bytes: 13,
        kept_lines: 2,
        omitted_bytes: 0,
        matched_lines: 2,
        truncated: false,
    };
    assert_eq!(
        budgeted,
        Budgeted {
            bytes: stream.to_vec(),
            report
        }
    );
}

#[test]
fn empty_output_has_no_lines() {
    assert_eq!(
        OutputBudget::default().apply(b""),
        Budgeted {
            bytes: Vec::new(),
            report: BudgetReport::default()
        }
    );
}

#[test]
fn head_tail_says_what_the_middle_was() {
    let report = check(
        &budget(1000, Select::HeadTail { head: 1, tail: 2 }, None),
        &numbered(9),
        "line 1\n[... 42 bytes in 6 lines omitted ...]\nline 8\nline 9\n",
    );
    let expected = BudgetReport {
        total_bytes: 63,
        total_lines: 9,
        kept_bytes: 21,
        kept_lines: 3,
        omitted_bytes: 42,
        matched_lines: 9,
        truncated: true,
    };
    assert_eq!(report, expected);
}

#[test]
fn head_and_tail_mark_the_other_side() {
    let stream = numbered(3);
    check(
        &budget(1000, Select::Head { lines: 1 }, None),
        &stream,
        "line 1\n[... 14 bytes in 2 lines omitted ...]\n",
    );
    check(
        &budget(1000, Select::Tail { lines: 2 }, None),
        &stream,
        "[... 7 bytes in 1 line omitted ...]\nline 2\nline 3\n",
    );
    check(
        &budget(1000, Select::Head { lines: 3 }, None),
        &stream,
        &stream,
    );
}

#[test]
fn bytes_are_cut_at_line_ends_where_near() {
    check(
        &budget(112, Select::Head { lines: 50 }, None),
        &numbered(20),
        &format!("{}[... 40 bytes in 5 lines omitted ...]\n", numbered(15)),
    );
    check(
        &budget(112, Select::All, None),
        &numbered(20),
        &format!(
            "{}[... 39 bytes in 5 lines omitted ...]\n{}",
            numbered(8),
            numbered_from(14, 20)
        ),
    );
}

fn numbered_from(first: usize, last: usize) -> String {
    (first..=last)
        .map(|number| format!("line {number}\n"))
        .collect()
}

#[test]
fn grep_keeps_context_and_separates_groups() {
    let report = check(
        &budget(1000, Select::All, grep("[37]$", 1, 0)),
        &numbered(9),
        "line 2\nline 3\n--\nline 6\nline 7\n",
    );
    assert_eq!(
        (report.matched_lines, report.kept_lines, report.truncated),
        (2, 4, false)
    );
}

#[test]
fn inverted_grep_keeps_the_others() {
    let invert = Grep::new("^#", 0, 0, GrepMode::NotMatching).unwrap();
    let report = check(
        &budget(1000, Select::All, Some(invert)),
        "#a\nb\n#c\r\n",
        "b\n",
    );
    assert_eq!(report.matched_lines, 1);
}

#[test]
fn grep_then_tail_counts_only_found_lines_as_omitted() {
    let report = check(
        &budget(1000, Select::Tail { lines: 1 }, grep("x", 0, 0)),
        "x1\ny\nx2\ny\n",
        "[... 5 bytes in 2 lines omitted ...]\nx2\n",
    );
    assert_eq!(
        (report.matched_lines, report.kept_lines, report.truncated),
        (2, 1, true)
    );
}

#[test]
fn grep_without_match_keeps_nothing() {
    let report = check(&budget(1000, Select::All, grep("zzz", 2, 2)), "a\nb\n", "");
    assert_eq!(
        (report.matched_lines, report.omitted_bytes, report.truncated),
        (0, 4, false)
    );
}

#[test]
fn carriage_return_is_no_part_of_the_line() {
    check(
        &budget(1000, Select::All, grep("end$", 0, 0)),
        "the end\r\n",
        "the end\r\n",
    );
}

#[test]
fn cut_splits_no_character_and_no_cluster() {
    // Woman technologist: woman, zero-width joiner, laptop. Eleven bytes.
    let family = "\u{1f469}\u{200d}\u{1f4bb}";
    let stream = format!("ab{family}cd");
    for max in 3..13 {
        let kept = budget(max, Select::Head { lines: 9 }, None).apply(stream.as_bytes());
        assert!(
            kept.bytes.starts_with(b"ab\n["),
            "{:?}",
            String::from_utf8_lossy(&kept.bytes)
        );
    }
    let kept = budget(4, Select::Tail { lines: 9 }, None).apply("xe\u{301}yz".as_bytes());
    assert!(
        kept.bytes.ends_with(b"\nyz"),
        "{:?}",
        String::from_utf8_lossy(&kept.bytes)
    );
}

#[test]
fn bad_bounds_name_their_field() {
    let field = |result: Result<OutputBudget, BudgetError>| result.unwrap_err().field;
    assert_eq!(field(OutputBudget::new(0, Select::All, None)), "max_bytes");
    assert_eq!(
        field(OutputBudget::new(MAX_MAX_BYTES + 1, Select::All, None)),
        "max_bytes"
    );
    assert_eq!(
        field(OutputBudget::new(1, Select::Head { lines: 0 }, None)),
        "select.head.lines"
    );
    let pattern = |text: &str| Grep::new(text, 0, 0, GrepMode::Matching).unwrap_err().field;
    assert_eq!(pattern("("), "grep.pattern");
    assert_eq!(pattern(&"a".repeat(MAX_PATTERN_BYTES + 1)), "grep.pattern");
    assert_eq!(pattern("((a{1000}){1000}){1000}"), "grep.pattern");
    let context = Grep::new("a", MAX_CONTEXT_LINES + 1, 0, GrepMode::Matching);
    assert_eq!(context.unwrap_err().field, "grep.before");
}

fn any_select() -> impl Strategy<Value = Select> {
    prop_oneof![
        Just(Select::All),
        (1..9usize).prop_map(|lines| Select::Head { lines }),
        (1..9usize).prop_map(|lines| Select::Tail { lines }),
        (0..5usize, 1..5usize).prop_map(|(head, tail)| Select::HeadTail { head, tail }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn bound_holds_and_numbers_add_up(
        stream in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..300),
        max_bytes in 1..200usize,
        select in any_select(),
        filter in proptest::option::of(Just("a")),
    ) {
        let filter = filter.and_then(|pattern| grep(pattern, 1, 1));
        let budgeted = budget(max_bytes, select, filter).apply(&stream);
        let report = budgeted.report;
        prop_assert!(report.kept_bytes <= max_bytes as u64);
        prop_assert_eq!(report.kept_bytes + report.omitted_bytes, report.total_bytes);
        prop_assert_eq!(report.total_bytes, stream.len() as u64);
        prop_assert!(report.kept_lines <= report.total_lines);
        if report.omitted_bytes == 0 {
            prop_assert_eq!(budgeted.bytes, stream);
        }
    }

    #[test]
    fn text_stays_text(stream in "(\\PC|\n){0,80}", max_bytes in 1..120usize, select in any_select()) {
        let budgeted = budget(max_bytes, select, None).apply(stream.as_bytes());
        prop_assert!(String::from_utf8(budgeted.bytes).is_ok());
    }
}
