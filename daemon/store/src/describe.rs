//! Everything about an entry but its outputs' bytes.

use memod_protocol::wire::{self, Decode};
use memod_protocol::{Delivery, EntryDetail, Key, Output, Provenance, Scope};

use crate::error::StoreError;
use crate::record::{EntryRecord, TaskRecord};
use crate::rocks::{Read, Reads, Tier};
use crate::schema::{Column, task_key};
use crate::shared::Shared;

/// The scope of an entry.
pub(crate) fn scope(shared: &Shared, key: &Key) -> Result<Option<Scope>, StoreError> {
    let entry: Option<EntryRecord> = record(&shared.db.view(), Column::Entries, key.as_bytes())?;
    Ok(entry.map(|entry| entry.scope))
}

/// Who made an entry; none if there is none, or none that can be read.
pub(crate) fn made(shared: &Shared, key: &Key) -> Result<Option<Provenance>, StoreError> {
    match record::<EntryRecord>(&shared.db.view(), Column::Entries, key.as_bytes()) {
        Ok(entry) => Ok(entry.map(|entry| entry.provenance)),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn describe(shared: &Shared, key: &Key) -> Result<Option<EntryDetail>, StoreError> {
    let view = shared.db.view();
    let entry: Option<EntryRecord> = record(&view, Column::Entries, key.as_bytes())?;
    let Some(entry) = entry else { return Ok(None) };
    let row = task_key(&entry.scope, &entry.task, &entry.cache_version, &entry.signature, key);
    let task: TaskRecord = match record(&view, Column::Tasks, &row) {
        Ok(Some(task)) => task,
        Ok(None) | Err(StoreError::Damaged { .. }) => {
            return Err(StoreError::Undescribed { key: *key });
        }
        Err(error) => return Err(error),
    };
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
        interface: task.interface,
        inputs: task.inputs,
        outputs: outputs.collect(),
        provenance: entry.provenance,
        age_ms: 0,
    }))
}

fn record<T: Decode<()>>(
    reads: &impl Reads,
    column: Column,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    match reads.read(column, key, Tier::Disk, wire::decode_record)? {
        Read::Row(Ok(record)) => Ok(Some(record)),
        Read::Row(Err(error)) => {
            Err(StoreError::Damaged { what: format!("a row of {}: {error}", column.name()) })
        }
        Read::Absent | Read::WouldBlock => Ok(None),
    }
}
