//! Draws entries at random, from which one is chosen to be evicted.
//!
//! Keys are hashes, so a run of entries from a random key on is a fair sample of all; a run is long
//! enough that a wide gap before an entry hardly matters. The entries of a scope are drawn from its
//! listing, and those of a user from all, of which at most [`USER_LOOKS_MAX`] are looked at; both
//! go on from where the last sample ended, so that each entry comes up once in a round.
//!
//! **Invariants.** The work for a sample is bounded, whatever the store holds.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use memod_protocol::{Digest, Key, wire};

use crate::error::StoreError;
use crate::limits::{HANDS_MAX, SAMPLE_COUNT, SAMPLE_SKIPS_MAX, SHARED_LOOKS_MAX, USER_LOOKS_MAX};
use crate::policy::Candidate;
use crate::record::{EntrySketch, Heat};
use crate::rocks::{Database, Read, Reads, Rows, Tier};
use crate::schema::{Account, Column, parse_ref_key, prefix_end, scope_prefix, split_task_key};
use crate::shared::Shared;
use crate::skip;

/// Random numbers that nobody can foresee, and that need not be good ones.
pub(crate) struct Lots {
    state: u64,
}

impl Lots {
    pub(crate) fn new() -> Self {
        Self { state: RandomState::new().hash_one(0) }
    }

    /// `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// An entry that was drawn.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) key: Key,
    pub(crate) created_at_ms: u64,
    cost: Option<Duration>,
    bytes: u64,
    outputs: Vec<(Digest, u64)>,
    /// Its row in `entries`.
    pub(crate) row: Box<[u8]>,
    /// Its uses that were written down when it was drawn.
    heat: Heat,
    /// Whether it has a row in `heat`, if that is known.
    pub(crate) has_heat: Option<bool>,
    lot: u64,
    /// The bytes of its outputs that no other entry refers to, as last looked at.
    own_bytes: Option<u64>,
    /// No other entry refers to any of its outputs, and nothing has been changed since.
    pub(crate) alone: bool,
}

/// Draws samples.
pub(crate) struct Sampler {
    lots: Lots,
    /// Where the last sample of a scope ended in its listing, or one of a user among all entries.
    hands: HashMap<Account, Vec<u8>>,
}

impl Sampler {
    pub(crate) fn new() -> Self {
        Self { lots: Lots::new(), hands: HashMap::new() }
    }

    /// Draws entries, of one account if one is given; none if there are none.
    pub(crate) fn draw(
        &mut self,
        shared: &Shared,
        of: Option<&Account>,
    ) -> Result<Vec<Drawn>, StoreError> {
        let db = &shared.db;
        let mut drawn = match of {
            Some(Account::Scope(_)) => self.entries_of_scope(db, of)?,
            Some(account @ Account::User(uid)) => {
                let wanted = |entry: &EntrySketch<'_>| entry.provenance.writer_uid == *uid;
                let place = self.hands.remove(account).unwrap_or_else(|| self.place());
                let run = run(db, &place, USER_LOOKS_MAX, wanted)?;
                self.keep_hand(account, run.end);
                run.found
            }
            None => run(db, &self.place(), SAMPLE_COUNT, |_| true)?.found,
        };
        // In the order in which their uses stand.
        drawn.sort_unstable_by_key(|drawn| drawn.key);
        match add_heats(db, &mut drawn) {
            Ok(()) | Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        for drawn in &mut drawn {
            drawn.lot = self.lots.next();
        }
        Ok(drawn)
    }

    /// A random place among keys.
    fn place(&mut self) -> Vec<u8> {
        (0..4).flat_map(|_| self.lots.next().to_be_bytes()).collect()
    }

    /// Goes on from here the next time; from the beginning, if there is nothing behind.
    fn keep_hand(&mut self, account: &Account, place: Option<Vec<u8>>) {
        if self.hands.len() >= HANDS_MAX {
            self.hands.clear();
        }
        match place {
            Some(place) => self.hands.insert(account.clone(), place),
            None => self.hands.remove(account),
        };
    }

    fn entries_of_scope(
        &mut self,
        db: &Database,
        of: Option<&Account>,
    ) -> Result<Vec<Drawn>, StoreError> {
        let Some(account @ Account::Scope(scope)) = of else { return Ok(Vec::new()) };
        let prefix = scope_prefix(scope);
        let end = prefix_end(&prefix);
        let mut rows = db.rows_skipping(Column::Tasks, &prefix, end, SAMPLE_SKIPS_MAX);
        match self.hands.get(account) {
            Some(hand) => rows.seek(hand),
            None => rows.first(),
        }
        let mut from = self.hands.get(account).unwrap_or(&prefix).clone();
        let mut keys: Vec<Key> = Vec::with_capacity(SAMPLE_COUNT);
        while keys.len() < SAMPLE_COUNT {
            if !skip::is_at_row(&mut rows, &from)? {
                rows.first();
            }
            let Some((row, _)) = rows.row()? else { break };
            from = row.to_vec();
            if let Some((_, key)) = split_task_key(row) {
                if keys.contains(&key) {
                    break;
                }
                keys.push(key);
            }
            rows.forward();
        }
        // From the beginning, if what comes next cannot be read.
        let end = rows.row().ok().flatten().map(|(row, _)| row.to_vec());
        self.keep_hand(account, end);
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let decode =
                |row: &[u8]| wire::borrow_front(row).map(|(entry, _)| Drawn::new(key, &entry, row));
            if let Read::Row(Ok(drawn)) =
                db.read(Column::Entries, key.as_bytes(), Tier::Disk, decode)?
            {
                found.push(drawn);
            }
        }
        Ok(found)
    }
}

/// Entries that follow one another.
struct Run {
    found: Vec<Drawn>,
    /// The key of the next one; none behind the last.
    end: Option<Vec<u8>>,
}

/// A run of entries from a place on, of those that are wanted; at most so many are looked at.
fn run(
    db: &Database,
    place: &[u8],
    looks_max: usize,
    wanted: impl Fn(&EntrySketch<'_>) -> bool,
) -> Result<Run, StoreError> {
    let mut rows = db.rows_skipping(Column::Entries, &[], None, SAMPLE_SKIPS_MAX);
    rows.seek(place);
    let mut found: Vec<Drawn> = Vec::with_capacity(SAMPLE_COUNT);
    let mut from = place.to_vec();
    for _ in 0..looks_max {
        if found.len() >= SAMPLE_COUNT {
            break;
        }
        if !skip::is_at_row(&mut rows, &from)? {
            rows.first();
        }
        let Some((key, value)) = rows.row()? else { break };
        from = key.to_vec();
        if let (Ok(key), Ok((entry, _))) = (key.try_into(), wire::borrow_front(value))
            && wanted(&entry)
        {
            let key = Key::from_bytes(key);
            // It has gone once round.
            if found.first().is_some_and(|first| first.key == key) {
                break;
            }
            found.push(Drawn::new(key, &entry, value));
        }
        rows.forward();
    }
    let end = rows.row().ok().flatten().map(|(key, _)| key.to_vec());
    Ok(Run { found, end })
}

/// Adds the uses that have been written down; the entries stand in the order of their keys.
fn add_heats(db: &Database, drawn: &mut [Drawn]) -> Result<(), StoreError> {
    let mut rows = db.rows_skipping(Column::Heat, &[], None, SAMPLE_SKIPS_MAX);
    for (index, drawn) in drawn.iter_mut().enumerate() {
        let key = drawn.key.as_bytes().as_slice();
        // A row behind this entry's tells that it has none.
        if index == 0 || rows.row()?.is_some_and(|(row, _)| row < key) {
            rows.seek(key);
        }
        // At no row, there are none behind, or there were too many removed ones to be passed.
        let Some((row, value)) = rows.row()? else { continue };
        drawn.has_heat = Some(row == key);
        if row == key {
            drawn.heat = wire::decode_record(value).unwrap_or_default();
            rows.forward();
        }
    }
    Ok(())
}

impl Drawn {
    /// An entry, as far as its own row tells.
    fn new(key: Key, entry: &EntrySketch<'_>, row: &[u8]) -> Self {
        Self {
            key,
            created_at_ms: entry.provenance.created_at_ms,
            cost: entry.provenance.compute_ns.map(Duration::from_nanos),
            bytes: entry.outputs.iter().map(|output| output.bytes).sum(),
            outputs: entry.outputs.iter().map(|output| (output.digest, output.bytes)).collect(),
            row: row.into(),
            heat: Heat::default(),
            has_heat: None,
            lot: 0,
            own_bytes: None,
            alone: false,
        }
    }

    /// Its uses until now; the last one is when it was put, if it was never hit.
    pub(crate) fn uses(&self, shared: &Shared) -> Heat {
        let heat = shared.touches.add_to(&self.key, self.heat);
        Heat { last_use_ms: heat.last_use_ms.max(self.created_at_ms), ..heat }
    }

    /// What a policy may know of it.
    pub(crate) fn candidate(&self, shared: &Shared, now_ms: u64) -> Candidate {
        let uses = self.uses(shared);
        let since = |at_ms| Duration::from_millis(now_ms.saturating_sub(at_ms));
        Candidate {
            cost: self.cost,
            bytes: self.freed_bytes(),
            age: since(uses.last_use_ms),
            life: since(self.created_at_ms),
            hits: uses.hits,
            lot: self.lot,
        }
    }

    /// The bytes of content that its eviction gives back, as far as that is known.
    pub(crate) fn freed_bytes(&self) -> u64 {
        self.own_bytes.unwrap_or(self.bytes)
    }

    /// Looks which of its outputs other entries refer to as well, with a walk over `refs` by
    /// prefixes. Whether that has made a difference.
    pub(crate) fn look(&mut self, rows: &mut Rows<'_>) -> Result<bool, StoreError> {
        let before = self.freed_bytes();
        let mut own = self.bytes;
        let mut alone = self.outputs.len() <= SHARED_LOOKS_MAX;
        for (digest, bytes) in self.outputs.iter().take(SHARED_LOOKS_MAX) {
            rows.seek(digest.as_bytes());
            while let Some((row, _)) = rows.row()? {
                if parse_ref_key(row).is_none_or(|(_, key)| key != self.key) {
                    own = own.saturating_sub(*bytes);
                    alone = false;
                    break;
                }
                rows.forward();
            }
        }
        (self.own_bytes, self.alone) = (Some(own), alone);
        Ok(own != before)
    }
}
