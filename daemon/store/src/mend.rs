//! What a verification has found bad, and how the writer sets it right.
//!
//! **Invariants.** Nothing is removed that has been replaced or mended since it was found. What
//! entries are charged for is in doubt behind each step but the burial of one whose rows are sound,
//! so it is counted anew when the store is opened next.

use memod_protocol::wire;
use memod_protocol::{Digest, Key};

use crate::error::StoreError;
use crate::group::Group;
use crate::mutation::Burial;
use crate::near;
use crate::overlay::Standing;
use crate::record::{BlobRecord, TaskRecord};
use crate::rocks::{Read, Reads, Tier};
use crate::schema::Column;

/// Something to set right.
#[derive(Debug)]
pub(crate) enum Mend {
    /// A bad entry.
    Bury(Burial),
    /// An entry that lacks rows that follow from it.
    List { key: Key },
    /// A row of the listing whose entry is not there.
    Unlist { row: Vec<u8>, key: Key },
    /// A reference that an entry lacks.
    Refer { digest: Digest, key: Key },
    /// A reference of an entry that is not there, or does not have that blob.
    Unrefer { digest: Digest, key: Key },
}

impl Group<'_> {
    /// Whether an entry was removed.
    pub(crate) fn mend(&mut self, mend: &Mend) -> Result<bool, StoreError> {
        match mend {
            Mend::Bury(burial) => {
                let is_buried = self.bury(burial)?;
                // How long its other rows were is told by the rows that are bad.
                self.overlay.doubt |= is_buried && burial.blob.is_none();
                Ok(is_buried)
            }
            Mend::List { key } => self.list(key).map(|()| false),
            Mend::Unlist { row, key } => self.unlist(row, key).map(|()| false),
            Mend::Refer { digest, key } => self.refer(digest, key).map(|()| false),
            Mend::Unrefer { digest, key } => self.unrefer(digest, key).map(|()| false),
        }
    }

    fn list(&mut self, key: &Key) -> Result<(), StoreError> {
        // What is charged for the entry follows from its row, whether or not the others are there.
        if let Some(derived) = self.overlay.load_entry(key)?.stored_derived(key) {
            let db = &self.shared.db;
            self.batch.put(db, Column::Tasks, &derived.task_key, &derived.task);
            for row in &derived.near {
                self.batch.put(db, Column::Near, row, &[]);
            }
        }
        Ok(())
    }

    fn unlist(&mut self, row: &[u8], key: &Key) -> Result<(), StoreError> {
        let standing = self.overlay.load_entry(key)?;
        let stays = match &standing.now {
            Standing::Absent => false,
            Standing::Unreadable => true,
            Standing::Present(entry) => entry.task_key(key) == row,
        };
        if stays {
            return Ok(());
        }
        let db = &self.shared.db;
        let decode = |found: &[u8]| wire::decode_record::<TaskRecord>(found).ok();
        if let Ok(Read::Row(Some(task))) = db.read(Column::Tasks, row, Tier::Disk, decode) {
            for near in near::rows(row, task.created_at_ms, &task.inputs) {
                self.batch.delete(db, Column::Near, &near);
            }
        }
        self.batch.delete(db, Column::Tasks, row);
        self.overlay.doubt = true;
        Ok(())
    }

    fn refer(&mut self, digest: &Digest, key: &Key) -> Result<(), StoreError> {
        let standing = self.overlay.load_entry(key)?;
        let Standing::Present(entry) = &standing.now else { return Ok(()) };
        if standing.changed {
            return Ok(());
        }
        let Some(output) = entry.outputs.iter().find(|of| of.digest == *digest) else {
            return Ok(());
        };
        let bytes = output.bytes;
        let refs = self.overlay.refs.entry(*digest).or_default();
        refs.bytes = bytes;
        refs.keys.insert(*key, true);
        self.overlay.doubt = true;
        Ok(())
    }

    fn unrefer(&mut self, digest: &Digest, key: &Key) -> Result<(), StoreError> {
        let standing = self.overlay.load_entry(key)?;
        let stays = match &standing.now {
            Standing::Absent => false,
            Standing::Unreadable => true,
            Standing::Present(entry) => entry.outputs.iter().any(|of| of.digest == *digest),
        };
        if stays {
            return Ok(());
        }
        // So that it is known whether the counters have it.
        self.overlay.load_blob_by_digest(digest)?;
        let length = |row: &[u8]| match BlobRecord::decode(row) {
            Ok(BlobRecord::Whole(content)) => content.len() as u64,
            Ok(BlobRecord::Chunked(record)) => record.bytes,
            Ok(BlobRecord::Dropped { bytes }) => bytes,
            Err(_) => 0,
        };
        let db = &self.shared.db;
        let bytes = match db.read(Column::Blobs, digest.as_bytes(), Tier::Disk, length) {
            Ok(Read::Row(bytes)) => bytes,
            _ => 0,
        };
        let refs = self.overlay.refs.entry(*digest).or_default();
        refs.bytes = refs.bytes.max(bytes);
        refs.keys.insert(*key, false);
        refs.lost = true;
        self.overlay.doubt = true;
        Ok(())
    }
}
