//! What is charged to scopes and users.
//!
//! **Invariants.** An entry is charged to its scope and to who wrote it: its rows, and the blobs
//! for which it pays. Each blob that an entry refers to is paid for by exactly one: the one that
//! brought it, and when that goes, another. So the charges of all scopes add up to the bytes of the
//! store, and so do those of all users. They are written in the batch with what they charge.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use memod_protocol::{Scope, wire};

use crate::error::StoreError;
use crate::limits::USAGES_KNOWN_MAX;
use crate::overlay::Owner;
use crate::record::Usage;
use crate::rocks::{Database, Read, Reads, Tier};
use crate::schema::{Account, Column, META_USAGE, parse_usage_key, prefix_end, usage_key};

impl Usage {
    fn with(self, change: &Change) -> Self {
        let changed = |is: u64, plus: u64, minus| is.saturating_add(plus).saturating_sub(minus);
        Self {
            entries: changed(self.entries, change.entries_plus, change.entries_minus),
            bytes: changed(self.bytes, change.bytes_plus, change.bytes_minus),
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// How a group changes what is charged to an account.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    entries_plus: u64,
    entries_minus: u64,
    bytes_plus: u64,
    bytes_minus: u64,
}

/// How a group changes what is charged.
#[derive(Debug, Default)]
pub(crate) struct Charges {
    changes: HashMap<Account, Change>,
}

impl Charges {
    fn each(&mut self, owner: &Owner, change: impl Fn(&mut Change)) {
        change(self.changes.entry(Account::Scope(owner.scope.clone())).or_default());
        change(self.changes.entry(Account::User(owner.uid)).or_default());
    }

    /// Charges an entry's rows.
    pub(crate) fn add_entry(&mut self, owner: &Owner, bytes: u64) {
        self.each(owner, |of| {
            of.entries_plus += 1;
            of.bytes_plus += bytes;
        });
    }

    /// Takes the charge for an entry's rows back.
    pub(crate) fn drop_entry(&mut self, owner: &Owner, bytes: u64) {
        self.each(owner, |of| {
            of.entries_minus += 1;
            of.bytes_minus += bytes;
        });
    }

    /// Charges a blob.
    pub(crate) fn add_blob(&mut self, owner: &Owner, bytes: u64) {
        self.each(owner, |of| of.bytes_plus += bytes);
    }

    /// Takes the charge for a blob back.
    pub(crate) fn drop_blob(&mut self, owner: &Owner, bytes: u64) {
        self.each(owner, |of| of.bytes_minus += bytes);
    }

    /// What each account is charged when the changes are made. An account whose row cannot be read
    /// is left as it is.
    pub(crate) fn settle(self, books: &Books, db: &Database) -> Vec<(Account, Usage)> {
        let settle = |(account, change): (Account, Change)| match books.load(db, &account) {
            Ok(usage) => Some((account, usage.with(&change))),
            Err(error) => {
                tracing::error!(%account, %error, "what is charged to it cannot be read");
                None
            }
        };
        self.changes.into_iter().filter_map(settle).collect()
    }
}

/// The charges that are known without reading.
#[derive(Debug, Default)]
pub(crate) struct Books {
    known: Mutex<HashMap<Account, Usage>>,
}

impl Books {
    fn locked(&self) -> MutexGuard<'_, HashMap<Account, Usage>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is charged to an account.
    pub(crate) fn load(&self, db: &Database, account: &Account) -> Result<Usage, StoreError> {
        if let Some(usage) = self.locked().get(account) {
            return Ok(*usage);
        }
        let key = usage_key(account);
        let read = db.read(Column::Meta, &key, Tier::Disk, wire::decode_record::<Usage>)?;
        Ok(match read {
            Read::Row(Ok(usage)) => usage,
            Read::Row(Err(error)) => {
                return Err(StoreError::Damaged { what: format!("a row of usage: {error}") });
            }
            Read::Absent | Read::WouldBlock => Usage::default(),
        })
    }

    /// What is charged has been made anew.
    pub(crate) fn forget(&self) {
        self.locked().clear();
    }

    /// Remembers what has been written.
    pub(crate) fn note(&self, written: Vec<(Account, Usage)>) {
        let mut known = self.locked();
        if known.len() + written.len() > USAGES_KNOWN_MAX {
            known.clear();
        }
        known.extend(written);
    }
}

/// What scopes and users have stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usages {
    /// By scope.
    pub scopes: Vec<(Scope, Usage)>,
    /// By user.
    pub users: Vec<(u32, Usage)>,
}

/// The rows of usage of some scopes and users, those with the most bytes first, at most so many of
/// each kind.
pub(crate) fn usages(
    db: &Database,
    limit: usize,
    scopes: &dyn Fn(&Scope) -> bool,
    users: &dyn Fn(u32) -> bool,
) -> Result<Usages, StoreError> {
    let mut usages = Usages::default();
    let mut rows = db.rows(Column::Meta, META_USAGE, prefix_end(META_USAGE));
    rows.first();
    while let Some((key, value)) = rows.row()? {
        match (parse_usage_key(key), wire::decode_record::<Usage>(value)) {
            (Some(Account::Scope(scope)), Ok(usage)) => {
                if scopes(&scope) {
                    usages.scopes.push((scope, usage));
                    trim(&mut usages.scopes, limit, limit);
                }
            }
            (Some(Account::User(uid)), Ok(usage)) => {
                if users(uid) {
                    usages.users.push((uid, usage));
                    trim(&mut usages.users, limit, limit);
                }
            }
            _ => tracing::warn!("a row of usage cannot be read and is left out"),
        }
        rows.forward();
    }
    trim(&mut usages.scopes, 0, limit);
    trim(&mut usages.users, 0, limit);
    Ok(usages)
}

/// Keeps the largest, if there are more than `slack` too many.
fn trim<T>(rows: &mut Vec<(T, Usage)>, slack: usize, limit: usize) {
    if rows.len() > limit.saturating_add(slack) || slack == 0 {
        rows.sort_by_key(|(_, usage)| Reverse(usage.bytes));
        rows.truncate(limit);
    }
}
