//! memod's store: the key index and the content-addressed outputs, in `RocksDB`.
//!
//! On disk a store is a folder: `lock` is held locked for life and names the process that holds
//! it; `rocksdb/` is the database. `run/` belongs to the daemon and is ignored here.
//!
//! The database has eight column families; `schema` has their keys and `record` their values:
//!
//! | column | key | value |
//! |---|---|---|
//! | `meta` | a name | format, store id, counters, next storage id, notes, loose storages |
//! | `entries` | key | scope, task, cache version, signature, outputs, provenance |
//! | `tasks` | scope, task, cache version, signature, key | the listing's row, interface, inputs |
//! | `blobs` | digest | the content, if small; else its length, storage id and chaining values |
//! | `chunks` | storage id, index | a chunk of content |
//! | `refs` | digest, key | nothing: the entry of that key refers to the blob of that digest |
//! | `graves` | key | when, why and by whom an entry was removed |
//! | `near` | group, slot, time, key | nothing: finds entries that differ in one input |
//!
//! **Invariants.**
//! - One thread (`writer`) makes every change, in groups, each group in one write batch: an
//!   entry, its listing row, its references, its blobs and the counters change together.
//! - A blob has a row in `blobs` exactly as long as it has one in `refs`.
//! - Chunks of a storage stand in `chunks` only if a row in `blobs` or a loose row in `meta` names
//!   the storage. What is loose when a store is opened is removed; so nothing can leak.
//! - Content is verified against its digest when it enters, and again when it is read from disk.
//! - Opening does not scan: its cost does not grow with the store.
//!
//! **Does not** use an async runtime, read configuration, decide what to evict, or know who may
//! read what.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a test may panic"
    )
)]

mod chunk_reader;
#[cfg(test)]
mod damage_tests;
mod describe;
mod differences;
mod error;
mod group;
mod hashing;
mod hot;
mod hot_entries;
mod limits;
mod lock;
mod lookup;
mod mutation;
mod near;
mod nearest;
#[cfg(test)]
mod nearest_tests;
mod open;
mod options;
mod overlay;
mod pins;
pub mod policy;
mod queue;
mod record;
mod recount;
mod rocks;
mod scan;
mod schema;
mod seal;
mod store;
mod task_groups;
#[cfg(test)]
mod upgrade_tests;
mod upload;
mod writer;

pub use chunk_reader::ChunkReader;
pub use error::{OpenError, StoreError};
pub use limits::WHOLE_BYTES_MAX;
pub use lookup::{Content, Found, StoredEntry, StoredOutput};
pub use mutation::{NewEntry, Replace};
pub use options::{Durability, Options};
pub use record::{Counters, Grave, GraveCause};
pub use recount::Recount;
pub use rocks::{RocksError, Tier};
pub use scan::Page;
pub use store::Store;
pub use upload::{Prepared, Upload};
