//! Claims: lookups that may take the lease of their key, or wait for it (semantics 26 to 32).
//!
//! **Invariants.** Whoever is granted a lease looks the entry up once more before it is told, since
//! the entry may have come between its lookup and its grant; so a lease is never given for what is
//! there. Who waits is woken by the commit and looks up for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memod_protocol::{
    CallIdentity, Claim, ErrorCode, Holder, Key, Leased, NamedOwner, Pending, Release, Reservation,
    Reserve, Response, WireError,
};

use super::Service;
use memod_store::Tier;

use super::leases::{Asked, Grant, Lessee, Turn};
use super::lookup::Wanted;
use super::reply::Reply;
use crate::grants::Right;
use crate::server::Peer;

/// How far a claim has come.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// It is answered.
    Answer(Box<Reply>),
    /// Another holds the lease; the answer comes when [`Service::woken`] does.
    Waits(Box<Pending>, Box<Waiting>),
}

impl Claimed {
    fn answer(reply: Reply) -> Self {
        Self::Answer(Box::new(reply))
    }
}

/// What came of a claim at once.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is answered.
    Answer(Box<Reply>),
    /// It has its place in the table.
    Entered(Box<Entered>),
    /// The disk has to be asked first.
    Unknown(Box<Asker>),
}

/// A claim that has asked for the lease.
#[derive(Debug)]
pub(crate) struct Entered {
    asker: Asker,
    came_to: Asked,
}

/// A claim that waits. Dropped, it gives its place up.
#[derive(Debug)]
pub(crate) struct Waiting {
    asker: Asker,
    turn: Turn,
}

/// A claim that has been woken, and has to look again.
#[derive(Debug)]
pub(crate) struct Woken {
    asker: Asker,
    turn: Turn,
    /// None if it may not wait any longer.
    grant: Option<Grant>,
}

/// Who claims: what is kept of a claim while it waits.
#[derive(Debug)]
pub(crate) struct Asker {
    wanted: Wanted,
    claim: Box<Claim>,
    peer: Arc<Peer>,
    lessee: Arc<Lessee>,
    /// When its time is over.
    deadline: Option<Instant>,
}

impl Asker {
    /// Who claims, and what.
    ///
    /// # Errors
    /// If the call or the owner is wrong; the error names the field.
    pub(crate) fn new(
        peer: &Arc<Peer>,
        lessee: &Arc<Lessee>,
        mut claim: Box<Claim>,
    ) -> Result<Self, WireError> {
        claim.owner.as_ref().map_or(Ok(()), NamedOwner::check)?;
        let wanted = Wanted::new(&claim.lookup)?;
        // Only the key is needed while it waits, and there may be thousands.
        claim.lookup.call.inputs = Vec::new();
        let deadline =
            claim.wait_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        let (peer, lessee) = (Arc::clone(peer), Arc::clone(lessee));
        Ok(Self { wanted, claim, peer, lessee, deadline })
    }

    /// The same, for who does not want the outputs.
    pub(crate) fn only_to_look(self) -> Self {
        Self { wanted: self.wanted.only_to_look(), ..self }
    }
}

impl Service {
    /// A new connection, as far as leases are concerned.
    pub(crate) fn connect(&self) -> Arc<Lessee> {
        Arc::new(self.leases.connect())
    }

    /// A connection is closed: its leases pass on.
    pub(crate) fn disconnect(&self, lessee: &Lessee) {
        self.leases.gone(lessee);
    }

    /// Answers a claim from memory, or gives it its place in the table: in the order of the calls
    /// of this function, unless a disk has to be asked.
    pub(crate) fn claim_in_memory(&self, asker: Asker) -> Begun {
        if let Some(reply) = self.refused_claim(&asker) {
            return Begun::Answer(Box::new(reply));
        }
        match self.fetch_from(&asker.wanted, Tier::Memory) {
            None => Begun::Unknown(Box::new(asker)),
            Some(reply) if reply.is_miss() => Begun::Entered(Box::new(self.enter(asker))),
            Some(reply) => Begun::Answer(Box::new(reply)),
        }
    }

    /// Answers a claim, or lets it wait.
    pub(crate) async fn claim(self: &Arc<Self>, asker: Asker) -> Claimed {
        if let Some(reply) = self.refused_claim(&asker) {
            return Claimed::answer(reply);
        }
        let reply = self.fetch(&asker.wanted).await;
        if reply.is_miss() { self.entered(self.enter(asker)).await } else { Claimed::answer(reply) }
    }

    /// Waits for the holder to commit, release or die, for the claim's own deadline, or for its
    /// right to be taken away: who may not read must not learn when there is something to read.
    pub(crate) async fn woken(&self, waiting: Waiting) -> Woken {
        let Waiting { asker, mut turn } = waiting;
        let mut rules = self.access.changes();
        let grant = loop {
            if self.refused_claim(&asker).is_some() {
                break None;
            }
            tokio::select! {
                biased;
                grant = turn.answer() => break Some(grant),
                changed = rules.changed() => changed.expect("the rules live as long as this"),
            }
        };
        Woken { asker, turn, grant }
    }

    /// Goes on with a claim that has been woken.
    pub(crate) async fn resume(self: &Arc<Self>, woken: Woken) -> Claimed {
        let Woken { asker, turn, grant } = woken;
        let Some(grant) = grant else {
            drop(turn);
            return self.claim(asker).await;
        };
        if matches!(grant, Grant::Recheck) {
            // The ticket is used up, and so is nothing to give back.
            turn.keep();
            return self.claim(asker).await;
        }
        self.settle(&asker, grant, turn).await
    }

    /// The answer to who may not read where the claim is, not even that it waits; or who asks for a
    /// lease by a name of its own and may not have it.
    fn refused_claim(&self, asker: &Asker) -> Option<Reply> {
        let Claim { lookup, take, owner, .. } = &*asker.claim;
        let (scope, standing) = (&lookup.call.scope, self.access.standing(&asker.peer));
        if !standing.may(Right::Read, scope) {
            return Some(self.forbidden(&asker.peer, scope, asker.wanted.key));
        }
        if !(*take && owner.is_some()) {
            return None;
        }
        standing.check(Right::Lease, scope).err().map(|error| Response::Error(error).into())
    }

    /// Asks for the lease of what was not there a moment ago. Who may read and take no lease waits
    /// for what others compute, as if it had not asked for the lease.
    fn enter(&self, asker: Asker) -> Entered {
        let take = asker.claim.take && self.may_lease(&asker);
        let wait = match (asker.claim.wait_ms, asker.deadline) {
            (Some(_), Some(deadline)) => Some(deadline.saturating_duration_since(Instant::now())),
            // For ever, or so long that it cannot be counted.
            _ => None,
        };
        let came_to = self.leases.ask(
            &asker.peer,
            &asker.lessee,
            (&asker.claim.lookup.call, asker.wanted.key),
            asker.claim.owner.as_ref(),
            take,
            wait,
        );
        Entered { asker, came_to }
    }

    /// Goes on with a claim that has a place in the table: the entry may have come between its
    /// lookup and that.
    pub(crate) async fn entered(self: &Arc<Self>, entered: Entered) -> Claimed {
        let Entered { asker, came_to } = entered;
        match came_to {
            Asked::Answered(grant, turn) => self.settle(&asker, grant, turn).await,
            Asked::Waits(holder, turn) => {
                let reply = self.fetch(&asker.wanted).await;
                if !reply.is_miss() {
                    return Claimed::answer(reply);
                }
                let pending = Pending { key: asker.wanted.key, holder, waiting: true };
                Claimed::Waits(Box::new(pending), Box::new(Waiting { asker, turn }))
            }
        }
    }

    /// What a claim is told that waits no longer.
    async fn settle(self: &Arc<Self>, asker: &Asker, grant: Grant, turn: Turn) -> Claimed {
        let key = asker.wanted.key;
        if let Some(reply) = self.refused_claim(asker) {
            // It was allowed when it began to wait.
            self.hand_back(asker, &grant);
            return Claimed::answer(reply);
        }
        let response = match grant {
            Grant::Busy(error) => Response::Error(error),
            Grant::GaveUp => Response::Error(self.gave_up()),
            // The lookup that came before the ask said so already, but an entry may have come.
            Grant::Free | Grant::Recheck => {
                return Claimed::answer(self.fetch(&asker.wanted).await);
            }
            Grant::Held(holder) => {
                let reply = self.fetch(&asker.wanted).await;
                if !reply.is_miss() {
                    return Claimed::answer(reply);
                }
                Response::Pending(Box::new(Pending { key, holder, waiting: false }))
            }
            Grant::Leased(holder) => {
                let reply = self.fetch(&asker.wanted).await;
                match reply.response {
                    Response::Miss(miss) if self.may_lease(asker) => {
                        turn.keep();
                        Response::Leased(Box::new(Leased { miss, holder }))
                    }
                    // There is an entry; or the right was taken away while it waited.
                    response => {
                        self.hand_back(asker, &Grant::Leased(holder));
                        return Claimed::answer(Reply { response, ..reply });
                    }
                }
            }
        };
        Claimed::answer(Reply::from(response).about(key))
    }

    fn may_lease(&self, asker: &Asker) -> bool {
        self.access.standing(&asker.peer).may(Right::Lease, &asker.claim.lookup.call.scope)
    }

    /// Gives back what was granted and is not wanted: a connection's lease goes back as the turn is
    /// dropped.
    fn hand_back(&self, asker: &Asker, grant: &Grant) {
        let name = asker.claim.owner.as_ref().map(|owner| owner.name.as_str());
        if matches!(grant, Grant::Leased(_)) && name.is_some() {
            self.leases.release(&asker.peer, &asker.lessee, asker.wanted.key, name);
        }
    }

    /// Takes or extends a named owner's lease (semantics 29).
    ///
    /// # Errors
    /// If the call or the owner is wrong, or there is no room.
    pub(crate) fn reserve(
        &self,
        peer: &Arc<Peer>,
        lessee: &Lessee,
        reserve: &Reserve,
    ) -> Result<Reply, WireError> {
        reserve.owner.check()?;
        let key = checked_key(&reserve.call)?;
        self.access.standing(peer).check(Right::Lease, &reserve.call.scope)?;
        let now = Some(Duration::ZERO);
        let owner = Some(&reserve.owner);
        let asked = self.leases.ask(peer, lessee, (&reserve.call, key), owner, true, now);
        let (grant, turn) = match asked {
            Asked::Answered(grant, turn) => (grant, turn),
            Asked::Waits(holder, turn) => (Grant::Held(holder), turn),
        };
        let answer = |acquired, holder: Holder| {
            Ok(Response::Reservation(Box::new(Reservation { key, acquired, holder })).into())
        };
        match grant {
            Grant::Leased(holder) => {
                turn.keep();
                answer(true, holder)
            }
            Grant::Held(holder) => answer(false, holder),
            Grant::Busy(error) => Err(error),
            Grant::Free | Grant::Recheck | Grant::GaveUp => Err(self.gave_up()),
        }
    }

    /// Gives a lease back; of what one does not hold, it is without effect (semantics 30). What is
    /// held is given back also by who may take no more, or others would wait for it in vain.
    ///
    /// # Errors
    /// If the call is wrong, the owner's name blank, or the peer may take no lease there.
    pub(crate) fn release(
        &self,
        peer: &Peer,
        lessee: &Lessee,
        release: &Release,
    ) -> Result<Reply, WireError> {
        if let Some(owner) = &release.owner {
            memod_protocol::name::owner(owner)?;
        }
        let key = checked_key(&release.call)?;
        let released = self.leases.release(peer, lessee, key, release.owner.as_deref());
        self.access.standing(peer).check(Right::Lease, &release.call.scope)?;
        Ok(Reply::from(Response::Released { released }).about(key))
    }

    /// The end of a claim whose connection is closed: by its peer, which does not read this any
    /// more, or because the daemon stops.
    fn gave_up(&self) -> WireError {
        let code = ErrorCode::ShuttingDown;
        if self.leases.is_closed() {
            WireError::new(code, "the daemon is stopping")
                .with_hint("ask again when it has been started again")
        } else {
            WireError::new(code, "the connection was closed while this waited")
        }
    }
}

fn checked_key(call: &CallIdentity) -> Result<Key, WireError> {
    call.check()?;
    Ok(call.key())
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
