//! The memory and the places to write that all connections share, what of them one user may have,
//! and how long a peer may keep a part of them.
//!
//! **Invariants.** What is held for peers takes a share before it is reserved, so that it is
//! bounded however many peers there are; and no user has all of it. Who holds a share waits for
//! another without end only if that one's holders wait for nothing but their peers, so that no two
//! wait for each other: of each budget the user's part is taken first, then that of all. Peers
//! are borne with as long as there is room for all; once somebody waits for room, a peer that has
//! kept a transfer going for [`PRESSED_PATIENCE`] is cut off. Who waits for the user's part presses
//! that user's peers only. Places to write are taken last, and only writes are given up for them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::received::Received;
use super::users::part_of_user;

/// How long a transfer of one frame may take while others wait for room.
pub(crate) const PRESSED_PATIENCE: Duration = Duration::from_millis(250);
/// One in so many connections may wait for room to write at a time, ...
const WRITING_SHARE: usize = 8;
/// ... or these, if that is more.
const WRITING_LEAST: usize = 16;
/// A budget is counted in these, so that it fits a semaphore.
const UNIT_BYTES: usize = 1024;

/// How many of so many connections may wait for room to write at a time: each takes a descriptor
/// more.
pub(crate) const fn writing_max(connections_max: usize) -> usize {
    let share = connections_max / WRITING_SHARE;
    if share >= WRITING_LEAST {
        share
    } else if connections_max < WRITING_LEAST {
        connections_max
    } else {
        WRITING_LEAST
    }
}

/// What connections may hold in memory: all of them, and within that those of one user.
#[derive(Debug, Clone)]
pub(crate) struct Budgets {
    /// For requests that are larger than a few pages.
    pub(crate) requests: Budget,
    /// For replies that are, from before they are read from disk.
    pub(crate) replies: Budget,
    /// For the chunk that each upload gathers.
    pub(crate) uploads: Budget,
    /// For descriptors that peers send.
    pub(crate) received: Received,
    /// To wait for room to write, counted in places.
    writing: Budget,
    pressure: Pressure,
    /// That of those who wait for a place to write: nothing but a write gives one back.
    writing_pressure: Pressure,
}

impl Budgets {
    /// Budgets of so many bytes in all, and of so many places to write, as they are for one user.
    pub(crate) fn new(bytes: u64, writing_max: usize) -> Self {
        let (pressure, writing_pressure) = (Pressure::default(), Pressure::default());
        let budget = |bytes| Budget::new(units_within(bytes), &pressure);
        Self {
            // A user's part of the uploads is more than one connection can have open.
            requests: budget(bytes / 8 * 3),
            replies: budget(bytes / 4),
            uploads: budget(bytes / 8 * 3),
            received: Received::new(),
            writing: Budget::new(writing_max, &writing_pressure),
            pressure,
            writing_pressure,
        }
        .for_user()
    }

    /// The same memory, of which a further user may have its part.
    pub(crate) fn for_user(&self) -> Self {
        let pressure = self.pressure.for_user();
        let writing_pressure = self.writing_pressure.for_user();
        Self {
            requests: self.requests.for_user(&pressure.own),
            replies: self.replies.for_user(&pressure.own),
            uploads: self.uploads.for_user(&pressure.own),
            received: self.received.for_user(),
            writing: self.writing.for_user(&writing_pressure.own),
            pressure,
            writing_pressure,
        }
    }

    /// Whether and when somebody waits for room that this user holds.
    pub(crate) fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// The same of places to write.
    pub(crate) fn writing_pressure(&self) -> &Pressure {
        &self.writing_pressure
    }

    /// Waits for a place to wait for room to write.
    ///
    /// # Errors
    /// If there is none for so long.
    pub(crate) async fn place_to_write(&self, patience: Duration) -> Result<Share, TransferError> {
        let place = tokio::time::timeout(patience, self.writing.take(1)).await;
        place.map_err(|_| TransferError::NoPlace(patience))
    }
}

/// How many wait for room.
#[derive(Debug, Clone)]
struct Waiters(watch::Sender<usize>);

impl Default for Waiters {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Waiters {
    fn are_there(&self) -> bool {
        *self.0.borrow() > 0
    }

    async fn come(&self) {
        // The sender is in this very struct, so it is never gone.
        let _ = self.0.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// Whether somebody waits for room that a user's peers hold: anybody for that of all, or the user
/// itself for its part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pressure {
    all: Waiters,
    own: Waiters,
}

impl Pressure {
    /// The same for a further user.
    fn for_user(&self) -> Self {
        Self { all: self.all.clone(), own: Waiters::default() }
    }

    /// Whether somebody waits now.
    pub(crate) fn is_on(&self) -> bool {
        self.all.are_there() || self.own.are_there()
    }

    /// Waits for this moment, and then until somebody waits for room.
    pub(crate) async fn from(&self, moment: Instant) {
        tokio::time::sleep_until(moment).await;
        tokio::select! {
            () = self.all.come() => {}
            () = self.own.come() => {}
        }
    }
}

/// Counts somebody as waiting for room.
struct Waiting<'a>(&'a Waiters);

impl<'a> Waiting<'a> {
    fn begin(waiters: &'a Waiters) -> Self {
        waiters.0.send_modify(|waiting| *waiting += 1);
        Self(waiters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|waiting| *waiting -= 1);
    }
}

/// So much memory, for one purpose, and a user's part of it.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    all: Pool,
    own: Pool,
}

/// So much memory.
#[derive(Debug, Clone)]
struct Pool {
    units: Arc<Semaphore>,
    units_max: u32,
    waiters: Waiters,
}

/// A share of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    permits: [OwnedSemaphorePermit; 2],
}

impl Pool {
    fn new(units: usize, waiters: &Waiters) -> Self {
        let units_max = u32::try_from(units).unwrap_or(u32::MAX);
        Self { units: Arc::new(Semaphore::new(units)), units_max, waiters: waiters.clone() }
    }

    fn try_take(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.units).try_acquire_many_owned(units).ok()
    }

    /// Fair: the first to ask is the first to get.
    async fn take(&self, units: u32) -> OwnedSemaphorePermit {
        if let Some(permit) = self.try_take(units) {
            return permit;
        }
        let _waiting = Waiting::begin(&self.waiters);
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await;
        permit.expect("the budget's semaphore is never closed")
    }
}

impl Budget {
    fn new(units: usize, pressure: &Pressure) -> Self {
        let [all, own] = [&pressure.all, &pressure.own].map(|waiters| Pool::new(units, waiters));
        Self { all, own }
    }

    fn for_user(&self, waiters: &Waiters) -> Self {
        let units = usize::try_from(self.all.units_max).unwrap_or(usize::MAX);
        Self { all: self.all.clone(), own: Pool::new(part_of_user(units), waiters) }
    }

    /// No share is larger than what one user may have, or it would be waited for in vain.
    fn units_of(&self, bytes: usize) -> u32 {
        units(bytes).min(self.own.units_max)
    }

    /// A share of this size, if there is room.
    pub(crate) fn try_share(&self, bytes: usize) -> Option<Share> {
        let units = self.units_of(bytes);
        Some(Share { permits: [self.own.try_take(units)?, self.all.try_take(units)?] })
    }

    /// Waits for a share of this size.
    pub(crate) async fn share(&self, bytes: usize) -> Share {
        self.take(self.units_of(bytes)).await
    }

    async fn take(&self, units: u32) -> Share {
        let own = self.own.take(units).await;
        Share { permits: [own, self.all.take(units).await] }
    }
}

impl Share {
    /// Gives back what is beyond this size.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let kept = usize::try_from(units(bytes)).unwrap_or(usize::MAX);
        for permit in &mut self.permits {
            drop(permit.split(permit.num_permits().saturating_sub(kept)));
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

fn units_within(bytes: u64) -> usize {
    let units = usize::try_from(bytes).unwrap_or(usize::MAX) / UNIT_BYTES;
    units.min(Semaphore::MAX_PERMITS)
}

/// One frame on its way to or from a peer.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    pub(crate) began: Instant,
    pub(crate) stall_timeout: Duration,
    /// Absent if nobody gains anything by ending it.
    pub(crate) pressure: Option<&'a Pressure>,
    /// That of those who wait for the place that it has.
    pub(crate) writing_pressure: Option<&'a Pressure>,
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
    /// The peer was slow while others waited for the place.
    #[error("a frame took longer than {0:?} while others were waiting for a place to write")]
    Crowded(Duration),
    /// All places to write were taken for too long.
    #[error("there was no place to write for {0:?}")]
    NoPlace(Duration),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<'a> Transfer<'a> {
    /// Waits for the peer's next step.
    ///
    /// # Errors
    /// If it does not come in time.
    pub(crate) async fn step<T>(
        &self,
        step: impl Future<Output = io::Result<T>>,
    ) -> Result<T, TransferError> {
        let pressed = |by: Option<&'a Pressure>| async move {
            match by {
                Some(pressure) => pressure.from(self.began + PRESSED_PATIENCE).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = step => Ok(done?),
            () = pressed(self.pressure) => Err(TransferError::Pressed(PRESSED_PATIENCE)),
            () = pressed(self.writing_pressure) => Err(TransferError::Crowded(PRESSED_PATIENCE)),
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
        let budgets = Budgets::new(8 << 20, 4);
        let whole = budgets.requests.try_share(usize::MAX).expect("all that a user may have");
        assert!(budgets.requests.try_share(1).is_none());
        assert!(budgets.replies.try_share(1 << 20).is_some(), "another budget has its own room");
        drop(whole);
        let mut share = budgets.requests.try_share(2 << 20).expect("it came back");
        share.shrink(1 << 20);
        share.shrink(2 << 20);
        let left = (9 << 18) - (1 << 20);
        assert!(budgets.requests.try_share(left).is_some());
        assert!(budgets.requests.try_share(left + 1).is_none());
    }

    #[tokio::test]
    async fn no_user_has_all_and_who_waits_for_its_own_part_presses_nobody_else() {
        let greedy = Budgets::new(8 << 20, 4);
        let quiet = greedy.for_user();
        let held = greedy.requests.share(usize::MAX).await;
        let waiting = tokio::spawn({
            let greedy = greedy.requests.clone();
            async move { greedy.share(1).await }
        });
        greedy.pressure().from(Instant::now()).await;
        assert!(greedy.pressure().is_on() && !quiet.pressure().is_on());
        // A quarter of 3 MiB is left for others, who press everybody once that is gone.
        let rest = quiet.requests.try_share(3 << 18).expect("a quarter is left");
        let quiet_waits = tokio::spawn({
            let quiet = quiet.requests.clone();
            async move { quiet.share(1).await }
        });
        quiet.pressure().from(Instant::now()).await;
        assert!(greedy.pressure().is_on());
        drop(rest);
        quiet_waits.await.expect("there is room");
        assert!(!quiet.pressure().is_on() && greedy.pressure().is_on());
        drop(held);
        waiting.await.expect("there is room");
        assert!(!greedy.pressure().is_on());
    }

    #[tokio::test]
    async fn no_user_has_all_places_to_write_and_who_waits_for_one_presses_writes_alone() {
        let greedy = Budgets::new(8 << 20, 4);
        let quiet = greedy.for_user();
        let (at_once, long) = (Duration::ZERO, Duration::from_secs(3600));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(greedy.place_to_write(at_once).await.expect("its part"));
        }
        let beyond = greedy.place_to_write(at_once).await;
        assert!(matches!(beyond, Err(TransferError::NoPlace(_))), "it has its part: {beyond:?}");
        assert!(!greedy.writing_pressure().is_on(), "nobody waits any more");
        let _left = quiet.place_to_write(at_once).await.expect("what is left for others");
        let waiting = tokio::spawn({
            let greedy = greedy.clone();
            async move { greedy.place_to_write(long).await }
        });
        let began = Instant::now().checked_sub(PRESSED_PATIENCE).expect("the machine is up longer");
        greedy.writing_pressure().from(began).await;
        assert!(!greedy.pressure().is_on() && !quiet.writing_pressure().is_on());
        let pressure = Some(greedy.pressure());
        let request = Transfer { began, stall_timeout: long, pressure, writing_pressure: None };
        let reply = Transfer { writing_pressure: Some(greedy.writing_pressure()), ..request };
        let never = std::future::pending::<io::Result<()>>;
        assert!(matches!(reply.step(never()).await, Err(TransferError::Crowded(_))));
        let borne = tokio::time::timeout(Duration::from_millis(20), request.step(never()));
        assert!(borne.await.is_err(), "what has no place was given up for one");
        drop(held.pop());
        waiting.await.expect("no test has panicked").expect("one came back");
    }

    #[test]
    fn an_eighth_of_the_connections_may_wait_to_write_and_of_few_all() {
        assert_eq!([1, 16, 17, 128, 200, 12_000].map(writing_max), [1, 16, 16, 16, 25, 1500]);
    }

    #[tokio::test]
    async fn a_slow_transfer_is_borne_with_until_somebody_waits() {
        let budgets = Budgets::new(8 << 20, 4);
        let held = budgets.replies.share(usize::MAX).await;
        let began = Instant::now().checked_sub(PRESSED_PATIENCE).expect("the machine is up longer");
        let pressure = Some(budgets.pressure());
        let stall_timeout = Duration::from_secs(3600);
        let patient = Transfer { began, stall_timeout, pressure, writing_pressure: None };
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
