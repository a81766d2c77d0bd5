//! Finds anew what a store says of itself in `meta`, when files of that column are gone.
//!
//! **Invariants.** What is left of the column may be older than what is gone, and is not believed
//! where that would do harm: a storage id is used again, or content that has an owner by now is
//! removed as that of nobody. What can be counted is counted behind this ([`crate::renew`]); what
//! was counted since the store was made, and what the service has noted, may be lost or old.

use std::fs;
use std::io::{self, Read as _};

use memod_protocol::wire;

use crate::record::Counters;
use crate::rocks::{Batch, Database, Reads, RocksError, Tier};
use crate::schema::{
    Column, FORMAT, META_COUNTERS, META_FORMAT, META_ID, META_LOOSE, META_NEXT_STORAGE, prefix_end,
};
use crate::skip::{self, readable};

/// Behind the key of every chunk.
const END: [u8; 13] = [u8::MAX; 13];

/// Writes down what a store needs to be opened, as far as it is not there.
pub(crate) fn mend_meta(db: &Database) -> Result<(), RocksError> {
    let row = |key: &[u8]| readable(db.read(Column::Meta, key, Tier::Disk, <[u8]>::to_vec));
    let mut batch = Batch::new(0);
    if row(META_FORMAT)?.is_none() {
        // What older ones lack is added when everything is counted anew.
        batch.put(db, Column::Meta, META_FORMAT, &FORMAT.to_le_bytes());
    }
    if row(META_ID)?.is_none() {
        // Only if there is no source of random bytes: a store without an id is not opened.
        if let Ok(id) = new_id() {
            batch.put(db, Column::Meta, META_ID, id.as_bytes());
        }
    }
    let counters = row(META_COUNTERS)?;
    let is_known =
        counters.is_some_and(|counters| wire::decode_record::<Counters>(&counters).is_ok());
    if !is_known {
        batch.put(db, Column::Meta, META_COUNTERS, &wire::encode(&Counters::default()));
    }
    let said = row(META_NEXT_STORAGE)?.and_then(|row| row.try_into().ok()).map(u64::from_le_bytes);
    let next = said.unwrap_or(0).max(behind_last_storage(db)?);
    batch.put(db, Column::Meta, META_NEXT_STORAGE, &next.to_le_bytes());
    // Who owns what is seen from the content itself.
    let loose = db.rows(Column::Meta, META_LOOSE, prefix_end(META_LOOSE));
    skip::each_readable::<RocksError>(loose, |key, _| {
        batch.delete(db, Column::Meta, key);
        Ok(())
    })?;
    db.note_families(&mut batch);
    db.write(batch, true)
}

/// An id that no other store has.
pub(crate) fn new_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Behind the last storage id under which there are chunks.
fn behind_last_storage(db: &Database) -> Result<u64, RocksError> {
    let mut chunks = db.rows(Column::Chunks, &[], None);
    chunks.seek_back(&END);
    let last = chunks.row()?.and_then(|(key, _)| key.first_chunk().copied());
    Ok(last.map_or(0, |storage| u64::from_be_bytes(storage).saturating_add(1)))
}
