//! Formats that are refused, how graves age, and databases of older formats for other tests.

use memod_protocol::wire;

use crate::error::OpenError;
use crate::options::Options;
use crate::record::{Counters, EntryRecord};
use crate::schema::{META_COUNTERS, META_FORMAT, META_REUSE, META_USAGE};
use crate::store::Store;

use super::*;

/// Compacts a column; what it meets is told by the next change.
pub(crate) fn compact(database: &Database, column: Column) {
    let mut options = rocksdb::CompactOptions::default();
    options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
    let (begin, end) = (None::<&[u8]>, None::<&[u8]>);
    database.db.compact_range_cf_opt(&database.column(column), begin, end, &options);
}

/// The names of a column's files of rows.
pub(crate) fn files_of(database: &Database, column: Column) -> Vec<String> {
    let files = database.db.live_files().unwrap().into_iter();
    let family = |name: &str| parse_family_name(name).map(|(column, _)| column);
    let its = files.filter(|file| family(&file.column_family_name) == Some(column));
    its.map(|file| file.name.trim_start_matches('/').to_owned()).collect()
}

/// The families of the database of a store.
pub(crate) fn family_names(store: &Path) -> Vec<String> {
    let path = store.join("rocksdb");
    let mut names = DB::list_cf(&options::database(&path, false), &path).unwrap();
    names.sort_unstable();
    names
}

/// Begins to write a column anew, and leaves what a crash would.
#[expect(clippy::disallowed_methods, reason = "a crash leaves it as it is")]
pub(crate) fn leave_unfinished(database: &Database, column: Column) {
    let mut renewal = database.renew(column).unwrap();
    renewal.put(b"key", b"value").unwrap();
    std::mem::forget(renewal);
}

fn open_raw(path: &Path) -> DB {
    let families: Vec<_> = Column::ALL.into_iter().map(|column| (column, 0)).collect();
    let options =
        ColumnOptions::new(1024 * 1024, Packing::default(), &Arc::new(AtomicU64::new(u64::MAX)));
    let columns = options.all(&families, false);
    DB::open_cf_descriptors(&options::database(path, true), path, columns).unwrap()
}

fn set_format(db: &DB, format: u32) {
    let meta = db.cf_handle("meta").unwrap();
    db.put_cf(meta, META_FORMAT, format.to_le_bytes()).unwrap();
}

/// Makes the database of a store one of format 2.
pub(crate) fn make_format_2(store: &Path) {
    let db = open_raw(&store.join("rocksdb"));
    let entries = db.cf_handle(Column::Entries.name()).unwrap();
    for (key, value) in db.iterator_cf(entries, rocksdb::IteratorMode::Start).flatten() {
        db.put_cf(entries, key, wire::encode(&EntryRecord::decode(&value).unwrap())).unwrap();
    }
    set_format(&db, 2);
}

/// Writes or removes a row of a store that is not open.
pub(crate) fn set_row(store: &Path, column: Column, key: &[u8], value: Option<&[u8]>) {
    let db = open_raw(&store.join("rocksdb"));
    let of = db.cf_handle(column.name()).unwrap();
    match value {
        Some(value) => db.put_cf(of, key, value).unwrap(),
        None => db.delete_cf(of, key).unwrap(),
    }
}

/// How many entries of a store have details, and how many have none.
pub(crate) fn detailed(store: &Path) -> (usize, usize) {
    let db = open_raw(&store.join("rocksdb"));
    let entries = db.cf_handle(Column::Entries.name()).unwrap();
    let rows = db.iterator_cf(entries, rocksdb::IteratorMode::Start).flatten();
    let (with, without): (Vec<_>, Vec<_>) =
        rows.partition(|(_, row)| EntryRecord::decode_whole(row).unwrap().1.is_some());
    (with.len(), without.len())
}

/// Makes the database of a store one of format 1.
pub(crate) fn make_format_1(store: &Path) {
    make_format_2(store);
    let mut db = open_raw(&store.join("rocksdb"));
    db.drop_cf(Column::Near.name()).unwrap();
    db.drop_cf(Column::Heat.name()).unwrap();
    let of = |column: Column| db.cf_handle(column.name()).unwrap();
    let rows = |column| db.iterator_cf(of(column), rocksdb::IteratorMode::Start);
    for (key, _) in rows(Column::Refs).flatten() {
        db.put_cf(of(Column::Refs), key, []).unwrap();
    }
    for (key, value) in rows(Column::Graves).flatten() {
        // Without the tag of what was lost.
        db.put_cf(of(Column::Graves), key, &value[..value.len() - 1]).unwrap();
    }
    for (key, value) in rows(Column::Meta).flatten() {
        if key.starts_with(META_USAGE) || *key == *META_REUSE {
            db.delete_cf(of(Column::Meta), key).unwrap();
        } else if *key == *META_COUNTERS {
            let all: Counters = wire::decode_record(&value).unwrap();
            let five = (all.entries, all.blobs, all.stored_bytes, all.logical_bytes, all.puts);
            db.put_cf(of(Column::Meta), key, wire::encode(&five)).unwrap();
        }
    }
    drop(db);
    write_format(store, 1);
}

/// Writes the number of a format and changes nothing else.
pub(crate) fn write_format(store: &Path, format: u32) {
    let path = store.join("rocksdb");
    let columns = DB::list_cf(&options::database(&path, false), &path).unwrap();
    let db = DB::open_cf(&options::database(&path, false), &path, columns).unwrap();
    set_format(&db, format);
}

/// The number of the format of the database of a store.
pub(crate) fn format_of(store: &Path) -> u32 {
    let format = Database::peek_meta(&store.join("rocksdb"), META_FORMAT).unwrap().unwrap();
    u32::from_le_bytes(format.try_into().unwrap())
}

#[test]
fn graves_age_faster_while_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let age = Duration::from_secs(100);
    let db = Database::open(folder.path(), false, 1024 * 1024, age).unwrap();
    let step = |graves, ms| {
        let older = db.grave_age_ms.load(Ordering::Relaxed);
        assert_eq!(db.age_graves(graves, 1000), ms < older);
        assert_eq!(db.grave_age_ms.load(Ordering::Relaxed), ms);
    };
    step(1000, 100_000);
    step(1001, 50_000);
    step(5000, 25_000);
    step(250, 25_000);
    step(249, 50_000);
    step(0, 100_000);
    step(0, 100_000);
}

#[test]
fn a_newer_format_refuses_to_open() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path());
    drop(Store::open(&options).unwrap());
    set_format(&open_raw(&folder.path().join("rocksdb")), 7);
    let error = Store::open(&options).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 7, known: 3, .. }), "{error}");
    // And the refusal leaves it as it was.
    assert!(matches!(Store::open(&options), Err(OpenError::NewerFormat { .. })));
}

#[test]
fn a_newer_format_with_more_columns_refuses_to_open() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path());
    drop(Store::open(&options).unwrap());
    {
        let mut db = open_raw(&folder.path().join("rocksdb"));
        set_format(&db, 8);
        db.create_cf("future", &rocksdb::Options::default()).unwrap();
    }
    let error = Store::open(&options).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 8, .. }), "{error}");
}

#[test]
fn a_database_of_something_else_is_damaged_as_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rocksdb");
    let mut create = rocksdb::Options::default();
    create.create_if_missing(true);
    let mut db = DB::open(&create, &path).unwrap();
    db.create_cf("theirs", &create).unwrap();
    drop(db);
    let error = Store::open(&Options::new(folder.path())).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn walks_by_prefix_find_their_rows_and_other_walks_find_all() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path(), false, 1024 * 1024, Duration::MAX).unwrap();
    let row = |prefix: u8, last: u8| [vec![prefix; 32], vec![last; 32]].concat();
    // Some in a file, some in memory, and in each a prefix that is nowhere else.
    for (prefixes, last, flushed) in [([1, 3, 5], 1, true), ([3, 5, 7], 2, false)] {
        let mut batch = Batch::new(0);
        for prefix in prefixes {
            batch.put(&db, Column::Refs, &row(prefix, last), &[]);
        }
        db.write(batch, false).unwrap();
        if flushed {
            db.flush().unwrap();
        }
    }
    let all = |mut rows: Rows<'_>| {
        rows.first();
        let mut found = Vec::new();
        while let Some((key, _)) = rows.row().unwrap() {
            found.push((key[0], key[63]));
            rows.forward();
        }
        found
    };
    let stored = [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2), (7, 2)];
    assert_eq!(all(db.rows(Column::Refs, &[], None)), stored);
    assert_eq!(all(db.view().rows(Column::Refs, &[2; 32], Some(vec![6; 32]))), stored[1..5]);
    for prefix in 0..9 {
        let its: Vec<_> = stored.into_iter().filter(|(of, _)| *of == prefix).collect();
        let walk = || db.rows_of_prefix(Column::Refs, &[prefix; 32], u64::MAX);
        assert_eq!(all(walk()), its, "prefix {prefix}");
        let mut back = walk();
        back.seek_back(&row(prefix, 9));
        let last = back.row().unwrap().map(|(key, _)| (key[0], key[63]));
        assert_eq!(last, its.last().copied(), "prefix {prefix}, from behind");
    }
}
