//! Counts everything in a store anew, and looks for contradictions.

use std::collections::{BTreeMap, BTreeSet};

use memod_protocol::Digest;
use memod_protocol::wire::{self, Decode};

use crate::error::StoreError;
use crate::limits::PROBLEMS_NAMED_MAX;
use crate::near;
use crate::record::{BlobRecord, Counters, EntryRecord, Grave, GraveCause, TaskRecord};
use crate::rocks::{Read, Reads, Rows, Tier};
use crate::schema::{
    Column, META_LOOSE, TaskKey, loose_storage, parse_ref_key, prefix_end, ref_key, task_key,
};
use crate::store::Shared;

/// What a recount found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recount {
    /// What [`crate::Store::counters`] should say; `puts` is taken from there.
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
    /// Those of entries that could not be read when they were removed.
    pub near_rows_left: u64,
    /// Entries that have inputs and no such row: they were written in format 1.
    pub entries_without_near: u64,
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
    let mut recount = Recount::default();
    recount.counters.puts = shared.counters().puts;
    count_entries(&view, &mut recount)?;
    count_tasks(&view, &mut recount)?;
    let mut storages = count_blobs(&view, &mut recount)?;
    count_refs(&view, &mut recount)?;
    count_loose(&view, &mut recount, &mut storages)?;
    count_chunks(&view, &mut recount, &storages)?;
    each(view.rows(Column::Graves, &[], None), |_, _| recount.grave_rows += 1)?;
    count_near(&view, &mut recount)?;
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

fn count_entries(reads: &impl Reads, recount: &mut Recount) -> Result<(), StoreError> {
    each(reads.rows(Column::Entries, &[], None), |key, value| {
        recount.counters.entries += 1;
        let entry = wire::decode_record::<EntryRecord>(value);
        let (Ok(key), Ok(entry)) = (key.try_into(), entry) else {
            recount.problem(|| "an entry cannot be read".to_owned());
            return;
        };
        let key = memod_protocol::Key::from_bytes(key);
        recount.counters.logical_bytes += entry.logical_bytes();
        let row = task_key(&entry.scope, &entry.task, &entry.cache_version, &entry.signature, &key);
        if !exists(reads, Column::Tasks, &row) {
            recount.problem(|| format!("entry {key} is not listed"));
        }
        for output in &entry.outputs {
            if !exists(reads, Column::Refs, &ref_key(&output.digest, &key)) {
                recount.problem(|| format!("entry {key} has no reference to {}", output.digest));
            }
        }
    })
}

fn count_tasks(reads: &impl Reads, recount: &mut Recount) -> Result<(), StoreError> {
    each(reads.rows(Column::Tasks, &[], None), |row, value| {
        recount.task_rows += 1;
        let near = wire::decode_record(value).map_or_else(
            |_| Vec::new(),
            |task: TaskRecord| near::rows(row, task.created_at_ms, &task.inputs),
        );
        let there = near.iter().filter(|row| exists(reads, Column::Near, *row)).count();
        if there == 0 && !near.is_empty() {
            recount.entries_without_near += 1;
        } else if there < near.len() {
            recount.problem(|| format!("an entry has {there} of {} rows of `near`", near.len()));
        }
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
        recount.counters.stored_bytes += match &record {
            BlobRecord::Whole(content) => {
                verifies = Digest::of(content) == digest;
                content.len() as u64
            }
            BlobRecord::Chunked(record) => {
                verifies = record.verifies(&digest);
                storages.insert(record.storage, record.chunk_count());
                record.bytes
            }
            BlobRecord::Dropped { bytes } => *bytes,
        };
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

fn count_refs(reads: &impl Reads, recount: &mut Recount) -> Result<(), StoreError> {
    each(reads.rows(Column::Refs, &[], None), |row, _| {
        recount.ref_rows += 1;
        let Some((digest, key)) = parse_ref_key(row) else {
            recount.problem(|| "a reference cannot be read".to_owned());
            return;
        };
        if !exists(reads, Column::Entries, key.as_bytes()) {
            recount.problem(|| format!("{key} refers to a blob but is not there"));
        }
        if !exists(reads, Column::Blobs, digest.as_bytes()) {
            recount.problem(|| format!("blob {digest} is referred to but is not there"));
        }
    })
}

/// Counts the rows of `near`, and looks whether their entries have them.
fn count_near(reads: &impl Reads, recount: &mut Recount) -> Result<(), StoreError> {
    each(reads.rows(Column::Near, &[], None), |row, _| {
        recount.near_rows += 1;
        let Some((_, _, key)) = near::parse(row) else {
            recount.problem(|| "a row of `near` cannot be read".to_owned());
            return;
        };
        let entry = record::<EntryRecord>(reads, Column::Entries, key.as_bytes());
        let task =
            entry.map(|of| task_key(&of.scope, &of.task, &of.cache_version, &of.signature, &key));
        if let Some(task) = task {
            let listed = record::<TaskRecord>(reads, Column::Tasks, &task);
            let is_its = |of: TaskRecord| {
                near::rows(&task, of.created_at_ms, &of.inputs).iter().any(|near| near == row)
            };
            if !listed.is_some_and(is_its) {
                recount.problem(|| format!("a row of `near` is not that of entry {key}"));
            }
            return;
        }
        let grave = record::<Grave>(reads, Column::Graves, key.as_bytes());
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
