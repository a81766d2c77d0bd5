//! Whether there is room for what is to be stored.
//!
//! **Invariants.** What a group admits stays within every budget, together with what is stored and
//! with the content of uploads that no entry owns yet: a put is asked for as much as it may need at
//! the most, before anything of it is written. While there is less free space on the disk than is
//! kept in reserve, nothing is admitted.
//!
//! What can never fit is refused before anything is evicted for it: an entry that is larger than
//! one may be, or than its scope or its user may have.
//!
//! **Does not** make room: who is refused says what is full, and the writer evicts.

use std::collections::HashMap;

use crate::budgets::Budgets;
use crate::disk::Shortage;
use crate::error::StoreError;
use crate::limits::UPLOADS_SHARE;
use crate::overlay::Owner;
use crate::schema::Account;
use crate::shared::Shared;

/// How many bytes a change may need at the most.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Need {
    /// Of the store's budget.
    pub(crate) store: u64,
    /// Of those of its scope and its user.
    pub(crate) account: u64,
}

/// What has no room for a change.
#[derive(Debug, Clone)]
pub(crate) enum Full {
    /// A budget; that of the store if there is no account.
    Budget { of: Option<Account>, limit: u64, used: u64, uploading: u64, need: u64 },
    /// The store, for one entry.
    Entry { most: u64, need: u64 },
    /// The share of the store up to which entries are evicted for uploads.
    Uploads { limit: u64, uploading: u64, need: u64 },
    /// The disk.
    Disk(Shortage),
}

impl Full {
    /// What to tell if no room can be made.
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Budget { of: None, limit, used, uploading, need } => {
                StoreError::StoreFull { limit, used, uploading, need }
            }
            Self::Budget { of: Some(Account::Scope(scope)), limit, used, need, .. } => {
                StoreError::ScopeFull { scope, limit, used, need }
            }
            Self::Budget { of: Some(Account::User(uid)), limit, used, uploading, need } => {
                StoreError::UserFull { uid, limit, used, uploading, need }
            }
            Self::Entry { most, need } => StoreError::EntryTooLarge { most, need },
            Self::Uploads { limit, uploading, need } => {
                let share = limit / UPLOADS_SHARE;
                StoreError::UploadsFull { limit, share, uploading, need }
            }
            Self::Disk(Shortage { free, unflushed, reserve }) => {
                StoreError::DiskLow { free, unflushed, reserve }
            }
        }
    }
}

/// What has no room for so many bytes, whatever is evicted, if anything has not.
pub(crate) fn never_fits(budgets: &Budgets, need: u64, owner: Option<&Owner>) -> Option<Full> {
    if let Some(most) = budgets.entry_bytes_max().filter(|most| need > *most) {
        return Some(Full::Entry { most, need });
    }
    let (of, limit) = accounts(budgets, owner?).find(|(_, limit)| need > *limit)?;
    Some(Full::Budget { of: Some(of), limit, used: 0, uploading: 0, need })
}

/// Who is charged, with what they may have, if that is bounded.
fn accounts(budgets: &Budgets, owner: &Owner) -> impl Iterator<Item = (Account, u64)> {
    let scope = budgets.of_scope(&owner.scope);
    let user = budgets.of_user(owner.uid);
    let scope = scope.map(|limit| (Account::Scope(owner.scope.clone()), limit));
    scope.into_iter().chain(user.map(|limit| (Account::User(owner.uid), limit)))
}

/// What a group may still store.
pub(crate) struct Room<'a> {
    shared: &'a Shared,
    /// Bytes that are stored, or belong to uploads under way.
    used: u64,
    /// Those of them that belong to uploads under way.
    uploading: u64,
    /// Bytes that the group has admitted.
    admitted: u64,
    by_account: HashMap<Account, u64>,
    /// Content of uploads that the group writes, by storage, and storages that are gone.
    pub(crate) loose: Vec<(u64, u64)>,
    pub(crate) reaped: Vec<u64>,
}

impl<'a> Room<'a> {
    /// `stored`: bytes of entries; `uploading`: those of uploads under way.
    pub(crate) fn new(shared: &'a Shared, stored: u64, uploading: u64) -> Self {
        Self {
            shared,
            used: stored.saturating_add(uploading),
            uploading,
            admitted: 0,
            by_account: HashMap::new(),
            loose: Vec::new(),
            reaped: Vec::new(),
        }
    }

    /// Admits a chunk of an upload, or says what is full. Only for one that was announced, or as
    /// long as uploads hold little, that is something for which room can be made.
    pub(crate) fn admit_chunk(
        &mut self,
        storage: u64,
        bytes: u64,
        is_promised: bool,
    ) -> Option<Full> {
        // No account is asked, so nothing is read that could fail.
        let full = self.admit(Need { store: bytes, account: 0 }, None).ok().flatten();
        match full {
            None => {
                self.loose.push((storage, bytes));
                self.uploading = self.uploading.saturating_add(bytes);
                None
            }
            Some(Full::Budget { limit, uploading, need, .. })
                if !is_promised && uploading.saturating_add(need) > limit / UPLOADS_SHARE =>
            {
                Some(Full::Uploads { limit, uploading, need })
            }
            full => full,
        }
    }

    /// Admits a change, or says what is full. `owner`: who is charged for it.
    pub(crate) fn admit(
        &mut self,
        need: Need,
        owner: Option<&Owner>,
    ) -> Result<Option<Full>, StoreError> {
        if let Some(short) = self.shared.shortage_with(self.admitted + need.store) {
            return Ok(Some(Full::Disk(short)));
        }
        let budgets = self.shared.budgets();
        if let Some(full) = never_fits(&budgets, need.account, owner) {
            return Ok(Some(full));
        }
        let uploading = self.uploading;
        if let Some(limit) = budgets.store_bytes_max {
            let used = self.used.saturating_add(self.admitted);
            if used.saturating_add(need.store) > limit {
                let need = need.store;
                return Ok(Some(Full::Budget { of: None, limit, used, uploading, need }));
            }
        }
        let accounts: Vec<_> =
            owner.into_iter().flat_map(|owner| accounts(&budgets, owner)).collect();
        for (account, limit) in &accounts {
            let stored = self.shared.books.load(&self.shared.db, account)?.bytes;
            let admitted = self.by_account.get(account).copied().unwrap_or(0);
            let used = stored.saturating_add(admitted);
            if used.saturating_add(need.account) > *limit {
                let of = Some(account.clone());
                let (limit, need) = (*limit, need.account);
                return Ok(Some(Full::Budget { of, limit, used, uploading: 0, need }));
            }
        }
        self.admitted = self.admitted.saturating_add(need.store);
        for (account, _) in accounts {
            let admitted = self.by_account.entry(account).or_default();
            *admitted = admitted.saturating_add(need.account);
        }
        Ok(None)
    }

    /// The group removes a storage.
    pub(crate) fn note_reaped(&mut self, storage: u64) {
        self.reaped.push(storage);
    }
}
