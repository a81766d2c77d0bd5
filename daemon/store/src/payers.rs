//! Who pays for a blob that several entries may refer to.
//!
//! **Invariants.** Of the entries that refer to a blob one pays, and the value of its row in `refs`
//! says so: the one that brought it. When it goes and others stay, one of those pays from the same
//! batch on. Entries that were put apart pay besides, each for itself, so that what is charged to
//! who put them does not depend on others. A blob is removed only if no reference to it remains, in
//! the overlay or in the database; if the references cannot be read, it stays.

use std::collections::{HashMap, HashSet};

use memod_protocol::{Digest, Key};

use crate::group::Group;
use crate::overlay::{Owner, PendingEntry, PendingRefs, Standing};
use crate::record::{EntryRecord, ref_pays, ref_value};
use crate::rocks::{Database, Read, Reads, RocksError, Tier};
use crate::schema::{Column, parse_ref_key, ref_key};

/// What is known of a blob whose references have changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blob {
    /// It was not there before.
    pub(crate) is_new: bool,
    /// The entry that brought its content in this group.
    pub(crate) brought_by: Option<Key>,
}

/// Who refers to a blob when the group is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heir {
    Nobody,
    /// Somebody; who that is was not looked for, or cannot be read.
    Somebody,
    /// This entry, and perhaps others.
    Entry(Key),
}

impl Group<'_> {
    /// Writes the references to a blob that have changed, has one of them pay, and gives who
    /// refers to it now.
    pub(crate) fn seal_refs(
        &mut self,
        digest: &Digest,
        refs: &PendingRefs,
        blob: Blob,
        entries: &HashMap<Key, PendingEntry>,
    ) -> Heir {
        let db = &self.shared.db;
        let heir = find_heir(db, digest, refs);
        let paid = if blob.is_new { HashSet::new() } else { stored_payers(db, digest, refs) };
        let refers = |key: &Key| refs.keys.get(key) == Some(&true);
        let stays = |key: &&Key| refers(key);
        let mut pays: HashSet<Key> = paid.union(&refs.apart).filter(stays).copied().collect();
        // If it is there and none of them has paid, somebody who is not concerned pays for it.
        if pays.is_empty()
            && (blob.is_new || !paid.is_empty())
            && let Heir::Entry(heir) = heir
        {
            let payer = blob.brought_by.filter(refers).unwrap_or(heir);
            // One that stays as it is may have been put apart, and pay already.
            if refs.keys.contains_key(&payer) || !pays_stored(db, digest, &payer) {
                pays.insert(payer);
            }
        }
        for (key, refers) in &refs.keys {
            let row = ref_key(digest, key);
            if *refers {
                self.batch.put(db, Column::Refs, &row, &ref_value(pays.contains(key)));
            } else {
                self.batch.delete(db, Column::Refs, &row);
            }
        }
        for payer in pays.iter().filter(|payer| !refs.keys.contains_key(payer)) {
            self.batch.put(db, Column::Refs, &ref_key(digest, payer), &ref_value(true));
        }
        for owner in paid.iter().filter_map(|payer| entries.get(payer)?.stored_owner.as_ref()) {
            self.charges.drop_blob(owner, refs.bytes);
        }
        for owner in pays.iter().filter_map(|payer| owner_now(db, payer, entries)) {
            self.charges.add_blob(&owner, refs.bytes);
        }
        heir
    }
}

/// Which of the entries whose references have changed pay for the blob so far.
fn stored_payers(db: &Database, digest: &Digest, refs: &PendingRefs) -> HashSet<Key> {
    if let Some(alone) = refs.alone {
        return HashSet::from([alone]);
    }
    refs.keys.keys().filter(|key| pays_stored(db, digest, key)).copied().collect()
}

/// Whether an entry pays for the blob so far.
fn pays_stored(db: &Database, digest: &Digest, key: &Key) -> bool {
    match db.read(Column::Refs, &ref_key(digest, key), Tier::Disk, ref_pays) {
        Ok(read) => read == Read::Row(true),
        Err(error) => {
            tracing::error!(%digest, %error, "who pays for a blob cannot be read");
            false
        }
    }
}

/// Who is charged for an entry when the group is made.
fn owner_now(db: &Database, key: &Key, entries: &HashMap<Key, PendingEntry>) -> Option<Owner> {
    if let Some(pending) = entries.get(key) {
        return match &pending.now {
            Standing::Present(entry) => Some(Owner::of(entry)),
            Standing::Absent | Standing::Unreadable => None,
        };
    }
    let decode = |row: &[u8]| EntryRecord::decode(row).ok();
    let read = db.read(Column::Entries, key.as_bytes(), Tier::Disk, decode);
    if let Ok(Read::Row(Some(entry))) = read {
        return Some(Owner::of(&entry));
    }
    tracing::error!(%key, "who wrote the entry that is to pay for a blob cannot be read");
    None
}

/// Who refers to a blob. An entry of this group comes first, the one with the lowest key.
fn find_heir(db: &Database, digest: &Digest, refs: &PendingRefs) -> Heir {
    let referring = refs.keys.iter().filter(|(_, refers)| **refers).map(|(key, _)| key);
    if let Some(key) = referring.min() {
        return Heir::Entry(*key);
    }
    if refs.alone.is_some() {
        return Heir::Nobody;
    }
    // Any change that is no reference is the loss of one.
    let Some(near) = refs.keys.keys().next() else { return Heir::Somebody };
    find_ref(db, digest, refs, near).unwrap_or_else(|error| {
        tracing::error!(%digest, %error, "who refers to a blob cannot be read: it stays");
        Heir::Somebody
    })
}

/// Looks for a reference that stays, both ways from one that goes. Beginning at the first
/// reference instead would meet the remains of all that have been removed before, each time.
fn find_ref(
    db: &Database,
    digest: &Digest,
    refs: &PendingRefs,
    near: &Key,
) -> Result<Heir, RocksError> {
    let prefix = digest.as_bytes();
    let mut rows = db.rows_of_prefix(Column::Refs, prefix, u64::MAX);
    let stays = |row: &[u8]| match parse_ref_key(row) {
        Some((_, key)) if refs.keys.contains_key(&key) => None,
        Some((_, key)) => Some(Heir::Entry(key)),
        None => Some(Heir::Somebody),
    };
    rows.seek(&ref_key(digest, near));
    while let Some((row, _)) = rows.row()? {
        if let Some(heir) = stays(row) {
            return Ok(heir);
        }
        rows.forward();
    }
    rows.seek_back(&ref_key(digest, near));
    while let Some((row, _)) = rows.row()? {
        if let Some(heir) = stays(row) {
            return Ok(heir);
        }
        rows.back();
    }
    Ok(Heir::Nobody)
}
