//! Whether there is room for what is to be stored.
//!
//! **Invariants.** What a group admits stays within every budget, together with what is stored and
//! with the content of uploads that no entry owns yet: a put is asked for as much as it may need at
//! the most, before anything of it is written. While there is less free space on the disk than is
//! kept in reserve, nothing is admitted.
//!
//! **Does not** make room: who is refused says what is full, and the writer evicts.

use std::collections::HashMap;

use crate::error::StoreError;
use crate::overlay::Owner;
use crate::schema::Account;
use crate::store::Shared;

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
    Budget { of: Option<Account>, limit: u64, used: u64, need: u64 },
    /// The disk.
    Disk { free: u64, reserve: u64 },
}

impl Full {
    /// What to tell if no room can be made.
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Budget { of: None, limit, used, need } => {
                StoreError::StoreFull { limit, used, need }
            }
            Self::Budget { of: Some(Account::Scope(scope)), limit, used, need } => {
                StoreError::ScopeFull { scope, limit, used, need }
            }
            Self::Budget { of: Some(Account::User(uid)), limit, used, need } => {
                StoreError::UserFull { uid, limit, used, need }
            }
            Self::Disk { free, reserve } => StoreError::DiskLow { free, reserve },
        }
    }
}

/// What a group may still store.
pub(crate) struct Room<'a> {
    shared: &'a Shared,
    /// Bytes that are stored, or belong to uploads under way.
    used: u64,
    /// Bytes that the group has admitted.
    admitted: u64,
    by_account: HashMap<Account, u64>,
    /// Content of uploads that the group writes, by storage, and storages that are gone.
    pub(crate) loose: Vec<(u64, u64)>,
    pub(crate) reaped: Vec<u64>,
}

impl<'a> Room<'a> {
    pub(crate) fn new(shared: &'a Shared, used: u64) -> Self {
        let (loose, reaped) = (Vec::new(), Vec::new());
        Self { shared, used, admitted: 0, by_account: HashMap::new(), loose, reaped }
    }

    /// Admits a change, or says what is full. `owner`: who is charged for it.
    pub(crate) fn admit(
        &mut self,
        need: Need,
        owner: Option<&Owner>,
    ) -> Result<Option<Full>, StoreError> {
        if let Some((free, reserve)) = self.shared.disk.shortage() {
            return Ok(Some(Full::Disk { free, reserve }));
        }
        let budgets = self.shared.budgets();
        if let Some(limit) = budgets.store_bytes_max {
            let used = self.used.saturating_add(self.admitted);
            if used.saturating_add(need.store) > limit {
                return Ok(Some(Full::Budget { of: None, limit, used, need: need.store }));
            }
        }
        let accounts = owner.map(|owner| {
            let scope = budgets.of_scope(&owner.scope);
            let user = budgets.of_user(owner.uid);
            [
                scope.map(|limit| (Account::Scope(owner.scope.clone()), limit)),
                user.map(|limit| (Account::User(owner.uid), limit)),
            ]
        });
        let accounts = || accounts.iter().flatten().flatten();
        for (account, limit) in accounts() {
            let stored = self.shared.books.load(&self.shared.db, account)?.bytes;
            let admitted = self.by_account.get(account).copied().unwrap_or(0);
            let used = stored.saturating_add(admitted);
            if used.saturating_add(need.account) > *limit {
                let of = Some(account.clone());
                return Ok(Some(Full::Budget { of, limit: *limit, used, need: need.account }));
            }
        }
        self.admitted = self.admitted.saturating_add(need.store);
        for (account, _) in accounts() {
            let admitted = self.by_account.entry(account.clone()).or_default();
            *admitted = admitted.saturating_add(need.account);
        }
        Ok(None)
    }

    /// The group writes content of an upload.
    pub(crate) fn note_loose(&mut self, storage: u64, bytes: u64) {
        self.loose.push((storage, bytes));
    }

    /// The group removes a storage.
    pub(crate) fn note_reaped(&mut self, storage: u64) {
        self.reaped.push(storage);
    }
}
