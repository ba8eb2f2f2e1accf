//! asciicast version 3: a header, then one event per line, each with the seconds since the
//! one before. `o` is output, `m` a marker where a command begins, `x` the exit status at
//! the very end. What was typed is not recorded by its content, so there is no `i`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

/// Writes a recording.
#[derive(Debug)]
pub(super) struct Asciicast {
    /// When the last event was.
    last: SystemTime,
    /// Whether output comes from a terminal: if not, each line begins at the left only if
    /// it is told to.
    is_terminal: bool,
    /// The beginning of a character whose end is still to come.
    partial: Vec<u8>,
}

impl Asciicast {
    /// A recording that begins at `start`, and its header.
    pub(super) fn new(
        start: SystemTime,
        (columns, rows): (u16, u16),
        is_terminal: bool,
        title: &str,
    ) -> (Self, String) {
        let since = start.duration_since(SystemTime::UNIX_EPOCH);
        let header = json!({
            "version": 3,
            "term": { "cols": columns, "rows": rows },
            "timestamp": since.unwrap_or_default().as_secs(),
            "title": title,
        });
        let cast = Self {
            last: start,
            is_terminal,
            partial: Vec::new(),
        };
        (cast, format!("{header}\n"))
    }

    /// A command begins.
    pub(super) fn command(&mut self, time: SystemTime, command: &str) -> String {
        let mut lines = self.event(time, "m", &json!(command));
        if !self.is_terminal {
            // On a terminal the shell shows what is typed; here somebody has to.
            let shown = format!("$ {}\r\n", command.replace('\n', "\r\n"));
            lines.push_str(&self.event(time, "o", &json!(shown)));
        }
        lines
    }

    /// Output came.
    pub(super) fn output(&mut self, time: SystemTime, bytes: &[u8]) -> String {
        let text = self.decode(bytes);
        if text.is_empty() {
            return String::new();
        }
        let text = match self.is_terminal {
            true => text,
            false => text.replace('\n', "\r\n"),
        };
        self.event(time, "o", &json!(text))
    }

    /// A piece of output is not kept.
    pub(super) fn gap(&mut self, time: SystemTime, bytes: u64) -> String {
        self.partial.clear();
        let text = format!("\r\n[{bytes} bytes are not kept]\r\n");
        self.event(time, "o", &json!(text))
    }

    /// The end, with the status of the last command.
    pub(super) fn exit(&mut self, time: SystemTime, status: i32) -> String {
        self.event(time, "x", &json!(status.to_string()))
    }

    fn event(&mut self, time: SystemTime, code: &str, data: &Value) -> String {
        // A clock that was set back makes no time negative.
        let interval = time.duration_since(self.last).unwrap_or(Duration::ZERO);
        self.last = time;
        let seconds = interval.as_secs_f64();
        format!("[{seconds:.6}, {}, {data}]\n", json!(code))
    }

    /// The text of these bytes, and of what was left of those before; what is no text is
    /// shown as such.
    fn decode(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.partial.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, bad) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(length) = error.error_len() else {
                        rest = bad;
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = bad.get(length..).unwrap_or_default();
                }
            }
        }
        self.partial = rest.to_vec();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn a_recording_is_as_the_format_says() {
        let (mut cast, header) = Asciicast::new(at(5_000), (80, 24), false, "s");
        let mut text = header;
        text.push_str(&cast.command(at(5_000), "echo \"hi\""));
        text.push_str(&cast.output(at(5_250), b"hi\n"));
        text.push_str(&cast.exit(at(5_251), 0));
        let expected = concat!(
            r#"{"term":{"cols":80,"rows":24},"timestamp":5,"title":"s","version":3}"#,
            "\n",
            r#"[0.000000, "m", "echo \"hi\""]"#,
            "\n",
            r#"[0.000000, "o", "$ echo \"hi\"\r\n"]"#,
            "\n",
            r#"[0.250000, "o", "hi\r\n"]"#,
            "\n",
            r#"[0.001000, "x", "0"]"#,
            "\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_character_may_come_in_pieces_and_what_is_none_is_shown() {
        let (mut cast, _header) = Asciicast::new(at(0), (80, 24), true, "");
        let smile = "\u{1f600}".as_bytes();
        assert_eq!(cast.output(at(0), &smile[..2]), "");
        assert_eq!(
            cast.output(at(0), &smile[2..]),
            "[0.000000, \"o\", \"\u{1f600}\"]\n"
        );
        assert_eq!(
            cast.output(at(0), b"a\xffb\n"),
            "[0.000000, \"o\", \"a\u{fffd}b\\n\"]\n"
        );
    }
}
