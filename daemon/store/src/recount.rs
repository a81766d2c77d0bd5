//! Counts everything in a store anew, and looks for contradictions.

use std::collections::{BTreeMap, BTreeSet};

use memod_protocol::wire::{self, Decode};
use memod_protocol::{Digest, Key};

use crate::derived::{Derived, Details};
use crate::error::StoreError;
use crate::limits::PROBLEMS_NAMED_MAX;
use crate::near;
use crate::overlay::Owner;
use crate::record::{BlobRecord, Counters, EntryRecord, Grave, GraveCause, Usage, ref_pays};
use crate::rocks::{Read, Reads, Rows, Tier};
use crate::schema::{
    Account, Column, META_COUNTERS, META_DOUBT, META_LOOSE, META_USAGE, TaskKey, loose_storage,
    parse_ref_key, parse_usage_key, prefix_end, ref_key,
};
use crate::shared::Shared;

/// What a recount found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recount {
    /// What [`crate::Store::counters`] should say; what is counted since the store was made is
    /// taken from there.
    pub counters: Counters,
    /// Rows of chunks.
    pub chunk_rows: u64,
    /// References of entries to blobs.
    pub ref_rows: u64,
    /// Rows of the listing.
    pub task_rows: u64,
    /// Graves.
    pub grave_rows: u64,
    /// Rows by which near entries are found.
    pub near_rows: u64,
    /// Uses of entries that are written down.
    pub heat_rows: u64,
    /// Rows of `near` of entries that could not be read when they were removed, or that have no
    /// details.
    pub near_rows_left: u64,
    /// Entries that have inputs and no such row.
    pub entries_without_near: u64,
    /// Entries that cannot be described: their listing could not be read when the store became one
    /// of format 3.
    pub entries_without_details: u64,
    /// Storages that no blob owns and that are yet to be removed.
    pub loose_rows: u64,
    /// How many contradictions there are.
    pub problem_count: u64,
    /// The first of them, in words.
    pub problems: Vec<String>,
}

impl Recount {
    fn problem(&mut self, what: impl FnOnce() -> String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_NAMED_MAX {
            self.problems.push(what());
        }
    }
}

pub(crate) fn recount(shared: &Shared) -> Result<Recount, StoreError> {
    let view = shared.db.view();
    // As they were when the view was taken: the writer goes on.
    let written: Counters =
        record(&view, Column::Meta, META_COUNTERS).unwrap_or_else(|| shared.counters());
    // What is counted since the store was made is not what is there.
    let counters = Counters {
        entries: 0,
        blobs: 0,
        stored_bytes: 0,
        logical_bytes: 0,
        row_bytes: 0,
        ..written
    };
    let mut recount = Recount { counters, ..Recount::default() };
    let usages = count_entries(&view, &mut recount)?;
    count_tasks(&view, &mut recount)?;
    let mut storages = count_blobs(&view, &mut recount)?;
    let doubt = exists(&view, Column::Meta, META_DOUBT);
    let usages = count_refs(&view, &mut recount, usages)?;
    if !doubt {
        compare_usages(&view, &mut recount, &usages)?;
    }
    count_loose(&view, &mut recount, &mut storages)?;
    count_chunks(&view, &mut recount, &storages)?;
    each(view.rows(Column::Graves, &[], None), |_, _| recount.grave_rows += 1)?;
    count_near(&view, &mut recount)?;
    each(view.rows(Column::Heat, &[], None), |key, _| {
        recount.heat_rows += 1;
        if !exists(&view, Column::Entries, key) {
            recount.problem(|| "uses are written down of an entry that is not there".to_owned());
        }
    })?;
    if !doubt && recount.problem_count == 0 && recount.counters != written {
        let counted = recount.counters;
        recount.problem(|| format!("the counters are {written:?} and should be {counted:?}"));
    }
    Ok(recount)
}

fn each(mut rows: Rows<'_>, mut with: impl FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
    rows.first();
    while let Some((key, value)) = rows.row()? {
        with(key, value);
        rows.forward();
    }
    Ok(())
}

fn exists(reads: &impl Reads, column: Column, key: &[u8]) -> bool {
    matches!(reads.read(column, key, Tier::Disk, |_| ()), Ok(Read::Row(())))
}

fn record<T: Decode<()>>(reads: &impl Reads, column: Column, key: &[u8]) -> Option<T> {
    match reads.read(column, key, Tier::Disk, |row| wire::decode_record(row).ok()) {
        Ok(Read::Row(record)) => record,
        _ => None,
    }
}

fn entry(reads: &impl Reads, key: &Key) -> Option<(EntryRecord, Option<Details>)> {
    let decode = |row: &[u8]| EntryRecord::decode_whole(row).ok();
    match reads.read(Column::Entries, key.as_bytes(), Tier::Disk, decode) {
        Ok(Read::Row(entry)) => entry,
        _ => None,
    }
}

/// Usage by account.
type Usages = BTreeMap<Account, Usage>;

fn charge(usages: &mut Usages, owner: Owner, entries: u64, bytes: u64) {
    for account in [Account::Scope(owner.scope), Account::User(owner.uid)] {
        let usage = usages.entry(account).or_default();
        usage.entries += entries;
        usage.bytes += bytes;
    }
}

/// Counts entries; gives what they are charged without blobs.
fn count_entries(reads: &impl Reads, recount: &mut Recount) -> Result<Usages, StoreError> {
    let mut usages = Usages::new();
    each(reads.rows(Column::Entries, &[], None), |key, value| {
        recount.counters.entries += 1;
        let entry = EntryRecord::decode_whole(value);
        let (Ok(key), Ok((entry, details))) = (key.try_into(), entry) else {
            recount.problem(|| "an entry cannot be read".to_owned());
            return;
        };
        let key = Key::from_bytes(key);
        recount.counters.logical_bytes += entry.logical_bytes();
        recount.entries_without_details += u64::from(details.is_none());
        let derived = Derived::of(&key, &entry, details.as_ref());
        let is_listed = |value: &[u8]| value == derived.task;
        match reads.read(Column::Tasks, &derived.task_key, Tier::Disk, is_listed) {
            Ok(Read::Row(true)) => {}
            Ok(Read::Row(false)) => {
                recount.problem(|| format!("entry {key} is listed as something else"));
            }
            _ => recount.problem(|| format!("entry {key} is not listed")),
        }
        let near = derived.near.iter().filter(|row| exists(reads, Column::Near, *row)).count();
        if near == 0 && !derived.near.is_empty() {
            recount.entries_without_near += 1;
        } else if near < derived.near.len() {
            let all = derived.near.len();
            recount.problem(|| format!("entry {key} has {near} of {all} rows of `near`"));
        }
        let bytes = derived.row_bytes(&entry, value.len());
        recount.counters.row_bytes += bytes;
        charge(&mut usages, Owner::of(&entry), 1, bytes);
        for output in &entry.outputs {
            if !exists(reads, Column::Refs, &ref_key(&output.digest, &key)) {
                recount.problem(|| format!("entry {key} has no reference to {}", output.digest));
            }
        }
    })?;
    Ok(usages)
}

fn count_tasks(reads: &impl Reads, recount: &mut Recount) -> Result<(), StoreError> {
    each(reads.rows(Column::Tasks, &[], None), |row, _| {
        recount.task_rows += 1;
        match TaskKey::parse(row) {
            Some(task) if exists(reads, Column::Entries, task.key.as_bytes()) => {}
            Some(task) => recount.problem(|| format!("{} is listed but not there", task.key)),
            None => recount.problem(|| "a row of the listing cannot be read".to_owned()),
        }
    })
}

/// Counts blobs; gives how many chunks belong to each storage.
fn count_blobs(
    reads: &impl Reads,
    recount: &mut Recount,
) -> Result<BTreeMap<u64, u32>, StoreError> {
    let mut storages = BTreeMap::new();
    each(reads.rows(Column::Blobs, &[], None), |key, value| {
        recount.counters.blobs += 1;
        let digest = key.try_into().map(Digest::from_bytes);
        let (Ok(digest), Ok(record)) = (digest, BlobRecord::decode(value)) else {
            recount.problem(|| "a blob cannot be read".to_owned());
            return;
        };
        let mut verifies = true;
        recount.counters.stored_bytes += record.content_bytes();
        match &record {
            BlobRecord::Whole(content) => verifies = Digest::of(content) == digest,
            BlobRecord::Chunked(record) => {
                verifies = record.verifies(&digest);
                storages.insert(record.storage, record.chunk_count());
            }
            BlobRecord::Dropped { .. } => {}
        }
        if !verifies {
            recount.problem(|| format!("blob {digest} does not verify"));
        }
        let mut refs = reads.rows(Column::Refs, key, prefix_end(key));
        refs.first();
        if !matches!(refs.row(), Ok(Some(_))) {
            recount.problem(|| format!("nobody refers to blob {digest}"));
        }
    })?;
    Ok(storages)
}

/// Counts references, and charges blobs to those who pay for them.
fn count_refs(
    reads: &impl Reads,
    recount: &mut Recount,
    mut usages: Usages,
) -> Result<Usages, StoreError> {
    let mut payers: (Option<Digest>, u64) = (None, 0);
    each(reads.rows(Column::Refs, &[], None), |row, value| {
        recount.ref_rows += 1;
        let Some((digest, key)) = parse_ref_key(row) else {
            recount.problem(|| "a reference cannot be read".to_owned());
            return;
        };
        let entry = entry(reads, &key).map(|(entry, _)| entry);
        if entry.is_none() && !exists(reads, Column::Entries, key.as_bytes()) {
            recount.problem(|| format!("{key} refers to a blob but is not there"));
        }
        if !exists(reads, Column::Blobs, digest.as_bytes()) {
            recount.problem(|| format!("blob {digest} is referred to but is not there"));
        }
        if payers.0 != Some(digest) {
            check_payers(recount, payers);
            payers = (Some(digest), 0);
        }
        if ref_pays(value) {
            payers.1 += 1;
            if let Some(entry) = entry {
                let bytes = blob_bytes(reads, &digest);
                charge(&mut usages, Owner::of(&entry), 0, bytes);
            }
        }
    })?;
    check_payers(recount, payers);
    Ok(usages)
}

fn check_payers(recount: &mut Recount, (digest, payers): (Option<Digest>, u64)) {
    if let Some(digest) = digest.filter(|_| payers == 0) {
        recount.problem(|| format!("nobody pays for blob {digest}"));
    }
}

fn blob_bytes(reads: &impl Reads, digest: &Digest) -> u64 {
    let length = |row: &[u8]| BlobRecord::decode(row).map_or(0, |record| record.content_bytes());
    match reads.read(Column::Blobs, digest.as_bytes(), Tier::Disk, length) {
        Ok(Read::Row(bytes)) => bytes,
        _ => 0,
    }
}

/// Compares what is charged with what should be.
fn compare_usages(
    reads: &impl Reads,
    recount: &mut Recount,
    expected: &Usages,
) -> Result<(), StoreError> {
    let mut written = Usages::new();
    let rows = reads.rows(Column::Meta, META_USAGE, prefix_end(META_USAGE));
    each(rows, |key, value| match (parse_usage_key(key), wire::decode_record(value)) {
        (Some(account), Ok(usage)) => drop(written.insert(account, usage)),
        _ => recount.problem(|| "a row of usage cannot be read".to_owned()),
    })?;
    for account in expected.keys().chain(written.keys().filter(|of| !expected.contains_key(of))) {
        let (right, is) = (expected.get(account), written.get(account));
        if right != is {
            recount.problem(|| format!("{account:?} is charged {is:?} and should be {right:?}"));
        }
    }
    Ok(())
}

/// Counts the rows of `near`, and looks whether their entries have them.
fn count_near(reads: &impl Reads, recount: &mut Recount) -> Result<(), StoreError> {
    each(reads.rows(Column::Near, &[], None), |row, _| {
        recount.near_rows += 1;
        let Some((_, _, key)) = near::parse(row) else {
            recount.problem(|| "a row of `near` cannot be read".to_owned());
            return;
        };
        if let Some((entry, details)) = entry(reads, &key) {
            let derived = Derived::of(&key, &entry, details.as_ref());
            if details.is_none() {
                recount.near_rows_left += 1;
            } else if !derived.near.iter().any(|near| near == row) {
                recount.problem(|| format!("a row of `near` is not that of entry {key}"));
            }
            return;
        }
        let grave =
            reads.read(Column::Graves, key.as_bytes(), Tier::Disk, |row| Grave::decode(row).ok());
        let grave = match grave {
            Ok(Read::Row(grave)) => grave,
            _ => None,
        };
        if exists(reads, Column::Entries, key.as_bytes())
            || grave.is_some_and(|grave| grave.cause == GraveCause::Corrupt)
        {
            recount.near_rows_left += 1;
        } else {
            recount.problem(|| format!("a row of `near` names {key}, which is not there"));
        }
    })
}

/// Counts loose rows, and adds what they allow for to the storages.
fn count_loose(
    reads: &impl Reads,
    recount: &mut Recount,
    storages: &mut BTreeMap<u64, u32>,
) -> Result<(), StoreError> {
    let rows = reads.rows(Column::Meta, META_LOOSE, prefix_end(META_LOOSE));
    each(rows, |key, _| {
        recount.loose_rows += 1;
        if let Some(storage) = loose_storage(key) {
            storages.entry(storage).or_insert(0);
        }
    })
}

fn count_chunks(
    reads: &impl Reads,
    recount: &mut Recount,
    storages: &BTreeMap<u64, u32>,
) -> Result<(), StoreError> {
    let mut found: BTreeMap<u64, u32> = BTreeMap::new();
    let mut strangers = BTreeSet::new();
    each(reads.rows(Column::Chunks, &[], None), |key, _| {
        recount.chunk_rows += 1;
        let storage = key.first_chunk().copied().map_or(u64::MAX, u64::from_be_bytes);
        if storages.contains_key(&storage) {
            *found.entry(storage).or_default() += 1;
        } else {
            strangers.insert(storage);
        }
    })?;
    for storage in strangers {
        recount.problem(|| format!("nobody owns the chunks of storage {storage}"));
    }
    for (storage, chunks) in storages {
        let there = found.get(storage).copied().unwrap_or(0);
        if *chunks > there {
            recount.problem(|| format!("storage {storage} has {there} of {chunks} chunks"));
        }
    }
    Ok(())
}
