//! Lookups: hit or miss, and why.
//!
//! **Invariants.** A miss is a value, whatever caused it. What does not verify is never served. A
//! hit writes nothing on its way.

use std::sync::Arc;

use memod_protocol::limits::INLINE_BYTES_MAX;
use memod_protocol::name::label;
use memod_protocol::{
    Delivery, ErrorCode, Hit, Key, Lookup, Miss, MissReason, Output, Response, Scope, WireError,
};
use memod_store::{Content, Found, GraveCause, StoredEntry, StoredOutput, Tier};

use super::reply::{Reply, Stream, store_error};
use super::{Service, clock, pool};
use crate::grants::Right;
use crate::server::Peer;

/// What is looked up, and how old it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    max_age_ms: Option<u64>,
    /// When it was asked for. What is made while somebody waits for it is not too old for it.
    asked_at_ms: u64,
    /// Whether it is to count as a use of the entry, and to bring its outputs.
    is_use: bool,
}

impl Wanted {
    /// What this lookup wants.
    ///
    /// # Errors
    /// If the call is wrong; the error names the field.
    pub(crate) fn new(lookup: &Lookup) -> Result<Self, WireError> {
        lookup.call.check()?;
        Ok(Self {
            key: lookup.call.key(),
            max_age_ms: lookup.max_age_ms,
            asked_at_ms: clock::now_ms(),
            is_use: true,
        })
    }

    /// The same, for somebody who only looks.
    pub(crate) fn only_to_look(self) -> Self {
        Self { is_use: false, ..self }
    }
}

impl Service {
    /// Answers a lookup if no disk has to be read for it.
    pub(crate) fn lookup_in_memory(&self, peer: &Peer, lookup: &Lookup) -> Option<Reply> {
        match Wanted::new(lookup) {
            Ok(wanted) if !self.may_read(peer, &lookup.call.scope) => {
                Some(self.forbidden(peer, &lookup.call.scope, wanted.key))
            }
            Ok(wanted) => self.fetch_from(&wanted, Tier::Memory),
            Err(error) => Some(Response::Error(error).into()),
        }
    }

    /// Answers a lookup, from disk if need be.
    pub(crate) async fn lookup(self: &Arc<Self>, peer: &Peer, lookup: &Lookup) -> Reply {
        match Wanted::new(lookup) {
            Ok(wanted) if !self.may_read(peer, &lookup.call.scope) => {
                self.forbidden(peer, &lookup.call.scope, wanted.key)
            }
            Ok(wanted) => self.fetch(&wanted).await,
            Err(error) => Response::Error(error).into(),
        }
    }

    /// Whether the peer may learn what is in this scope. Asks nothing of the store, so that not
    /// even the time that it takes tells what is there.
    pub(crate) fn may_read(&self, peer: &Peer, scope: &Scope) -> bool {
        self.access.standing(peer).may(Right::Read, scope)
    }

    /// The answer to a lookup in a scope that the peer may not read, which is a refusal.
    pub(crate) fn forbidden(&self, peer: &Peer, scope: &Scope, key: Key) -> Reply {
        let Scope { project, domain } = scope;
        let (project, domain) = (project.escape_debug(), domain.escape_debug());
        let detail = format!("user {} may not read {project}/{domain}", peer.uid);
        self.refused(peer, ErrorCode::Forbidden, &detail);
        let detail = Some(detail);
        Response::Miss(Miss { detail, ..miss(key, MissReason::Forbidden) }).into()
    }

    /// What is wanted, from memory if it is there, else from disk.
    pub(crate) async fn fetch(self: &Arc<Self>, wanted: &Wanted) -> Reply {
        if let Some(reply) = self.fetch_from(wanted, Tier::Memory) {
            return reply;
        }
        let (service, wanted) = (Arc::clone(self), *wanted);
        let fetched = pool::run(move || service.fetch_from(&wanted, Tier::Disk)).await;
        let reply = fetched.map(|reply| reply.expect("the disk has an answer"));
        reply.unwrap_or_else(|error| Response::Error(error).into())
    }

    /// What is wanted; nothing if it is not in memory and nothing else may be read.
    pub(crate) fn fetch_from(&self, wanted: &Wanted, tier: Tier) -> Option<Reply> {
        match self.store.lookup(&wanted.key, tier) {
            Ok(Found::WouldBlock) if tier == Tier::Memory => None,
            Ok(found) => Some(self.judge(wanted, found)),
            Err(error) => Some(Response::Error(store_error(error)).into()),
        }
    }

    /// One output of an entry, by key.
    pub(crate) async fn read(
        self: &Arc<Self>,
        peer: &Peer,
        key: Key,
        output: &str,
    ) -> Result<Reply, WireError> {
        let standing = self.readable(peer, key).await?;
        let service = Arc::clone(self);
        let found = pool::run(move || service.store.lookup(&key, Tier::Disk)).await?;
        let Found::Entry(entry) = found.map_err(store_error)? else {
            return Err(no_entry(key));
        };
        let writer = entry.provenance.writer_uid;
        if self.access.is_quarantined(writer) && !standing.may(Right::Administer, &entry.scope) {
            return Err(WireError::new(ErrorCode::Forbidden, quarantined(writer)));
        }
        let mut entry = Arc::unwrap_or_clone(entry);
        entry.outputs.retain(|stored| stored.name == output);
        if entry.outputs.is_empty() {
            return Err(WireError::new(
                ErrorCode::NotFound,
                format!("the entry {key} has no {}", label("output", output)),
            )
            .with_hint(format!("`memo show {key}` lists its outputs")));
        }
        let of = Some(Box::new((entry.scope.clone(), entry.task.clone())));
        Ok(Reply { of, ..hit(&entry, clock::now_ms()) })
    }

    /// Whether what was found may be served.
    pub(super) fn judge(&self, wanted: &Wanted, found: Found) -> Reply {
        let key = wanted.key;
        let miss = match found {
            Found::Entry(entry) if self.access.is_quarantined(entry.provenance.writer_uid) => {
                Miss {
                    detail: Some(quarantined(entry.provenance.writer_uid)),
                    ..miss(key, MissReason::Forbidden)
                }
            }
            Found::Entry(entry) => {
                let created_at_ms = entry.provenance.created_at_ms;
                let age_ms = wanted.asked_at_ms.saturating_sub(created_at_ms);
                match self.expired(wanted.max_age_ms, age_ms) {
                    None => {
                        let now_ms = clock::now_ms();
                        if !wanted.is_use {
                            return described(&entry, now_ms);
                        }
                        self.store.touch(&entry, now_ms, 1);
                        if self.boards.wants(&entry, now_ms) {
                            self.store.mirror(&entry);
                        }
                        return hit(&entry, now_ms);
                    }
                    Some(most) => Miss {
                        detail: Some(format!("{age_ms} ms old, {most} ms are allowed")),
                        at_ms: Some(created_at_ms.saturating_add(most)),
                        ..miss(key, MissReason::Expired)
                    },
                }
            }
            Found::Grave(grave) => {
                if wanted.is_use {
                    self.store.regret(&key, &grave);
                }
                Miss {
                    at_ms: Some(grave.at_ms),
                    by_uid: grave.by_uid,
                    ..miss(key, cause(grave.cause))
                }
            }
            // A memory lookup that would block has been sent on; nothing is known of the key.
            Found::Unknown | Found::WouldBlock => miss(key, MissReason::NeverSeen),
            Found::Corrupt { detail } => {
                tracing::warn!(%key, detail, "an entry is bad and is buried");
                Miss { detail: Some(detail), ..miss(key, MissReason::Corrupt) }
            }
            Found::BlobMissing { detail } => {
                tracing::warn!(%key, detail, "an entry has lost content and is buried");
                Miss { detail: Some(detail), ..miss(key, MissReason::BlobMissing) }
            }
        };
        Response::Miss(miss).into()
    }

    /// The greatest age in milliseconds, if this one is beyond it.
    fn expired(&self, asked: Option<u64>, age_ms: u64) -> Option<u64> {
        self.max_age_ms(asked).filter(|most| age_ms > *most)
    }

    /// The greatest age of a hit in milliseconds; none if entries do not expire.
    pub(crate) fn max_age_ms(&self, asked: Option<u64>) -> Option<u64> {
        let default = || u64::try_from(self.settings().max_age.as_millis()).unwrap_or(u64::MAX);
        Some(asked.unwrap_or_else(default)).filter(|most| *most > 0)
    }
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

/// Why an entry is not served that could be.
fn quarantined(writer_uid: u32) -> String {
    format!("its writer, user {writer_uid}, is quarantined")
}

/// The error for a key that is not stored, where one was named.
pub(crate) fn no_entry(key: Key) -> WireError {
    WireError::new(ErrorCode::NotFound, format!("no entry has the key {key}"))
        .with_hint("`memo ls` lists what is stored")
}

/// The reply for an entry: what fits into the frame goes into it, the rest follows.
pub(super) fn hit(entry: &StoredEntry, now_ms: u64) -> Reply {
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
        outputs.push(output(stored, delivery));
    }
    Reply { payload, streams, ..with_outputs(entry, outputs, now_ms) }
}

/// The reply for an entry whose outputs nobody wants.
fn described(entry: &StoredEntry, now_ms: u64) -> Reply {
    let outputs = entry.outputs.iter().map(|stored| output(stored, Delivery::Withheld));
    with_outputs(entry, outputs.collect(), now_ms)
}

fn output(stored: &StoredOutput, delivery: Delivery) -> Output {
    Output {
        name: stored.name.clone(),
        literal_type: stored.literal_type.clone(),
        digest: stored.digest,
        bytes: stored.bytes,
        delivery,
    }
}

fn with_outputs(entry: &StoredEntry, outputs: Vec<Output>, now_ms: u64) -> Reply {
    let age_ms = now_ms.saturating_sub(entry.provenance.created_at_ms);
    let hit = Hit { key: entry.key, age_ms, outputs, provenance: entry.provenance.clone() };
    Response::Hit(Box::new(hit)).into()
}
