//! Boards of the async client: nothing on a hit's way blocks, and what may is done elsewhere.

use std::sync::Arc;
use std::time::Duration;

use memod_protocol::{Call, Key, KnownCall, Scope};

use super::client::Client;
use super::hop::hop;
use crate::address::Address;
use crate::board::{Boards, OnBoard};
use crate::content::Hit;

impl Client {
    /// As [`crate::Client::glance`].
    #[must_use]
    pub fn glance(&self, known: &KnownCall<'_>, max_age: Option<Duration>) -> Option<Hit> {
        let found = self.in_memory(self.shared.boards.look_known(known, max_age))?;
        found.collect(self.settings().memory_bytes_max).ok()
    }

    /// As the blocking one; what would have to be written to a file is not had in this way.
    pub(super) fn look_on_board(
        &self,
        call: &Call,
        known: Option<Key>,
        max_age: Option<Duration>,
    ) -> Option<OnBoard> {
        self.in_memory(self.shared.boards.look(call, known, max_age))
    }

    fn in_memory(&self, found: Option<OnBoard>) -> Option<OnBoard> {
        found.filter(|hit| hit.bytes() <= self.settings().memory_bytes_max)
    }

    /// As the blocking one.
    pub(super) async fn note_hit(&self, scope: &Scope, address: Address) {
        if self.shared.boards.noted(scope) {
            let (shared, scope) = (Arc::clone(&self.shared), scope.clone());
            let opened = hop(move || shared.boards.open(&scope, &address, &shared.settings));
            // Without a board the daemon is asked.
            let _ = opened.await;
        }
    }

    /// Has hits by a board counted before counters are asked for.
    pub(super) async fn settle(&self) {
        let shared = Arc::clone(&self.shared);
        // What is not counted now is counted later.
        let _ = hop(move || Boards::settle(&shared.settings)).await;
    }

    /// As the blocking one.
    #[must_use]
    pub fn board_hits(&self) -> u64 {
        self.shared.boards.hits()
    }
}
