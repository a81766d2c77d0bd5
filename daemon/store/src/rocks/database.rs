//! `RocksDB` as the store sees it: columns, rows, batches and views.

use std::ffi::CStr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

use rocksdb::{
    BottommostLevelCompaction, BoundColumnFamily, CompactOptions, DB, DBPinnableSlice,
    DBRawIteratorWithThreadMode, ErrorKind, FlushOptions, Options, ReadOptions, ReadTier,
    SnapshotWithThreadMode, WriteBatch, WriteOptions,
};

use super::generations::{self, Db, Generations, families, family_name, locked, parse_family_name};
use super::options::ColumnOptions;
use super::{RocksError, is_damage, options};
use crate::packing::Packing;
use crate::schema::{Column, prefix_end};

/// How far a read may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Only to what is in memory: the read never waits for the disk.
    Memory,
    /// To the disk.
    Disk,
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read<T> {
    /// The row.
    Row(T),
    /// That there is no such row.
    Absent,
    /// That the answer is not in memory; only for [`Tier::Memory`].
    WouldBlock,
}

/// Where rows can be read: the database as it is, or as it was.
pub(crate) trait Reads {
    /// Reads one row and hands it to `with`, uncopied.
    fn read<T>(
        &self,
        column: Column,
        key: &[u8],
        tier: Tier,
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<Read<T>, RocksError>;

    /// The rows of a column from `lower` to before `upper`, in order of their keys.
    fn rows(&self, column: Column, lower: &[u8], upper: Option<Vec<u8>>) -> Rows<'_> {
        self.rows_skipping(column, lower, upper, u64::MAX)
    }

    /// As [`Reads::rows`], but a step that meets this many removed rows ends the walk, until it
    /// seeks again.
    fn rows_skipping(
        &self,
        column: Column,
        lower: &[u8],
        upper: Option<Vec<u8>>,
        skips_max: u64,
    ) -> Rows<'_>;
}

/// Which rows are walked along.
struct Range<'a> {
    lower: &'a [u8],
    upper: Option<Vec<u8>>,
    skips_max: u64,
    /// All of them begin with the same prefix, by which the column has filters.
    one_prefix: bool,
}

/// The database.
pub(crate) struct Database {
    pub(super) db: Db,
    pub(super) generations: RwLock<Arc<Generations>>,
    /// Families that go when nobody holds these generations any more.
    pub(super) retired: Mutex<Vec<(String, Weak<Generations>)>>,
    pub(super) column_options: ColumnOptions,
    /// Of families that were made since it was opened: what they own has to outlive the database.
    pub(super) kept: Mutex<Vec<Options>>,
    pub(super) unlogged: WriteOptions,
    memory: ReadOptions,
    disk: ReadOptions,
    unsynced: WriteOptions,
    pub(super) synced: WriteOptions,
    /// Graves that are older go with the next compaction.
    grave_age_ms: Arc<AtomicU64>,
    grave_age_ms_max: u64,
}

impl Database {
    /// Opens the database in this folder, and makes what is missing. One that is `quiet` is not
    /// compacted by itself.
    pub(crate) fn open(
        path: &Path,
        quiet: bool,
        block_cache_bytes: u64,
        grave_age_max: Duration,
    ) -> Result<Self, RocksError> {
        let packing = Packing::default();
        Self::open_packed(path, quiet, block_cache_bytes, grave_age_max, packing)
    }

    /// The same for a database whose files are packed in that way.
    pub(crate) fn open_packed(
        path: &Path,
        quiet: bool,
        block_cache_bytes: u64,
        grave_age_max: Duration,
        packing: Packing,
    ) -> Result<Self, RocksError> {
        let grave_age_ms_max = u64::try_from(grave_age_max.as_millis()).unwrap_or(u64::MAX);
        let grave_age_ms = Arc::new(AtomicU64::new(grave_age_ms_max));
        let families = families(path)?;
        let column_options = ColumnOptions::new(block_cache_bytes, packing, &grave_age_ms);
        let columns = column_options.all(&families, quiet);
        let db = Db::open_cf_descriptors(&options::database(path, true), path, columns)?;
        let generations = generations::settle(&db, &families)?;
        let mut memory = ReadOptions::default();
        memory.set_read_tier(ReadTier::BlockCache);
        let mut unlogged = options::write(false);
        unlogged.disable_wal(true);
        Ok(Self {
            db,
            generations: RwLock::new(Arc::new(generations)),
            retired: Mutex::default(),
            column_options,
            kept: Mutex::default(),
            unlogged,
            memory,
            disk: ReadOptions::default(),
            unsynced: options::write(false),
            synced: options::write(true),
            grave_age_ms,
            grave_age_ms_max,
        })
    }

    /// Whether a database in this folder has a column that this memod does not know.
    pub(crate) fn has_unknown_columns(path: &Path) -> Result<bool, RocksError> {
        let columns = DB::list_cf(&options::database(path, false), path)?;
        Ok(columns.iter().any(|name| name != "default" && parse_family_name(name).is_none()))
    }

    /// Reads a row of `meta` from a database whose other columns may be unknown.
    pub(crate) fn peek_meta(path: &Path, key: &[u8]) -> Result<Option<Vec<u8>>, RocksError> {
        let options = options::database(path, false);
        let db = DB::open_cf_for_read_only(&options, path, [Column::Meta.name()], false)?;
        db.cf_handle(Column::Meta.name()).map_or(Ok(None), |meta| db.get_cf(meta, key))
    }

    fn column(&self, column: Column) -> Arc<BoundColumnFamily<'_>> {
        self.family(column, &locked(&self.generations))
    }

    /// The family of a column in these generations, of which somebody holds on.
    fn family(&self, column: Column, of: &Generations) -> Arc<BoundColumnFamily<'_>> {
        let name = family_name(column, of.of(column));
        self.db.cf_handle(&name).expect("a family stays while anybody holds its generation")
    }

    /// The database as it is now, for as long as the view lives.
    pub(crate) fn view(&self) -> View<'_> {
        // What was written anew later than the snapshot would not be in it.
        let current = locked(&self.generations);
        View { database: self, snapshot: self.db.snapshot(), generations: Arc::clone(&current) }
    }

    /// Makes all changes of a batch, or none.
    pub(crate) fn write(&self, batch: Batch, sync: bool) -> Result<(), RocksError> {
        self.db.write_opt(batch.rows, if sync { &self.synced } else { &self.unsynced })
    }

    /// As [`Reads::rows_skipping`], for the rows that begin with this prefix: of a column with
    /// [`Column::prefix_bytes`], and as long as that says. Files without such rows are not read.
    pub(crate) fn rows_of_prefix(&self, column: Column, prefix: &[u8], skips_max: u64) -> Rows<'_> {
        let upper = prefix_end(prefix);
        let one_prefix = column.prefix_bytes() == Some(prefix.len());
        let options = Range { lower: prefix, upper, skips_max, one_prefix }.options();
        Rows { rows: self.db.raw_iterator_cf_opt(&self.column(column), options) }
    }

    /// A walk over the rows of one prefix at a time, that of the key to which it was last sent; of
    /// a column with [`Column::prefix_bytes`]. Cheaper than a walk for each prefix.
    pub(crate) fn rows_by_prefix(&self, column: Column, skips_max: u64) -> Rows<'_> {
        let options = Range { lower: &[], upper: None, skips_max, one_prefix: true }.options();
        Rows { rows: self.db.raw_iterator_cf_opt(&self.column(column), options) }
    }

    /// Puts the log on the disk.
    pub(crate) fn sync(&self) -> Result<(), RocksError> {
        self.db.flush_wal(true)
    }

    /// Moves everything from the log to files, so that the next opening finds no log to read.
    pub(crate) fn flush(&self) -> Result<(), RocksError> {
        let columns: Vec<_> = Column::ALL.into_iter().map(|column| self.column(column)).collect();
        let columns: Vec<_> = columns.iter().collect();
        self.db.flush_cfs_opt(&columns, &FlushOptions::default())
    }

    pub(super) fn property(&self, column: Column, name: &CStr) -> Result<u64, RocksError> {
        Ok(self.db.property_int_value_cf(&self.column(column), name)?.unwrap_or(0))
    }

    /// Bytes of a column's blob files, and how many of them are known to be garbage.
    pub(crate) fn blob_bytes(&self, column: Column) -> Result<(u64, u64), RocksError> {
        let total = self.property(column, c"rocksdb.live-blob-file-size")?;
        Ok((total, self.property(column, c"rocksdb.live-blob-file-garbage-size")?))
    }

    /// Blob files of a column.
    pub(crate) fn blob_files(&self, column: Column) -> Result<u64, RocksError> {
        self.property(column, c"rocksdb.num-blob-files")
    }

    /// Bytes of all files that hold anything that is there.
    pub(crate) fn live_bytes(&self) -> Result<u64, RocksError> {
        let mut bytes = 0;
        for column in Column::ALL {
            bytes += self.property(column, c"rocksdb.live-blob-file-size")?;
            bytes += self.property(column, c"rocksdb.live-sst-files-size")?;
        }
        Ok(bytes)
    }

    /// Bytes that are in memory and in the log only.
    pub(crate) fn unflushed_bytes(&self) -> Result<u64, RocksError> {
        let of = |column| self.property(column, c"rocksdb.cur-size-all-mem-tables");
        Column::ALL.into_iter().map(of).sum()
    }

    /// About how many rows a column has.
    pub(crate) fn row_estimate(&self, column: Column) -> Result<u64, RocksError> {
        self.property(column, c"rocksdb.estimate-num-keys")
    }

    /// Has graves age twice as fast if there are more than so many, and half as fast if there are
    /// few, but no slower than was asked for. Whether they are to be compacted, to take effect.
    pub(crate) fn age_graves(&self, graves: u64, most: u64) -> bool {
        let now = self.grave_age_ms.load(Ordering::Relaxed);
        let next = match graves {
            _ if graves > most => now / 2,
            _ if graves < most / 4 => now.saturating_mul(2).min(self.grave_age_ms_max),
            _ => now,
        };
        self.grave_age_ms.store(next, Ordering::Relaxed);
        next < now
    }

    /// Moves one column from memory to files.
    pub(crate) fn flush_column(&self, column: Column) -> Result<(), RocksError> {
        self.db.flush_cf_opt(&self.column(column), &FlushOptions::default())
    }

    /// Writes a column anew without what was removed from it.
    pub(crate) fn compact(&self, column: Column) {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let all = None::<&[u8]>;
        self.db.compact_range_cf_opt(&self.column(column), all, all, &options);
    }

    /// The same, and so this part of its blob files, the oldest ones.
    pub(crate) fn compact_content(&self, column: Column, part: &str) -> Result<(), RocksError> {
        let of = self.column(column);
        let on = ("enable_blob_garbage_collection", "true");
        self.db.set_options_cf(&of, &[on, ("blob_garbage_collection_age_cutoff", part)])?;
        self.compact(column);
        self.db.set_options_cf(&of, &[("enable_blob_garbage_collection", "false")])
    }

    /// Has compactions end as soon as they can. No change can be made any more.
    pub(crate) fn cancel_background_work(&self) {
        self.db.cancel_all_background_work(true);
    }

    /// Begins to move one column from memory to files.
    pub(crate) fn begin_flush(&self, column: Column) -> Result<(), RocksError> {
        let mut options = FlushOptions::default();
        options.set_wait(false);
        self.db.flush_cf_opt(&self.column(column), &options)
    }
}

impl Reads for Database {
    fn read<T>(
        &self,
        column: Column,
        key: &[u8],
        tier: Tier,
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<Read<T>, RocksError> {
        let options = match tier {
            Tier::Memory => &self.memory,
            Tier::Disk => &self.disk,
        };
        let got = self.db.get_pinned_cf_opt(&self.column(column), key, options);
        found(got, tier, key, with, || self.rows(column, key, None))
    }

    fn rows_skipping(
        &self,
        column: Column,
        lower: &[u8],
        upper: Option<Vec<u8>>,
        skips_max: u64,
    ) -> Rows<'_> {
        let options = Range { lower, upper, skips_max, one_prefix: false }.options();
        Rows { rows: self.db.raw_iterator_cf_opt(&self.column(column), options) }
    }
}

/// What a read has come to. One that meets damage is done again by `walk`, from its key on: that
/// asks no filter, which may be all that is damaged.
fn found<'a, T>(
    got: Result<Option<DBPinnableSlice<'_>>, RocksError>,
    tier: Tier,
    key: &[u8],
    with: impl FnOnce(&[u8]) -> T,
    walk: impl FnOnce() -> Rows<'a>,
) -> Result<Read<T>, RocksError> {
    match got {
        Ok(Some(row)) => Ok(Read::Row(with(&row))),
        Ok(None) => Ok(Read::Absent),
        Err(error) if error.kind() == ErrorKind::Incomplete => Ok(Read::WouldBlock),
        Err(error) if !is_damage(&error) => Err(error),
        Err(_) if tier == Tier::Memory => Ok(Read::WouldBlock),
        Err(error) => {
            let mut rows = walk();
            rows.first();
            match rows.row() {
                Ok(Some((found, row))) if found == key => Ok(Read::Row(with(row))),
                Ok(_) => Ok(Read::Absent),
                Err(_) => Err(error),
            }
        }
    }
}

impl Range<'_> {
    fn options(self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if self.skips_max < u64::MAX {
            options.set_max_skippable_internal_keys(self.skips_max);
        }
        options.set_iterate_lower_bound(self.lower);
        if let Some(upper) = self.upper {
            options.set_iterate_upper_bound(upper);
        }
        // Or a walk from one prefix to the next would miss what a filter knows nothing of.
        options.set_total_order_seek(!self.one_prefix);
        options.set_prefix_same_as_start(self.one_prefix);
        options
    }
}

/// The database as it was when the view was taken.
pub(crate) struct View<'a> {
    database: &'a Database,
    generations: Arc<Generations>,
    snapshot: SnapshotWithThreadMode<'a, Db>,
}

impl View<'_> {
    fn column(&self, column: Column) -> Arc<BoundColumnFamily<'_>> {
        self.database.family(column, &self.generations)
    }
}

impl Reads for View<'_> {
    fn read<T>(
        &self,
        column: Column,
        key: &[u8],
        tier: Tier,
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<Read<T>, RocksError> {
        let mut options = ReadOptions::default();
        if tier == Tier::Memory {
            options.set_read_tier(ReadTier::BlockCache);
        }
        let got = self.snapshot.get_pinned_cf_opt(&self.column(column), key, options);
        found(got, tier, key, with, || self.rows(column, key, None))
    }

    fn rows_skipping(
        &self,
        column: Column,
        lower: &[u8],
        upper: Option<Vec<u8>>,
        skips_max: u64,
    ) -> Rows<'_> {
        let options = Range { lower, upper, skips_max, one_prefix: false }.options();
        Rows { rows: self.snapshot.raw_iterator_cf_opt(&self.column(column), options) }
    }
}

/// Key and value.
pub(crate) type Row<'a> = (&'a [u8], &'a [u8]);

/// A walk over rows.
pub(crate) struct Rows<'a> {
    rows: DBRawIteratorWithThreadMode<'a, Db>,
}

impl Rows<'_> {
    /// Goes to the first row.
    pub(crate) fn first(&mut self) {
        self.rows.seek_to_first();
    }

    /// Goes to the first row from this key on.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.rows.seek(key);
    }

    /// Goes to the last row up to this key.
    pub(crate) fn seek_back(&mut self, key: &[u8]) {
        self.rows.seek_for_prev(key);
    }

    /// Goes to the next row.
    pub(crate) fn forward(&mut self) {
        self.rows.next();
    }

    /// Goes to the row before.
    pub(crate) fn back(&mut self) {
        self.rows.prev();
    }

    /// Key and value of the row that the walk is at; none behind either end, or if it gave up.
    ///
    /// # Errors
    /// If the walk ended because the next row cannot be read.
    pub(crate) fn row(&self) -> Result<Option<Row<'_>>, RocksError> {
        match self.rows.item() {
            Some(row) => Ok(Some(row)),
            None => match self.rows.status() {
                // It has met as many removed rows as it was to skip.
                Err(error) if error.kind() == ErrorKind::Incomplete => Ok(None),
                status => status.map(|()| None),
            },
        }
    }
}

/// Changes that are made together.
pub(crate) struct Batch {
    rows: WriteBatch,
}

impl Batch {
    /// An empty batch with room for this much.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { rows: WriteBatch::with_capacity_bytes(bytes) }
    }

    pub(crate) fn put(&mut self, to: &Database, column: Column, key: &[u8], value: &[u8]) {
        self.rows.put_cf(&to.column(column), key, value);
    }

    pub(crate) fn delete(&mut self, from: &Database, column: Column, key: &[u8]) {
        self.rows.delete_cf(&from.column(column), key);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
#[path = "database_tests.rs"]
pub(crate) mod tests;
