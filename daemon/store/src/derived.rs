//! A row of `entries`, and the rows of other columns that follow from it.
//!
//! The row has the entry, which a lookup needs, and behind that its details, which only describe
//! it: whoever looks it up stops reading before them. What the row says is all that is known of an
//! entry, so its row in `tasks`, those in `near`, and that it has rows in `refs`, can be made anew.
//!
//! **Invariants.** What follows from a row is a function of the key and the row alone. A row that
//! was written before format 3 has no details. It is given them when the store is taken over, out
//! of the listing; one whose listing cannot be read then stays without. Such an entry is served,
//! listed and removed like others, and cannot be described.

use memod_protocol::wire::{self, Decode, DecodeError, Encode};
use memod_protocol::{CallIdentity, Digest, InterfaceText, Key};

use crate::near::{self, NearRow};
use crate::record::{EntryRecord, TaskRecord};
use crate::row_bytes::RowLengths;
use crate::schema::task_key;

/// What a row of `entries` has behind the entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Details {
    /// It was put apart, and so pays for all of its content.
    pub(crate) apart: bool,
    pub(crate) interface: InterfaceText,
    pub(crate) inputs: Vec<(String, Digest)>,
}

impl From<TaskRecord> for Details {
    /// What the listing says of an entry that was written before format 3.
    fn from(task: TaskRecord) -> Self {
        Self { apart: false, interface: task.interface, inputs: task.inputs }
    }
}

impl EntryRecord {
    /// The entry of a row, without its details.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, DecodeError> {
        wire::decode_front(row).map(|(entry, _)| entry)
    }

    /// The entry of a row, with its details, if it has any.
    pub(crate) fn decode_whole(row: &[u8]) -> Result<(Self, Option<Details>), DecodeError> {
        let (entry, rest) = wire::decode_front(row)?;
        let details = if rest.is_empty() { None } else { Some(wire::decode_record(rest)?) };
        Ok((entry, details))
    }

    /// The row of an entry.
    pub(crate) fn encode_with(&self, details: &Details) -> Vec<u8> {
        let mut row = wire::encode(self);
        row.extend_from_slice(&wire::encode(details));
        row
    }

    /// The key of its row in the listing.
    pub(crate) fn task_key(&self, key: &Key) -> Vec<u8> {
        task_key(&self.scope, &self.task, &self.cache_version, &self.signature, key)
    }

    /// Whether this is the entry of a key.
    pub(crate) fn has_key(&self, details: &Details, key: &Key) -> bool {
        let identity = CallIdentity {
            scope: self.scope.clone(),
            task: self.task.clone(),
            cache_version: self.cache_version.clone(),
            signature: self.signature,
            inputs: details.inputs.clone(),
        };
        identity.key() == *key
    }
}

/// The rows that follow from a row of `entries`, without those of `refs`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Derived {
    /// Of the row in `tasks`.
    pub(crate) task_key: Vec<u8>,
    /// The same; empty if the entry has no details.
    pub(crate) task: Vec<u8>,
    pub(crate) near: Vec<NearRow>,
}

impl Derived {
    pub(crate) fn of(key: &Key, entry: &EntryRecord, details: Option<&Details>) -> Self {
        let task_key = entry.task_key(key);
        let Some(Details { interface, inputs, .. }) = details else {
            return Self { task_key, task: Vec::new(), near: Vec::new() };
        };
        let created_at_ms = entry.provenance.created_at_ms;
        // In the layout of a `TaskRecord`, without a copy.
        let task = wire::encode(&(
            created_at_ms,
            entry.provenance.run.compute_ns,
            entry.provenance.writer_uid,
            u32::try_from(entry.outputs.len()).unwrap_or(u32::MAX),
            entry.logical_bytes(),
            interface,
            inputs,
        ));
        let near = near::rows(&task_key, created_at_ms, inputs);
        Self { task_key, task, near }
    }

    /// The bytes of all rows of this entry, whose own row has so many.
    pub(crate) fn row_bytes(&self, entry: &EntryRecord, entry_bytes: usize) -> u64 {
        let lengths = RowLengths {
            entry: entry_bytes,
            task_key: self.task_key.len(),
            task: self.task.len(),
            near: self.near.len(),
        };
        lengths.total(entry)
    }
}

#[cfg(test)]
#[path = "derived_tests.rs"]
mod tests;
