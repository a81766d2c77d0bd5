//! Large outputs in sealed memory files, which all who read them share.
//!
//! **Invariants.** Every chunk was verified on its way into the file, and the file is sealed before
//! anybody has it. Files are named by their digest, so they are never out of date. The bytes and
//! the number of the files are bounded, those being filled included; who has been handed a file
//! keeps its memory for as long as it likes, which is not counted. Many who ask for one output at
//! once share one filling.
//!
//! **Does not** decide who may read: it is asked with a reader of the content.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use memod_descriptors::{MemoryFile, SealedFile};
use memod_protocol::limits::{CHUNK_BYTES, DESCRIPTORS_MAX};
use memod_protocol::{Delivery, Digest, Response};
use memod_store::{ChunkReader, StoreError};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::reply::{Reply, Stream};
use super::{Service, pool};

/// Files that are kept; the daemon leaves so many descriptors for them.
pub(crate) const FILES_MAX: usize = 128;
/// Shorter outputs are streamed: they cost less than a descriptor and a mapping.
const BYTES_MIN: u64 = CHUNK_BYTES as u64;
/// Outputs that are filled at a time.
const FILLINGS_MAX: usize = 2;
/// Threads that fill one output; more did not pay where it was measured.
const FILLERS_MAX: usize = 4;
/// How long a reply waits for its files. What takes longer is streamed, so that the reader soon has
/// a sign of life; the filling goes on for those who come later.
const PATIENCE: Duration = Duration::from_millis(250);

/// The files.
pub(crate) struct SealedOutputs {
    bytes_max: u64,
    kept: Mutex<Kept>,
    fillings: Semaphore,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<Digest, Slot>,
    /// The sum over all slots.
    bytes: u64,
    /// Counts uses, so that the slot that was used longest ago is known.
    uses: u64,
}

/// A file, or nothing if it could not be filled; empty while it is being filled.
type Cell = Arc<OnceCell<Option<Arc<OwnedFd>>>>;

struct Slot {
    bytes: u64,
    last_use: u64,
    cell: Cell,
}

#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a memory file of {0} bytes: {1}")]
    Memory(u64, #[source] std::io::Error),
}

impl SealedOutputs {
    /// Keeps no more bytes than this.
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        let (kept, fillings) = (Mutex::default(), Semaphore::new(FILLINGS_MAX));
        Arc::new(Self { bytes_max, kept, fillings })
    }

    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file with this content, filled if need be; nothing if there is no room for it, it cannot
    /// be filled, or that takes until after the deadline.
    async fn file(
        self: &Arc<Self>,
        reader: &ChunkReader,
        deadline: Instant,
    ) -> Option<Arc<OwnedFd>> {
        let (digest, bytes) = (reader.digest(), reader.bytes());
        if !(BYTES_MIN..=self.bytes_max).contains(&bytes) {
            return None;
        }
        let cell = self.locked().cell(digest, bytes, self.bytes_max)?;
        if let Some(file) = cell.get() {
            return file.clone();
        }
        let (this, reader) = (Arc::clone(self), reader.clone());
        // In a task of its own, so that it is finished whatever becomes of who asked first.
        let filling = tokio::spawn(pool::carried(async move {
            let file = cell.get_or_init(|| this.fill(reader)).await.clone();
            if file.is_none() {
                this.locked().forget(&digest, &cell);
            }
            file
        }));
        tokio::time::timeout_at(deadline, filling).await.ok()?.ok()?
    }

    /// Keeps a file that a peer has sealed, of whose content this is the digest, if there is room:
    /// what nobody has read yet throws nothing out that somebody has.
    pub(crate) fn adopt(&self, digest: Digest, file: SealedFile) {
        let bytes = file.bytes();
        let mut kept = self.locked();
        if bytes >= BYTES_MIN
            && kept.has_room(bytes, self.bytes_max)
            && let Some(cell) = kept.cell(digest, bytes, self.bytes_max)
        {
            // If there is one already, that one is as good.
            let _ = cell.set(Some(Arc::new(file.into())));
        }
    }

    async fn fill(&self, reader: ChunkReader) -> Option<Arc<OwnedFd>> {
        let _turn = self.fillings.acquire().await.ok()?;
        let digest = reader.digest();
        match pool::run(move || fill(&reader)).await.ok()? {
            Ok(file) => Some(Arc::new(file.into())),
            Err(error) => {
                tracing::debug!(%digest, "an output is streamed, not shared: {error}");
                None
            }
        }
    }
}

impl Kept {
    fn has_room(&self, bytes: u64, bytes_max: u64) -> bool {
        self.bytes.saturating_add(bytes) <= bytes_max && self.slots.len() < FILES_MAX
    }

    /// The cell of this content, with room made for it; nothing if that is not possible.
    fn cell(&mut self, digest: Digest, bytes: u64, bytes_max: u64) -> Option<Cell> {
        self.uses += 1;
        if let Some(slot) = self.slots.get_mut(&digest) {
            slot.last_use = self.uses;
            return Some(Arc::clone(&slot.cell));
        }
        while !self.has_room(bytes, bytes_max) {
            // Those that are being filled stay: somebody waits for them.
            let filled = self.slots.iter().filter(|(_, slot)| slot.cell.initialized());
            let (oldest, _) = filled.min_by_key(|(_, slot)| slot.last_use)?;
            let oldest = *oldest;
            self.remove(&oldest);
        }
        let cell = Cell::default();
        let slot = Slot { bytes, last_use: self.uses, cell: Arc::clone(&cell) };
        self.bytes += bytes;
        self.slots.insert(digest, slot);
        Some(cell)
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(slot) = self.slots.remove(digest) {
            self.bytes = self.bytes.saturating_sub(slot.bytes);
        }
    }

    /// Gives up a cell that could not be filled, unless another has taken its place.
    fn forget(&mut self, digest: &Digest, cell: &Cell) {
        if self.slots.get(digest).is_some_and(|slot| Arc::ptr_eq(&slot.cell, cell)) {
            self.remove(digest);
        }
    }
}

impl fmt::Debug for SealedOutputs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.locked();
        write!(formatter, "SealedOutputs({} files, {} bytes)", kept.slots.len(), kept.bytes)
    }
}

/// Reads, verifies and writes all chunks, several threads at a time.
fn fill(reader: &ChunkReader) -> Result<SealedFile, FillError> {
    let bytes = reader.bytes();
    let memory = |error| FillError::Memory(bytes, error);
    let file = MemoryFile::new(bytes).map_err(memory)?;
    let (chunks, next) = (reader.chunk_count(), AtomicU32::new(0));
    let work = || -> Result<(), FillError> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= chunks {
                return Ok(());
            }
            let offset = u64::from(index) * u64::from(CHUNK_BYTES);
            let written = reader.with_chunk(index, |content| file.write_at(content, offset));
            let written = written.map_err(FillError::from);
            if let Err(error) = written.and_then(|written| written.map_err(memory)) {
                // The others stop too.
                next.store(chunks, Ordering::Relaxed);
                return Err(error);
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let helpers = cores.min(FILLERS_MAX).min(usize::try_from(chunks).unwrap_or(1)) - 1;
    thread::scope(|scope| {
        let spawn = || thread::Builder::new().name("memod-fill".into()).spawn_scoped(scope, work);
        // Whoever is there does the work; a thread that there is no room for is not missed.
        let helping: Vec<_> = (0..helpers).filter_map(|_| spawn().ok()).collect();
        let mut outcome = work();
        for helper in helping {
            outcome = outcome.and(helper.join().expect("a filler does not panic"));
        }
        outcome
    })?;
    file.seal().map_err(memory)
}

impl Service {
    /// The same reply with large outputs in sealed files instead of streams, as far as they are
    /// there or soon are.
    pub(crate) async fn seal(&self, mut reply: Reply) -> Reply {
        let Response::Hit(hit) = &mut reply.response else { return reply };
        let deadline = Instant::now() + PATIENCE;
        for (index, stream) in std::mem::take(&mut reply.streams) {
            let output = usize::try_from(index).ok().and_then(|index| hit.outputs.get_mut(index));
            let file = match &stream {
                Stream::Chunked { reader, .. } if reply.descriptors.len() < DESCRIPTORS_MAX => {
                    self.sealed.file(reader, deadline).await
                }
                _ => None,
            };
            match (file, output) {
                (Some(file), Some(output)) => {
                    output.delivery = Delivery::Sealed;
                    reply.descriptors.push(file);
                    reply.instead.push((index, stream));
                }
                _ => reply.streams.push((index, stream)),
            }
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::of(&[byte])
    }

    fn fill_with_nothing(cell: &Cell) {
        cell.set(None).expect("it was empty");
    }

    #[test]
    fn room_is_made_by_those_that_were_used_longest_ago() {
        let mut kept = Kept::default();
        let cells: Vec<Cell> =
            (0..4).map(|n| kept.cell(digest(n), 25, 100).expect("there is room")).collect();
        cells.iter().for_each(fill_with_nothing);
        kept.cell(digest(0), 25, 100).expect("it is there");
        kept.cell(digest(4), 50, 100).expect("room is made");
        let mut left: Vec<u8> = (0..5).filter(|n| kept.slots.contains_key(&digest(*n))).collect();
        left.sort_unstable();
        assert_eq!((left, kept.bytes), (vec![0, 3, 4], 100));
    }

    #[test]
    fn what_is_being_filled_is_not_thrown_out_and_bounds_hold() {
        let mut kept = Kept::default();
        let filling = kept.cell(digest(0), 60, 100).expect("there is room");
        assert!(kept.cell(digest(1), 60, 100).is_none(), "no room while it is being filled");
        assert!(Arc::ptr_eq(&filling, &kept.cell(digest(0), 60, 100).expect("shared")));
        fill_with_nothing(&filling);
        kept.cell(digest(1), 60, 100).expect("now there is");
        assert_eq!(kept.bytes, 60);
        let mut many = Kept::default();
        for n in 0..FILES_MAX {
            let digest = Digest::of(&n.to_le_bytes());
            fill_with_nothing(&many.cell(digest, 1, u64::MAX).expect("there is room"));
        }
        many.cell(digest(0), 1, u64::MAX).expect("room is made");
        assert_eq!(many.slots.len(), FILES_MAX);
    }

    #[test]
    fn what_a_peer_sends_is_kept_only_where_there_is_room() {
        let file = || {
            let file = memod_descriptors::MemoryFile::new(BYTES_MIN).expect("memory");
            file.seal().expect("nobody else has it")
        };
        let outputs = SealedOutputs::new(2 * BYTES_MIN);
        for n in 0..3 {
            outputs.adopt(digest(n), file());
        }
        let kept = outputs.locked();
        assert_eq!(kept.bytes, 2 * BYTES_MIN);
        assert!((0..2).all(|n| kept.slots[&digest(n)].cell.initialized()));
        drop(kept);
        let none = SealedOutputs::new(0);
        none.adopt(digest(0), file());
        assert!(none.locked().slots.is_empty());
    }

    #[test]
    fn a_cell_that_could_not_be_filled_gives_its_room_back_once() {
        let mut kept = Kept::default();
        let failed = kept.cell(digest(0), 60, 100).expect("there is room");
        kept.forget(&digest(0), &failed);
        assert_eq!((kept.bytes, kept.slots.len()), (0, 0));
        let another = kept.cell(digest(0), 60, 100).expect("there is room");
        kept.forget(&digest(0), &failed);
        assert!(Arc::ptr_eq(&another, &kept.slots[&digest(0)].cell), "it is another's room");
    }
}
