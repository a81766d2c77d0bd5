//! Everything about an entry but its outputs' bytes.

use memod_protocol::{Delivery, EntryDetail, Key, Output, Provenance, Scope};

use crate::derived::Details;
use crate::error::StoreError;
use crate::record::EntryRecord;
use crate::rocks::{Read, Reads, Tier};
use crate::schema::Column;
use crate::shared::Shared;

/// The scope of an entry.
pub(crate) fn scope(shared: &Shared, key: &Key) -> Result<Option<Scope>, StoreError> {
    Ok(entry(shared, key)?.map(|(entry, _)| entry.scope))
}

/// Who made an entry; none if there is none, or none that can be read.
pub(crate) fn made(shared: &Shared, key: &Key) -> Result<Option<Provenance>, StoreError> {
    match entry(shared, key) {
        Ok(entry) => Ok(entry.map(|(entry, _)| entry.provenance)),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn describe(shared: &Shared, key: &Key) -> Result<Option<EntryDetail>, StoreError> {
    let Some((entry, details)) = entry(shared, key)? else { return Ok(None) };
    let Some(details) = details else { return Err(StoreError::Undescribed { key: *key }) };
    let outputs = entry.outputs.into_iter().map(|output| Output {
        name: output.name,
        literal_type: output.literal_type,
        digest: output.digest,
        bytes: output.bytes,
        delivery: Delivery::Withheld,
    });
    Ok(Some(EntryDetail {
        key: *key,
        scope: entry.scope,
        task: entry.task,
        cache_version: entry.cache_version,
        signature: entry.signature,
        interface: details.interface,
        inputs: details.inputs,
        outputs: outputs.collect(),
        provenance: entry.provenance,
        age_ms: 0,
    }))
}

fn entry(shared: &Shared, key: &Key) -> Result<Option<(EntryRecord, Option<Details>)>, StoreError> {
    let decode = EntryRecord::decode_whole;
    match shared.db.read(Column::Entries, key.as_bytes(), Tier::Disk, decode)? {
        Read::Row(Ok(entry)) => Ok(Some(entry)),
        Read::Row(Err(error)) => {
            Err(StoreError::Damaged { what: format!("a row of entries: {error}") })
        }
        Read::Absent | Read::WouldBlock => Ok(None),
    }
}
