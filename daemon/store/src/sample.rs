//! Draws entries at random, from which one is chosen to be evicted.
//!
//! Keys are hashes, so the entries behind a random key are a fair sample of all, but for those that
//! stand behind a wide gap; a few random steps on even that out. The entries of a scope are
//! drawn from its listing, where each sample goes on from where the last one ended, so that each
//! comes up once in a round; those of a user from all, of which at most [`USER_LOOKS_MAX`] are
//! looked at.
//!
//! **Invariants.** The work for a sample is bounded, whatever the store holds.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use memod_protocol::{Digest, Key, wire};

use crate::error::StoreError;
use crate::limits::{
    HANDS_MAX, SAMPLE_COUNT, SAMPLE_SKIP_MAX, SAMPLE_SKIPS_MAX, SHARED_LOOKS_MAX, USER_LOOKS_MAX,
};
use crate::policy::Candidate;
use crate::record::{EntryRecord, Heat};
use crate::rocks::{Database, Read, Reads, Rows, Tier, is_damage};
use crate::schema::{Account, Column, parse_ref_key, prefix_end, scope_prefix, split_task_key};
use crate::store::Shared;

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
    pub(crate) candidate: Candidate,
    /// Its uses; the last one is when it was put, if it was never hit.
    pub(crate) heat: Heat,
    outputs: Vec<(Digest, u64)>,
}

/// Draws samples.
pub(crate) struct Sampler {
    lots: Lots,
    /// Where the last sample of a scope ended in its listing.
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
        now_ms: u64,
    ) -> Result<Vec<Drawn>, StoreError> {
        let entries = match of {
            Some(Account::Scope(_)) => self.entries_of_scope(&shared.db, of)?,
            Some(Account::User(uid)) => {
                self.entries(&shared.db, USER_LOOKS_MAX, |of| of.provenance.writer_uid == *uid)?
            }
            None => self.entries(&shared.db, SAMPLE_COUNT, |_| true)?,
        };
        entries.into_iter().map(|(key, entry)| self.look(shared, key, &entry, now_ms)).collect()
    }

    /// A run of entries from a random place on, of those that are wanted; at most so many are
    /// looked at.
    fn entries(
        &mut self,
        db: &Database,
        looks_max: usize,
        wanted: impl Fn(&EntryRecord) -> bool,
    ) -> Result<Vec<(Key, EntryRecord)>, StoreError> {
        let mut rows = db.rows_skipping(Column::Entries, &[], None, SAMPLE_SKIPS_MAX);
        let place: Vec<u8> = (0..4).flat_map(|_| self.lots.next().to_be_bytes()).collect();
        rows.seek(&place);
        let skip = self.lots.next() % SAMPLE_SKIP_MAX;
        for _ in 0..skip {
            step_round(&mut rows)?;
        }
        let mut found: Vec<(Key, EntryRecord)> = Vec::with_capacity(SAMPLE_COUNT);
        for _ in 0..looks_max {
            if found.len() >= SAMPLE_COUNT {
                break;
            }
            if rows.row()?.is_none() {
                rows.first();
            }
            let Some((key, value)) = rows.row()? else { break };
            if let (Ok(key), Ok(entry)) = (key.try_into(), wire::decode_record(value))
                && wanted(&entry)
            {
                let key = Key::from_bytes(key);
                // It has gone once round.
                if found.iter().any(|(before, _)| *before == key) {
                    break;
                }
                found.push((key, entry));
            }
            rows.forward();
        }
        Ok(found)
    }

    fn entries_of_scope(
        &mut self,
        db: &Database,
        of: Option<&Account>,
    ) -> Result<Vec<(Key, EntryRecord)>, StoreError> {
        let Some(account @ Account::Scope(scope)) = of else { return Ok(Vec::new()) };
        let prefix = scope_prefix(scope);
        let end = prefix_end(&prefix);
        let mut rows = db.rows_skipping(Column::Tasks, &prefix, end, SAMPLE_SKIPS_MAX);
        match self.hands.get(account) {
            Some(hand) => rows.seek(hand),
            None => rows.first(),
        }
        let mut keys: Vec<Key> = Vec::with_capacity(SAMPLE_COUNT);
        while keys.len() < SAMPLE_COUNT {
            if rows.row()?.is_none() {
                rows.first();
            }
            let Some((row, _)) = rows.row()? else { break };
            if let Some((_, key)) = split_task_key(row) {
                if keys.contains(&key) {
                    break;
                }
                keys.push(key);
            }
            rows.forward();
        }
        if self.hands.len() >= HANDS_MAX {
            self.hands.clear();
        }
        match rows.row()? {
            Some((row, _)) => self.hands.insert(account.clone(), row.to_vec()),
            None => self.hands.remove(account),
        };
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let decode = |row: &[u8]| wire::decode_record::<EntryRecord>(row);
            if let Read::Row(Ok(entry)) =
                db.read(Column::Entries, key.as_bytes(), Tier::Disk, decode)?
            {
                found.push((key, entry));
            }
        }
        Ok(found)
    }

    fn look(
        &mut self,
        shared: &Shared,
        key: Key,
        entry: &EntryRecord,
        now_ms: u64,
    ) -> Result<Drawn, StoreError> {
        let decode = |row: &[u8]| wire::decode_record::<Heat>(row).unwrap_or_default();
        let heat = match shared.db.read(Column::Heat, key.as_bytes(), Tier::Disk, decode) {
            Ok(Read::Row(heat)) => heat,
            Ok(Read::Absent | Read::WouldBlock) => Heat::default(),
            Err(error) if is_damage(&error) => Heat::default(),
            Err(error) => return Err(error.into()),
        };
        let created_at_ms = entry.provenance.created_at_ms;
        let mut heat = shared.touches.add_to(&key, heat);
        heat.last_use_ms = heat.last_use_ms.max(created_at_ms);
        let since = |at_ms| Duration::from_millis(now_ms.saturating_sub(at_ms));
        let candidate = Candidate {
            cost: entry.provenance.run.compute_ns.map(Duration::from_nanos),
            bytes: entry.logical_bytes(),
            age: since(heat.last_use_ms),
            life: since(created_at_ms),
            hits: heat.hits,
            lot: self.lots.next(),
        };
        let outputs = entry.outputs.iter().map(|output| (output.digest, output.bytes)).collect();
        Ok(Drawn { key, candidate, heat, outputs })
    }
}

/// Goes to the next row, behind the last one to the first.
fn step_round(rows: &mut Rows<'_>) -> Result<(), StoreError> {
    if rows.row()?.is_some() {
        rows.forward();
    } else {
        rows.first();
    }
    Ok(())
}

impl Drawn {
    /// The bytes of its outputs that no other entry refers to, as far as that is looked at.
    pub(crate) fn own_bytes(&self, db: &Database) -> Result<u64, StoreError> {
        let mut own = self.candidate.bytes;
        for (digest, bytes) in self.outputs.iter().take(SHARED_LOOKS_MAX) {
            let prefix = digest.as_bytes();
            let end = prefix_end(prefix);
            let mut rows = db.rows_skipping(Column::Refs, prefix, end, SAMPLE_SKIPS_MAX);
            rows.first();
            while let Some((row, _)) = rows.row()? {
                if parse_ref_key(row).is_none_or(|(_, key)| key != self.key) {
                    own = own.saturating_sub(*bytes);
                    break;
                }
                rows.forward();
            }
        }
        Ok(own)
    }
}
