//! Rows of fields: aligned under a header on a terminal, between tabs in a pipe.

use std::io::{self, Write};

use crate::args::Screen;
use crate::output::{Style, paint, shown};

/// On which side a column is padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column's header and its alignment.
pub(crate) type Column = (&'static str, Align);

/// Writes the rows.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn write(
    out: &mut impl Write,
    screen: Screen,
    columns: &[Column],
    rows: &[Vec<String>],
) -> io::Result<()> {
    if !screen.out_is_terminal {
        for row in rows {
            let fields: Vec<_> = row.iter().map(|field| shown(field)).collect();
            writeln!(out, "{}", fields.join("\t"))?;
        }
        return Ok(());
    }
    let width = |index: usize, header: &str| {
        let fields = rows.iter().filter_map(|row| row.get(index));
        let widest = fields.map(|field| shown(field).chars().count()).max().unwrap_or(0);
        widest.max(header.chars().count())
    };
    let widths: Vec<usize> =
        columns.iter().enumerate().map(|(index, (header, _))| width(index, header)).collect();
    let line = |fields: &[&str]| {
        let mut line = String::new();
        for ((field, (_, align)), width) in fields.iter().zip(columns).zip(&widths) {
            let field = shown(field);
            let padding = " ".repeat(width.saturating_sub(field.chars().count()));
            let (before, after) = match align {
                Align::Left => ("", padding.as_str()),
                Align::Right => (padding.as_str(), ""),
            };
            line.extend([before, &field, after, "  "]);
        }
        line.trim_end().to_owned()
    };
    let headers: Vec<&str> = columns.iter().map(|(header, _)| *header).collect();
    writeln!(out, "{}", paint(screen.color, Style::Faint, &line(&headers)))?;
    for row in rows {
        let fields: Vec<&str> = row.iter().map(String::as_str).collect();
        writeln!(out, "{}", line(&fields))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Format, Screen};

    fn written(out_is_terminal: bool) -> String {
        let screen = Screen {
            format: Format::Text,
            out_is_terminal,
            err_is_terminal: false,
            color: false,
            err_color: false,
            quiet: false,
            verbose: false,
        };
        let rows = vec![
            vec!["a\tb".to_owned(), "7".to_owned()],
            vec!["longer".to_owned(), "123456".to_owned()],
        ];
        let mut out = Vec::new();
        let columns = [("name", Align::Left), ("bytes", Align::Right)];
        write(&mut out, screen, &columns, &rows).expect("memory takes it");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn a_terminal_gets_columns() {
        assert_eq!(written(true), "name     bytes\na\\tb         7\nlonger  123456\n");
    }

    #[test]
    fn a_pipe_gets_tabs_and_no_header() {
        assert_eq!(written(false), "a\\tb\t7\nlonger\t123456\n");
    }
}
