//! Finds the entries of a task that differ least from a call (semantics 35).
//!
//! Entries of the task's name are looked for in every scope, cache version and signature, group by
//! group as [`crate::task_groups`] finds them, those first that can be nearest:
//!
//! 1. Where only scope, version or signature differ, the key can be computed.
//! 2. Where also one input differs, the entry stands in a slot of `near`, newest first.
//! 3. Where more differs, a sample of each group is compared.
//!
//! **Invariants.** The work does not grow with the store: it ends at the bounds of
//! [`crate::limits`] that begin with `NEAREST`, and then what has been found is the answer.
//! - Exact, and the newest first, in each group that is looked at: entries with the inputs of the
//!   call, and entries that differ from it in one input, be it in value, that it counts on one side
//!   only or that only one side declares.
//! - With more than [`NEAR_BUCKETS`] inputs, entries that differ in one value are looked for among
//!   the newest that meet in a slot.
//! - A sample: entries that differ in more inputs.
//!
//! **Does not** tell of an entry that does not differ at all, nor read any content.

use std::cmp::Reverse;
use std::collections::HashSet;

use memod_protocol::limits::NEAREST_MAX;
use memod_protocol::{CallIdentity, Difference, Digest, InterfaceText, Key, Nearest, Scope, wire};

use crate::differences::GroupDifferences;
use crate::error::StoreError;
use crate::limits::{
    NEAR_BUCKETS, NEAREST_LEFT_OUT_MAX, NEAREST_READ_BYTES_MAX, NEAREST_READS_MAX,
    NEAREST_SAMPLE_MAX, NEAREST_SKIPS_MAX, NEAREST_SLOT_ROWS_MAX,
};
use crate::near::{self, SlotPrefix};
use crate::record::TaskRecord;
use crate::rocks::{Read, Reads, Tier, is_damage};
use crate::schema::{Column, prefix_end, split_task_key};
use crate::shared::Shared;
use crate::task_groups::{self, TaskGroup, row_at};

pub(crate) fn nearest(
    shared: &Shared,
    call: &CallIdentity,
    interface: &InterfaceText,
    limit: usize,
    tells: &dyn Fn(&Scope) -> bool,
) -> Result<Vec<Nearest>, StoreError> {
    nearest_sampling(shared, call, interface, limit, (NEAREST_SAMPLE_MAX, tells))
}

/// As [`nearest`], with a sample of this many rows, and of these scopes.
pub(crate) fn nearest_sampling(
    shared: &Shared,
    call: &CallIdentity,
    interface: &InterfaceText,
    limit: usize,
    (sample_max, tells): (usize, &dyn Fn(&Scope) -> bool),
) -> Result<Vec<Nearest>, StoreError> {
    let limit = limit.min(usize::try_from(NEAREST_MAX).unwrap_or(usize::MAX));
    if limit == 0 {
        return Ok(Vec::new());
    }
    let view = shared.db.view();
    let groups = task_groups::find(&view, call, tells)?;
    let mut groups: Vec<Group> =
        groups.into_iter().map(|found| Group::new(call, interface, found)).collect();
    groups.sort_by_key(Group::least);
    let mut search = Search::new(&view, call, limit);
    for group in &groups {
        search.compute(group)?;
        search.walk_slots(group)?;
    }
    search.sample(&groups, sample_max)?;
    Ok(search.into_answer())
}

/// A group and in what all of it differs from the call.
struct Group {
    found: TaskGroup,
    differences: GroupDifferences,
    /// The call's inputs, as far as the group declares inputs of these names.
    shared: Vec<(String, Digest)>,
}

impl Group {
    fn new(call: &CallIdentity, interface: &InterfaceText, found: TaskGroup) -> Self {
        let stored = &found.record.interface;
        let differences = GroupDifferences::new(call, interface, &found.task, stored);
        let mut shared = call.inputs.clone();
        if found.task.signature != call.signature {
            let declared: HashSet<&str> =
                stored.inputs.iter().map(|(name, _)| name.as_str()).collect();
            shared.retain(|(name, _)| declared.contains(name.as_str()));
        }
        Self { found, differences, shared }
    }

    /// In how many things each entry of the group differs at least.
    fn least(&self) -> usize {
        self.differences.differs.len()
    }
}

/// How near an entry is: fewest differences first, then the newest, then by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    differences: usize,
    created: Reverse<u64>,
    key: Key,
}

/// An entry among the nearest so far.
struct Ranked {
    rank: Rank,
    differs: Vec<Difference>,
}

struct Search<'a, R> {
    reads: &'a R,
    call: &'a CallIdentity,
    limit: usize,
    /// The nearest so far, in order.
    best: Vec<Ranked>,
    /// What has been compared already, and the call's own key.
    seen: HashSet<Key>,
    reads_left: usize,
    bytes_left: usize,
}

impl<'a, R: Reads> Search<'a, R> {
    fn new(reads: &'a R, call: &'a CallIdentity, limit: usize) -> Self {
        Self {
            reads,
            call,
            limit,
            best: Vec::with_capacity(limit + 1),
            seen: HashSet::from([call.key()]),
            reads_left: NEAREST_READS_MAX,
            bytes_left: NEAREST_READ_BYTES_MAX,
        }
    }

    /// Whether an entry of this rank would be among the nearest.
    fn admits(&self, rank: &Rank) -> bool {
        self.best.len() < self.limit || self.best.last().is_some_and(|last| *rank < last.rank)
    }

    /// Whether an entry with so many differences may be among the nearest.
    fn admits_differences(&self, differences: usize) -> bool {
        let key = Key::from_bytes([0; 32]);
        self.admits(&Rank { differences, created: Reverse(u64::MAX), key })
    }

    /// Whether one more read is allowed.
    fn may_read(&mut self) -> bool {
        let may = self.reads_left > 0 && self.bytes_left > 0;
        self.reads_left = self.reads_left.saturating_sub(1);
        may
    }

    /// Compares an entry with the call.
    fn consider(&mut self, group: &Group, key: Key, record: &TaskRecord) -> Result<(), StoreError> {
        let inputs = || group.differences.inputs(&self.call.inputs, &record.inputs);
        let differences = group.least() + inputs().count();
        let rank = Rank { differences, created: Reverse(record.created_at_ms), key };
        if differences == 0 || !self.admits(&rank) {
            return Ok(());
        }
        // A listing row may outlive an entry that could not be read.
        match self.reads.read(Column::Entries, key.as_bytes(), Tier::Disk, |_| ()) {
            Ok(Read::Row(())) => {}
            Ok(Read::Absent | Read::WouldBlock) => return Ok(()),
            Err(error) if is_damage(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut differs = group.differences.differs.clone();
        differs.extend(inputs().map(Difference::from));
        let place = self.best.partition_point(|other| other.rank < rank);
        self.best.insert(place, Ranked { rank, differs });
        self.best.truncate(self.limit);
        Ok(())
    }

    /// Looks for the entry of this key in a group.
    fn look(&mut self, group: &Group, key: Key) -> Result<(), StoreError> {
        if !self.seen.insert(key) || !self.may_read() {
            return Ok(());
        }
        let row = [group.found.prefix.as_slice(), key.as_bytes()].concat();
        let decode = |row: &[u8]| (row.len(), wire::decode_record::<TaskRecord>(row));
        match self.reads.read(Column::Tasks, &row, Tier::Disk, decode) {
            Ok(Read::Row((bytes, Ok(record)))) => {
                self.bytes_left = self.bytes_left.saturating_sub(bytes);
                self.consider(group, key, &record)
            }
            // The entry is gone, or belongs to another group whose hash is the same.
            Ok(Read::Row((_, Err(_))) | Read::Absent | Read::WouldBlock) => Ok(()),
            Err(error) if is_damage(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks for the entries of a group whose keys can be computed: those with the inputs that it
    /// shares with the call, and those with one less.
    fn compute(&mut self, group: &Group) -> Result<(), StoreError> {
        if !self.admits_differences(group.least()) {
            return Ok(());
        }
        let TaskGroup { task, record, .. } = &group.found;
        if self.seen.insert(task.key) {
            self.consider(group, task.key, record)?;
        }
        let mut call = CallIdentity {
            scope: task.scope.clone(),
            task: task.task.clone(),
            cache_version: task.cache_version.clone(),
            signature: task.signature,
            inputs: group.shared.clone(),
        };
        self.look(group, call.key())?;
        let most = if group.least() == 0 { NEAREST_LEFT_OUT_MAX } else { NEAR_BUCKETS };
        for index in 0..call.inputs.len().min(most) {
            if self.admits_differences(group.least() + 1) {
                let left_out = call.inputs.remove(index);
                self.look(group, call.key())?;
                call.inputs.insert(index, left_out);
            }
        }
        Ok(())
    }

    /// Looks for entries of a group that differ in one input, or in one bucket of inputs.
    fn walk_slots(&mut self, group: &Group) -> Result<(), StoreError> {
        let alike = group.found.task.signature == self.call.signature;
        // With another signature, what stands in a slot may differ in nothing else.
        let least = group.least() + usize::from(alike);
        if !self.admits_differences(least) {
            return Ok(());
        }
        let inputs = group.shared.len().max(group.found.record.inputs.len());
        let wanted = if inputs > NEAR_BUCKETS { NEAREST_SLOT_ROWS_MAX } else { self.limit };
        let (mut rows, slots) = (Vec::new(), slots(group));
        for slot in &slots {
            self.read_slot(slot, wanted, &mut rows)?;
        }
        rows.sort_unstable();
        rows.dedup();
        for (created, key) in rows {
            if self.admits(&Rank { differences: least, created, key }) {
                self.look(group, key)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Adds what stands in a slot, the newest first.
    fn read_slot(
        &mut self,
        slot: &SlotPrefix,
        wanted: usize,
        found: &mut Vec<(Reverse<u64>, Key)>,
    ) -> Result<(), StoreError> {
        if !self.may_read() {
            return Ok(());
        }
        let wanted = found.len() + wanted;
        let end = prefix_end(slot);
        let mut rows = self.reads.rows_skipping(Column::Near, slot, end, NEAREST_SKIPS_MAX);
        rows.first();
        while found.len() < wanted {
            let Some((row, _)) = row_at(&rows)? else { break };
            if let Some((_, created_at_ms, key)) = near::parse(row)
                && !self.seen.contains(&key)
            {
                found.push((Reverse(created_at_ms), key));
            }
            rows.forward();
        }
        Ok(())
    }

    /// Compares some entries of each group, of the nearer groups more; unless as many as are wanted
    /// have been found that differ in as little as what a sample may find.
    fn sample(&mut self, groups: &[Group], sample_max: usize) -> Result<(), StoreError> {
        let mut left = sample_max;
        for (index, group) in groups.iter().enumerate() {
            let enough = self.best.len() == self.limit
                && self.best.last().is_some_and(|last| last.rank.differences <= group.least() + 1);
            if !enough {
                let share = if index + 1 == groups.len() { left } else { left / 2 };
                left -= self.sample_group(group, share)?;
            }
        }
        Ok(())
    }

    /// Compares so many entries of a group; gives how many there were.
    fn sample_group(&mut self, group: &Group, share: usize) -> Result<usize, StoreError> {
        let prefix = &group.found.prefix;
        let end = prefix_end(prefix);
        let mut rows = self.reads.rows_skipping(Column::Tasks, prefix, end, NEAREST_SKIPS_MAX);
        rows.first();
        let mut looks = 0;
        while looks < share && self.bytes_left > 0 {
            let Some((row, value)) = row_at(&rows)? else { break };
            looks += 1;
            self.bytes_left = self.bytes_left.saturating_sub(value.len());
            if let Some((_, key)) = split_task_key(row)
                && self.seen.insert(key)
                && let Ok(record) = wire::decode_record::<TaskRecord>(value)
            {
                self.consider(group, key, &record)?;
            }
            rows.forward();
        }
        Ok(looks)
    }

    fn into_answer(self) -> Vec<Nearest> {
        let nearest = |Ranked { rank, differs }| {
            let Rank { created: Reverse(created_at_ms), key, .. } = rank;
            Nearest { key, created_at_ms, differs }
        };
        self.best.into_iter().map(nearest).collect()
    }
}

/// The slots in which entries near to the call stand: by the inputs that call and group share, and
/// by those that the group's example has, because it may have one more.
fn slots(group: &Group) -> HashSet<SlotPrefix> {
    let Group { found: TaskGroup { prefix, record, .. }, shared, .. } = group;
    let here = shared.iter().map(|(name, digest)| (name.as_str(), Some(digest)));
    let mut slots: HashSet<_> = near::slots(prefix, here).into_iter().flatten().collect();
    slots.extend(near::slot_of_all(prefix, shared));
    let find = |wanted: &str| {
        let place = shared.binary_search_by(|(name, _)| name.as_str().cmp(wanted)).ok()?;
        shared.get(place).map(|(_, digest)| digest)
    };
    let names = record.inputs.iter().map(|(name, _)| (name.as_str(), find(name)));
    slots.extend(near::slots(prefix, names).into_iter().flatten());
    slots
}
