//! The report as a picture: a bar for each row's median and a tick at its worst hundredth, on
//! a scale of powers of ten, because the slowest are a thousand times as slow as the fastest.

use std::fmt::Write as _;

use super::print::digits;
use super::{Report, Row, Table};

/// Sizes, in pixels.
const WIDTH: f64 = 1000.0;
const LABELS: f64 = 380.0;
const BARS: f64 = 480.0;
const LINE: f64 = 18.0;
const BAR: f64 = 12.0;
const GAP: f64 = 26.0;

/// Part of the bars' width that the least value of a table has.
const LEAST_PART: f64 = 0.04;

/// The fill of a bar, by whose it is.
const OURS: &str = "#2b6cb0";
const FLOOR: &str = "#8a9ba8";
const OTHERS: &str = "#d08a3c";

/// Draws all tables below each other.
pub(super) fn draw(report: &Report) -> String {
    let mut body = String::new();
    let mut y = GAP;
    let machine = &report.machine;
    let title = format!(
        "{}, {} cores, Linux {}, checkout {}{}",
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.commit,
        if report.quick { ", quick" } else { "" }
    );
    text(&mut body, 10.0, y, "bold", &title);
    y += LINE;
    let legend = "Bars are medians on a scale of powers of ten (grey lines), ticks the worst hundredth. \
                  Blue: execgate; grey: the least that it can be; orange: what people use instead.";
    text(&mut body, 10.0, y, "normal", legend);
    for table in &report.tables {
        y += GAP;
        text(&mut body, 10.0, y, "bold", &table.name);
        y += LINE / 2.0;
        for (unit, rows) in by_unit(table) {
            y = panel(&mut body, y, unit, &rows);
        }
    }
    let height = y + GAP;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// Rows that one scale can show, in their order.
fn by_unit(table: &Table) -> Vec<(&'static str, Vec<&Row>)> {
    let mut panels: Vec<(&'static str, Vec<&Row>)> = Vec::new();
    for row in &table.rows {
        let name = row.unit.name();
        match panels.iter_mut().find(|(unit, _)| *unit == name) {
            Some((_, rows)) => rows.push(row),
            None => panels.push((name, vec![row])),
        }
    }
    panels
}

/// Draws rows below `y`; answers where they end.
fn panel(body: &mut String, mut y: f64, unit: &str, rows: &[&Row]) -> f64 {
    let ends = rows.iter().flat_map(|row| [row.quantile(0.5), row.tail()]);
    let ends: Vec<f64> = ends.filter(|value| *value > 0.0).map(f64::log10).collect();
    // From a power of ten on, and over one at least: what hardly differs looks alike.
    let least = ends.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let most = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = (most - least).max(1.0);
    // What is nothing, or less, has no place on such a scale.
    let place = |value: f64| match value > 0.0 {
        true => BARS * (LEAST_PART + (1.0 - LEAST_PART) * (value.log10() - least) / span),
        false => 0.0,
    };
    // Lines at powers of ten, behind the bars.
    let bottom = y + LINE * rows.len() as f64 + 4.0;
    let (first, last) = (least, most.floor());
    let mut power = first;
    while power <= last {
        let x = LABELS + place(10f64.powf(power));
        // Writing to a string does not fail.
        let _ = writeln!(
            body,
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#ccc\"/>"
        );
        power += 1.0;
    }
    for row in rows {
        y += LINE;
        let median = row.quantile(0.5);
        let (end, tick) = (place(median), LABELS + place(row.tail()));
        let (top, fill) = (y - BAR + 2.0, fill(&row.name));
        text(body, 24.0, y, "normal", &row.name);
        // Writing to a string does not fail.
        let _ = writeln!(
            body,
            "<rect x=\"{LABELS}\" y=\"{top:.1}\" width=\"{end:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>\
             <rect x=\"{tick:.1}\" y=\"{top:.1}\" width=\"1.5\" height=\"{BAR}\" fill=\"black\"/>"
        );
        let value = format!("{} {unit}", digits(row.unit, median));
        text(body, LABELS + BARS + 10.0, y, "normal", &value);
    }
    y
}

/// Whose a row is, by how its name begins.
fn fill(row: &str) -> &'static str {
    let begins = |names: &[&str]| names.iter().any(|name| row.starts_with(name));
    let ours = [
        "execgate",
        "Python client",
        "Python grpcio, Run",
        "Python grpcio, execgate",
    ];
    let least = [
        "floor",
        "empty RPC",
        "tonic alone",
        "200 bytes",
        "cat",
        "one line",
        "bash, ",
        "bash eval",
        "bash at",
        "bash started",
        "Python grpcio",
    ];
    if begins(&ours) {
        OURS
    } else if begins(&least) {
        FLOOR
    } else {
        OTHERS
    }
}

fn text(body: &mut String, x: f64, y: f64, weight: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    // Writing to a string does not fail.
    let _ = writeln!(
        body,
        "<text x=\"{x}\" y=\"{y:.1}\" font-weight=\"{weight}\">{text}</text>"
    );
}
