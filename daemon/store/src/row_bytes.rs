//! How many bytes the rows of an entry have: what it takes besides its content.
//!
//! **Invariants.** Keys and values of its rows in `entries`, `tasks`, `refs` and `near`, as they
//! are written: a function of the row in `entries` alone. Its row in `heat`, which comes and goes
//! by itself, does not count, nor does a grave.

use std::collections::BTreeSet;

use memod_protocol::Digest;

use crate::limits::NEAR_BUCKETS;
use crate::mutation::NewEntry;
use crate::near::NearRow;
use crate::record::EntryRecord;

/// Key and value of a row of `refs`.
const REF_BYTES: usize = 64 + 1;
const ENTRY_KEY_BYTES: usize = 32;
const DIGEST_BYTES: usize = 32;
/// The most that a number, a length or a tag takes.
const NUMBER_BYTES: usize = 9;

/// The lengths that an entry's record does not tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowLengths {
    /// Of the value in `entries`.
    pub(crate) entry: usize,
    /// Of the key in `tasks`.
    pub(crate) task_key: usize,
    /// Of the value in `tasks`.
    pub(crate) task: usize,
    /// The number of rows in `near`.
    pub(crate) near: usize,
}

impl RowLengths {
    /// The bytes of all rows of this entry.
    pub(crate) fn total(self, entry: &EntryRecord) -> u64 {
        let references: BTreeSet<&Digest> =
            entry.outputs.iter().map(|output| &output.digest).collect();
        let bytes = ENTRY_KEY_BYTES
            + self.entry
            + self.task_key
            + self.task
            + references.len() * REF_BYTES
            + self.near * size_of::<NearRow>();
        bytes as u64
    }
}

/// No less than the bytes of all rows that this entry will have.
pub(crate) fn at_most(new: &NewEntry) -> u64 {
    let NewEntry { identity, interface, outputs, provenance, .. } = new;
    let run = &provenance.run;
    let texts =
        [&provenance.program, &provenance.host, &run.task_version, &run.execution, &run.node];
    let of_run: usize = texts.into_iter().flatten().map(|text| text.len() + NUMBER_BYTES).sum();
    let scope = identity.scope.project.len() + identity.scope.domain.len();
    let names = scope + identity.task.len() + identity.cache_version.len();
    let group = names + 4 * NUMBER_BYTES + 2 * DIGEST_BYTES;
    let entry = ENTRY_KEY_BYTES + group + of_run + 12 * NUMBER_BYTES;
    let members = |members: &[(String, String)]| -> usize {
        members.iter().map(|(name, of)| name.len() + of.len() + 2 * NUMBER_BYTES).sum()
    };
    let interface = members(&interface.inputs) + members(&interface.outputs);
    let inputs: usize =
        identity.inputs.iter().map(|(name, _)| name.len() + NUMBER_BYTES + DIGEST_BYTES).sum();
    // Interface and inputs stand in the entry's row and in the listing.
    let task = group + 2 * (interface + inputs) + 12 * NUMBER_BYTES;
    let outputs: usize = outputs
        .iter()
        .map(|(name, of, _)| name.len() + of.len() + 3 * NUMBER_BYTES + DIGEST_BYTES + REF_BYTES)
        .sum();
    let near = identity.inputs.len().min(NEAR_BUCKETS) * size_of::<NearRow>();
    (entry + task + outputs + near) as u64
}
