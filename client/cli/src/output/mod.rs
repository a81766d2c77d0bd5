//! What commands print: answers to standard output, everything else to standard error.
//!
//! **Invariants.** Names that somebody stored are shown without their control characters, nor those
//! that turn the direction of text or cannot be seen, so that they cannot command a terminal, break
//! a line or look like others. In a pipe there are no colours and no padding:
//! fields stand between tabs, under a header only where one answer has several tables.

pub(crate) mod holder;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod units;
mod visible;

use std::borrow::Cow;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::{Value, json};

use crate::args::{Format, Screen};
use crate::exit::Failure;
pub(crate) use visible::shown;

/// What is shown of a number that the daemon does not tell this user.
pub(crate) const NOT_TOLD: &str = "not told";

/// A colour with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// It is as one would wish.
    Good,
    /// It is not.
    Bad,
    /// It may matter.
    Notable,
    /// It is the headline.
    Strong,
    /// It is beside the point.
    Faint,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Notable => "\x1b[33m",
            Self::Strong => "\x1b[1m",
            Self::Faint => "\x1b[2m",
        }
    }
}

/// The text in the style, if there are colours.
pub(crate) fn paint(color: bool, style: Style, text: &str) -> Cow<'_, str> {
    if color { Cow::Owned(format!("{}{text}\x1b[0m", style.code())) } else { Cow::Borrowed(text) }
}

impl Screen {
    /// Whether answers are JSON.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Standard output, to be flushed.
    pub(crate) fn out() -> BufWriter<StdoutLock<'static>> {
        BufWriter::new(io::stdout().lock())
    }

    /// Answers with one line of JSON.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn json(value: &Value) -> io::Result<()> {
        let mut out = Self::out();
        writeln!(out, "{value}")?;
        out.flush()
    }

    /// Answers with lines of a name and a value each.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn fields(self, fields: &[(&str, String)]) -> io::Result<()> {
        let mut out = Self::out();
        self.write_fields(&mut out, fields)?;
        out.flush()
    }

    fn write_fields(self, out: &mut impl Write, fields: &[(&str, String)]) -> io::Result<()> {
        let shown: Vec<_> =
            fields.iter().map(|(name, value)| (shown(name), shown(value))).collect();
        let width = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in &shown {
            let value = match (name.as_ref(), value.as_ref()) {
                ("status", "MISS" | "PENDING" | "EXISTS" | "DISABLED" | "SKIPPED") => {
                    paint(self.color, Style::Notable, value)
                }
                ("status", _) => paint(self.color, Style::Good, value),
                _ => Cow::Borrowed(value.as_ref()),
            };
            if self.out_is_terminal {
                let padded = format!("{name:width$}");
                writeln!(out, "{}  {value}", paint(self.color, Style::Faint, &padded))?;
            } else {
                writeln!(out, "{name}\t{value}")?;
            }
        }
        Ok(())
    }

    /// Tells of something that went wrong without stopping us, on one line.
    pub(crate) fn warn(self, message: &str) {
        if self.quiet {
            return;
        }
        let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        if self.is_json() {
            tell(&json!({"warning": {"message": message}}).to_string());
        } else {
            let label = paint(self.err_color, Style::Notable, "warning:");
            tell(&format!("memo: {label} {}", shown(&message)));
        }
    }

    /// Tells what a failure is; not suppressed by `--quiet`.
    pub(crate) fn fail(self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        if self.is_json() {
            let mut error = json!({"code": failure.code, "message": failure.message});
            if let (Some(hint), Some(members)) = (&failure.hint, error.as_object_mut()) {
                members.insert("hint".into(), hint.as_str().into());
            }
            tell(&json!({ "error": error }).to_string());
            return;
        }
        let label = paint(self.err_color, Style::Bad, "error:");
        tell(&format!("memo: {label} {}", lines(&failure.message)));
        if let Some(hint) = &failure.hint {
            let label = paint(self.err_color, Style::Strong, "hint:");
            tell(&format!("{label} {}", lines(hint)));
        }
    }
}

/// As [`shown`], for our own sentences: their line breaks stay.
fn lines(text: &str) -> String {
    text.lines().map(shown).collect::<Vec<_>>().join("\n")
}

/// Writes a line to standard error in one piece. Nobody is left to hear it if that fails.
pub(crate) fn tell(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_of_our_own_sentences_stay() {
        assert_eq!(lines("two\nlines\x07"), "two\nlines\\u{7}");
    }

    #[test]
    fn names_of_fields_are_shown_as_their_values_are() {
        for out_is_terminal in [true, false] {
            let screen = Screen::plain(out_is_terminal);
            let mut out = Vec::new();
            let fields = [("output a\nstatus\tHIT\x1b[31m", "b\nc".to_owned())];
            screen.write_fields(&mut out, &fields).expect("memory takes it");
            let between = if out_is_terminal { "  " } else { "\t" };
            let line = format!("output a\\nstatus\\tHIT\\u{{1b}}[31m{between}b\\nc\n");
            assert_eq!(String::from_utf8(out).expect("text"), line);
        }
    }

    #[test]
    fn paint_is_undone_at_the_end() {
        assert_eq!(paint(true, Style::Good, "HIT"), "\x1b[32mHIT\x1b[0m");
        assert_eq!(paint(false, Style::Good, "HIT"), "HIT");
    }
}
