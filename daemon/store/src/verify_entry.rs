//! What a verification finds of entries.

use memod_protocol::{Digest, Key, Problem};

use crate::derived::Derived;
use crate::error::StoreError;
use crate::mend::Mend;
use crate::mutation::{BlobFault, Burial};
use crate::record::{EntryRecord, GraveCause};
use crate::rocks::View;
use crate::schema::Column;
use crate::shared::now_ms;
use crate::verify_blob::{BlobProgress, Fault, Seen, see};

/// What a step has found.
#[derive(Default)]
pub(crate) struct Finds {
    pub(crate) problems: Vec<Problem>,
    pub(crate) mends: Vec<Mend>,
}

impl Finds {
    pub(crate) fn add(
        &mut self,
        key: Option<Key>,
        digest: Option<Digest>,
        what: impl Into<String>,
    ) {
        let what = what.into().chars().take(300).collect();
        self.problems.push(Problem { key, digest, what });
    }
}

/// What is wrong with the rows that follow from an entry, if anything is that can be told: where
/// they cannot be read, their walks come upon it.
pub(crate) fn unlisted(
    view: &View<'_>,
    derived: &Derived,
) -> Result<Option<&'static str>, StoreError> {
    let is_its = |found: &[u8]| found == derived.task;
    match see(view, Column::Tasks, &derived.task_key, is_its)? {
        Seen::Row(true) | Seen::Damaged(_) => {}
        Seen::Row(false) => return Ok(Some("the entry is listed as something else")),
        Seen::Absent => return Ok(Some("the entry is not listed")),
    }
    for row in &derived.near {
        if matches!(see(view, Column::Near, row, |_| ())?, Seen::Absent) {
            return Ok(Some("the entry is not found from calls that are near"));
        }
    }
    Ok(None)
}

/// Finds an entry that is bad in itself.
pub(crate) fn bury_entry(finds: &mut Finds, key: Key, row: &[u8], what: &str) {
    finds.add(Some(key), None, what);
    let (row, cause) = (Some(Digest::of(row)), GraveCause::Corrupt);
    finds.mends.push(Mend::Bury(Burial { key, row, blob: None, cause, at_ms: now_ms() }));
}

/// Whether a blob that has been read, and the entry that is said to refer to it, go together.
pub(crate) fn judge(
    view: &View<'_>,
    digest: &Digest,
    key: &Key,
    progress: &BlobProgress,
    finds: &mut Finds,
) -> Result<(), StoreError> {
    let decode = |row: &[u8]| (EntryRecord::decode(row).ok(), Digest::of(row));
    let (entry, row) = match see(view, Column::Entries, key.as_bytes(), decode)? {
        Seen::Row((Some(entry), row)) => (Some(entry), Some(row)),
        // The walks before have come upon it, and once only.
        Seen::Row((None, _)) | Seen::Damaged(_) => return Ok(()),
        Seen::Absent => (None, None),
    };
    let output = entry.iter().flat_map(|entry| &entry.outputs).find(|of| of.digest == *digest);
    let Some(output) = output else {
        finds.add(Some(*key), Some(*digest), "a blob is kept for an entry that does not have it");
        finds.mends.push(Mend::Unrefer { digest: *digest, key: *key });
        return Ok(());
    };
    let fault = match progress {
        BlobProgress::Bad(fault) => fault.clone(),
        BlobProgress::Sound { bytes } if *bytes != output.bytes => Fault {
            cause: GraveCause::Corrupt,
            storage: None,
            what: format!("blob {digest} has another length than its entry says"),
        },
        BlobProgress::Sound { .. } | BlobProgress::Reading { .. } => return Ok(()),
    };
    finds.add(Some(*key), Some(*digest), &fault.what);
    let blob = Some(BlobFault { digest: *digest, storage: fault.storage });
    let cause = fault.cause;
    finds.mends.push(Mend::Bury(Burial { key: *key, row, blob, cause, at_ms: now_ms() }));
    Ok(())
}
