//! The boards: tables of hot hits, one for each scope, that peers read without asking.
//!
//! **Invariants.** What stands on a board is what the store has: entries are put there and taken
//! off only through the store's [`Mirror`]. There are never more boards than the settings allow:
//! for a new one, that which was not used for longest is emptied and given up, which its readers
//! see on it. Only who may read a whole scope is given its board; when rights are taken away, all
//! boards are given up, since a descriptor that was given cannot be taken back.

mod admission;
mod board;
mod memory;
mod report;

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use memod_protocol::board::layout::Layout;
use memod_protocol::{BoardOffer, Key, Scope};
use memod_store::{Mirror, StoredEntry};

use board::Board;
pub(crate) use report::Allowance;

/// All boards.
#[derive(Debug)]
pub(crate) struct Boards {
    /// None if there are to be no boards.
    layout: Option<Layout>,
    most: usize,
    max_age_ms: AtomicU64,
    /// Those whose entries are not served.
    quarantined: RwLock<BTreeSet<u32>>,
    open: Mutex<Vec<Arc<Board>>>,
    ended: AtomicBool,
    /// How many are open, to be asked without the lock.
    count: AtomicUsize,
    /// Counts boards, and uses of them.
    ticks: AtomicU64,
}

impl Boards {
    /// At most so many boards of so many bytes each; none at all if either is zero.
    pub(crate) fn new(bytes: u64, most: usize, max_age_ms: u64) -> Arc<Self> {
        let layout = Layout::of_bytes(bytes).filter(|_| most > 0);
        Arc::new(Self {
            layout,
            most,
            max_age_ms: AtomicU64::new(max_age_ms),
            quarantined: RwLock::default(),
            open: Mutex::default(),
            ended: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            ticks: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Board>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The board of a scope, if there is one; that counts as a use of it.
    fn of(&self, scope: &Scope) -> Option<Arc<Board>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let found = self.lock().iter().find(|board| board.scope == *scope).map(Arc::clone);
        found.inspect(|board| board.set_used(self.tick()))
    }

    /// The board of a scope, to be given to a peer who may read all of it; none if there are to be
    /// no boards, or the kernel gives no memory.
    pub(crate) fn give(&self, scope: &Scope) -> Option<(BoardOffer, Arc<OwnedFd>)> {
        if let Some(board) = self.of(scope) {
            return Some(board.offer());
        }
        let (layout, id) = (self.layout?, self.tick());
        let max_age_ms = self.max_age_ms.load(Ordering::Relaxed);
        let made = match Board::new(scope.clone(), id, layout, max_age_ms) {
            Ok(board) => Arc::new(board),
            Err(error) => {
                tracing::warn!("there is no memory for a board: {error}");
                return None;
            }
        };
        made.set_used(id);
        loop {
            let mut open = self.lock();
            // Another may have made one meanwhile.
            if let Some(board) = open.iter().find(|board| board.scope == *scope) {
                return Some(board.offer());
            }
            if self.ended.load(Ordering::Relaxed) {
                return None;
            }
            if open.len() < self.most {
                // Whoever changes the setting meanwhile finds this board.
                made.set_max_age(self.max_age_ms.load(Ordering::Relaxed));
                open.push(Arc::clone(&made));
                self.count.store(open.len(), Ordering::Release);
                return Some(made.offer());
            }
            let oldest = open.iter().min_by_key(|board| board.used()).map(Arc::clone);
            drop(open);
            if let Some(board) = oldest {
                self.give_up(&board);
            }
        }
    }

    /// Empties a board for good. Until that is done it stands among the open ones, so that whoever
    /// changes an entry meanwhile waits for it.
    fn give_up(&self, board: &Arc<Board>) {
        let Scope { project, domain } = &board.scope;
        let (project, domain) = (project.escape_debug(), domain.escape_debug());
        tracing::debug!(%project, %domain, "a board is given up");
        board.close();
        let mut open = self.lock();
        open.retain(|other| !Arc::ptr_eq(other, board));
        self.count.store(open.len(), Ordering::Release);
    }

    /// Notes a hit that was not had by the board; whether the entry is to be put on it.
    pub(crate) fn wants(&self, entry: &StoredEntry, now_ms: u64) -> bool {
        self.of(&entry.scope).is_some_and(|board| board.wants(entry, now_ms))
    }

    /// Notes that an entry was hit by the board.
    fn mark(&self, scope: &Scope, key: &Key) {
        if let Some(board) = self.of(scope) {
            board.mark(key);
        }
    }

    /// Says on all boards beyond which age an entry is a miss for those who do not say.
    pub(crate) fn set_max_age(&self, max_age_ms: u64) {
        let open = self.lock();
        self.max_age_ms.store(max_age_ms, Ordering::Relaxed);
        open.iter().for_each(|board| board.set_max_age(max_age_ms));
    }

    /// Goes over to other rules: what these users wrote is put on no board that is made from now
    /// on, and all that were made before are given up.
    pub(crate) fn change_rules(&self, quarantined: &BTreeSet<u32>) {
        quarantined
            .clone_into(&mut self.quarantined.write().unwrap_or_else(PoisonError::into_inner));
        self.close_all();
    }

    /// Empties all boards and gives them up, as when rights are taken away.
    pub(crate) fn close_all(&self) {
        let open = self.lock().clone();
        for board in &open {
            self.give_up(board);
        }
    }
}

impl Mirror for Boards {
    fn publish(&self, entry: &StoredEntry) {
        let Some(board) = self.of(&entry.scope) else { return };
        // Asked when there is a board, so that none has what was judged by the rules before it.
        let quarantined = self.quarantined.read().unwrap_or_else(PoisonError::into_inner);
        if !quarantined.contains(&entry.provenance.writer_uid) {
            board.publish(entry);
        }
    }

    fn clear(&self, keys: &[Key]) {
        if self.count.load(Ordering::Acquire) > 0 {
            self.lock().iter().for_each(|board| board.clear(keys));
        }
    }

    /// Empties all boards, and lets there be no other.
    fn end(&self) {
        let open = self.lock();
        self.ended.store(true, Ordering::Relaxed);
        drop(open);
        self.close_all();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use bytes::Bytes;
    use memod_protocol::board::Board as Reader;
    use memod_protocol::board::layout::BOARD_BYTES_MIN;
    use memod_protocol::{Digest, Provenance, RunClaim};
    use memod_store::{Content, StoredOutput};

    use super::*;

    fn scope(number: usize) -> Scope {
        Scope::new("p", number.to_string())
    }

    fn entry(scope: Scope, number: u8, bytes: usize) -> StoredEntry {
        let content = Bytes::from(vec![number; bytes]);
        StoredEntry {
            key: Key::from_bytes([number; 32]),
            scope,
            task: "t".to_owned(),
            cache_version: "1".to_owned(),
            signature: Digest::of(b""),
            outputs: vec![StoredOutput {
                name: "o".to_owned(),
                literal_type: "bytes".to_owned(),
                digest: Digest::of(&content),
                bytes: bytes as u64,
                content: Content::Whole(content),
            }],
            provenance: Provenance {
                writer_uid: 0,
                writer_pid: None,
                program: None,
                host: None,
                created_at_ms: 5,
                run: RunClaim::default(),
            },
        }
    }

    fn boards(most: usize) -> Arc<Boards> {
        Boards::new(BOARD_BYTES_MIN, most, 7)
    }

    fn is_posted(boards: &Boards, entry: &StoredEntry) -> bool {
        boards.of(&entry.scope).is_some_and(|board| board.reads(&entry.key))
    }

    #[test]
    fn an_entry_is_wanted_at_its_second_hit_and_not_again() {
        let (boards, one) = (boards(2), entry(scope(1), 1, 100));
        assert!(!boards.wants(&one, 1000) && !boards.wants(&one, 1000), "there is no board");
        boards.give(&scope(1)).expect("a board");
        assert!(!boards.wants(&one, 1000));
        assert!(boards.wants(&one, 1000));
        boards.publish(&one);
        assert!(is_posted(&boards, &one) && !boards.wants(&one, 1000), "it stands there");
        boards.clear(&[one.key]);
        assert!(!is_posted(&boards, &one));
        let long = entry(scope(1), 2, 9000);
        assert!(!boards.wants(&long, 1000) && !boards.wants(&long, 1000), "it has no place");
        boards.publish(&entry(scope(2), 3, 10));
        assert_eq!(boards.lock().len(), 1, "only a question makes a board");
    }

    #[test]
    fn ten_thousand_scopes_have_no_more_boards_than_may_be() {
        let boards = boards(4);
        let open = || std::fs::read_dir("/proc/self/fd").expect("a list").count();
        let mut given = Vec::new();
        for number in 0..4 {
            given.push(boards.give(&scope(number)).expect("a board"));
            boards.publish(&entry(scope(number), 1, 10));
        }
        let before = open();
        for number in 4..10_000 {
            boards.of(&scope(0)).expect("it is used all the time");
            boards.give(&scope(number)).expect("a board");
        }
        assert_eq!(boards.lock().len(), 4);
        // Tests beside this one may open some, too.
        assert!(open() < before + 100, "{} were {before}", open());
        assert!(is_posted(&boards, &entry(scope(0), 1, 10)));
        assert!(boards.of(&scope(1)).is_none());
        assert_eq!(given.len(), 4);
    }

    #[test]
    fn a_board_that_is_given_up_says_so_and_is_empty() {
        let boards = boards(2);
        let one = entry(scope(1), 1, 10);
        let (offer, descriptor) = boards.give(&scope(1)).expect("a board");
        boards.publish(&one);
        boards.set_max_age(9);
        let board = boards.of(&scope(1)).expect("a board");
        let reader = Reader::open(board.words()).expect("a board");
        assert_eq!((reader.id(), reader.max_age_ms(), reader.is_closed()), (offer.id, 9, false));
        assert_eq!(
            File::from(descriptor.try_clone().expect("another")).metadata().expect("a size").len(),
            offer.bytes
        );
        assert!(board.reads(&one.key));
        boards.close_all();
        assert!(reader.is_closed() && !board.reads(&one.key));
        board.publish(&one);
        assert!(!board.reads(&one.key), "nothing is put there any more");
        assert!(boards.of(&scope(1)).is_none());
        boards.give(&scope(1)).expect("a new one");
        boards.end();
        assert!(boards.give(&scope(1)).is_none(), "the daemon ends");
    }

    #[test]
    fn other_rules_end_all_boards_and_keep_quarantined_entries_off_new_ones() {
        let (boards, one) = (boards(2), entry(scope(1), 1, 10));
        boards.give(&scope(1)).expect("a board");
        boards.publish(&one);
        let before = boards.of(&scope(1)).expect("a board");
        assert!(before.reads(&one.key));
        boards.change_rules(&[one.provenance.writer_uid].into());
        assert!(!before.reads(&one.key) && boards.of(&scope(1)).is_none());
        boards.give(&scope(1)).expect("a new one");
        boards.publish(&one);
        assert!(!is_posted(&boards, &one), "its writer is quarantined");
        boards.change_rules(&BTreeSet::new());
        boards.give(&scope(1)).expect("a new one");
        boards.publish(&one);
        assert!(is_posted(&boards, &one));
    }

    #[test]
    fn boards_can_be_turned_off() {
        assert!(Boards::new(0, 64, 0).give(&scope(1)).is_none());
        assert!(Boards::new(BOARD_BYTES_MIN, 0, 0).give(&scope(1)).is_none());
    }
}
