//! The memory that all connections share, and how long a peer may keep a part of it.
//!
//! **Invariants.** What is held for peers takes a share before it is reserved, so that it is
//! bounded however many peers there are. Who holds a share waits for another without end only if
//! that one's holders wait for nothing but their peers, so that no two wait for each other. Peers
//! are borne with as long as there is room for all; once somebody waits for room, a peer that has
//! kept a transfer going for [`PRESSED_PATIENCE`] is cut off.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// How long a transfer of one frame may take while others wait for room.
pub(crate) const PRESSED_PATIENCE: Duration = Duration::from_millis(250);
/// Descriptors that are held for frames that are still to be read, over all connections.
pub(crate) const RECEIVED_MAX: usize = 64;
/// A budget is counted in these, so that it fits a semaphore.
const UNIT_BYTES: usize = 1024;

/// What connections may hold in memory.
#[derive(Debug, Clone)]
pub(crate) struct Budgets {
    /// For requests that are larger than a few pages.
    pub(crate) requests: Budget,
    /// For replies that are, from before they are read from disk.
    pub(crate) replies: Budget,
    /// For the chunk that each upload gathers.
    pub(crate) uploads: Budget,
    /// For descriptors that peers send.
    pub(crate) received: Arc<Semaphore>,
    pressure: Pressure,
}

impl Budgets {
    /// Budgets of so many bytes in all.
    pub(crate) fn new(bytes: u64) -> Self {
        let pressure = Pressure { waiting: watch::Sender::new(0) };
        Self {
            requests: Budget::new(bytes / 2, &pressure),
            replies: Budget::new(bytes / 4, &pressure),
            uploads: Budget::new(bytes / 4, &pressure),
            received: Arc::new(Semaphore::new(RECEIVED_MAX)),
            pressure,
        }
    }

    /// Whether and when somebody waits for room.
    pub(crate) fn pressure(&self) -> &Pressure {
        &self.pressure
    }
}

/// Whether somebody waits for room in any of the budgets.
#[derive(Debug, Clone)]
pub(crate) struct Pressure {
    waiting: watch::Sender<usize>,
}

impl Pressure {
    /// Whether somebody waits now.
    pub(crate) fn is_on(&self) -> bool {
        *self.waiting.borrow() > 0
    }

    /// Waits for this moment, and then until somebody waits for room.
    pub(crate) async fn from(&self, moment: Instant) {
        tokio::time::sleep_until(moment).await;
        // The sender is in this very struct, so it is never gone.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// Counts somebody as waiting for room.
struct Waiting<'a>(&'a Pressure);

impl<'a> Waiting<'a> {
    fn begin(pressure: &'a Pressure) -> Self {
        pressure.waiting.send_modify(|waiting| *waiting += 1);
        Self(pressure)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

/// So much memory, for one purpose.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    units_max: u32,
    pressure: Pressure,
}

/// A share of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    permit: OwnedSemaphorePermit,
}

impl Budget {
    fn new(bytes: u64, pressure: &Pressure) -> Self {
        let units = usize::try_from(bytes).unwrap_or(usize::MAX) / UNIT_BYTES;
        let units = units.min(Semaphore::MAX_PERMITS);
        let units_max = u32::try_from(units).unwrap_or(u32::MAX);
        Self { units: Arc::new(Semaphore::new(units)), units_max, pressure: pressure.clone() }
    }

    /// No share is larger than the whole budget, or it would be waited for in vain.
    fn units_of(&self, bytes: usize) -> u32 {
        units(bytes).min(self.units_max)
    }

    /// A share of this size, if there is room.
    pub(crate) fn try_share(&self, bytes: usize) -> Option<Share> {
        let permit = Arc::clone(&self.units).try_acquire_many_owned(self.units_of(bytes));
        permit.ok().map(|permit| Share { permit })
    }

    /// Waits for a share of this size. Fair: the first to ask is the first to get.
    pub(crate) async fn share(&self, bytes: usize) -> Share {
        if let Some(share) = self.try_share(bytes) {
            return share;
        }
        let _waiting = Waiting::begin(&self.pressure);
        let permit = Arc::clone(&self.units).acquire_many_owned(self.units_of(bytes)).await;
        Share { permit: permit.expect("the budget's semaphore is never closed") }
    }
}

impl Share {
    /// Gives back what is beyond this size.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let kept = usize::try_from(units(bytes)).unwrap_or(usize::MAX);
        drop(self.permit.split(self.permit.num_permits().saturating_sub(kept)));
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// One frame on its way to or from a peer.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    pub(crate) began: Instant,
    pub(crate) stall_timeout: Duration,
    /// Absent if nobody gains anything by ending it.
    pub(crate) pressure: Option<&'a Pressure>,
}

/// Why a transfer was given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// The peer did nothing for too long.
    #[error("no byte came for {0:?} in the middle of a frame")]
    Stalled(Duration),
    /// The peer was slow while others waited for the memory.
    #[error("a frame took longer than {0:?} while others were waiting for the memory it held")]
    Pressed(Duration),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Transfer<'_> {
    /// Waits for the peer's next step.
    ///
    /// # Errors
    /// If it does not come in time.
    pub(crate) async fn step<T>(
        &self,
        step: impl Future<Output = io::Result<T>>,
    ) -> Result<T, TransferError> {
        let pressed = async {
            match self.pressure {
                Some(pressure) => pressure.from(self.began + PRESSED_PATIENCE).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = step => Ok(done?),
            () = pressed => Err(TransferError::Pressed(PRESSED_PATIENCE)),
            () = tokio::time::sleep(self.stall_timeout) => {
                Err(TransferError::Stalled(self.stall_timeout))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_larger_than_the_budget_and_comes_back() {
        let budgets = Budgets::new(8 << 20);
        let whole = budgets.requests.try_share(usize::MAX).expect("all of it");
        assert!(budgets.requests.try_share(1).is_none());
        assert!(budgets.replies.try_share(2 << 20).is_some(), "another budget has its own room");
        drop(whole);
        let mut share = budgets.requests.try_share(4 << 20).expect("it came back");
        share.shrink(1 << 20);
        share.shrink(2 << 20);
        assert!(budgets.requests.try_share(3 << 20).is_some());
        assert!(budgets.requests.try_share((3 << 20) + 1).is_none());
    }

    #[tokio::test]
    async fn a_slow_transfer_is_borne_with_until_somebody_waits() {
        let budgets = Budgets::new(8 << 20);
        let held = budgets.replies.share(2 << 20).await;
        let began = Instant::now().checked_sub(PRESSED_PATIENCE).expect("the machine is up longer");
        let pressure = Some(budgets.pressure());
        let patient = Transfer { began, stall_timeout: Duration::from_secs(3600), pressure };
        let never = std::future::pending::<io::Result<()>>;
        let nobody_waits = tokio::time::timeout(Duration::from_millis(20), patient.step(never()));
        assert!(nobody_waits.await.is_err(), "it was given up though nobody waited");
        let replies = budgets.replies.clone();
        let waiting = tokio::spawn(async move { replies.share(1).await });
        assert!(matches!(patient.step(never()).await, Err(TransferError::Pressed(_))));
        assert!(budgets.pressure().is_on());
        drop(held);
        waiting.await.expect("there is room now");
        assert!(!budgets.pressure().is_on());
        let stalling = Transfer { stall_timeout: Duration::from_millis(1), ..patient };
        assert!(matches!(stalling.step(never()).await, Err(TransferError::Stalled(_))));
    }
}
