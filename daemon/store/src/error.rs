//! What can go wrong: one enum for opening, one for everything after.
//!
//! **Invariants.** A message says what is wrong and what to do. A miss is not an error.

use std::io;
use std::path::{Path, PathBuf};

use memod_protocol::shell::quoted;
use memod_protocol::{Key, Scope};

use crate::rocks::{RocksError, is_damage};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path names something else.
    #[error("{} is not a directory: name another data directory, or move the file away",
        path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The folder, or a file in it, cannot be made.
    #[error("cannot create the store {}: {source}; {advice}", path.display())]
    CannotCreate {
        /// What was to be made.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the store {} is in use by {}: stop that daemon, or name another data directory",
        path.display(), holder(*.pid))]
    Locked {
        /// The store's folder.
        path: PathBuf,
        /// The process, if it has left its number in the lock file.
        pid: Option<u32>,
    },
    /// A later memod wrote it.
    #[error("the store {} has format {found}, and this memod knows formats up to {known}: \
        start a memod at least as new as the one that wrote it, or name another data directory",
        path.display())]
    NewerFormat {
        /// The store's folder.
        path: PathBuf,
        /// The format on disk.
        found: u32,
        /// The newest format that is known.
        known: u32,
    },
    /// The database does not open.
    #[error("the store {} is damaged: {detail}; it holds nothing that cannot be computed again, \
        so {}", path.display(), ways_out(path))]
    Damaged {
        /// The store's folder.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Another user's folder.
    #[error("{} belongs to user {owner}, and this is user {own}: start memod as that user, or name \
        another data directory, or give it away with `chown -R {own} {}`",
        path.display(), quoted(path))]
    NotOwned {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this is.
        own: u32,
    },
    /// The folder holds something else.
    #[error("{} is not a memod store: it holds `{example}`; name an empty or a new directory",
        path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Something that is in it.
        example: String,
    },
    /// The folder cannot be read, or the writer's thread not be started.
    #[error("cannot open the store {}: {source}; {advice}", path.display())]
    Io {
        /// The store's folder.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
}

/// What to do about a damaged database.
pub(crate) fn ways_out(store: &Path) -> String {
    let (aside, database) = (quoted(&store.join("damaged-1")), quoted(&store.join("rocksdb")));
    format!(
        "start with `--on-damage repair` (in the configuration: on_damage = \"repair\"), which \
         keeps what can be read, or, if that does not do, move the directory away (`mkdir {aside} \
         && mv {database} {aside}`) and start anew, or start with `--on-damage set_aside`, which \
         does both by itself"
    )
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// How much is used of a budget; nothing if that has not been looked at, because what is wanted is
/// more than all of it.
fn stored(used: u64, uploading: u64) -> String {
    if used == 0 {
        return String::new();
    }
    format!(" and has stored {used}{}", unfinished(uploading))
}

/// How much of what is used belongs to uploads.
fn unfinished(uploading: u64) -> String {
    if uploading == 0 {
        return String::new();
    }
    format!(", {uploading} of them in unfinished uploads")
}

/// What to do about an error of the operating system.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "let the daemon's user own the directory, or name another data directory"
        }
        io::ErrorKind::ReadOnlyFilesystem => "name a data directory on a writable file system",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk",
        _ => "name another data directory",
    }
}

/// Why a store in use failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed: {0}; if this goes on, look at the disk, see the daemon's log")]
    Rocks(#[source] RocksError),
    /// There is no room on the disk. Nothing of the change was kept.
    #[error("the disk is full: {0}; make room, then try again")]
    DiskFull(#[source] RocksError),
    /// The store's budget is used up, and nothing more could be evicted. Nothing was stored.
    #[error(
        "the store may hold {limit} bytes and holds {used}{}: there is no room for {need} more",
        unfinished(*.uploading)
    )]
    StoreFull {
        /// The budget.
        limit: u64,
        /// What is used of it.
        used: u64,
        /// How much of that belongs to uploads that no entry owns yet.
        uploading: u64,
        /// What was wanted.
        need: u64,
    },
    /// An entry is so large that it would go the next time that something is evicted. Nothing was
    /// stored.
    #[error(
        "the entry needs {need} bytes, and the store takes entries of up to {most}: one that is \
         larger would go when the store is brought down to store_bytes_low the next time"
    )]
    EntryTooLarge {
        /// The largest that is taken.
        most: u64,
        /// What was wanted.
        need: u64,
    },
    /// Uploads that nobody announced hold as much as entries are evicted for. Nothing was stored,
    /// nothing evicted.
    #[error(
        "unfinished uploads hold {uploading} bytes, and for more than {share}, an eighth of what \
         the store may hold, nothing is evicted: there is no room for {need} more of {limit}"
    )]
    UploadsFull {
        /// The store's budget.
        limit: u64,
        /// The share of it up to which entries are evicted for uploads.
        share: u64,
        /// What uploads hold.
        uploading: u64,
        /// What was wanted.
        need: u64,
    },
    /// A scope's budget is used up, and nothing more of it could be evicted. Nothing was stored.
    #[error("project {}, domain {} may hold {limit} bytes{}: there is no room for {need} more",
        scope.project, scope.domain, stored(*.used, 0))]
    ScopeFull {
        /// Whose budget it is.
        scope: Scope,
        /// The budget.
        limit: u64,
        /// What is used of it.
        used: u64,
        /// What was wanted.
        need: u64,
    },
    /// A user's budget is used up, and nothing more of it could be evicted. Nothing was stored.
    #[error(
        "user {uid} may store {limit} bytes{}: there is no room for {need} more",
        stored(*.used, *.uploading)
    )]
    UserFull {
        /// Whose budget it is.
        uid: u32,
        /// The budget.
        limit: u64,
        /// What is used of it.
        used: u64,
        /// How much of that belongs to uploads that no entry owns yet.
        uploading: u64,
        /// What was wanted.
        need: u64,
    },
    /// There is too little free space on the disk. Nothing was stored.
    #[error(
        "the disk has {free} free bytes left: {unflushed} of them are wanted for what is stored \
         already, and {reserve} are kept in reserve"
    )]
    DiskLow {
        /// What is free.
        free: u64,
        /// What of it goes to what stands in memory and in the log only.
        unflushed: u64,
        /// What must stay free.
        reserve: u64,
    },
    /// What is stored is not what was written.
    #[error(
        "stored data is damaged: {what}; if changes fail with this, the daemon starts itself anew \
        and mends what it can; if they still do then, save what is good with `memo export`, \
        restart the daemon with `--on-damage set_aside`, and `memo import`"
    )]
    Damaged {
        /// What, and how.
        what: String,
    },
    /// An entry is there, and what describes it cannot be read.
    #[error(
        "the entry {key} is there and is served, but its row in the listing was damaged before \
         the store had format 3, so it cannot be described, explained or exported"
    )]
    Undescribed {
        /// Which.
        key: Key,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// A listing was to go on from where no listing ended.
    #[error("the cursor does not come from a listing with this filter: start without a cursor")]
    InvalidCursor,
    /// No such chunk.
    #[error("the content has {chunks} chunks, there is no chunk {index}")]
    NoSuchChunk {
        /// Which was wanted.
        index: u32,
        /// How many there are.
        chunks: u32,
    },
    /// Content is longer than a blob may be.
    #[error("the content is longer than {max} bytes")]
    TooLong {
        /// The longest that is allowed.
        max: u64,
    },
    /// A lookup was overtaken by changes of its entry again and again.
    #[error("the entry is being replaced too quickly to be read: try again")]
    Contended,
}

impl From<RocksError> for StoreError {
    fn from(error: RocksError) -> Self {
        let full = ["No space left", "Disk quota exceeded", "Out of space", "NoSpace"];
        let text = error.as_ref();
        if full.iter().any(|sign| text.contains(sign)) {
            Self::DiskFull(error)
        } else if is_damage(&error) {
            Self::Damaged { what: error.into_string() }
        } else {
            Self::Rocks(error)
        }
    }
}
