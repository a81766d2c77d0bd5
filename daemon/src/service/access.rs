//! Who may do what.
//!
//! The daemon's own user and root may do everything. Without any grant, whoever the socket's mode
//! and group let in may use the cache, but not forget what others stored. As soon as something is
//! granted, what is not granted is not allowed.
//!
//! **Invariants.** What is decided here depends on the peer and on names that it gave, never on
//! what is stored. Who writes for nobody that is known, in a user namespace, is never taken for the
//! daemon's own user.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use memod_protocol::{ErrorCode, Scope, WireError};
use tokio::sync::watch;

use crate::grants::{Grant, Identity, OVERFLOW_ID, Right, Rights};
use crate::server::Peer;
use crate::settings::Settings;

/// The rules.
#[derive(Debug)]
pub(crate) struct Access {
    own_uid: u32,
    rules: RwLock<Arc<Rules>>,
    changes: watch::Sender<()>,
}

/// What has been configured.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rules {
    grants: Vec<Grant>,
    quarantined: BTreeSet<u32>,
}

impl Rules {
    fn of(settings: &Settings) -> Self {
        let quarantined = settings.quarantined_users.clone();
        Self { grants: settings.grants.clone(), quarantined }
    }
}

/// What one peer may do, at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    uid: u32,
    own_uid: u32,
    rules: Arc<Rules>,
    /// In all scopes.
    everywhere: Rights,
    /// The grants that are for it, by number.
    grants: Vec<usize>,
}

impl Access {
    /// The rules of a daemon that runs as this process's user.
    pub(crate) fn new(settings: &Settings) -> Self {
        let rules = RwLock::new(Arc::new(Rules::of(settings)));
        let (changes, _) = watch::channel(());
        Self { own_uid: nix::unistd::geteuid().as_raw(), rules, changes }
    }

    /// Goes over to other rules.
    pub(crate) fn set(&self, settings: &Settings) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rules::of(settings));
        self.changes.send_replace(());
    }

    /// Is told of each change of the rules from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the peer may do now.
    pub(crate) fn standing(&self, peer: &Peer) -> Standing {
        let rules = self.rules();
        let mut standing = Standing {
            uid: peer.uid,
            own_uid: self.own_uid,
            rules: Arc::clone(&rules),
            everywhere: Rights::default(),
            grants: Vec::new(),
        };
        if peer.uid == 0 || (peer.uid == self.own_uid && peer.uid != OVERFLOW_ID) {
            standing.everywhere = Rights::ALL;
            return standing;
        }
        if rules.grants.is_empty() {
            standing.everywhere = Rights::USE;
            return standing;
        }
        let who = Identity { uid: peer.uid, groups: &peer.groups };
        for (number, grant) in rules.grants.iter().enumerate() {
            if grant.includes(who) {
                if grant.covers_everything() {
                    standing.everywhere = standing.everywhere.and(grant.rights);
                }
                standing.grants.push(number);
            }
        }
        standing
    }

    /// Whether what this user has written is not to be served.
    pub(crate) fn is_quarantined(&self, uid: u32) -> bool {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).quarantined.contains(&uid)
    }

    /// Whether what some user has written is not to be served.
    pub(crate) fn has_quarantine(&self) -> bool {
        !self.rules.read().unwrap_or_else(PoisonError::into_inner).quarantined.is_empty()
    }
}

impl Access {
    /// Whether the peer may read every entry of a scope: who may is given the scope's board.
    pub(crate) fn may_read_all_of(&self, peer: &Peer, scope: &Scope) -> bool {
        self.standing(peer).may(Right::Read, scope)
    }
}

impl Standing {
    fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter_map(|number| self.rules.grants.get(*number))
    }

    /// Whether the peer may do this in this scope.
    pub(crate) fn may(&self, right: Right, scope: &Scope) -> bool {
        self.everywhere.has(right)
            || self.grants().any(|grant| grant.rights.has(right) && grant.covers(scope))
    }

    /// Whether it may do this in every scope.
    pub(crate) fn may_everywhere(&self, right: Right) -> bool {
        self.everywhere.has(right)
    }

    /// Whether it may do this in any scope at all.
    pub(crate) fn may_somewhere(&self, right: Right) -> bool {
        self.everywhere.has(right) || self.grants().any(|grant| grant.rights.has(right))
    }

    /// Allows this in this scope.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`], with a word on who may.
    pub(crate) fn check(&self, right: Right, scope: &Scope) -> Result<(), WireError> {
        if self.may(right, scope) {
            return Ok(());
        }
        let Scope { project, domain } = scope;
        Err(self.refusal(right, &format!("{}/{}", project.escape_debug(), domain.escape_debug())))
    }

    /// Allows this in all scopes.
    ///
    /// # Errors
    /// See [`Self::check`].
    pub(crate) fn check_everywhere(&self, right: Right) -> Result<(), WireError> {
        let may = self.may_everywhere(right);
        if may { Ok(()) } else { Err(self.refusal(right, "all of this cache")) }
    }

    /// Allows this if it is allowed in any scope.
    ///
    /// # Errors
    /// See [`Self::check`].
    pub(crate) fn check_somewhere(&self, right: Right) -> Result<(), WireError> {
        let may = self.may_somewhere(right);
        if may { Ok(()) } else { Err(self.refusal(right, "anything in this cache")) }
    }

    fn refusal(&self, right: Right, what: &str) -> WireError {
        let Self { uid, own_uid, .. } = self;
        let right = right.name();
        WireError::new(ErrorCode::Forbidden, format!("user {uid} may not {right} {what}"))
            .with_hint(format!(
                "root and user {own_uid}, who runs the daemon, may; its configuration can grant it"
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::ScopeGlob;

    fn access(grants: Vec<Grant>) -> Access {
        Access::new(&Settings { grants, ..Settings::default() })
    }

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        Peer { uid, groups: groups.into(), pid: None, program: None }
    }

    fn grant(users: &[u32], groups: &[u32], right: Right, scope: &str) -> Grant {
        Grant {
            users: users.to_vec(),
            groups: groups.to_vec(),
            everyone: false,
            rights: Rights::default().with(right),
            scopes: vec![ScopeGlob::parse(scope).expect("a pattern")],
        }
    }

    #[test]
    fn without_grants_others_use_the_cache_and_do_not_administer_it() {
        let access = access(Vec::new());
        let scope = Scope::new("p", "d");
        let other = access.standing(&peer(12_345, &[]));
        assert!(other.may(Right::Write, &scope) && other.may(Right::Lease, &scope));
        assert!(!other.may_somewhere(Right::Administer));
        let own = nix::unistd::geteuid().as_raw();
        for uid in [0, own] {
            assert!(access.standing(&peer(uid, &[])).may_everywhere(Right::Administer), "{uid}");
        }
    }

    #[test]
    fn what_is_not_granted_is_not_allowed() {
        let access = access(vec![
            grant(&[1000], &[], Right::Read, "*/*"),
            grant(&[], &[50], Right::Write, "p/*"),
        ]);
        let (ours, others) = (Scope::new("p", "d"), Scope::new("q", "d"));
        let reader = access.standing(&peer(1000, &[]));
        assert!(reader.may_everywhere(Right::Read) && !reader.may_somewhere(Right::Write));
        let writer = access.standing(&peer(1001, &[7, 50]));
        assert!(writer.may(Right::Write, &ours) && writer.may(Right::Read, &ours));
        assert!(!writer.may(Right::Read, &others) && !writer.may_everywhere(Right::Read));
        assert!(writer.check(Right::Lease, &ours).is_err());
        let both = access.standing(&peer(1000, &[50]));
        assert!(both.may(Right::Write, &ours) && both.may(Right::Read, &others));
        let nobody = access.standing(&peer(1002, &[]));
        assert!(Right::ALL.iter().all(|right| !nobody.may_somewhere(*right)));
        let error = nobody.check(Right::Read, &ours).expect_err("not granted");
        assert_eq!(error.message, "user 1002 may not read p/d");
        assert_eq!(error.code, ErrorCode::Forbidden);
    }

    #[test]
    fn other_rules_hold_at_once() {
        let access = access(vec![grant(&[1000], &[], Right::Read, "p/*")]);
        let scope = Scope::new("p", "d");
        let peer = peer(1000, &[]);
        assert!(access.standing(&peer).may(Right::Read, &scope));
        let quarantined_users = [7].into();
        access.set(&Settings { quarantined_users, ..Settings::default() });
        assert!(access.standing(&peer).may(Right::Write, &scope));
        assert!(access.is_quarantined(7) && !access.is_quarantined(8) && access.has_quarantine());
    }
}
