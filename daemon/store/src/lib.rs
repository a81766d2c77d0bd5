//! memod's store: the key index and the content-addressed outputs, in `RocksDB`.
//!
//! On disk a store is a folder: `lock` is held locked for life and names the process that holds
//! it; `rocksdb/` is the database. `run/` belongs to the daemon and is ignored here.
//!
//! The database has nine column families; `schema` has their keys and `record` their values:
//!
//! | column | key | value |
//! |---|---|---|
//! | `meta` | a name | format, id, counters, usage, next storage id, notes, loose storages |
//! | `entries` | key | scope, task, cache version, signature, outputs, provenance |
//! | `tasks` | scope, task, cache version, signature, key | the listing's row, interface, inputs |
//! | `blobs` | digest | the content, if small; else its length, storage id and chaining values |
//! | `chunks` | storage id, index | a chunk of content |
//! | `refs` | digest, key | whether this entry pays for the blob, to which it refers |
//! | `graves` | key | when, why and by whom an entry was removed; what went with it |
//! | `near` | group, slot, time, key | nothing: finds entries that differ in one input |
//! | `heat` | key | when an entry was last hit, and how often |
//!
//! **Invariants.**
//! - One thread (`writer`) makes every change, in groups, each group in one write batch: an
//!   entry, its listing row, its references, its blobs, the counters and what is charged to its
//!   scope and its writer change together.
//! - A blob has a row in `blobs` exactly as long as it has one in `refs`.
//! - Chunks of a storage stand in `chunks` only if a row in `blobs` or a loose row in `meta` names
//!   the storage. What is loose when a store is opened is removed; so nothing can leak.
//! - Content is verified against its digest when it enters, and again when it is read from disk.
//! - What is stored stays within the budgets at every moment.
//! - Opening does not scan: its cost does not grow with the store, but for the one time that a
//!   store of an older format is taken over.
//!
//! **Does not** use an async runtime, read configuration, or know who may read what.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a test may panic"
    )
)]

mod bare;
mod budgets;
mod chunk_reader;
mod collect;
#[cfg(test)]
mod damage_tests;
mod derived;
mod describe;
mod differences;
mod disk;
mod error;
mod evict;
mod extent;
mod failpoint;
mod group;
mod halt;
mod hashing;
mod heat;
mod hot;
mod hot_entries;
mod limits;
mod lock;
mod lookup;
mod mend;
mod mend_meta;
mod mirror;
mod mutation;
mod near;
mod nearest;
#[cfg(test)]
mod nearest_tests;
mod open;
mod open_errors;
mod options;
mod overlay;
mod packing;
mod payers;
mod pins;
pub mod policy;
mod queue;
mod rebuild;
mod record;
mod recount;
mod renew;
mod repair;
mod rocks;
mod room;
mod row_bytes;
mod sample;
#[cfg(test)]
mod sample_tests;
mod scan;
mod schema;
mod seal;
mod set_aside;
mod shared;
mod skip;
mod store;
mod task_groups;
mod unlisted;
#[cfg(test)]
mod upgrade_tests;
mod upload;
mod uploading;
mod usage;
mod verify;
mod verify_blob;
mod verify_entry;
mod vitals;
mod witness;
mod writer;

pub use bare::BareRows;
pub use budgets::Budgets;
pub use chunk_reader::ChunkReader;
pub use collect::Collected;
pub use disk::FileSystem;
pub use error::{OpenError, StoreError};
pub use failpoint::Failpoint;
pub use halt::Trial;
pub use limits::{UPLOADS_SHARE, WHOLE_BYTES_MAX};
pub use lookup::{Content, Found, StoredEntry, StoredOutput};
pub use mirror::Mirror;
pub use mutation::{NewEntry, Replace};
pub use options::{Durability, OnDamage, Options};
pub use packing::{Checksum, Compression, Packing};
pub use record::{Counters, Grave, GraveCause, Lost, Usage};
pub use recount::Recount;
pub use rocks::{RocksError, Tier};
pub use scan::Page;
pub use store::Store;
pub use upload::{Prepared, Upload, Uploader};
pub use uploading::Promise;
pub use usage::Usages;
pub use verify::Verification;
pub use vitals::Vitals;
