//! Leases in the torture: of all who claim a call, one has it at a time (semantics 26 to 31).
//!
//! **Invariants.** It is written down who has which lease before the next can be told that it is
//! theirs, and forgotten before it is given back; so two at once are seen.

use std::io;
use std::sync::atomic::Ordering;

use harness::named;
use memod_protocol::{Release, Request, Reserve, Response};

use super::asker::{Asker, ending};
use super::content::{LEASE_KEYS, PLAIN_KEYS, numbered};
use super::load::count;
use super::model::Seen;

/// Claims wait no longer than this.
const WAIT_MS_MAX: usize = 200;

impl Asker<'_> {
    /// Claims a call; has its lease for a while, if that is what comes of it.
    pub(crate) fn claim_something(&mut self) -> io::Result<()> {
        let lease = self.random.below(LEASE_KEYS);
        let number = PLAIN_KEYS + lease;
        let owner = (self.random.below(3) == 0).then(|| format!("owner {}", self.random.number()));
        let mut claim = numbered(number).call.claim();
        claim.take = self.random.below(8) > 0;
        claim.wait_ms = Some(self.random.below(WAIT_MS_MAX) as u64);
        claim.owner = owner.as_ref().map(|name| named(name, 10_000));
        let began = self.now();
        let mut reply = self.raw.try_ask(Request::Claim(Box::new(claim)), b"")?;
        if matches!(&reply.response, Response::Pending(pending) if pending.waiting) {
            count(&self.shared.tally.waits);
            reply = self.raw.try_read_reply()?;
        }
        match reply.response {
            Response::Hit(hit) => {
                self.take_hit(number, began, (&hit, reply.payload), None)?;
                // Or there would be nothing left to compute.
                if self.random.below(2) == 0 { self.remove_keys(vec![number]) } else { Ok(()) }
            }
            Response::Miss(miss) => {
                self.saw(number, began, Seen::from(&miss));
                Ok(())
            }
            Response::Pending(pending) => {
                assert!(!pending.waiting, "it waits twice");
                Ok(())
            }
            Response::Leased(leased) => {
                self.saw(number, began, Seen::from(&leased.miss));
                count(&self.shared.tally.leases);
                let two = self.shared.held[lease].swap(true, Ordering::SeqCst);
                assert!(!two, "two have the lease of call {number}");
                self.hold(lease, owner.as_deref())
            }
            Response::Error(error) => Err(ending(error)),
            other => panic!("a claim was answered by {other:?}"),
        }
    }

    /// Has a lease for a while: then commits, gives it back, or dies.
    fn hold(&mut self, lease: usize, owner: Option<&str>) -> io::Result<()> {
        for _ in 0..self.random.below(6) {
            self.read_something()?;
        }
        let number = PLAIN_KEYS + lease;
        let way = self.random.below(6);
        self.shared.held[lease].store(false, Ordering::SeqCst);
        match (way, owner) {
            (0, _) => {
                assert!(self.release(number, owner)?, "call {number} was not ours to give back");
                Ok(())
            }
            // A named owner outlives its connection.
            (1, None) => self.reconnect(),
            _ => {
                self.put(number, false)?;
                // If there was no room for it, the lease is still held.
                self.release(number, owner).map(drop)
            }
        }
    }

    fn release(&mut self, number: usize, owner: Option<&str>) -> io::Result<bool> {
        let release =
            Release { call: numbered(number).identity.clone(), owner: owner.map(str::to_owned) };
        match self.raw.try_ask(Request::Release(Box::new(release)), b"")?.response {
            Response::Released { released } => Ok(released),
            Response::Error(error) => Err(ending(error)),
            other => panic!("a release was answered by {other:?}"),
        }
    }

    /// Takes the lease of a named owner without a look, and gives it back.
    pub(crate) fn reserve(&mut self, number: usize) -> io::Result<()> {
        let name = format!("owner {}", self.random.number());
        let reserve =
            Reserve { call: numbered(number).identity.clone(), owner: named(&name, 10_000) };
        match self.raw.try_ask(Request::Reserve(Box::new(reserve)), b"")?.response {
            Response::Reservation(told) if told.acquired => {
                assert_eq!(told.holder.name.as_deref(), Some(name.as_str()));
                self.release(number, Some(&name)).map(drop)
            }
            Response::Reservation(told) => {
                assert_ne!(told.holder.name.as_deref(), Some(name.as_str()));
                Ok(())
            }
            Response::Error(error) => Err(ending(error)),
            other => panic!("a reservation was answered by {other:?}"),
        }
    }
}
