//! Has a database be opened some of whose files cannot be: without them.
//!
//! A file of rows that is gone, is too short, or has a damaged end or index keeps the whole
//! database from being opened, and, where it is found later, all that is older in its column from
//! being read. It is taken out of the list of files and moved aside, and the column is written anew
//! ([`crate::renew`]) of what the others have. A lost `CURRENT`, which names the list of files, is
//! written anew where there is but one list.
//!
//! **Invariants.** What was removed or replaced does not come back, though what said so may have
//! stood in a file that is gone: an entry is kept only if its row in the listing and its references
//! say the same of it ([`crate::witness`]), so a store that lacks files of those as well is not
//! repaired. What stood in `meta` is found anew ([`crate::mend_meta`]), if nothing else lacks
//! files. Content is named by its digest; everything else follows from entries. Who refuses damage
//! loses nothing: only a column that follows from others is written anew. Nothing that was stored
//! is deleted: files are moved. A mark says what is to be done before the list is changed.
//!
//! **Does not** repair the list of files itself.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::PoisonError;

use crate::error::{OpenError, advice};
use crate::extent::Extent;
use crate::open_errors::{damaged, is_damage};
use crate::options::OnDamage;
use crate::rocks::{BadFile, bad_files, has_one_family_each, mend_current, unlist};
use crate::schema::Column;
use crate::set_aside;
use crate::shared::Shared;

/// The folder for lists of files that are looked at; not there but for moments.
pub(crate) const SCRATCH: &str = "repair";

/// Columns that follow from entries: nothing is lost with them.
const DERIVED: [Column; 3] = [Column::Tasks, Column::Refs, Column::Near];
/// By these it is known which entries are there.
const WITNESSES: [Column; 2] = [Column::Tasks, Column::Refs];
/// Files that are named in a message.
const NAMED_MAX: usize = 4;

/// Writes `CURRENT` anew if that is all that is missing.
pub(crate) fn name_list(store: &Path, database: &Path) -> Result<(), OpenError> {
    match mend_current(database) {
        Ok(None) => {}
        Ok(Some(what)) => tracing::error!(
            "THE STORE {} WAS DAMAGED: {what}. It has been written anew, and nothing is lost",
            store.display()
        ),
        Err(source) => return Err(disk(store, source)),
    }
    Ok(())
}

/// Takes files out of a database that keep it from being opened; whether there were some. `blamed`
/// is what has been said of the database.
///
/// # Errors
/// If what would be lost with them is not to be given up, or cannot be told.
pub(crate) fn repair(
    store: &Path,
    database: &Path,
    on_damage: OnDamage,
    blamed: &str,
) -> Result<bool, OpenError> {
    let files = match bad_files(database, &store.join(SCRATCH), blamed, &is_damage) {
        Ok(files) if files.is_empty() => return Ok(false),
        Ok(files) => files,
        // With room on the disk it can be told: nothing is to be given up for that.
        Err(source)
            if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
        {
            return Err(disk(store, source));
        }
        Err(error) => {
            tracing::warn!(%error, "what is wrong with the files of the store cannot be told");
            return Ok(false);
        }
    };
    let text = set_aside::marked(store);
    let (mut extent, before) = text.as_deref().map(Extent::named).unwrap_or_default();
    let may_lose = |column: &Column| {
        on_damage != OnDamage::Refuse || DERIVED.contains(column) || extent.columns.contains(column)
    };
    let columns: Option<Vec<Column>> = files.iter().map(|file| file.column).collect();
    let Some(columns) = columns.filter(|columns| columns.iter().all(may_lose)) else {
        return Err(damaged(store, &told(&files)));
    };
    extent.add_lacking(&columns);
    let is_in_doubt =
        extent.lacks(Column::Entries) && WITNESSES.into_iter().any(|witness| extent.lacks(witness));
    let lacks_all =
        extent.lacks(Column::Meta) && (extent.lacking.len() > 1 || !has_one_family_each(database));
    if lacks_all || is_in_doubt {
        return Err(damaged(store, &told(&files)));
    }
    let done = take_out(store, database, &files, &extent.text(before));
    done.map_err(|source| disk(store, source))?
        .then_some(true)
        .ok_or_else(|| damaged(store, &told(&files)))
}

/// Looks whether a database that is open has files that cannot be, which it does not look at before
/// it needs them. If so, it is not to be mended now, but by the next opening; whether it is.
pub(crate) fn examine(shared: &Shared) -> bool {
    let store = shared.path.as_path();
    // One at a time: they use the same folder.
    let _one = shared.examining.lock().unwrap_or_else(PoisonError::into_inner);
    let files = bad_files(&store.join("rocksdb"), &store.join(SCRATCH), "", &is_damage);
    let mut files = files.unwrap_or_default();
    if !files.is_empty() {
        // One that is gone because it has been compacted meanwhile is nobody's any more.
        let live = shared.db.files().unwrap_or_default();
        files.retain(|file| live.contains(&file.name));
    }
    if files.is_empty() {
        return false;
    }
    let columns: Vec<Column> = files.iter().filter_map(|file| file.column).collect();
    tracing::error!("{}; the store is mended when it is opened again", told(&files));
    set_aside::mark(store, &Extent::of(&columns).text(None));
    shared.halt.note_damage();
    true
}

fn take_out(store: &Path, database: &Path, files: &[BadFile], mark: &str) -> io::Result<bool> {
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    set_aside::mark_anew(store, mark)?;
    if !unlist(database, files)? {
        return Ok(false);
    }
    let folder = set_aside::move_files(store, database, &names)?;
    tracing::error!(
        "THE STORE {} WAS DAMAGED: {}. These files, as far as they are there, have been moved to \
         {}, and what they belong to is now written anew without them. Remove that folder when \
         nothing in it is wanted any more",
        store.display(),
        told(files),
        folder.display(),
    );
    Ok(true)
}

/// What is wrong with these files.
fn told(files: &[BadFile]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for BadFile { name, column, why, .. } in files.iter().take(NAMED_MAX) {
        let of = column.map_or("no column that is known", Column::name);
        parts.push(format!("the file {name}, of {of}, cannot be opened: {why}"));
    }
    if let Some(more) = files.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        let columns = files.iter().filter_map(|file| file.column);
        let columns: BTreeSet<&str> = columns.map(Column::name).collect();
        let columns: Vec<&str> = columns.into_iter().collect();
        parts.push(format!("nor can {more} others; all are of {}", columns.join(", ")));
    }
    parts.join("; ")
}

fn disk(store: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: store.to_owned(), advice: advice(&source), source }
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
