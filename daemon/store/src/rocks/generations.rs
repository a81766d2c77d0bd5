//! Columns that are written anew beside themselves, and take the place of what was there at once.
//!
//! A column is a column family of its name, or, after it was written anew for the Nth time, of its
//! name and N. Which is the one is said in `meta`; so it changes with what else is in a batch, and
//! a family that was not finished, or that has been replaced, is nobody's: it goes when the
//! database is opened, the latter also as soon as no view of it is left.
//!
//! **Invariants.** `meta` itself has one family for ever. While a column is written anew nobody
//! changes it, which is for the writer to see to; it can be read all the time.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rocksdb::{BoundColumnFamily, DBWithThreadMode, FlushOptions, MultiThreaded, WriteBatch};

use super::database::{Batch, Database};
use super::{RocksError, options};
use crate::schema::{Column, family_key};

/// The database of `RocksDB`, whose families can be made and dropped while it is used.
pub(super) type Db = DBWithThreadMode<MultiThreaded>;

/// Stands between the name of a column and the number of times that it was written anew.
const SEPARATOR: char = '~';
/// Rows that are written together, in bytes.
const BATCH_BYTES: usize = 1024 * 1024;

/// How often each column has been written anew.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Generations {
    of: [u32; Column::ALL.len()],
}

impl Generations {
    pub(super) fn of(&self, column: Column) -> u32 {
        self.of.get(column as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, column: Column, generation: u32) {
        if let Some(of) = self.of.get_mut(column as usize) {
            *of = generation;
        }
    }
}

pub(super) fn locked(of: &RwLock<Arc<Generations>>) -> RwLockReadGuard<'_, Arc<Generations>> {
    of.read().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a column's family.
pub(super) fn family_name(column: Column, generation: u32) -> Cow<'static, str> {
    match generation {
        0 => Cow::Borrowed(column.name()),
        _ => Cow::Owned(format!("{}{SEPARATOR}{generation}", column.name())),
    }
}

/// The column and the generation of a family.
pub(super) fn parse_family_name(name: &str) -> Option<(Column, u32)> {
    let (column, generation) = match name.split_once(SEPARATOR) {
        None => (name, 0),
        Some((column, generation)) => (column, generation.parse().ok()?),
    };
    let column = Column::ALL.into_iter().find(|of| of.name() == column)?;
    Some((column, generation))
}

/// The families of the database in this folder, and those that it lacks.
pub(super) fn families(path: &Path) -> Result<Vec<(Column, u32)>, RocksError> {
    let mut families = Vec::new();
    if path.join("CURRENT").exists() {
        let names = Db::list_cf(&options::database(path, false), path)?;
        families.extend(names.iter().filter_map(|name| parse_family_name(name)));
    }
    for column in Column::ALL {
        if families.iter().all(|(of, _)| *of != column) {
            families.push((column, 0));
        }
    }
    Ok(families)
}

/// Finds which families are those of their columns, and drops the others.
pub(super) fn settle(db: &Db, families: &[(Column, u32)]) -> Result<Generations, RocksError> {
    let mut generations = Generations::default();
    let meta = db.cf_handle(Column::Meta.name());
    for column in Column::ALL {
        let row = match &meta {
            Some(meta) => db.get_cf(meta, family_key(column))?,
            None => None,
        };
        let said = row.and_then(|row| row.try_into().ok()).map_or(0, u32::from_le_bytes);
        let mut those = families.iter().filter(|(of, _)| *of == column);
        // One that is alone is the one, whatever a store says that has lost a file of `meta`.
        let generation = match (those.next(), those.next()) {
            (Some((_, only)), None) => *only,
            _ => said,
        };
        generations.set(column, generation);
    }
    for (column, generation) in families {
        if generations.of(*column) != *generation {
            let name = family_name(*column, *generation);
            tracing::info!(%name, "what is left of a column that was written anew goes");
            db.drop_cf(&name)?;
        }
    }
    Ok(generations)
}

/// A column that is being written anew. What is dropped unfinished goes.
pub(crate) struct Renewal<'a> {
    database: &'a Database,
    column: Column,
    generation: u32,
    family: Arc<BoundColumnFamily<'a>>,
    batch: WriteBatch,
    is_finished: bool,
}

impl Database {
    /// Begins to write a column anew, other than `meta`.
    pub(crate) fn renew(&self, column: Column) -> Result<Renewal<'_>, RocksError> {
        let before = locked(&self.generations).of(column);
        let generation = before.wrapping_add(1).max(1);
        // It is not to be compacted any more, if it has not been yet: that might end all changes.
        let off = [("disable_auto_compactions", "true")];
        if let Some(family) = self.db.cf_handle(&family_name(column, before)) {
            self.db.set_options_cf(&family, &off)?;
        }
        let name = family_name(column, generation);
        if self.db.cf_handle(&name).is_some() {
            self.db.drop_cf(&name)?;
        }
        let options = self.column_options.of(column, false);
        self.db.create_cf(&name, &options)?;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(options);
        let family = self.db.cf_handle(&name).expect("it has just been made");
        let batch = WriteBatch::default();
        Ok(Renewal { database: self, column, generation, family, batch, is_finished: false })
    }

    /// Says in `meta` which family is that of each column.
    pub(crate) fn note_families(&self, batch: &mut Batch) {
        for column in Column::ALL.into_iter().filter(|column| *column != Column::Meta) {
            let generation = locked(&self.generations).of(column);
            batch.put(self, Column::Meta, &family_key(column), &generation.to_le_bytes());
        }
    }

    /// Has columns be compacted again by themselves, if the database was opened quiet.
    pub(crate) fn end_quiet(&self) -> Result<(), RocksError> {
        for column in Column::ALL {
            let name = family_name(column, locked(&self.generations).of(column));
            if let Some(family) = self.db.cf_handle(&name) {
                self.db.set_options_cf(&family, &[("disable_auto_compactions", "false")])?;
            }
        }
        Ok(())
    }

    /// Drops families that have been replaced, and that no view has any more.
    pub(crate) fn drop_retired(&self) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        // A view that is older than one of them may have what was replaced later as well.
        let held = retired.iter().position(|(_, of)| of.strong_count() > 0);
        let free = held.unwrap_or(retired.len());
        for (name, _) in retired.drain(..free) {
            if let Err(error) = self.db.drop_cf(&name) {
                tracing::warn!(%name, %error, "a column that was replaced stays for now");
            }
        }
    }

    /// The names of all files of rows.
    pub(crate) fn files(&self) -> Result<Vec<String>, RocksError> {
        let files = self.db.live_files()?.into_iter();
        Ok(files.map(|file| file.name.trim_start_matches('/').to_owned()).collect())
    }

    /// What is wrong with the files of rows in the folder of the database, as far as that is seen
    /// without reading them: `RocksDB` itself opens no more than some when it is opened.
    pub(crate) fn misfit(&self, folder: &Path) -> Result<Option<String>, RocksError> {
        for file in self.db.live_files()? {
            let name = file.name.trim_start_matches('/');
            let path = folder.join(name);
            let what = match path.metadata() {
                Ok(of) if of.len() < file.size as u64 => "too short",
                Err(error) if error.kind() == ErrorKind::NotFound => "missing",
                _ => continue,
            };
            // One that has been compacted meanwhile is nobody's any more, and may be gone.
            if self.files()?.iter().any(|live| live == name) {
                return Ok(Some(format!("{} is {what}", path.display())));
            }
        }
        Ok(None)
    }

    /// The columns whose files of rows a text names.
    pub(crate) fn columns_of_files(&self, text: &str) -> Result<Vec<Column>, RocksError> {
        let mut columns = Vec::new();
        for file in self.db.live_files()? {
            let is_named = text.contains(file.name.trim_start_matches('/'));
            if let Some((column, _)) = parse_family_name(&file.column_family_name)
                && is_named
                && !columns.contains(&column)
            {
                columns.push(column);
            }
        }
        Ok(columns)
    }
}

impl Renewal<'_> {
    /// Adds a row.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), RocksError> {
        self.batch.put_cf(&self.family, key, value);
        if self.batch.size_in_bytes() >= BATCH_BYTES { self.write() } else { Ok(()) }
    }

    /// Nothing is logged: what is not finished is not wanted.
    fn write(&mut self) -> Result<(), RocksError> {
        let batch = std::mem::take(&mut self.batch);
        self.database.db.write_opt(batch, &self.database.unlogged)
    }

    /// Puts it in the place of what was there.
    pub(crate) fn finish(mut self) -> Result<(), RocksError> {
        self.write()?;
        let (database, column, generation) = (self.database, self.column, self.generation);
        let db = &database.db;
        db.flush_cf_opt(&self.family, &FlushOptions::default())?;
        let meta = db.cf_handle(Column::Meta.name()).expect("it has the same family for ever");
        db.put_cf_opt(&meta, family_key(column), generation.to_le_bytes(), &database.synced)?;
        self.is_finished = true;
        let mut current = database.generations.write().unwrap_or_else(PoisonError::into_inner);
        let before = Arc::clone(&current);
        let mut next = **current;
        next.set(column, generation);
        *current = Arc::new(next);
        drop(current);
        let name = family_name(column, before.of(column)).into_owned();
        let mut retired = database.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push((name, Arc::downgrade(&before)));
        Ok(())
    }
}

impl Drop for Renewal<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            let name = family_name(self.column, self.generation);
            if let Err(error) = self.database.db.drop_cf(&name) {
                tracing::warn!(%name, %error, "an unfinished column stays for now");
            }
        }
    }
}
