//! Lookups: hit or miss, and why.
//!
//! **Invariants.** A miss is a value, whatever caused it. What does not verify is never served. A
//! hit writes nothing on its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memod_protocol::limits::INLINE_BYTES_MAX;
use memod_protocol::name::label;
use memod_protocol::{
    Delivery, ErrorCode, Hit, Key, Lookup, Miss, MissReason, Output, Response, WireError,
};
use memod_store::{Content, Found, GraveCause, StoredEntry, Tier};

use super::reply::{Reply, Stream, store_error};
use super::{Service, clock, pool};
use crate::server::Peer;

impl Service {
    /// Answers a lookup if no disk has to be read for it.
    pub(crate) fn lookup_in_memory(&self, _peer: &Peer, lookup: &Lookup) -> Option<Reply> {
        let began = Instant::now();
        let key = match checked_key(lookup) {
            Ok(key) => key,
            Err(error) => return Some(Response::Error(error).into()),
        };
        match self.store.lookup(&key, Tier::Memory) {
            Ok(Found::WouldBlock) => None,
            Ok(found) => Some(self.answer(lookup, key, found, began)),
            Err(error) => Some(Response::Error(store_error(error)).into()),
        }
    }

    /// Answers a lookup, from disk if need be.
    pub(crate) async fn lookup(self: &Arc<Self>, _peer: &Peer, lookup: &Lookup) -> Reply {
        let began = Instant::now();
        let found = async {
            let key = checked_key(lookup)?;
            let service = Arc::clone(self);
            let found = pool::run(move || service.store.lookup(&key, Tier::Disk)).await?;
            Ok::<_, WireError>((key, found.map_err(store_error)?))
        };
        match found.await {
            Ok((key, found)) => self.answer(lookup, key, found, began),
            Err(error) => Response::Error(error).into(),
        }
    }

    /// One output of an entry, by key.
    pub(crate) async fn read(
        self: &Arc<Self>,
        _peer: &Peer,
        key: Key,
        output: &str,
    ) -> Result<Reply, WireError> {
        let service = Arc::clone(self);
        let found = pool::run(move || service.store.lookup(&key, Tier::Disk)).await?;
        let Found::Entry(entry) = found.map_err(store_error)? else {
            return Err(no_entry(key));
        };
        let mut entry = Arc::unwrap_or_clone(entry);
        entry.outputs.retain(|stored| stored.name == output);
        if entry.outputs.is_empty() {
            return Err(WireError::new(
                ErrorCode::NotFound,
                format!("the entry {key} has no {}", label("output", output)),
            )
            .with_hint(format!("`memo show {key}` lists its outputs")));
        }
        Ok(hit(&entry, clock::now_ms()))
    }

    fn answer(&self, lookup: &Lookup, key: Key, found: Found, began: Instant) -> Reply {
        let now_ms = clock::now_ms();
        let miss = match found {
            Found::Entry(entry) => {
                let age_ms = now_ms.saturating_sub(entry.provenance.created_at_ms);
                match self.expired(lookup.max_age_ms, age_ms) {
                    None => {
                        let compute_ns = entry.provenance.run.compute_ns.unwrap_or(0);
                        let spent = began.elapsed();
                        self.ledger.hit(&lookup.call, spared(compute_ns, spent));
                        return hit(&entry, now_ms);
                    }
                    Some(most) => Miss {
                        detail: Some(format!("{age_ms} ms old, {most} ms are allowed")),
                        at_ms: Some(entry.provenance.created_at_ms.saturating_add(most)),
                        ..miss(key, MissReason::Expired)
                    },
                }
            }
            Found::Grave(grave) => Miss {
                at_ms: Some(grave.at_ms),
                by_uid: grave.by_uid,
                ..miss(key, cause(grave.cause))
            },
            // A memory lookup that would block has been sent on; nothing is known of the key.
            Found::Unknown | Found::WouldBlock => miss(key, MissReason::NeverSeen),
            Found::Corrupt { detail } => {
                Miss { detail: Some(detail), ..miss(key, MissReason::Corrupt) }
            }
            Found::BlobMissing { detail } => {
                Miss { detail: Some(detail), ..miss(key, MissReason::BlobMissing) }
            }
        };
        if matches!(miss.reason, MissReason::Corrupt | MissReason::BlobMissing) {
            tracing::warn!(%key, detail = ?miss.detail, "an entry is bad and is buried");
        }
        self.ledger.miss(&lookup.call, miss.reason);
        Response::Miss(miss).into()
    }

    /// The greatest age in milliseconds, if this one is beyond it.
    pub(crate) fn expired(&self, asked: Option<u64>, age_ms: u64) -> Option<u64> {
        self.max_age_ms(asked).filter(|most| age_ms > *most)
    }

    /// The greatest age of a hit in milliseconds; none if entries do not expire.
    pub(crate) fn max_age_ms(&self, asked: Option<u64>) -> Option<u64> {
        let default = || u64::try_from(self.settings.max_age.as_millis()).unwrap_or(u64::MAX);
        Some(asked.unwrap_or_else(default)).filter(|most| *most > 0)
    }
}

/// Compute time spared, net of what the hit took (semantics 36).
fn spared(compute_ns: u64, spent: Duration) -> u64 {
    compute_ns.saturating_sub(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX))
}

fn checked_key(lookup: &Lookup) -> Result<Key, WireError> {
    lookup.call.check()?;
    Ok(lookup.call.key())
}

fn miss(key: Key, reason: MissReason) -> Miss {
    Miss { key, reason, at_ms: None, by_uid: None, detail: None }
}

fn cause(cause: GraveCause) -> MissReason {
    match cause {
        GraveCause::Evicted => MissReason::Evicted,
        GraveCause::Expired => MissReason::Expired,
        GraveCause::Invalidated => MissReason::Invalidated,
        GraveCause::Corrupt => MissReason::Corrupt,
        GraveCause::BlobMissing => MissReason::BlobMissing,
    }
}

/// The error for a key that is not stored, where one was named.
pub(crate) fn no_entry(key: Key) -> WireError {
    WireError::new(ErrorCode::NotFound, format!("no entry has the key {key}"))
        .with_hint("`memo ls` lists what is stored")
}

/// The reply for an entry: what fits into the frame goes into it, the rest follows.
fn hit(entry: &StoredEntry, now_ms: u64) -> Reply {
    let mut room = INLINE_BYTES_MAX;
    let mut outputs = Vec::with_capacity(entry.outputs.len());
    let mut payload = Vec::new();
    let mut streams = Vec::new();
    for (index, stored) in (0..).zip(&entry.outputs) {
        let bytes = stored.bytes;
        let delivery = match stored.content.clone() {
            Content::Whole(whole) if bytes <= room => {
                room -= bytes;
                payload.push(whole);
                Delivery::Inline
            }
            Content::Whole(whole) => {
                streams.push((index, Stream::Whole(Some(whole))));
                Delivery::Stream
            }
            Content::Chunked(reader) => {
                streams.push((index, Stream::Chunked { reader, next: 0 }));
                Delivery::Stream
            }
        };
        outputs.push(Output {
            name: stored.name.clone(),
            literal_type: stored.literal_type.clone(),
            digest: stored.digest,
            bytes,
            delivery,
        });
    }
    let age_ms = now_ms.saturating_sub(entry.provenance.created_at_ms);
    let hit = Hit { key: entry.key, age_ms, outputs, provenance: entry.provenance.clone() };
    Reply { response: Response::Hit(Box::new(hit)), payload, streams }
}
