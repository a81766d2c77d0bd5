//! Who may do what.
//!
//! The daemon's own user and root may do everything. Others reach the socket only if its mode and
//! group let them: they may then read and write, but not forget what others stored.

use memod_protocol::{ErrorCode, Scope, WireError};

use crate::server::Peer;

/// The rules.
#[derive(Debug)]
pub(crate) struct Access {
    own_uid: u32,
}

impl Access {
    /// The rules of a daemon that runs as this process's user.
    pub(crate) fn own() -> Self {
        Self { own_uid: nix::unistd::geteuid().as_raw() }
    }

    /// Whether the peer may read every entry of a scope: who may is given the scope's board.
    #[expect(clippy::unused_self, reason = "whoever reaches the socket may read, so far")]
    pub(crate) const fn may_read_all_of(&self, _peer: &Peer, _scope: &Scope) -> bool {
        true
    }

    /// Whether the peer may forget entries, verify, collect and import.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`], with a word on who may.
    pub(crate) fn check_administer(&self, peer: &Peer) -> Result<(), WireError> {
        if peer.uid == self.own_uid || peer.uid == 0 {
            return Ok(());
        }
        Err(WireError::new(
            ErrorCode::Forbidden,
            format!("user {} may not administer this cache", peer.uid),
        )
        .with_hint(format!("root and user {}, who runs the daemon, may", self.own_uid)))
    }
}
