//! Reads everything that is stored and says what is wrong; on demand removes what is.
//!
//! Walks, in steps. Along `entries`: whether each has the key under which it stands, and the
//! rows that follow from it; those that it lacks are written.
//! Along `tasks`: whether what is listed is there. Along `refs`: each blob once, all of it, and
//! whether the entries that refer to it say the same. What a walk cannot read it skips; the rows
//! that stand there are found by another. If references cannot be read, the one along `blobs` reads
//! those that the third has not come to. It and the last ones, along all other columns, see whether
//! their files of rows can be read, also where only rows stand that have been removed: a compaction
//! would meet those. In the end, a repair writes columns anew whose files of rows are damaged: see
//! [`crate::renew`].
//!
//! An entry without details ([`crate::derived`]) is served, listed and removed like others. It is
//! counted and kept.
//!
//! **Invariants.** A step reads one state of the database, a bounded part of it, and from the disk:
//! what is kept in memory is not asked. Nothing is removed that was not seen bad by a step and is
//! still as it was seen when the writer comes to it.
//!
//! **Does not** look for rows that only take room, such as chunks of nobody.

use std::sync::mpsc;

use memod_protocol::{Digest, Key, Problem, VerifyReport};

use crate::derived::Derived;
use crate::error::StoreError;
use crate::limits::{PROBLEMS_NAMED_MAX, VERIFY_STEP_BYTES, VERIFY_STEP_ROWS};
use crate::mend::Mend;
use crate::mutation::{Burial, Mutation};
use crate::record::{EntryRecord, GraveCause, OutputRecord};
use crate::renew;
use crate::rocks::{Reads, Rows, View, is_damage};
use crate::schema::{Column, TaskKey, parse_ref_key, prefix_end, ref_key};
use crate::shared::{Shared, now_ms};
use crate::skip;
use crate::store::Store;
use crate::verify_blob::{Allowance, BlobProgress, Seen, read_blob, see};
use crate::verify_entry::{Finds, bury_entry, judge, unlisted};

/// A verification at work.
#[derive(Debug)]
pub struct Verification {
    store: Store,
    repair: bool,
    /// What is still to be walked along, the present column first.
    walks: &'static [Column],
    /// From which row the walk goes on.
    cursor: Vec<u8>,
    blob: Option<SeenBlob>,
    /// Columns whose files of rows are damaged.
    damaged: Vec<Column>,
    /// Entries that are served and cannot be described.
    undescribed: u64,
    report: VerifyReport,
}

/// The columns, in the order in which they are walked along.
const WALKS: [Column; Column::ALL.len()] = [
    Column::Entries,
    Column::Tasks,
    Column::Refs,
    Column::Blobs,
    Column::Chunks,
    Column::Near,
    Column::Heat,
    Column::Graves,
    Column::Meta,
];

/// The blob whose references are being walked along.
#[derive(Debug)]
struct SeenBlob {
    digest: Digest,
    progress: BlobProgress,
}

/// Key and value.
type OwnedRow = (Vec<u8>, Vec<u8>);

impl Store {
    /// Prepares to read everything; with `repair`, what is bad is removed.
    #[must_use]
    pub fn verification(&self, repair: bool) -> Verification {
        Verification {
            store: self.clone(),
            repair,
            walks: &WALKS,
            cursor: Vec::new(),
            blob: None,
            damaged: Vec::new(),
            undescribed: 0,
            report: VerifyReport::default(),
        }
    }
}

impl Verification {
    /// What has been read and found so far.
    #[must_use]
    pub fn report(&self) -> &VerifyReport {
        &self.report
    }

    /// How much has been read: entries and blobs.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.report.entries + self.report.blobs
    }

    /// Reads the next part; false if it was the last. Waits for the disk, and with `repair` for
    /// the writer. Not to be called on the writer's thread.
    ///
    /// # Errors
    /// If the disk cannot be read or, with `repair`, not be written; damage is no error.
    pub fn step(&mut self) -> Result<bool, StoreError> {
        let store = self.store.clone();
        let shared = store.shared();
        let mut finds = Finds::default();
        self.walk(&shared.db.view(), &mut finds)?;
        let is_last = self.walks.is_empty();
        if is_last {
            self.tell_undescribed(&mut finds);
        }
        self.report.problems += finds.problems.len() as u64;
        // What concerns many comes last and is told in any case.
        let room = PROBLEMS_NAMED_MAX.saturating_sub(self.report.named.len());
        let room = if is_last { room.max(1) } else { room };
        self.report.named.extend(finds.problems.into_iter().take(room));
        if self.repair {
            self.report.buried += mend(shared, finds.mends)?;
            if is_last {
                self.renew()?;
            }
        }
        Ok(!is_last)
    }

    fn tell_undescribed(&self, finds: &mut Finds) {
        if self.undescribed > 0 {
            let what = format!(
                "the listing of {} entries was damaged before the store had format 3: they are \
                 served and stay, but `memo why` does not know them, and `memo export` leaves them \
                 out",
                self.undescribed
            );
            finds.problems.insert(0, Problem { key: None, digest: None, what });
        }
    }

    fn walk(&mut self, view: &View<'_>, finds: &mut Finds) -> Result<(), StoreError> {
        let Some((&column, others)) = self.walks.split_first() else { return Ok(()) };
        let mut left = Allowance { rows: VERIFY_STEP_ROWS, bytes: VERIFY_STEP_BYTES };
        let mut rows = view.rows(column, &[], None);
        rows.seek(&self.cursor);
        loop {
            let Some((key, value)) = self.readable(&mut rows, column, finds)? else {
                self.walks = others;
                self.cursor.clear();
                return Ok(());
            };
            left.take(key.len() + value.len());
            let mut is_done = true;
            match column {
                Column::Refs => is_done = self.reference(view, &key, &mut left, finds)?,
                Column::Entries => self.entry(view, &key, &value, finds)?,
                Column::Blobs => is_done = self.unreferred(view, &key, &mut left, finds)?,
                Column::Tasks => self.listing(view, &key, finds)?,
                // Whether they can be read is all that is asked.
                Column::Chunks | Column::Near | Column::Heat | Column::Graves | Column::Meta => {}
            }
            self.cursor = key;
            if column == Column::Chunks
                && let Some(next) = behind_content(&self.cursor)
            {
                self.cursor = next;
                rows.seek(&self.cursor);
            } else if is_done {
                self.cursor.push(0);
                rows.forward();
            }
            if left.is_used_up() {
                return Ok(());
            }
        }
    }

    /// The row that the walk is at, or, if that cannot be read, the next that can.
    fn readable(
        &mut self,
        rows: &mut Rows<'_>,
        column: Column,
        finds: &mut Finds,
    ) -> Result<Option<OwnedRow>, StoreError> {
        let owned = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
        match rows.row() {
            Ok(row) => Ok(row.map(owned)),
            Err(error) if is_damage(&error) => {
                // Damage to content has been found along the references.
                let is_known = matches!(column, Column::Blobs | Column::Chunks)
                    && !renew::is_of_rows(error.as_ref())
                    && !self.damaged.contains(&Column::Refs);
                if !is_known {
                    finds.add(None, None, format!("{} cannot be read: {error}", rows_of(column)));
                }
                self.note_damage(column, error.as_ref());
                if !skip::damage(rows, &self.cursor)? {
                    return Ok(None);
                }
                Ok(rows.row()?.map(owned))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at one reference; false if its blob has not been read to the end yet.
    fn reference(
        &mut self,
        view: &View<'_>,
        row: &[u8],
        left: &mut Allowance,
        finds: &mut Finds,
    ) -> Result<bool, StoreError> {
        let Some((digest, key)) = parse_ref_key(row) else {
            finds.add(None, None, "a reference cannot be read");
            return Ok(true);
        };
        let progress = self.go_on_with(view, &digest, left)?;
        let is_read = !matches!(progress, BlobProgress::Reading { .. });
        if is_read {
            judge(view, &digest, &key, &progress, finds)?;
        }
        self.blob = Some(SeenBlob { digest, progress });
        Ok(is_read)
    }

    /// Looks at a blob if no reference to it can be read; false if it has not been read to the end
    /// yet. Whose it is is not known: if it is bad, its entry goes when it is looked up.
    fn unreferred(
        &mut self,
        view: &View<'_>,
        row: &[u8],
        left: &mut Allowance,
        finds: &mut Finds,
    ) -> Result<bool, StoreError> {
        let Ok(digest) = row.try_into().map(Digest::from_bytes) else {
            finds.add(None, None, "a blob has no digest");
            return Ok(true);
        };
        if !self.damaged.contains(&Column::Refs) {
            return Ok(true);
        }
        let mut refs = view.rows(Column::Refs, row, prefix_end(row));
        refs.first();
        match refs.row() {
            Ok(Some(_)) => return Ok(true),
            Ok(None) => {}
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let progress = self.go_on_with(view, &digest, left)?;
        let is_read = !matches!(progress, BlobProgress::Reading { .. });
        if let BlobProgress::Bad(fault) = &progress {
            finds.add(None, None, format!("{}; its entry goes when it is looked up", fault.what));
        }
        self.blob = Some(SeenBlob { digest, progress });
        Ok(is_read)
    }

    /// Reads a blob, from where the last step has left it.
    fn go_on_with(
        &mut self,
        view: &View<'_>,
        digest: &Digest,
        left: &mut Allowance,
    ) -> Result<BlobProgress, StoreError> {
        let known = self.blob.take().filter(|blob| blob.digest == *digest);
        match known.map(|blob| blob.progress) {
            Some(done @ (BlobProgress::Sound { .. } | BlobProgress::Bad(_))) => Ok(done),
            Some(BlobProgress::Reading { storage, next }) => {
                self.read_blob(view, digest, (storage, next), left)
            }
            None => self.read_blob(view, digest, (0, 0), left),
        }
    }

    /// Reads a blob, all of it or as much as is allowed. `begun`: of that storage, the chunks
    /// before that one are known to be sound.
    fn read_blob(
        &mut self,
        view: &View<'_>,
        digest: &Digest,
        begun: (u64, u32),
        left: &mut Allowance,
    ) -> Result<BlobProgress, StoreError> {
        let progress = read_blob(view, digest, begun, left)?;
        match &progress {
            BlobProgress::Reading { .. } => {}
            BlobProgress::Sound { bytes } => {
                self.report.blobs += 1;
                self.report.bytes += bytes;
            }
            BlobProgress::Bad(fault) => {
                self.report.blobs += 1;
                // Its row, or, if it says in which storage, a chunk.
                let column = if fault.storage.is_some() { Column::Chunks } else { Column::Blobs };
                self.note_damage(column, &fault.what);
            }
        }
        Ok(progress)
    }

    /// Notes which column an error is about, if its files of rows are damaged and can be written
    /// anew.
    fn note_damage(&mut self, column: Column, error: &str) {
        let is_mendable = renew::is_of_rows(error) && column != Column::Meta;
        if is_mendable && !self.damaged.contains(&column) {
            self.damaged.push(column);
        }
    }

    /// Looks at one entry.
    fn entry(
        &mut self,
        view: &View<'_>,
        key: &[u8],
        row: &[u8],
        finds: &mut Finds,
    ) -> Result<(), StoreError> {
        let Ok(key) = key.try_into().map(Key::from_bytes) else {
            finds.add(None, None, "an entry has no key");
            return Ok(());
        };
        self.report.entries += 1;
        let (entry, details) = match EntryRecord::decode_whole(row) {
            Ok(entry) => entry,
            Err(error) => {
                let what = format!("the entry cannot be read: {error}");
                bury_entry(finds, key, row, &what);
                return Ok(());
            }
        };
        if details.as_ref().is_some_and(|details| !entry.has_key(details, &key)) {
            bury_entry(finds, key, row, "the entry stands under another's key");
            return Ok(());
        }
        self.undescribed += u64::from(details.is_none());
        let derived = Derived::of(&key, &entry, details.as_ref());
        if let Some(what) = unlisted(view, &derived)? {
            finds.add(Some(key), None, what);
            finds.mends.push(Mend::List { key });
        }
        for OutputRecord { digest, .. } in entry.outputs {
            let what = match see(view, Column::Refs, &ref_key(&digest, &key), |_| ())? {
                Seen::Row(()) => continue,
                Seen::Absent => "the entry does not refer to its blob".to_owned(),
                Seen::Damaged(error) => {
                    self.note_damage(Column::Refs, error.as_ref());
                    format!("a reference cannot be read: {error}")
                }
            };
            finds.add(Some(key), Some(digest), what);
            finds.mends.push(Mend::Refer { digest, key });
        }
        Ok(())
    }
}

impl Verification {
    /// Looks at one row of the listing.
    fn listing(
        &mut self,
        view: &View<'_>,
        row: &[u8],
        finds: &mut Finds,
    ) -> Result<(), StoreError> {
        let Some(task) = TaskKey::parse(row) else {
            finds.add(None, None, "a row of the listing cannot be read");
            return Ok(());
        };
        let key = task.key;
        let is_its = |found: &[u8]| {
            // One that cannot be read has been found by the walk along the entries.
            EntryRecord::decode(found).map_or(true, |entry| entry.task_key(&key) == row)
        };
        match see(view, Column::Entries, key.as_bytes(), is_its)? {
            Seen::Row(true) => {}
            Seen::Row(false) | Seen::Absent => {
                finds.add(Some(key), None, "it is listed and not there");
                finds.mends.push(Mend::Unlist { row: row.to_vec(), key });
            }
            Seen::Damaged(error) => {
                self.note_damage(Column::Entries, error.as_ref());
                finds.add(Some(key), None, format!("the entry cannot be read: {error}"));
                let (cause, at_ms) = (GraveCause::Corrupt, now_ms());
                finds.mends.push(Mend::Bury(Burial { key, row: None, blob: None, cause, at_ms }));
                finds.mends.push(Mend::Unlist { row: row.to_vec(), key });
            }
        }
        Ok(())
    }

    /// Has damaged columns written anew, and says of what is theirs that it is mended.
    fn renew(&mut self) -> Result<(), StoreError> {
        if self.damaged.is_empty() {
            return Ok(());
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        // If nobody receives any more, nobody wants to know.
        let done = Box::new(move |outcome| drop(sender.send(outcome)));
        let columns = self.damaged.clone();
        if let Err(mutation) = self.store.shared().queue.push(Mutation::Renew { columns, done }) {
            mutation.refuse(StoreError::Closed);
        }
        let renewed = receiver.recv().unwrap_or(Err(StoreError::Closed));
        // A compaction may have met the damage first.
        let is_done = match renewed {
            Ok(()) => true,
            Err(StoreError::Damaged { .. }) if self.store.is_halted() => false,
            Err(error) => return Err(error),
        };
        let unmended = rows_of(Column::Meta);
        for problem in &mut self.report.named {
            let is_of_rows = problem.is_of_files() && renew::is_of_rows(&problem.what);
            if is_of_rows && !problem.what.starts_with(&unmended) {
                problem.set_mended(is_done);
            }
        }
        Ok(())
    }
}

/// Where in `chunks` the next content stands: the one with this chunk has been read along the
/// references, if it is anybody's.
fn behind_content(chunk: &[u8]) -> Option<Vec<u8>> {
    let storage = u64::from_be_bytes(*chunk.first_chunk::<8>()?);
    storage.checked_add(1).map(|next| next.to_be_bytes().to_vec())
}

/// What cannot be read if a file of a column is damaged.
fn rows_of(column: Column) -> String {
    format!("rows of {}", column.name())
}

/// Has what was found mended, and waits for it; gives how many entries were removed.
fn mend(shared: &Shared, mends: Vec<Mend>) -> Result<u64, StoreError> {
    let (sender, receiver) = mpsc::sync_channel(mends.len());
    for mend in mends {
        let sender = sender.clone();
        // If nobody receives any more, nobody wants to know.
        let done = Box::new(move |outcome| drop(sender.send(outcome)));
        if let Err(mutation) = shared.queue.push(Mutation::Mend { mend, done }) {
            mutation.refuse(StoreError::Closed);
        }
    }
    drop(sender);
    receiver.iter().map(|outcome| outcome.map(u64::from)).sum()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
