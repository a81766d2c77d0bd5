//! The request log: the last requests, always on, in memory.
//!
//! **Invariants.** Bounded by number and by bytes: the oldest go first. A request costs one short
//! lock. Nothing of an input or output is kept but its length. Who sees only its own requests sees
//! them numbered by themselves, so that no gap tells of others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use memod_protocol::limits::LOG_ROWS_MAX;
use memod_protocol::{ErrorCode, Key, LogPage, LogQuery, LogRow, MissReason, Outcome, Scope, Verb};
use tokio::sync::Notify;

use crate::server::Peer;

/// Memory for names in the log.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Names in one page, so that it fits into a frame.
const PAGE_BYTES_MAX: usize = 512 * 1024;
/// The longest that a question waits for a first row.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A request that has been answered.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) at_ms: u64,
    pub(crate) peer: Arc<Peer>,
    pub(crate) verb: Verb,
    pub(crate) key: Option<Key>,
    pub(crate) scope: Option<Scope>,
    pub(crate) task: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<MissReason>,
    pub(crate) error: Option<ErrorCode>,
    pub(crate) took_us: u64,
    pub(crate) bytes: u64,
}

impl Record {
    /// What it takes in memory.
    fn memory_bytes(&self) -> usize {
        let scope = self.scope.as_ref();
        size_of::<Self>()
            + scope.map_or(0, |scope| scope.project.len() + scope.domain.len())
            + self.task.as_ref().map_or(0, String::len)
    }

    fn meets(&self, query: &LogQuery) -> bool {
        query.scope.as_ref().is_none_or(|scope| self.scope.as_ref() == Some(scope))
            && query.task.as_ref().is_none_or(|task| self.task.as_ref() == Some(task))
            && query.verb.is_none_or(|verb| self.verb == verb)
            && query.outcome.is_none_or(|outcome| is_same_kind(self.outcome, outcome))
            && query.uid.is_none_or(|uid| self.peer.uid == uid)
    }

    fn row(&self, sequence: u64) -> LogRow {
        LogRow {
            sequence,
            at_ms: self.at_ms,
            uid: self.peer.uid,
            pid: self.peer.pid,
            program: self.peer.program.clone(),
            verb: self.verb,
            key: self.key,
            scope: self.scope.clone(),
            task: self.task.clone(),
            outcome: self.outcome,
            reason: self.reason,
            error: self.error,
            took_us: self.took_us,
            bytes: self.bytes,
        }
    }
}

/// Whether two outcomes are of one kind, whatever their numbers.
fn is_same_kind(one: Outcome, other: Outcome) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

/// Whose requests somebody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Everybody's.
    All,
    /// This user's.
    Of(u32),
    /// Nobody's.
    Nothing,
}

impl View {
    fn shows(self, record: &Record) -> bool {
        match self {
            Self::All => true,
            Self::Of(uid) => record.peer.uid == uid,
            Self::Nothing => false,
        }
    }
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Record>,
    /// The number of the first record that is still there.
    first: u64,
    by_user: HashMap<u32, Tally>,
    bytes: usize,
}

/// How many records of a user are not there any more, and how many are.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    gone: u64,
    there: u64,
}

/// The log.
#[derive(Debug)]
pub(crate) struct RequestLog {
    ring: Mutex<Ring>,
    records_max: usize,
    came: Notify,
}

impl RequestLog {
    /// A log of so many requests.
    pub(crate) fn new(records_max: usize) -> Self {
        Self { ring: Mutex::default(), records_max, came: Notify::new() }
    }

    fn locked(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a request down.
    pub(crate) fn push(&self, record: Record) {
        let mut ring = self.locked();
        ring.bytes += record.memory_bytes();
        ring.by_user.entry(record.peer.uid).or_default().there += 1;
        ring.records.push_back(record);
        // What is thrown away is freed after the lock is.
        let mut old = None;
        while ring.records.len() > self.records_max || ring.bytes > BYTES_MAX {
            let Some(oldest) = ring.records.pop_front() else { break };
            ring.bytes = ring.bytes.saturating_sub(oldest.memory_bytes());
            ring.first += 1;
            let tally = ring.by_user.entry(oldest.peer.uid).or_default();
            *tally = Tally { gone: tally.gone + 1, there: tally.there.saturating_sub(1) };
            old = Some(oldest);
        }
        drop(ring);
        drop(old);
        self.came.notify_waiters();
    }

    /// What meets a query; if nothing does yet, waits for the first for as long as it says.
    pub(crate) async fn page(&self, mut query: LogQuery, view: View) -> LogPage {
        let wait = Duration::from_millis(query.wait_ms).min(WAIT_MAX);
        let deadline = tokio::time::Instant::now() + wait;
        let mut lost = 0;
        loop {
            let mut came = std::pin::pin!(self.came.notified());
            // What comes from here on is not missed.
            came.as_mut().enable();
            let mut page = self.locked().page(&query, view);
            lost += page.lost;
            page.lost = lost;
            if !page.rows.is_empty() {
                return page;
            }
            query.from = Some(page.next);
            if tokio::time::timeout_at(deadline, came).await.is_err() {
                return page;
            }
        }
    }
}

impl Ring {
    /// The number of the first record that is still there.
    fn first(&self, view: View) -> u64 {
        match view {
            View::All => self.first,
            View::Of(uid) => self.tally(uid).gone,
            View::Nothing => 0,
        }
    }

    fn tally(&self, uid: u32) -> Tally {
        self.by_user.get(&uid).copied().unwrap_or_default()
    }

    /// The number behind that of the last record.
    fn end(&self, view: View) -> u64 {
        let there = match view {
            View::All => self.records.len() as u64,
            View::Of(uid) => self.tally(uid).there,
            View::Nothing => 0,
        };
        self.first(view).saturating_add(there)
    }

    fn page(&self, query: &LogQuery, view: View) -> LogPage {
        let limit = query.limit.clamp(1, LOG_ROWS_MAX) as usize;
        match query.from {
            Some(from) => self.from(from, query, limit, view),
            None => self.last(query, limit, view),
        }
    }

    /// The rows from a number on.
    fn from(&self, from: u64, query: &LogQuery, limit: usize, view: View) -> LogPage {
        let (first, end) = (self.first(view), self.end(view));
        let lost = first.saturating_sub(from);
        if from >= end {
            // Who waits for the next is asked anew at each of anybody's.
            return LogPage { rows: Vec::new(), next: end, lost };
        }
        let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut wanted = (first..)
            .zip(self.records.iter().filter(|record| view.shows(record)))
            .skip(skipped)
            .filter(|(_, record)| record.meets(query))
            .peekable();
        let mut room = Room::new(limit);
        let mut rows = Vec::new();
        while let Some((sequence, record)) = wanted.next_if(|(_, record)| room.takes(record)) {
            rows.push(record.row(sequence));
        }
        let next = wanted.peek().map_or(end, |(following, _)| *following);
        LogPage { rows, next, lost }
    }

    /// The last rows.
    fn last(&self, query: &LogQuery, limit: usize, view: View) -> LogPage {
        let mut room = Room::new(limit);
        let end = self.end(view);
        let mut rows: Vec<LogRow> = self
            .records
            .iter()
            .rev()
            .filter(|record| view.shows(record))
            .zip((0..end).rev())
            .filter(|(record, _)| record.meets(query))
            .take_while(|(record, _)| room.takes(record))
            .map(|(record, sequence)| record.row(sequence))
            .collect();
        rows.reverse();
        LogPage { rows, next: end, lost: 0 }
    }
}

/// What still fits into a page.
struct Room {
    rows: usize,
    bytes: usize,
}

impl Room {
    fn new(rows: usize) -> Self {
        Self { rows, bytes: PAGE_BYTES_MAX }
    }

    /// Makes room for a record, if there is some. No record is larger than a page.
    fn takes(&mut self, record: &Record) -> bool {
        let bytes = self.bytes.checked_sub(record.memory_bytes());
        let (Some(rows), Some(bytes)) = (self.rows.checked_sub(1), bytes) else { return false };
        *self = Self { rows, bytes };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(task: &str, verb: Verb) -> Record {
        let peer = Peer { uid: 7, groups: [].into(), pid: None, program: None };
        Record {
            at_ms: 1,
            peer: Arc::new(peer),
            verb,
            key: None,
            scope: Some(Scope::new("p", "d")),
            task: Some(task.to_owned()),
            outcome: Outcome::Done,
            reason: None,
            error: None,
            took_us: 3,
            bytes: 5,
        }
    }

    fn query(from: Option<u64>, limit: u32) -> LogQuery {
        LogQuery { from, limit, ..LogQuery::default() }
    }

    fn sequences(page: &LogPage) -> Vec<u64> {
        page.rows.iter().map(|row| row.sequence).collect()
    }

    #[tokio::test]
    async fn the_last_are_kept_and_what_was_lost_is_told() {
        let log = RequestLog::new(4);
        for number in 0..10 {
            log.push(record(&number.to_string(), Verb::Put));
        }
        let last = log.page(query(None, 3), View::All).await;
        assert_eq!((sequences(&last), last.next, last.lost), (vec![7, 8, 9], 10, 0));
        let early = log.page(query(Some(2), 3), View::All).await;
        assert_eq!((sequences(&early), early.next, early.lost), (vec![6, 7, 8], 9, 4));
        let rest = log.page(query(Some(early.next), 3), View::All).await;
        assert_eq!((sequences(&rest), rest.next, rest.lost), (vec![9], 10, 0));
        let beyond = log.page(query(Some(u64::MAX), 3), View::All).await;
        assert_eq!((sequences(&beyond), beyond.next), (vec![], 10));
    }

    #[tokio::test]
    async fn who_sees_its_own_rows_sees_no_gaps() {
        let log = RequestLog::new(6);
        let of = |uid| {
            let peer = Peer { uid, groups: [].into(), pid: None, program: None };
            Record { peer: Arc::new(peer), ..record("t", Verb::Put) }
        };
        for uid in [7, 8, 8, 7, 8, 8, 8, 7, 8] {
            log.push(of(uid));
        }
        // Gone are one row of 7 and two of 8.
        let own = log.page(query(None, 100), View::Of(7)).await;
        assert_eq!((sequences(&own), own.next, own.lost), (vec![1, 2], 3, 0));
        let from = log.page(query(Some(0), 1), View::Of(7)).await;
        assert_eq!((sequences(&from), from.next, from.lost), (vec![1], 2, 1));
        log.push(of(8));
        assert_eq!(log.page(query(Some(own.next), 100), View::Of(7)).await.next, 3);
        let none = log.page(query(None, 100), View::Of(9)).await;
        assert_eq!((none.rows.len(), none.next, none.lost), (0, 0, 0));
    }

    #[tokio::test]
    async fn conditions_select_and_the_page_goes_on_behind_them() {
        let log = RequestLog::new(100);
        for number in 0..10 {
            let verb = if number % 2 == 0 { Verb::Put } else { Verb::Lookup };
            log.push(record("t", verb));
        }
        let puts = LogQuery { verb: Some(Verb::Put), ..query(Some(0), 3) };
        let first = log.page(puts.clone(), View::All).await;
        assert_eq!((sequences(&first), first.next), (vec![0, 2, 4], 6));
        let second = log.page(LogQuery { from: Some(first.next), ..puts }, View::All).await;
        assert_eq!((sequences(&second), second.next), (vec![6, 8], 10));
        let other = LogQuery { uid: Some(8), ..query(None, 3) };
        assert_eq!(log.page(other, View::All).await.rows, []);
        let other = LogQuery { task: Some("u".to_owned()), ..query(None, 3) };
        assert_eq!(log.page(other, View::All).await.rows, []);
    }

    #[tokio::test]
    async fn names_are_bounded_too() {
        let log = RequestLog::new(1_000_000);
        for _ in 0..20_000 {
            log.push(record(&"t".repeat(1024), Verb::Put));
        }
        assert!(log.locked().bytes <= BYTES_MAX);
        assert!(log.locked().records.len() > 1000);
        let page = log.page(query(Some(0), u32::MAX), View::All).await;
        assert!(page.rows.len() > 100 && page.rows.len() < 1000, "{}", page.rows.len());
        assert_eq!(page.rows.last().map(|row| row.sequence + 1), Some(page.next));
        assert!(memod_protocol::wire::encode(&page).len() < 900_000);
        assert_eq!(log.page(query(None, u32::MAX), View::All).await.rows.len(), page.rows.len());
    }

    #[tokio::test]
    async fn a_question_waits_for_the_first_row() {
        let log = Arc::new(RequestLog::new(10));
        let asking = Arc::clone(&log);
        let wait = LogQuery { wait_ms: 60_000, ..query(None, 10) };
        let asked = tokio::spawn(async move { asking.page(wait, View::All).await });
        tokio::task::yield_now().await;
        log.push(record("t", Verb::Put));
        assert_eq!(sequences(&asked.await.unwrap_or_default()), vec![0]);
        let empty = log.page(LogQuery { wait_ms: 1, ..query(Some(1), 10) }, View::All).await;
        assert_eq!((empty.rows.len(), empty.next), (0, 1));
    }
}
