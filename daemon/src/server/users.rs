//! The users who are connected, and what each of them may have at a time.
//!
//! **Invariants.** Of everything that connections share, no user has more than three quarters; so
//! there is always something left for others. The daemon's own user and root may have all
//! connections: often nobody else can connect. Some are kept for these two, so that whoever comes
//! to see what is going on is not locked out by users who together have all others.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::available_parallelism;
use std::time::Duration;

use memod_protocol::{ErrorCode, WireError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{Budgets, writing_max};
use super::turns::Turns;
use crate::grants::OVERFLOW_ID;
use crate::service::WORKING_THREADS_MAX;

/// Requests in flight, over all connections, that have to leave the connection's own thread.
const REQUESTS_MAX: usize = 2048;
/// Those of one user.
const REQUESTS_OF_USER_MAX: usize = 512;
/// How long a request waits for its place among these. Its bytes are held meanwhile, and its
/// connection is not read further, so not for ever.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);

/// Most connections that are kept for who administers the daemon.
const RESERVE_MAX: usize = 16;

/// So many of all connections are kept for who administers the daemon: an eighth, if that is any.
const fn reserve_of(connections_max: usize) -> usize {
    let reserve = connections_max / 8;
    if reserve > RESERVE_MAX { RESERVE_MAX } else { reserve }
}

/// So many of these may one user have.
pub(crate) const fn part_of_user(of: usize) -> usize {
    let part = of - of / 4;
    if part == 0 { 1 } else { part }
}

/// All users who are connected.
#[derive(Debug)]
pub(crate) struct Users {
    connections: Places,
    requests: Places,
    budgets: Budgets,
    patience: Duration,
    /// As many as there are threads that serve connections.
    turns_of_user: usize,
    by_uid: Mutex<HashMap<u32, Weak<User>>>,
}

/// Places of all, so many of which one user may have.
#[derive(Debug, Clone)]
struct Places {
    all: Arc<Semaphore>,
    /// Those that are not kept for who administers the daemon.
    common: Arc<Semaphore>,
    most: usize,
    most_of_user: usize,
}

/// One user who is connected, by whatever number of connections.
#[derive(Debug)]
pub(crate) struct User {
    uid: u32,
    connections: OwnPlaces,
    requests: OwnPlaces,
    patience: Duration,
    budgets: Budgets,
    threads: Arc<Semaphore>,
    turns: Arc<Turns>,
}

/// A user's places, within those of all.
#[derive(Debug)]
struct OwnPlaces {
    places: Places,
    own: Arc<Semaphore>,
    /// Whether it may have what is kept, too.
    has_reserve: bool,
}

/// A place that is taken, among those of all and those of the user; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permits: [OwnedSemaphorePermit; 2],
    _common: Option<OwnedSemaphorePermit>,
}

/// Why there is no place.
#[derive(Debug, PartialEq, Eq)]
enum Crowded {
    ByAll,
    ByUser,
}

impl Places {
    fn new(most: usize, reserve: usize, most_of_user: usize) -> Self {
        let common = Arc::new(Semaphore::new(most.saturating_sub(reserve)));
        Self { all: Arc::new(Semaphore::new(most)), common, most, most_of_user }
    }

    fn of_user(&self) -> OwnPlaces {
        let own = Arc::new(Semaphore::new(self.most_of_user));
        OwnPlaces { places: self.clone(), own, has_reserve: false }
    }

    fn of_administrator(&self) -> OwnPlaces {
        let own = Arc::new(Semaphore::new(self.most));
        OwnPlaces { places: self.clone(), own, has_reserve: true }
    }
}

impl OwnPlaces {
    fn try_take(&self) -> Result<Place, Crowded> {
        let common = if self.has_reserve {
            None
        } else {
            let common = Arc::clone(&self.places.common);
            Some(common.try_acquire_owned().map_err(|_| Crowded::ByAll)?)
        };
        let all = Arc::clone(&self.places.all).try_acquire_owned().map_err(|_| Crowded::ByAll)?;
        let own = Arc::clone(&self.own).try_acquire_owned().map_err(|_| Crowded::ByUser)?;
        Ok(Place { _permits: [own, all], _common: common })
    }

    /// The user's own place first: who waits for that keeps nobody else from one.
    async fn take(&self) -> Place {
        let closed = "the semaphore of places is never closed";
        let own = Arc::clone(&self.own).acquire_owned().await.expect(closed);
        let common = if self.has_reserve {
            None
        } else {
            Some(Arc::clone(&self.places.common).acquire_owned().await.expect(closed))
        };
        let all = Arc::clone(&self.places.all).acquire_owned().await.expect(closed);
        Place { _permits: [own, all], _common: common }
    }
}

impl Users {
    /// Nobody yet: of so many connections, with so many bytes of requests and replies.
    pub(crate) fn new(connections_max: usize, buffer_bytes_max: u64) -> Self {
        Self {
            connections: Places::new(
                connections_max,
                reserve_of(connections_max),
                part_of_user(connections_max),
            ),
            requests: Places::new(REQUESTS_MAX, 0, REQUESTS_OF_USER_MAX),
            budgets: Budgets::new(buffer_bytes_max, writing_max(connections_max)),
            patience: REQUEST_PATIENCE,
            turns_of_user: available_parallelism().map_or(1, NonZero::get),
            by_uid: Mutex::default(),
        }
    }

    /// Waits for room for another connection of anybody.
    pub(crate) async fn has_room(&self) {
        // It is given back at once: whose connection it is turns out when it has been accepted.
        drop(self.connections.common.acquire().await);
        drop(self.connections.all.acquire().await);
    }

    /// One that has connected.
    pub(crate) fn user(&self, uid: u32) -> Arc<User> {
        let mut by_uid = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = by_uid.get(&uid).and_then(Weak::upgrade) {
            return user;
        }
        by_uid.retain(|_, user| user.strong_count() > 0);
        let own = nix::unistd::geteuid().as_raw();
        let connections = if uid == 0 || (uid == own && uid != OVERFLOW_ID) {
            self.connections.of_administrator()
        } else {
            self.connections.of_user()
        };
        let user = Arc::new(User {
            uid,
            connections,
            requests: self.requests.of_user(),
            patience: self.patience,
            budgets: self.budgets.for_user(),
            threads: Arc::new(Semaphore::new(part_of_user(WORKING_THREADS_MAX))),
            turns: Arc::new(Turns::new(self.turns_of_user)),
        });
        by_uid.insert(uid, Arc::downgrade(&user));
        user
    }
}

impl User {
    /// What of the shared memory it may have.
    pub(crate) fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Its part of the threads that wait for the disk, so that its slow reads leave some to others.
    pub(crate) fn threads(&self) -> Arc<Semaphore> {
        Arc::clone(&self.threads)
    }

    /// The turns that its connections have.
    pub(crate) fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.turns)
    }

    /// A place for a connection.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`] if it has as many as it may, or all have.
    pub(crate) fn connection(&self) -> Result<Place, WireError> {
        self.connections.try_take().map_err(|crowded| {
            let Places { most, most_of_user, .. } = self.connections.places;
            busy(match crowded {
                Crowded::ByAll if self.connections.has_reserve => {
                    format!("all {most} connections that there may be are open")
                }
                Crowded::ByAll => {
                    let kept = reserve_of(most);
                    let common = most - kept;
                    format!(
                        "all {common} connections that users may have are open; {kept} more are \
                         kept for who administers the daemon"
                    )
                }
                Crowded::ByUser => {
                    let uid = self.uid;
                    format!("user {uid} has {most_of_user} connections open, its part of {most}")
                }
            })
            .with_hint("close some, try again later, or have connections_max set to more")
        })
    }

    /// A place for a request that is not answered at once; waits for it for a while.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`] if there is none for so long.
    pub(crate) async fn request(&self) -> Result<Place, WireError> {
        if let Ok(place) = self.requests.try_take() {
            return Ok(place);
        }
        let waited = tokio::time::timeout(self.patience, self.requests.take()).await;
        waited.map_err(|_| {
            let (uid, most) = (self.uid, REQUESTS_OF_USER_MAX);
            busy(match self.requests.own.available_permits() {
                0 => format!("user {uid} has {most} requests under way, and none of them ends"),
                _ => format!("{REQUESTS_MAX} requests are under way, and none of them ends"),
            })
            .with_hint("try again later, with fewer requests at a time")
        })
    }
}

fn busy(message: String) -> WireError {
    WireError::new(ErrorCode::Busy, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other() -> u32 {
        nix::unistd::geteuid().as_raw() + 1
    }

    #[test]
    fn a_user_has_three_quarters_of_the_connections_and_the_daemons_own_all() {
        let users = Users::new(8, 1 << 20);
        let greedy = users.user(other());
        let held: Vec<Place> = (0..6).map(|_| greedy.connection().expect("its part")).collect();
        let error = greedy.connection().expect_err("it has its part");
        assert_eq!(error.code, ErrorCode::Busy);
        assert!(error.message.contains("has 6 connections open, its part of 8"), "{error}");
        let own = users.user(other() - 1);
        let _rest = [own.connection(), own.connection()].map(|place| place.expect("left over"));
        let error = own.connection().expect_err("there are no more");
        assert_eq!(error.message, "all 8 connections that there may be are open");
        drop(held);
        let _held: Vec<Place> = (0..6).map(|_| own.connection().expect("all")).collect();
        assert!(users.user(other()).connection().is_err());
    }

    #[test]
    fn some_connections_are_kept_for_who_administers_the_daemon() {
        let users = Users::new(24, 1 << 20);
        let take = |uid: u32, count: usize| -> Vec<Place> {
            let user = users.user(uid);
            (0..count).map(|_| user.connection().expect("there is room")).collect()
        };
        let _others = [take(other(), 18), take(other() + 1, 3)];
        let error = users.user(other() + 1).connection().expect_err("the rest is kept");
        let told = "all 21 connections that users may have are open; 3 more are kept for who \
                    administers the daemon";
        assert_eq!(error.message, told);
        let _kept = [take(0, 1), take(other() - 1, 2)];
        let error = users.user(0).connection().expect_err("there are no more");
        assert_eq!(error.message, "all 24 connections that there may be are open");
        assert_eq!([1, 7, 8, 4096].map(reserve_of), [0, 0, 1, 16]);
    }

    #[test]
    fn who_is_connected_is_one_user_and_who_is_gone_is_forgotten() {
        let users = Users::new(8, 1 << 20);
        let first = users.user(1);
        assert!(Arc::ptr_eq(&first, &users.user(1)));
        drop(first);
        let _other = users.user(2);
        assert_eq!(users.by_uid.lock().expect("no test has panicked").len(), 1);
    }

    #[tokio::test]
    async fn a_request_waits_for_its_place_and_then_is_refused() {
        let mut users = Users::new(8, 1 << 20);
        users.patience = Duration::from_millis(1);
        let (greedy, quiet) = (users.user(1), users.user(2));
        let mut held = Vec::new();
        for _ in 0..REQUESTS_OF_USER_MAX {
            held.push(greedy.request().await.expect("its part"));
        }
        let error = greedy.request().await.expect_err("it has its part");
        assert!(error.message.starts_with("user 1 has 512 requests under way"), "{error}");
        quiet.request().await.expect("another has its own part");
        drop(held.pop());
        greedy.request().await.expect("one has ended");
    }

    #[test]
    fn a_part_is_never_nothing_and_never_all_of_several() {
        assert_eq!([1, 2, 4, 10, 4096].map(part_of_user), [1, 2, 3, 8, 3072]);
    }
}
