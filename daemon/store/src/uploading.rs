//! Uploads under way: what each user holds in them, and what has been promised to those that were
//! announced.
//!
//! Entries are evicted for an upload only if it was announced, and so judged as a whole before its
//! first byte came, or as long as all uploads together hold no more than a share of the store, of
//! which [`crate::room`] knows.
//!
//! **Invariants.** What a user's uploads hold is never more than the user may have. What has been
//! promised is never more, in all, than one entry may have; who would go beyond it is promised
//! nothing. What is held is given back when the upload goes, whatever becomes of it.
//!
//! **Does not** know what is on the disk: the writer counts that.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memod_protocol::Scope;

use crate::error::StoreError;
use crate::overlay::Owner;
use crate::room::{Full, never_fits};
use crate::shared::Shared;

#[derive(Debug, Default)]
struct Held {
    by_user: HashMap<u32, u64>,
    promised: u64,
}

impl Held {
    fn take(&mut self, uid: u32, bytes: u64, limit: Option<u64>) -> Result<(), StoreError> {
        let used = self.by_user.get(&uid).copied().unwrap_or(0);
        if let Some(limit) = limit
            && used.saturating_add(bytes) > limit
        {
            return Err(StoreError::UserFull { uid, limit, used, uploading: used, need: bytes });
        }
        self.by_user.insert(uid, used.saturating_add(bytes));
        Ok(())
    }

    fn give_back(&mut self, uid: u32, bytes: u64) {
        if let Some(held) = self.by_user.get_mut(&uid) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                self.by_user.remove(&uid);
            }
        }
    }
}

/// What uploads under way hold.
#[derive(Debug, Default)]
pub(crate) struct Uploading {
    held: Mutex<Held>,
}

impl Uploading {
    fn locked(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an upload of this user hold so many bytes more; `limit`: what the user may have.
    pub(crate) fn take(&self, uid: u32, bytes: u64, limit: Option<u64>) -> Result<(), StoreError> {
        self.locked().take(uid, bytes, limit)
    }

    pub(crate) fn give_back(&self, uid: u32, bytes: u64) {
        self.locked().give_back(uid, bytes);
    }
}

/// Room for the uploads of one run that was announced. Clones are the same promise; it is given
/// back with the last of them.
#[derive(Clone)]
pub struct Promise {
    of: Arc<Promised>,
}

struct Promised {
    shared: Arc<Shared>,
    uid: u32,
    bytes: u64,
    left: AtomicU64,
}

impl Promise {
    /// Uses so many bytes of it up, if there are as many left.
    pub(crate) fn draw(&self, bytes: u64) -> bool {
        let less = |left: u64| left.checked_sub(bytes);
        self.of.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Promise({} bytes)", self.of.bytes)
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        let mut held = self.shared.uploading.locked();
        held.give_back(self.uid, self.bytes);
        held.promised = held.promised.saturating_sub(self.bytes);
    }
}

/// Judges a run whose outputs have so many bytes before any of them is uploaded, and promises room
/// for them; none if too much has been promised already.
///
/// # Errors
/// If it would be refused whatever is evicted.
pub(crate) fn announce(
    shared: &Arc<Shared>,
    scope: &Scope,
    uid: u32,
    bytes: u64,
) -> Result<Option<Promise>, StoreError> {
    let budgets = &shared.budgets();
    let owner = Owner { scope: scope.clone(), uid };
    if let Some(full) = never_fits(budgets, bytes, Some(&owner)) {
        return Err(full.into_error());
    }
    if let Some(short) = shared.shortage_with(bytes) {
        return Err(Full::Disk(short).into_error());
    }
    let most = budgets.entry_bytes_max().unwrap_or(u64::MAX);
    let mut held = shared.uploading.locked();
    let promised = held.promised.saturating_add(bytes);
    if promised > most {
        return Ok(None);
    }
    held.take(uid, bytes, budgets.of_user(uid))?;
    held.promised = promised;
    drop(held);
    let (shared, left) = (Arc::clone(shared), AtomicU64::new(bytes));
    Ok(Some(Promise { of: Arc::new(Promised { shared, uid, bytes, left }) }))
}
