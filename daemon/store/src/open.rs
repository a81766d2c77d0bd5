//! Opens a store: folder, lock, database, identity.
//!
//! **Invariants.** Nothing is written into a folder that holds something else. The lock is taken
//! before the database is touched. The work does not grow with the store: what is loose is handed
//! to the writer, nothing else is looked through. Only a store of an older format, or one in which
//! what is charged is in doubt, is read once.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};

use memod_protocol::shell::quoted;
use memod_protocol::wire;
use nix::unistd::Uid;

use crate::collect::Collector;
use crate::disk::{self, Disk};
use crate::error::{OpenError, advice, ways_out};
use crate::extent::Extent;
use crate::failpoint::{Failpoint, is_armed, reach};
use crate::halt::{self, Halt};
use crate::heat::Touches;
use crate::hot::Hot;
use crate::hot_entries::HotEntries;
use crate::limits::HOT_ENTRIES_SHARE;
use crate::lock::Lock;
use crate::mend_meta::{mend_meta, new_id};
use crate::mutation::Mutation;
use crate::open_errors::{cannot_open, damaged};
use crate::options::{OnDamage, Options};
use crate::pins::Pins;
use crate::queue::Queue;
use crate::rebuild::rebuild;
use crate::record::{Counters, CountersOfFormat1};
use crate::renew;
use crate::repair;
use crate::rocks::{Batch, Database, Read, Reads, RocksError, Tier, lacks_log, left_out};
use crate::schema::{
    Column, FORMAT, META_COUNTERS, META_DOUBT, META_FORMAT, META_ID, META_LOOSE, META_NEXT_STORAGE,
    loose_storage, prefix_end,
};
use crate::set_aside;
use crate::shared::Shared;
use crate::uploading::Uploading;
use crate::usage::Books;
use crate::writer::Writer;

/// What may stand in a folder that is to become a store.
const HARMLESS: [&str; 8] =
    ["damaged", "lock", "lost+found", "memod.log", halt::PROBE, repair::SCRATCH, "rocksdb", "run"];

/// Opens the store and starts its writer.
pub(crate) fn open(options: &Options) -> Result<(Arc<Shared>, JoinHandle<()>), OpenError> {
    let path = options.path.as_path();
    create_folder(path)?;
    let database = path.join("rocksdb");
    check_owner(path)?;
    check_owner(&database)?;
    // A folder that holds something else is left alone: not even a lock is put there.
    match check_folder(path, &database) {
        Ok(_) | Err(OpenError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let lock = Lock::take(path)?;
    let (db, meta) = open_or_set_aside(options, &database, lock.was_flushed())?;
    let halt = Halt::default();
    if set_aside::marked(path).is_some() {
        halt.bear_damage();
    }
    let shared = Arc::new(Shared {
        queue: Queue::new(options.write_queue_max),
        hot: Hot::new(options.hot_bytes),
        hot_entries: HotEntries::new(
            options.hot_bytes / HOT_ENTRIES_SHARE,
            Arc::clone(&options.mirror),
        ),
        pins: Pins::default(),
        budgets: RwLock::new(Arc::new(options.budgets.clone())),
        books: Books::default(),
        uploading: Uploading::default(),
        touches: Touches::new(),
        collector: Collector::default(),
        disk: Disk::new(path, options.budgets.disk_reserve_bytes),
        counters: Mutex::new(meta.counters),
        next_storage: AtomicU64::new(meta.next_storage),
        halt,
        beats: AtomicU64::new(0),
        path: path.to_owned(),
        id: meta.id,
        left_out: meta.left_out,
        examining: Mutex::default(),
        db,
        lock,
    });
    queue_loose(&shared).map_err(|error| cannot_open(path, &error))?;
    reach(Failpoint::OpenLoose);
    let writer = Writer::new(Arc::clone(&shared), options, meta.next_storage);
    let thread = thread::Builder::new()
        .name("memod-writer".to_owned())
        .spawn(move || {
            let succeeded = writer.share().lock.await_succession();
            writer.run(succeeded);
        })
        .map_err(|source| OpenError::Io {
            path: path.to_owned(),
            advice: "let the daemon have more threads",
            source,
        })?;
    Ok((shared, thread))
}

/// Opens the database. If it is damaged, it is repaired, or set aside, or that is the end of it.
/// `was_flushed`: it is known that nothing stood in a log only.
fn open_or_set_aside(
    options: &Options,
    database: &Path,
    was_flushed: bool,
) -> Result<(Database, Meta), OpenError> {
    let path = options.path.as_path();
    set_aside::follow(path, database).map_err(|source| OpenError::Io {
        path: path.to_owned(),
        advice: "move its file `damaged` away by hand",
        source,
    })?;
    repair::name_list(path, database)?;
    let opened = open_or_repair(options, database, was_flushed);
    let reason = match (opened, set_aside::marked(path)) {
        (Ok(opened), None) => return Ok(opened),
        (Ok(opened), Some(reason)) if options.on_damage != OnDamage::SetAside => {
            tracing::error!(
                "the store {} could not be written when it was open last: {reason}. It will not \
                 be for long now. Save what is good with `memo export`, then {}",
                path.display(),
                ways_out(path),
            );
            return Ok(opened);
        }
        (Ok(_), Some(reason)) => reason,
        (Err(OpenError::Damaged { detail, .. }), _) if options.on_damage == OnDamage::SetAside => {
            detail
        }
        (Err(error), _) => return Err(error),
    };
    set_aside::set_aside(path, database, &reason).map_err(|source| OpenError::Io {
        path: path.to_owned(),
        advice: "move its folder `rocksdb` away by hand",
        source,
    })?;
    open_database(options, database, true)
}

/// Opens the database, if need be without files that cannot be opened.
fn open_or_repair(
    options: &Options,
    database: &Path,
    was_flushed: bool,
) -> Result<(Database, Meta), OpenError> {
    let repair = |why: &str| repair::repair(&options.path, database, options.on_damage, why);
    // What is found bad only when it is read would hide what is older.
    if let Some(why) = set_aside::marked(&options.path)
        && let Err(error) = repair(&why)
    {
        tracing::error!("{error}");
    }
    match open_database(options, database, was_flushed) {
        Err(OpenError::Damaged { detail, .. }) if repair(&detail)? => {
            open_database(options, database, was_flushed)
        }
        opened => opened,
    }
}

fn open_database(
    options: &Options,
    database: &Path,
    was_flushed: bool,
) -> Result<(Database, Meta), OpenError> {
    let path = options.path.as_path();
    let is_there = check_folder(path, database)?;
    let lacks_log = is_there && !was_flushed && lacks_log(database);
    if is_there {
        check_format_before_opening(path, database)?;
        halt::give_back(path);
    } else {
        create_folder(database)?;
    }
    let marked = set_aside::marked(path);
    // What is damaged is not to be met by a compaction before it is written anew.
    let (is_quiet, cache_bytes) = (marked.is_some(), options.block_cache_bytes);
    let db = Database::open(database, is_quiet, cache_bytes, options.grave_age_max)
        .map_err(|error| cannot_open(path, &error))?;
    if let Some(what) = db.misfit(database).map_err(|error| cannot_open(path, &error))? {
        return Err(damaged(path, &what));
    }
    let mut left_out = left_out(database);
    // A power cut while a store is made may leave none, too: nothing has been acknowledged then.
    if lacks_log {
        left_out.push(format!("{}: there is no log at all", database.display()));
    }
    for place in &left_out {
        tracing::error!(
            "the end of a log of the store is lost: {place}. If anything that was acknowledged \
             stood behind that place, what it stored is a miss now, and what it removed or \
             replaced is as it was before; after a full disk it may be nothing but puts that were \
             refused"
        );
    }
    if marked.as_deref().is_some_and(|why| Extent::named(why).0.lacks(Column::Meta)) {
        mend_meta(&db).map_err(|error| cannot_open(path, &error))?;
    }
    let mut meta = load_meta(path, &db)?;
    if let Some(reason) = marked {
        meta.counters = heal(path, &db, &reason, meta.counters)?;
        db.end_quiet().map_err(|error| cannot_open(path, &error))?;
    }
    Ok((db, Meta { left_out, ..meta }))
}

/// Writes the columns anew that a mark is about, and removes it; leaves it if that cannot be done.
fn heal(
    path: &Path,
    db: &Database,
    reason: &str,
    counters: Counters,
) -> Result<Counters, OpenError> {
    match renew::heal(db, reason, counters).map_err(|error| cannot_open(path, &error)) {
        Ok(Some(counters)) => {
            set_aside::unmark(path);
            Ok(counters)
        }
        Ok(None) => Ok(counters),
        Err(OpenError::Damaged { detail, .. }) => {
            tracing::error!("what is damaged cannot be written anew: {detail}");
            Ok(counters)
        }
        Err(error) => Err(error),
    }
}

/// Makes a folder if it is not there, and sees to it that a power cut does not take its name away.
fn create_folder(path: &Path) -> Result<(), OpenError> {
    let cannot = |source| {
        let path = path.to_owned();
        OpenError::CannotCreate { path, advice: advice(&source), source }
    };
    let found = path.ancestors().skip(1).find(|above| above.is_dir());
    if !path.is_dir() {
        if path.exists() {
            return Err(OpenError::NotADirectory { path: path.to_owned() });
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| {
            if source.kind() == io::ErrorKind::NotADirectory {
                let file = path.ancestors().find(|above| above.is_file()).unwrap_or(path);
                return OpenError::NotADirectory { path: file.to_owned() };
            }
            cannot(source)
        })?;
    }
    // Also if it was there: who made it may have been killed before this.
    for above in path.ancestors().skip(1) {
        disk::sync_names(above).map_err(cannot)?;
        if Some(above) == found {
            break;
        }
    }
    Ok(())
}

/// Refuses a folder of another user: what this process wrote there, that one's could not use any
/// more. Warns of one that others can write.
fn check_owner(folder: &Path) -> Result<(), OpenError> {
    // What is not there, or cannot be looked at, is told by who uses it.
    let Ok(metadata) = fs::metadata(folder) else { return Ok(()) };
    let (owner, own) = (metadata.uid(), Uid::effective().as_raw());
    if owner != own {
        return Err(OpenError::NotOwned { path: folder.to_owned(), owner, own });
    }
    if metadata.mode() & 0o022 != 0 {
        tracing::warn!(
            "others than its owner can write {}, and so change what is served: `chmod go-w {}`",
            folder.display(),
            quoted(folder)
        );
    }
    Ok(())
}

/// Whether the folder holds a database already. Refuses a folder that holds something else, and a
/// database that has lost its beginning, over which `RocksDB` would make a new one.
fn check_folder(path: &Path, database: &Path) -> Result<bool, OpenError> {
    if database.join("CURRENT").exists() {
        return Ok(true);
    }
    let mut names = list_folder(path, path)?;
    names.retain(|name| !HARMLESS.contains(&name.as_str()) && !name.starts_with(set_aside::FOLDER));
    if let Some(example) = names.into_iter().next() {
        return Err(OpenError::NotOurs { path: path.to_owned(), example });
    }
    if database.exists() {
        if !database.is_dir() {
            let detail = format!("{} is no directory", database.display());
            return Err(OpenError::Damaged { path: path.to_owned(), detail });
        }
        // A log that is empty is what a crash leaves while the database is being made.
        let has_data = |name: &String| {
            let file = database.join(name);
            match file.extension().and_then(OsStr::to_str) {
                Some("sst" | "blob") => true,
                Some("log") => fs::metadata(&file).is_ok_and(|log| log.len() > 0),
                _ => false,
            }
        };
        if list_folder(path, database)?.iter().any(has_data) {
            let detail = format!("the file {} is missing", database.join("CURRENT").display());
            return Err(OpenError::Damaged { path: path.to_owned(), detail });
        }
    }
    Ok(false)
}

fn list_folder(store: &Path, folder: &Path) -> Result<Vec<String>, OpenError> {
    let cannot = |source| OpenError::Io { path: store.to_owned(), advice: advice(&source), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        names.push(entry.map_err(cannot)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// A later format may have columns that `RocksDB` does not let us leave out: look for its number
/// without opening them.
fn check_format_before_opening(path: &Path, database: &Path) -> Result<(), OpenError> {
    let cannot = |error| cannot_open(path, &error);
    if !Database::has_unknown_columns(database).map_err(cannot)? {
        return Ok(());
    }
    let format = Database::peek_meta(database, META_FORMAT).map_err(cannot)?;
    check_format(path, format.as_deref())?;
    let detail = "it has columns that do not belong to its format".to_owned();
    Err(OpenError::Damaged { path: path.to_owned(), detail })
}

fn check_format(path: &Path, row: Option<&[u8]>) -> Result<(), OpenError> {
    let number = row.and_then(|row| row.try_into().ok()).map(u32::from_le_bytes);
    match number {
        Some(1..=FORMAT) => Ok(()),
        Some(found) if found > FORMAT => {
            Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT })
        }
        _ => Err(damaged(path, "its format is not recorded")),
    }
}

struct Meta {
    id: String,
    counters: Counters,
    next_storage: u64,
    /// What the log had that could not be read.
    left_out: Vec<String>,
}

fn load_meta(path: &Path, db: &Database) -> Result<Meta, OpenError> {
    let row = |key: &[u8]| match db.read(Column::Meta, key, Tier::Disk, <[u8]>::to_vec) {
        Ok(Read::Row(row)) => Ok(Some(row)),
        Ok(Read::Absent | Read::WouldBlock) => Ok(None),
        Err(error) => Err(cannot_open(path, &error)),
    };
    let format = row(META_FORMAT)?;
    if format.is_none() {
        return create_meta(path, db);
    }
    check_format(path, format.as_deref())?;
    doubt_if_armed(db).map_err(|error| cannot_open(path, &error))?;
    let id = row(META_ID)?
        .and_then(|id| String::from_utf8(id).ok())
        .ok_or_else(|| damaged(path, "its id is missing"))?;
    let counters = row(META_COUNTERS)?.ok_or_else(|| damaged(path, "its counters are missing"))?;
    let is_old = format.as_deref() != Some(&FORMAT.to_le_bytes());
    let counters = match wire::decode_record(&counters) {
        Ok(counters) if !is_old && row(META_DOUBT)?.is_none() => counters,
        Ok(counters) if !is_old => match take_over(path, db, counters, COUNTED_ANEW) {
            // Better a store in doubt than none.
            Err(OpenError::Damaged { detail, .. }) => {
                tracing::error!("what is charged to whom cannot be counted anew: {detail}");
                counters
            }
            taken => taken?,
        },
        Ok(counters) => take_over(path, db, counters, OLDER)?,
        Err(_) => {
            let old = wire::decode_record::<CountersOfFormat1>(&counters)
                .map_err(|_| damaged(path, "its counters cannot be read"))?;
            take_over(path, db, old.into(), OLDER)?
        }
    };
    let next_storage = row(META_NEXT_STORAGE)?
        .and_then(|row| row.try_into().ok())
        .map(u64::from_le_bytes)
        .ok_or_else(|| damaged(path, "its next storage id is missing"))?;
    Ok(Meta { id, counters, next_storage, left_out: Vec::new() })
}

/// Damage that puts charges in doubt is rare. Where the process is to die while they are made
/// anew, they are put in doubt for it.
fn doubt_if_armed(db: &Database) -> Result<(), RocksError> {
    if !is_armed(Failpoint::Rebuild) && !is_armed(Failpoint::RebuildEntries) {
        return Ok(());
    }
    let mut batch = Batch::new(0);
    batch.put(db, Column::Meta, META_DOUBT, &[]);
    db.write(batch, true)
}

/// Why a store is read as a whole when it is opened.
const OLDER: &str = "a store of an older format is being taken over";
const COUNTED_ANEW: &str =
    "the store is being counted anew, because an entry was removed that could not be read";

/// Makes a store one of the present format, and makes anew what is charged. What older formats lack
/// follows from the entries and their listing, all of which are read for that, once.
fn take_over(
    path: &Path,
    db: &Database,
    counters: Counters,
    why: &str,
) -> Result<Counters, OpenError> {
    tracing::info!(format = FORMAT, entries = counters.entries, "{why}");
    let take_over = || {
        // No older memod is to read what is written from here on. The next opening goes on with it.
        let mut batch = Batch::new(0);
        batch.put(db, Column::Meta, META_FORMAT, &FORMAT.to_le_bytes());
        batch.put(db, Column::Meta, META_DOUBT, &[]);
        db.write(batch, true)?;
        let (batch, counters) = rebuild(db, counters)?;
        db.write(batch, true)?;
        tracing::info!(entries = counters.entries, "all entries have been read");
        Ok(counters)
    };
    take_over().map_err(|error| cannot_open(path, &error))
}

/// Makes a new store of an empty database.
fn create_meta(path: &Path, db: &Database) -> Result<Meta, OpenError> {
    let mut entries = db.rows(Column::Entries, &[], None);
    entries.first();
    if entries.row().map_err(|error| cannot_open(path, &error))?.is_some() {
        return Err(damaged(path, "its format is not recorded"));
    }
    let id = new_id().map_err(|source| OpenError::Io {
        path: path.to_owned(),
        advice: "make /dev/urandom readable",
        source,
    })?;
    let (counters, left_out) = (Counters::default(), Vec::new());
    let meta = Meta { id, counters, next_storage: 0, left_out };
    let mut batch = Batch::new(256);
    for (key, value) in [
        (META_FORMAT, FORMAT.to_le_bytes().as_slice()),
        (META_ID, meta.id.as_bytes()),
        (META_COUNTERS, &wire::encode(&meta.counters)),
        (META_NEXT_STORAGE, &meta.next_storage.to_le_bytes()),
    ] {
        batch.put(db, Column::Meta, key, value);
    }
    reach(Failpoint::CreateDatabase);
    db.write(batch, true).map_err(|error| cannot_open(path, &error))?;
    Ok(meta)
}

fn queue_loose(shared: &Shared) -> Result<(), RocksError> {
    let mut rows = shared.db.rows(Column::Meta, META_LOOSE, prefix_end(META_LOOSE));
    rows.first();
    while let Some((key, value)) = rows.row()? {
        if let (Some(storage), Ok(chunks)) = (loose_storage(key), value.try_into()) {
            let chunks = u32::from_le_bytes(chunks);
            shared.queue.force(Mutation::Reap { storage, chunks });
        } else {
            tracing::warn!("a loose row cannot be read and is left");
        }
        rows.forward();
    }
    Ok(())
}
