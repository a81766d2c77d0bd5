//! Many lookups in one frame.
//!
//! **Invariants.** Each lookup is judged as if it had come alone: its own right to read, its own
//! error, its own row in ledger and log. They are answered in order. What fills a frame is bounded
//! before it is gathered, and the first answer always fits. What is not told is not counted.

use std::sync::Arc;
use std::vec::IntoIter;

use bytes::{Bytes, BytesMut};
use memod_protocol::limits::{HEADER_BYTES_MAX, INLINE_BYTES_MAX, LOOKUPS_MAX};
use memod_protocol::{InvalidArgument, Looked, Lookup, Response, RunClaim, WireError};
use memod_store::{Content, Found, StoredEntry, Tier};

use super::account::Account;
use super::lookup::Wanted;
use super::reply::{Reply, store_error};
use super::{Service, pool};
use crate::server::Peer;

/// What all answers may take of a header, as decoding counts; it may count a little more than is
/// foreseen here.
const ANSWERS_BYTES_MAX: usize = HEADER_BYTES_MAX as usize / 4 * 3;
const _: () = assert!(ANSWERS_BYTES_MAX > 2 * (TEXTS_BYTES_MAX + ANSWER_BYTES));
/// What an answer takes at the most besides its texts and its outputs.
const ANSWER_BYTES: usize = 1024;
/// Texts of an answer that are longer share no frame with others.
const TEXTS_BYTES_MAX: usize = 64 * 1024;
/// What an output takes at the most besides its texts.
const OUTPUT_BYTES: usize = 256;
/// Outputs of one hit that are larger together share no frame with others.
const SHARED_BYTES_MAX: u64 = INLINE_BYTES_MAX / 2;
/// Outputs up to this size are copied one behind the other, since a frame of many pieces is sent
/// in many system calls.
const JOINED_BYTES_MAX: usize = 16 * 1024;

/// Many lookups on their way to be answered.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Those that have not been looked at.
    left: IntoIter<Lookup>,
    looked: Vec<Looked>,
    accounts: Vec<Account>,
    payload: Vec<Bytes>,
    joined: BytesMut,
    /// What the answers may still take of the payload, and of the header.
    payload_left: u64,
    header_left: usize,
}

impl Batch {
    /// Begins to answer.
    ///
    /// # Errors
    /// If there is none, or there are too many.
    pub(crate) fn new(lookups: Vec<Lookup>) -> Result<Self, WireError> {
        let count = lookups.len();
        if !(1..=LOOKUPS_MAX).contains(&count) {
            let problem = format!("there are {count}, 1 to {LOOKUPS_MAX} are allowed");
            return Err(InvalidArgument::new("lookups", problem).into());
        }
        Ok(Self {
            left: lookups.into_iter(),
            looked: Vec::with_capacity(count),
            accounts: Vec::with_capacity(count),
            payload: Vec::new(),
            joined: BytesMut::new(),
            payload_left: INLINE_BYTES_MAX,
            header_left: ANSWERS_BYTES_MAX,
        })
    }

    /// Whether an answer has no place in this frame, or in none with others; else takes its place.
    fn has_no_place(&mut self, entry: &StoredEntry) -> Option<Looked> {
        let whole = |content: &Content| matches!(content, Content::Whole(_));
        let bytes = entry.outputs.iter().map(|output| output.bytes).fold(0, u64::saturating_add);
        let header = header_bytes(entry);
        let is_small = bytes <= SHARED_BYTES_MAX && header <= TEXTS_BYTES_MAX;
        if !is_small || !entry.outputs.iter().all(|output| whole(&output.content)) {
            return Some(Looked::Apart);
        }
        match (self.payload_left.checked_sub(bytes), self.header_left.checked_sub(header)) {
            (Some(payload), Some(header)) => {
                (self.payload_left, self.header_left) = (payload, header);
                None
            }
            _ => Some(Looked::Full),
        }
    }

    /// Whether there is room for whatever the next lookup comes to, but for a hit.
    fn is_full(&self) -> bool {
        self.header_left < TEXTS_BYTES_MAX + ANSWER_BYTES
    }

    /// Takes an answer. If it is a hit, its place has been taken.
    fn told(&mut self, reply: Reply, mut account: Account) {
        account.answered(&reply);
        account.stop();
        let looked = match reply.response {
            Response::Hit(hit) => Looked::Hit(hit),
            Response::Miss(miss) => Looked::Miss(Box::new(miss)),
            Response::Error(error) => Looked::Error(Box::new(error)),
            other => unreachable!("a lookup is not answered by {other:?}"),
        };
        let texts = match &looked {
            Looked::Miss(miss) => miss.detail.as_ref().map_or(0, String::len),
            Looked::Error(error) => {
                error.message.len() + error.hint.as_ref().map_or(0, String::len)
            }
            Looked::Hit(_) | Looked::Full | Looked::Apart => 0,
        };
        if texts > TEXTS_BYTES_MAX {
            self.looked.push(Looked::Apart);
            return;
        }
        self.header_left = self.header_left.saturating_sub(ANSWER_BYTES + texts);
        self.accounts.push(account);
        self.looked.push(looked);
        for piece in reply.payload {
            if piece.len() <= JOINED_BYTES_MAX {
                self.joined.extend_from_slice(&piece);
            } else {
                self.end_joined();
                self.payload.push(piece);
            }
        }
    }

    fn end_joined(&mut self) {
        if !self.joined.is_empty() {
            self.payload.push(self.joined.split().freeze());
        }
    }

    /// The answer to all of them.
    pub(crate) fn into_reply(mut self) -> Reply {
        self.end_joined();
        let Self { looked, accounts, payload, .. } = self;
        Reply { payload, accounts, ..Response::LookedUp(looked).into() }
    }
}

impl Service {
    /// Answers lookups in order for as long as no disk has to be read; whether all are answered.
    pub(crate) fn look_up_many_in_memory(&self, peer: &Peer, batch: &mut Batch) -> bool {
        self.look_up_from(peer, batch, Tier::Memory)
    }

    /// Answers lookups in order for as long as nothing has to be read that may not be; whether all
    /// are answered.
    fn look_up_from(&self, peer: &Peer, batch: &mut Batch, tier: Tier) -> bool {
        while let Some(lookup) = batch.left.as_slice().first() {
            if batch.is_full() {
                break;
            }
            let account = Account::of_lookup(lookup);
            let reply = match Wanted::new(lookup) {
                Err(error) => Response::Error(error).into(),
                Ok(wanted) if !self.may_read(peer, &lookup.call.scope) => {
                    self.forbidden(peer, &lookup.call.scope, wanted.key)
                }
                Ok(wanted) => match self.store.lookup(&wanted.key, tier) {
                    Ok(Found::WouldBlock) if tier == Tier::Memory => return false,
                    Ok(found) => {
                        let untold = match &found {
                            Found::Entry(entry) => batch.has_no_place(entry),
                            _ => None,
                        };
                        match untold {
                            None => self.judge(&wanted, found),
                            Some(Looked::Full) => break,
                            Some(apart) => {
                                batch.left.next();
                                batch.looked.push(apart);
                                continue;
                            }
                        }
                    }
                    Err(error) => Response::Error(store_error(error)).into(),
                },
            };
            batch.left.next();
            batch.told(reply, account);
        }
        batch.looked.extend(batch.left.by_ref().map(|_| Looked::Full));
        true
    }

    /// The same, from disk if need be.
    ///
    /// # Errors
    /// If the daemon stops.
    pub(crate) async fn look_up_many(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        mut batch: Batch,
    ) -> Result<Reply, WireError> {
        if !self.look_up_many_in_memory(peer, &mut batch) {
            let (service, peer) = (Arc::clone(self), Arc::clone(peer));
            let read = move || {
                service.look_up_from(&peer, &mut batch, Tier::Disk);
                batch
            };
            batch = pool::run(read).await?;
        }
        Ok(batch.into_reply())
    }
}

/// What a hit takes of a header at the most.
fn header_bytes(entry: &StoredEntry) -> usize {
    let RunClaim { task_version, execution, node, .. } = &entry.provenance.run;
    let provenance = &entry.provenance;
    let texts = [&provenance.program, &provenance.host, task_version, execution, node];
    let texts = texts.into_iter().flatten().map(String::len).fold(0, usize::saturating_add);
    let of_output = |output: &memod_store::StoredOutput| {
        OUTPUT_BYTES.saturating_add(output.name.len()).saturating_add(output.literal_type.len())
    };
    let outputs = entry.outputs.iter().map(of_output).fold(0, usize::saturating_add);
    texts.saturating_add(outputs)
}
