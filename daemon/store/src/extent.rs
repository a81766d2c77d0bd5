//! Which columns of a database are to be written anew, and how a mark says so.
//!
//! **Invariants.** What a mark said before is kept in the one that takes its place, so nothing that
//! was to be written anew is forgotten.

use crate::rocks::{Database, Reads, RocksError};
use crate::schema::Column;
use crate::skip;

/// What a mark that names columns begins with.
const NAMED: &str = "columns to be written anew:";
/// What stands before the columns that lack files.
const LACKING: &str = "; files are lost of:";
/// What stands before what the mark said before.
const BEFORE: &str = "; and: ";

/// Columns that are to be written anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) columns: Vec<Column>,
    /// Those of them of which whole files are gone: what was removed or replaced may be there
    /// again, because what said so was in these files.
    pub(crate) lacking: Vec<Column>,
}

impl Extent {
    /// Damaged columns, none of which lacks a file.
    pub(crate) fn of(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), lacking: Vec::new() }
    }

    /// Adds columns that lack files.
    pub(crate) fn add_lacking(&mut self, columns: &[Column]) {
        add(&mut self.columns, columns);
        add(&mut self.lacking, columns);
    }

    pub(crate) fn lacks(&self, column: Column) -> bool {
        self.lacking.contains(&column)
    }

    /// What a mark says; `before` is what it said until now, if that was something else.
    pub(crate) fn text(&self, before: Option<&str>) -> String {
        let mut text = NAMED.to_owned();
        let names = |columns: &[Column]| -> String {
            columns.iter().flat_map(|column| [" ", column.name()]).collect()
        };
        text.push_str(&names(&self.columns));
        if !self.lacking.is_empty() {
            text.push_str(LACKING);
            text.push_str(&names(&self.lacking));
        }
        if let Some(before) = before {
            text.push_str(BEFORE);
            text.push_str(before);
        }
        text
    }

    /// What a mark says of columns, and what else it says, of which that is not known yet.
    pub(crate) fn named(text: &str) -> (Self, Option<&str>) {
        let Some(text) = text.strip_prefix(NAMED) else { return (Self::default(), Some(text)) };
        let (text, before) = match text.split_once(BEFORE) {
            Some((text, before)) => (text, Some(before)),
            None => (text, None),
        };
        let (columns, lacking) = text.split_once(LACKING).unwrap_or((text, ""));
        let named = |names: &str| -> Vec<Column> {
            let is_named = |column: &Column| names.split_whitespace().any(|of| of == column.name());
            Column::ALL.into_iter().filter(is_named).collect()
        };
        (Self { columns: named(columns), lacking: named(lacking) }, before)
    }

    /// What a mark is about; none if it does not say. There may be no columns, if what was damaged
    /// is gone.
    pub(crate) fn marked(db: &Database, text: &str) -> Result<Option<Self>, RocksError> {
        let (mut extent, rest) = Self::named(text);
        let Some(rest) = rest else { return Ok(Some(extent)) };
        let Some(columns) = columns_of(db, rest)? else { return Ok(None) };
        add(&mut extent.columns, &columns);
        Ok(Some(extent))
    }
}

fn add(to: &mut Vec<Column>, columns: &[Column]) {
    for column in columns {
        if !to.contains(column) {
            to.push(*column);
        }
    }
}

/// The columns that an error is about.
fn columns_of(db: &Database, error: &str) -> Result<Option<Vec<Column>>, RocksError> {
    if error.contains(".sst") {
        return db.columns_of_files(error).map(Some);
    }
    if !error.contains(".blob") {
        return Ok(None);
    }
    let mut columns = Vec::new();
    for column in [Column::Blobs, Column::Chunks] {
        let nothing = |_: &[u8], _: &[u8]| Ok::<(), RocksError>(());
        if skip::each_readable(db.rows(column, &[], None), nothing)? {
            columns.push(column);
        }
    }
    Ok(Some(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_mark_says_reads_back() {
        let mut extent = Extent::of(&[Column::Tasks, Column::Blobs]);
        assert_eq!(extent.text(None), "columns to be written anew: tasks blobs");
        assert_eq!(Extent::named(&extent.text(None)), (extent.clone(), None));
        extent.add_lacking(&[Column::Chunks, Column::Tasks]);
        for before in [None, Some("Corruption: bad block in 000012.sst")] {
            let text = extent.text(before);
            let (read, rest) = Extent::named(&text);
            assert_eq!(read.lacking, [Column::Tasks, Column::Chunks]);
            assert_eq!(read.columns, [Column::Tasks, Column::Blobs, Column::Chunks]);
            assert_eq!(rest, before);
        }
        assert_eq!(Extent::named("it is bad"), (Extent::default(), Some("it is bad")));
    }
}
