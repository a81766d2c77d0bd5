//! Entries found by what is known of the runs that made them.

use memod_client::{Client, Error, Filter, Key};

/// Rows asked for at once.
const PAGE_ROWS: u32 = 1000;

/// The keys of a user's entries that were made in an execution of this name. Looks at every entry
/// of the user; one that goes meanwhile is passed over.
pub(crate) fn of_execution(
    client: &Client,
    writer_uid: u32,
    execution: &str,
) -> Result<Vec<Key>, Error> {
    let filter = Filter { writer_uid: Some(writer_uid), ..Filter::default() };
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.list(&filter, PAGE_ROWS, cursor)?;
        for row in page.rows {
            match client.show(&row.key) {
                Ok(entry) if entry.provenance.run.execution.as_deref() == Some(execution) => {
                    found.push(row.key);
                }
                Ok(_) => {}
                Err(error) if error.name() == "not_found" => {}
                Err(error) => return Err(error),
            }
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}
