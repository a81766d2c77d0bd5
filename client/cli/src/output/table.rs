//! Rows of fields: aligned under a header on a terminal, between tabs in a pipe; there under a
//! header only if the table is one of several.

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
    Table::new(columns).write(out, screen, rows)
}

/// Writes one of several tables of an answer, below an empty line: in a pipe with its header, too,
/// by which it can be told from the others.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn write_one_of_several(
    out: &mut impl Write,
    screen: Screen,
    columns: &[Column],
    rows: &[Vec<String>],
) -> io::Result<()> {
    writeln!(out)?;
    if !screen.out_is_terminal {
        let headers: Vec<&str> = columns.iter().map(|(header, _)| *header).collect();
        writeln!(out, "{}", headers.join("\t"))?;
    }
    write(out, screen, columns, rows)
}

/// A table whose rows come bit by bit: it has one header, and its columns only get wider.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    columns: &'a [Column],
    widths: Vec<usize>,
    is_begun: bool,
}

impl<'a> Table<'a> {
    /// A table of these columns.
    pub(crate) fn new(columns: &'a [Column]) -> Self {
        let widths = columns.iter().map(|(header, _)| header.chars().count()).collect();
        Self { columns, widths, is_begun: false }
    }

    /// Writes the next rows.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn write(
        &mut self,
        out: &mut impl Write,
        screen: Screen,
        rows: &[Vec<String>],
    ) -> io::Result<()> {
        if !screen.out_is_terminal {
            for row in rows {
                let fields: Vec<_> = row.iter().map(|field| shown(field)).collect();
                writeln!(out, "{}", fields.join("\t"))?;
            }
            return Ok(());
        }
        for row in rows {
            for (width, field) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(shown(field).chars().count());
            }
        }
        if !self.is_begun {
            self.is_begun = true;
            let headers: Vec<&str> = self.columns.iter().map(|(header, _)| *header).collect();
            writeln!(out, "{}", paint(screen.color, Style::Faint, &self.line(&headers)))?;
        }
        for row in rows {
            let fields: Vec<&str> = row.iter().map(String::as_str).collect();
            writeln!(out, "{}", self.line(&fields))?;
        }
        Ok(())
    }

    fn line(&self, fields: &[&str]) -> String {
        let mut line = String::new();
        for ((field, (_, align)), width) in fields.iter().zip(self.columns).zip(&self.widths) {
            let field = shown(field);
            let padding = " ".repeat(width.saturating_sub(field.chars().count()));
            let (before, after) = match align {
                Align::Left => ("", padding.as_str()),
                Align::Right => (padding.as_str(), ""),
            };
            line.extend([before, &field, after, "  "]);
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Screen;

    const COLUMNS: [Column; 2] = [("name", Align::Left), ("bytes", Align::Right)];

    fn row(name: &str, bytes: &str) -> Vec<String> {
        vec![name.to_owned(), bytes.to_owned()]
    }

    fn written(out_is_terminal: bool) -> String {
        let rows = [row("a\tb", "7"), row("longer", "123456")];
        let mut out = Vec::new();
        write(&mut out, Screen::plain(out_is_terminal), &COLUMNS, &rows).expect("memory takes it");
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

    #[test]
    fn one_of_several_has_a_header_everywhere() {
        let one = |out_is_terminal| {
            let (mut out, rows) = (Vec::new(), [row("a", "7")]);
            let screen = Screen::plain(out_is_terminal);
            write_one_of_several(&mut out, screen, &COLUMNS, &rows).expect("memory takes it");
            String::from_utf8(out).expect("it is text")
        };
        assert_eq!(one(true), "\nname  bytes\na         7\n");
        assert_eq!(one(false), "\nname\tbytes\na\t7\n");
    }

    #[test]
    fn rows_that_come_later_stand_under_the_same_header() {
        let mut out = Vec::new();
        let mut table = Table::new(&COLUMNS);
        for rows in [[row("long", "7")], [row("a", "12")], [row("longer", "123456")]] {
            table.write(&mut out, Screen::plain(true), &rows).expect("memory takes it");
        }
        let text = String::from_utf8(out).expect("it is text");
        assert_eq!(text, "name  bytes\nlong      7\na        12\nlonger  123456\n");
    }
}
