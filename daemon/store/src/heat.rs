//! Uses of entries: noted in memory, and written down from time to time.
//!
//! **Invariants.** A hit takes one short lock and writes nothing. Bounded: when a shard is full,
//! uses of entries that are not in it are lost until the writer has written it down. A crash loses
//! what was not written down; values shift a little, nothing breaks.

use std::array;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use memod_protocol::{Key, wire};

use crate::group::Group;
use crate::limits::{HIT_EVENTS_MAX, TOUCHES_PER_SHARD_MAX};
use crate::policy::{Reuse, Worth};
use crate::record::Heat;
use crate::rocks::{Read, Reads, RocksError, Tier};
use crate::schema::Column;

/// In so many parts the uses are kept.
pub(crate) const SHARDS: usize = 16;

/// The uses of an entry since they were last written down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Touch {
    first_ms: u64,
    last_ms: u64,
    hits: u32,
    worth: Worth,
    created_at_ms: u64,
}

/// What the writer learns of uses, for [`Reuse`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Learned {
    Put(Worth),
    PutAgain { hits: u32, age_ms: u64, worth: Worth },
    Hit { hits: u32, age_ms: u64, worth: Worth },
    Evicted { hits: u32, worth: Worth },
}

impl Learned {
    pub(crate) fn teach(self, reuse: &mut Reuse) {
        let age = Duration::from_millis;
        match self {
            Self::Put(worth) => reuse.put(worth),
            Self::PutAgain { hits, age_ms, worth } => reuse.put_again(hits, age(age_ms), worth),
            Self::Hit { hits, age_ms, worth } => reuse.hit(hits, age(age_ms), worth),
            Self::Evicted { hits, worth } => reuse.evicted(hits, worth),
        }
    }
}

/// Uses that have not been written down.
pub(crate) struct Touches {
    shards: [Mutex<HashMap<Key, Touch>>; SHARDS],
    full: AtomicBool,
}

impl Touches {
    pub(crate) fn new() -> Self {
        Self { shards: array::from_fn(|_| Mutex::default()), full: AtomicBool::new(false) }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Touch>> {
        let index = key.as_bytes().last().map_or(0, |byte| usize::from(*byte) % SHARDS);
        let shard = self.shards.get(index).expect("it is a remainder of their number");
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes uses. True if the shard has just become full: the writer should be told.
    pub(crate) fn note(
        &self,
        key: &Key,
        worth: Worth,
        created_at_ms: u64,
        now_ms: u64,
        hits: u32,
    ) -> bool {
        let mut shard = self.shard(key);
        if let Some(touch) = shard.get_mut(key) {
            touch.last_ms = touch.last_ms.max(now_ms);
            touch.hits = touch.hits.saturating_add(hits);
            return false;
        }
        if shard.len() >= TOUCHES_PER_SHARD_MAX {
            return false;
        }
        let touch = Touch { first_ms: now_ms, last_ms: now_ms, hits, worth, created_at_ms };
        shard.insert(*key, touch);
        shard.len() == TOUCHES_PER_SHARD_MAX && !self.full.swap(true, Ordering::Relaxed)
    }

    /// The uses of an entry that have not been written down, added to those that have.
    pub(crate) fn add_to(&self, key: &Key, heat: Heat) -> Heat {
        match self.shard(key).get(key) {
            None => heat,
            Some(touch) => Heat {
                last_use_ms: heat.last_use_ms.max(touch.last_ms),
                hits: heat.hits.saturating_add(touch.hits),
            },
        }
    }

    /// Whether a shard has become full since this was last asked.
    pub(crate) fn take_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) && self.full.swap(false, Ordering::Relaxed)
    }

    /// Takes what is in a shard.
    pub(crate) fn take(&self, shard: usize) -> Vec<(Key, Touch)> {
        let Some(shard) = self.shards.get(shard) else { return Vec::new() };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.drain().collect()
    }
}

impl Group<'_> {
    /// Writes down how an entry was used, if it is still there.
    pub(crate) fn fold(&mut self, key: &Key, touch: &Touch) -> Result<(), RocksError> {
        let db = &self.shared.db;
        if db.read(Column::Entries, key.as_bytes(), Tier::Disk, |_| ())? != Read::Row(()) {
            return Ok(());
        }
        let decode = |row: &[u8]| wire::decode_record::<Heat>(row).unwrap_or_default();
        let heat = match db.read(Column::Heat, key.as_bytes(), Tier::Disk, decode)? {
            Read::Row(heat) => heat,
            Read::Absent | Read::WouldBlock => Heat::default(),
        };
        let mut since = heat.last_use_ms.max(touch.created_at_ms);
        // Where between the first and the last the others were is not known.
        let gap = touch.last_ms.saturating_sub(touch.first_ms)
            / u64::from(touch.hits.saturating_sub(1).max(1));
        for number in 0..touch.hits.min(HIT_EVENTS_MAX) {
            let at_ms = touch.first_ms.saturating_add(u64::from(number).saturating_mul(gap));
            let hits = heat.hits.saturating_add(number);
            let age_ms = at_ms.saturating_sub(since);
            self.learned.push(Learned::Hit { hits, age_ms, worth: touch.worth });
            since = since.max(at_ms);
        }
        let heat = Heat {
            last_use_ms: heat.last_use_ms.max(touch.last_ms),
            hits: heat.hits.saturating_add(touch.hits),
        };
        self.batch.put(db, Column::Heat, key.as_bytes(), &wire::encode(&heat));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key::from_bytes([number; 32])
    }

    #[test]
    fn uses_add_up_until_they_are_taken() {
        let (touches, worth) = (Touches::new(), Worth::new(None, 1));
        assert!(!touches.note(&key(1), worth, 5, 10, 1));
        assert!(!touches.note(&key(1), worth, 5, 30, 1));
        assert!(!touches.note(&key(1), worth, 5, 20, 3));
        let heat = Heat { last_use_ms: 7, hits: 2 };
        assert_eq!(touches.add_to(&key(1), heat), Heat { last_use_ms: 30, hits: 7 });
        assert_eq!(touches.add_to(&key(2), heat), heat);
        let taken: Vec<_> = (0..SHARDS).flat_map(|shard| touches.take(shard)).collect();
        let [(taken, touch)] = taken[..] else { panic!("one key was used") };
        assert_eq!((taken, touch.first_ms, touch.last_ms, touch.hits), (key(1), 10, 30, 5));
        assert_eq!(touches.add_to(&key(1), heat), heat);
    }

    #[test]
    fn a_full_shard_says_so_once_and_takes_no_more() {
        let (touches, worth) = (Touches::new(), Worth::new(None, 1));
        let numbered = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            Key::from_bytes(bytes)
        };
        let told = (0..2 * TOUCHES_PER_SHARD_MAX)
            .filter(|number| touches.note(&numbered(*number), worth, 0, 1, 1))
            .count();
        assert_eq!(told, 1);
        assert!(touches.take_full() && !touches.take_full());
        assert_eq!(touches.take(0).len(), TOUCHES_PER_SHARD_MAX);
        assert!(!touches.note(&numbered(0), worth, 0, 1, 1));
    }
}
