//! The request log: the last requests, always on, in memory.
//!
//! **Invariants.** Bounded by number and by bytes: the oldest go first. A request costs one short
//! lock. Nothing of an input or output is kept but its length.

use std::collections::VecDeque;
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

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Record>,
    /// The number of the first record that is still there.
    first: u64,
    bytes: usize,
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
        ring.records.push_back(record);
        // What is thrown away is freed after the lock is.
        let mut old = None;
        while ring.records.len() > self.records_max || ring.bytes > BYTES_MAX {
            let Some(oldest) = ring.records.pop_front() else { break };
            ring.bytes = ring.bytes.saturating_sub(oldest.memory_bytes());
            ring.first += 1;
            old = Some(oldest);
        }
        drop(ring);
        drop(old);
        self.came.notify_waiters();
    }

    /// What meets a query; if nothing does yet, waits for the first for as long as it says.
    pub(crate) async fn page(&self, mut query: LogQuery) -> LogPage {
        let wait = Duration::from_millis(query.wait_ms).min(WAIT_MAX);
        let deadline = tokio::time::Instant::now() + wait;
        let mut lost = 0;
        loop {
            let mut came = std::pin::pin!(self.came.notified());
            // What comes from here on is not missed.
            came.as_mut().enable();
            let mut page = self.locked().page(&query);
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
    /// The number behind that of the last record.
    fn end(&self) -> u64 {
        self.first.saturating_add(self.records.len() as u64)
    }

    fn page(&self, query: &LogQuery) -> LogPage {
        let limit = query.limit.clamp(1, LOG_ROWS_MAX) as usize;
        query.from.map_or_else(|| self.last(query, limit), |from| self.from(from, query, limit))
    }

    /// The rows from a number on.
    fn from(&self, from: u64, query: &LogQuery, limit: usize) -> LogPage {
        let skipped = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut wanted = (self.first..)
            .zip(&self.records)
            .skip(skipped.min(self.records.len()))
            .filter(|(_, record)| record.meets(query))
            .peekable();
        let mut room = Room::new(limit);
        let mut rows = Vec::new();
        while let Some((sequence, record)) = wanted.next_if(|(_, record)| room.takes(record)) {
            rows.push(record.row(sequence));
        }
        let next = wanted.peek().map_or_else(|| self.end(), |(following, _)| *following);
        LogPage { rows, next, lost: self.first.saturating_sub(from) }
    }

    /// The last rows.
    fn last(&self, query: &LogQuery, limit: usize) -> LogPage {
        let mut room = Room::new(limit);
        let mut rows: Vec<LogRow> = self
            .records
            .iter()
            .rev()
            .zip((0..self.end()).rev())
            .filter(|(record, _)| record.meets(query))
            .take_while(|(record, _)| room.takes(record))
            .map(|(record, sequence)| record.row(sequence))
            .collect();
        rows.reverse();
        LogPage { rows, next: self.end(), lost: 0 }
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
        let peer = Peer { uid: 7, pid: None, program: None };
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
        let last = log.page(query(None, 3)).await;
        assert_eq!((sequences(&last), last.next, last.lost), (vec![7, 8, 9], 10, 0));
        let early = log.page(query(Some(2), 3)).await;
        assert_eq!((sequences(&early), early.next, early.lost), (vec![6, 7, 8], 9, 4));
        let rest = log.page(query(Some(early.next), 3)).await;
        assert_eq!((sequences(&rest), rest.next, rest.lost), (vec![9], 10, 0));
        let beyond = log.page(query(Some(u64::MAX), 3)).await;
        assert_eq!((sequences(&beyond), beyond.next), (vec![], 10));
    }

    #[tokio::test]
    async fn conditions_select_and_the_page_goes_on_behind_them() {
        let log = RequestLog::new(100);
        for number in 0..10 {
            let verb = if number % 2 == 0 { Verb::Put } else { Verb::Lookup };
            log.push(record("t", verb));
        }
        let puts = LogQuery { verb: Some(Verb::Put), ..query(Some(0), 3) };
        let first = log.page(puts.clone()).await;
        assert_eq!((sequences(&first), first.next), (vec![0, 2, 4], 6));
        let second = log.page(LogQuery { from: Some(first.next), ..puts }).await;
        assert_eq!((sequences(&second), second.next), (vec![6, 8], 10));
        let other = LogQuery { uid: Some(8), ..query(None, 3) };
        assert_eq!(log.page(other).await.rows, []);
        let other = LogQuery { task: Some("u".to_owned()), ..query(None, 3) };
        assert_eq!(log.page(other).await.rows, []);
    }

    #[tokio::test]
    async fn names_are_bounded_too() {
        let log = RequestLog::new(1_000_000);
        for _ in 0..20_000 {
            log.push(record(&"t".repeat(1024), Verb::Put));
        }
        assert!(log.locked().bytes <= BYTES_MAX);
        assert!(log.locked().records.len() > 1000);
        let page = log.page(query(Some(0), u32::MAX)).await;
        assert!(page.rows.len() > 100 && page.rows.len() < 1000, "{}", page.rows.len());
        assert_eq!(page.rows.last().map(|row| row.sequence + 1), Some(page.next));
        assert!(memod_protocol::wire::encode(&page).len() < 900_000);
        assert_eq!(log.page(query(None, u32::MAX)).await.rows.len(), page.rows.len());
    }

    #[tokio::test]
    async fn a_question_waits_for_the_first_row() {
        let log = Arc::new(RequestLog::new(10));
        let asking = Arc::clone(&log);
        let wait = LogQuery { wait_ms: 60_000, ..query(None, 10) };
        let asked = tokio::spawn(async move { asking.page(wait).await });
        tokio::task::yield_now().await;
        log.push(record("t", Verb::Put));
        assert_eq!(sequences(&asked.await.unwrap_or_default()), vec![0]);
        let empty = log.page(LogQuery { wait_ms: 1, ..query(Some(1), 10) }).await;
        assert_eq!((empty.rows.len(), empty.next), (0, 1));
    }
}
