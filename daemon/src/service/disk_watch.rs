//! Watches a store that takes no changes because its disk failed it, or because of damage.
//!
//! **Invariants.** As long as nothing fails, nothing is asked of the disk, but for one look at all
//! files when it begins: opening looks at some of them only.

use std::time::{Duration, Instant};

use memod_store::Trial;

use super::{Service, pool};

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a store is given to recover by itself once a full disk has room again: the database
/// looks every five seconds.
const RECOVERY: Duration = Duration::from_secs(6);
/// A daemon serves at least as long before it is given up, so that one that fails again and again
/// does not do so all the time, nor more often than systemd bears.
const SERVICE_MIN: Duration = Duration::from_secs(2);

impl Service {
    /// Why the store has to be opened again.
    pub(crate) fn why_stuck(&self) -> &'static str {
        if self.store.has_met_damage() {
            "the store has met damage, which is mended when it is opened again"
        } else {
            "the disk can be written again, and the store cannot"
        }
    }

    /// Waits until the store has to be opened again, because it takes no changes although the disk
    /// does.
    pub(crate) async fn until_stuck(&self) {
        let store = self.store.clone();
        if let Err(error) = pool::run(move || store.examine()).await {
            tracing::warn!(?error, "the files of the store have not been looked at");
        }
        let mut stuck_since = None;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            // A compaction that fails by itself is told to nobody.
            if !self.store.is_halted() && !self.store.has_failed_behind() {
                stuck_since = None;
                continue;
            }
            let store = self.store.clone();
            let patience = match pool::run(move || store.try_again()).await {
                Ok(Trial::Stuck { may_recover: true }) => RECOVERY,
                Ok(Trial::Stuck { may_recover: false }) => Duration::ZERO,
                Ok(Trial::Works) => {
                    tracing::warn!("the store takes changes again");
                    stuck_since = None;
                    continue;
                }
                Ok(Trial::DiskRefuses) | Err(_) => {
                    stuck_since = None;
                    continue;
                }
            };
            let since: Instant = *stuck_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= patience && self.started.elapsed() >= SERVICE_MIN {
                return;
            }
        }
    }
}
