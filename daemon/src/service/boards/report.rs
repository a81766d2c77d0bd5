//! What peers ask and say about boards: a scope's board, and the hits that they had by it.
//!
//! **Invariants.** Hits are counted only of entries that are stored, in the scope that the report
//! names, which its peer may read; and no more of them than a connection can have had since it was
//! opened. A report changes statistics and how long entries are kept, nothing else.

use std::sync::Arc;
use std::time::Instant;

use memod_protocol::limits::BOARD_HITS_MAX;
use memod_protocol::{BoardHit, BoardHits, ErrorCode, Outcome, Response, Scope, Verb, WireError};
use memod_store::{Found, StoredEntry, Tier};

use crate::server::Peer;
use crate::service::request_log::Record;
use crate::service::{Reply, Service, clock, pool};

/// Hits that all threads of one process can have had in a second.
const HITS_PER_SECOND_MAX: u64 = 50_000_000;

/// How many hits a connection may still report.
#[derive(Debug)]
pub(crate) struct Allowance {
    counted_until: Instant,
    left: u64,
}

impl Allowance {
    /// That of a connection which has been opened now.
    pub(crate) fn begin(now: Instant) -> Self {
        Self { counted_until: now, left: 0 }
    }

    /// Takes as many of these hits as there can have been.
    fn take(&mut self, hits: u32, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.counted_until);
        self.counted_until = now;
        let more = passed.as_micros().saturating_mul(u128::from(HITS_PER_SECOND_MAX / 1_000_000));
        self.left = self.left.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        let taken = u32::try_from(self.left).unwrap_or(u32::MAX).min(hits);
        self.left -= u64::from(taken);
        taken
    }
}

impl Service {
    /// The board of a scope, for a peer who may read all of it.
    pub(crate) fn board(&self, peer: &Peer, scope: &Scope) -> Result<Reply, WireError> {
        scope.check()?;
        if !self.access.may_read_all_of(peer, scope) {
            let told = format!("user {} may not read all of this scope", peer.uid);
            return Err(WireError::new(ErrorCode::Forbidden, told));
        }
        let given = self.boards.give(scope);
        // The right may have been taken away meanwhile. Boards are given up after that, so one that
        // was made since is met by this question, and one from before is empty for good.
        let given = given.filter(|_| self.access.may_read_all_of(peer, scope));
        let (board, descriptor) = given.unzip();
        let descriptors = descriptor.into_iter().collect();
        Ok(Reply { descriptors, ..Response::Board(board).into() })
    }

    /// Counts the hits that a peer had by a board.
    pub(crate) async fn count_board_hits(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        report: BoardHits,
        allowance: &mut Allowance,
    ) {
        let BoardHits { scope, mut hits } = report;
        hits.truncate(BOARD_HITS_MAX);
        if scope.check().is_err() || !self.access.may_read_all_of(peer, &scope) {
            return;
        }
        let now = Instant::now();
        for hit in &mut hits {
            hit.count = allowance.take(hit.count, now);
        }
        hits.retain(|hit| hit.count > 0 && !self.count_hit(peer, &scope, hit, Tier::Memory));
        if hits.is_empty() {
            return;
        }
        let (service, peer) = (Arc::clone(self), Arc::clone(peer));
        let counted = pool::run(move || {
            for hit in &hits {
                service.count_hit(&peer, &scope, hit, Tier::Disk);
            }
        });
        if let Err(error) = counted.await {
            tracing::debug!("hits by a board are not counted: {error}");
        }
    }

    /// Counts the hits of an entry; false if the disk has to be read for that and must not be.
    fn count_hit(&self, peer: &Arc<Peer>, scope: &Scope, hit: &BoardHit, tier: Tier) -> bool {
        match self.store.lookup(&hit.key, tier) {
            Ok(Found::WouldBlock) => false,
            Ok(Found::Entry(entry)) => {
                if entry.scope == *scope {
                    self.note_hits(peer, &entry, hit);
                }
                true
            }
            Ok(_) => true,
            Err(error) => {
                tracing::debug!("hits by a board are not counted: {error}");
                true
            }
        }
    }

    fn note_hits(&self, peer: &Arc<Peer>, entry: &StoredEntry, hit: &BoardHit) {
        let BoardHit { key, count, last_ms, took_us } = *hit;
        let at_ms = clock::now_ms();
        self.store.touch(entry, last_ms.min(at_ms), count);
        self.boards.mark(&entry.scope, &key);
        let spared_ns = entry.provenance.run.compute_ns.unwrap_or(0);
        let spared_ns = spared_ns.saturating_mul(u64::from(count));
        let spared_ns = spared_ns.saturating_sub(took_us.saturating_mul(1000));
        self.ledger.hits(&entry.scope, &entry.task, peer.uid, count, spared_ns);
        let bytes: u64 = entry.outputs.iter().map(|output| output.bytes).sum();
        self.log.push(Record {
            at_ms,
            peer: Arc::clone(peer),
            verb: Verb::Lookup,
            key: Some(key),
            scope: Some(entry.scope.clone()),
            task: Some(entry.task.clone()),
            outcome: Outcome::Hits(count),
            reason: None,
            error: None,
            took_us,
            bytes: bytes.saturating_mul(u64::from(count)),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_hits_are_taken_than_there_can_have_been() {
        let begun = Instant::now();
        let mut allowance = Allowance::begin(begun);
        assert_eq!(allowance.take(1, begun), 0, "no time has passed");
        let later = begun + Duration::from_micros(10);
        assert_eq!(allowance.take(200, later), 200);
        assert_eq!(allowance.take(u32::MAX, later), 300);
        assert_eq!(allowance.take(1, later), 0);
        assert_eq!(allowance.take(u32::MAX, later + Duration::from_secs(3600)), u32::MAX);
        assert_eq!(allowance.take(5, begun), 5, "a clock that steps back takes nothing away");
    }
}
