//! Places for descriptors that peers send.
//!
//! **Invariants.** No user has all of them. Who finds none is not waited for: a descriptor that has
//! come is held already.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::users::part_of_user;

/// Descriptors that are held for frames that are still to be read, over all connections.
pub(crate) const RECEIVED_MAX: usize = 64;

/// Places for descriptors that peers send.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// Places that are taken, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct ReceivedPlaces {
    permits: Option<[OwnedSemaphorePermit; 2]>,
}

impl Received {
    /// All of them, as they are for one user.
    pub(super) fn new() -> Self {
        let own = Arc::new(Semaphore::new(part_of_user(RECEIVED_MAX)));
        Self { all: Arc::new(Semaphore::new(RECEIVED_MAX)), own }
    }

    /// The same places, of which a further user may have its part.
    pub(super) fn for_user(&self) -> Self {
        Self { all: Arc::clone(&self.all), ..Self::new() }
    }

    /// So many places, if there are.
    pub(crate) fn try_take(&self, places: u32) -> Option<ReceivedPlaces> {
        let own = Arc::clone(&self.own).try_acquire_many_owned(places).ok()?;
        let all = Arc::clone(&self.all).try_acquire_many_owned(places).ok()?;
        Some(ReceivedPlaces { permits: Some([own, all]) })
    }
}

impl ReceivedPlaces {
    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.permits.as_ref().map_or(0, |[own, _]| own.num_permits())
    }

    /// Adds others to these.
    pub(crate) fn merge(&mut self, others: Self) {
        match (&mut self.permits, others.permits) {
            (Some([own, all]), Some([others_own, others_all])) => {
                own.merge(others_own);
                all.merge(others_all);
            }
            (None, others) => self.permits = others,
            (Some(_), None) => {}
        }
    }

    /// Takes so many of them apart; none if there are fewer.
    pub(crate) fn split(&mut self, places: usize) -> Option<Self> {
        let [own, all] = self.permits.as_mut()?;
        Some(Self { permits: Some([own.split(places)?, all.split(places)?]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_has_all_places_for_descriptors() {
        let greedy = Received::new();
        let quiet = greedy.for_user();
        let mut held = greedy.try_take(40).expect("fewer than its part");
        held.merge(greedy.try_take(8).expect("the rest of its part"));
        assert!(greedy.try_take(1).is_none());
        let places = quiet.try_take(16).expect("what is left for others");
        assert!(quiet.try_take(1).is_none(), "all have {RECEIVED_MAX}");
        drop(held.split(1));
        assert_eq!((held.count(), places.count()), (47, 16));
        assert!(quiet.try_take(1).is_some());
    }
}
