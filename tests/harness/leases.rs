//! Leases, explanations and the request log, asked for in few words.

use bytes::Bytes;
use memod_protocol::{
    CallIdentity, Claim, Explanation, Hit, InterfaceText, LeaseRow, Leased, LogPage, LogQuery,
    Lookup, NamedOwner, Pending, Release, Request, Reservation, Reserve, Response, Savings, Why,
};

use crate::calls::CallBuilder;
use crate::raw::{Raw, RawReply};

impl CallBuilder {
    /// What goes into the key.
    ///
    /// # Panics
    /// If the call is invalid.
    #[must_use]
    pub fn identity(&self) -> CallIdentity {
        self.0.identity().expect("a valid call")
    }

    /// The claim of the call: takes the lease for the connection, or waits for as long as another
    /// holds it.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let lookup = Lookup { call: self.identity(), max_age_ms: None };
        Claim { lookup, take: true, owner: None, wait_ms: None }
    }

    /// The same without taking the lease: it only waits for what others compute.
    #[must_use]
    pub fn watch(&self) -> Claim {
        Claim { take: false, ..self.claim() }
    }

    /// The question why the call misses.
    #[must_use]
    pub fn why(&self) -> Why {
        let lookup = Lookup { call: self.identity(), max_age_ms: None };
        Why { lookup, interface: InterfaceText::from(&self.0.interface), nearest_max: 8 }
    }
}

/// A named owner.
#[must_use]
pub fn named(name: &str, heartbeat_ms: i64) -> NamedOwner {
    NamedOwner { name: name.to_owned(), heartbeat_ms }
}

/// A claim that waits.
#[derive(Debug)]
pub struct WaitingClaim {
    /// The request's number.
    pub id: u64,
    /// What it was told of the holder.
    pub pending: Pending,
}

impl Raw {
    /// Claims; gives the first answer.
    ///
    /// # Panics
    /// If the daemon ends the connection instead.
    #[track_caller]
    pub fn claim(&mut self, claim: Claim) -> Response {
        self.ask(Request::Claim(Box::new(claim)), Bytes::new()).response
    }

    /// Claims; the lease must be free.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn owns(&mut self, claim: Claim) -> Leased {
        match self.claim(claim) {
            Response::Leased(leased) => *leased,
            other => panic!("the lease was due, not {other:?}"),
        }
    }

    /// Claims; another must hold the lease.
    ///
    /// # Panics
    /// If the claim does not wait.
    #[track_caller]
    pub fn waits(&mut self, claim: Claim) -> WaitingClaim {
        let reply = self.ask(Request::Claim(Box::new(claim)), Bytes::new());
        match reply.response {
            Response::Pending(pending) if pending.waiting => {
                WaitingClaim { id: reply.id, pending: *pending }
            }
            other => panic!("a wait was due, not {other:?}"),
        }
    }

    /// Waits for what comes of a claim that waits, which must be the next reply.
    ///
    /// # Panics
    /// If another comes, or none.
    #[track_caller]
    pub fn woken(&mut self, waiting: &WaitingClaim) -> RawReply {
        let reply = self.read_reply().expect("what came of the claim");
        assert_eq!(reply.id, waiting.id, "a reply to another request: {:?}", reply.response);
        reply
    }

    /// Waits for the hit of a claim that waits; gives it with its contents.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn woken_by_hit(&mut self, waiting: &WaitingClaim) -> (Hit, Vec<Bytes>) {
        let reply = self.woken(waiting);
        match reply.response {
            Response::Hit(hit) => {
                let contents = self.contents(&hit, reply.payload);
                (*hit, contents)
            }
            other => panic!("a hit was due, not {other:?}"),
        }
    }

    /// Waits for the lease for which a claim waits.
    ///
    /// # Panics
    /// If anything else comes.
    #[track_caller]
    pub fn woken_as_owner(&mut self, waiting: &WaitingClaim) -> Leased {
        match self.woken(waiting).response {
            Response::Leased(leased) => *leased,
            other => panic!("the lease was due, not {other:?}"),
        }
    }

    /// Takes or extends the lease of a named owner.
    ///
    /// # Panics
    /// If the answer is an error.
    #[track_caller]
    pub fn reserve(&mut self, call: &CallBuilder, owner: NamedOwner) -> Reservation {
        let reserve = Reserve { call: call.identity(), owner };
        match self.ask(Request::Reserve(Box::new(reserve)), Bytes::new()).response {
            Response::Reservation(reservation) => *reservation,
            other => panic!("a reservation was due, not {other:?}"),
        }
    }

    /// Gives a lease back, that of the connection unless an owner is named; gives whether it was
    /// held.
    ///
    /// # Panics
    /// If the answer is an error.
    #[track_caller]
    pub fn release(&mut self, call: &CallBuilder, owner: Option<&str>) -> bool {
        let release = Release { call: call.identity(), owner: owner.map(str::to_owned) };
        match self.ask(Request::Release(Box::new(release)), Bytes::new()).response {
            Response::Released { released } => released,
            other => panic!("the end of a lease was due, not {other:?}"),
        }
    }

    /// Why this misses.
    ///
    /// # Panics
    /// If the answer is an error.
    #[track_caller]
    pub fn explain(&mut self, why: Why) -> Explanation {
        match self.ask(Request::Why(Box::new(why)), Bytes::new()).response {
            Response::Explained(explanation) => *explanation,
            other => panic!("an explanation was due, not {other:?}"),
        }
    }

    /// The leases that are held, as far as this user may see them.
    ///
    /// # Panics
    /// If the answer is anything else.
    #[track_caller]
    pub fn leases(&mut self) -> Vec<LeaseRow> {
        match self.ask(Request::Leases, Bytes::new()).response {
            Response::Leases(rows) => rows,
            other => panic!("a list of leases was due, not {other:?}"),
        }
    }

    /// A page of the request log.
    ///
    /// # Panics
    /// If the answer is anything else.
    #[track_caller]
    pub fn log(&mut self, query: LogQuery) -> LogPage {
        match self.ask(Request::Log(Box::new(query)), Bytes::new()).response {
            Response::Logged(page) => page,
            other => panic!("a page of the log was due, not {other:?}"),
        }
    }

    /// The counters by scope and by user.
    ///
    /// # Panics
    /// If the answer is anything else.
    #[track_caller]
    pub fn savings(&mut self) -> Savings {
        match self.ask(Request::Savings, Bytes::new()).response {
            Response::Savings(savings) => *savings,
            other => panic!("counters were due, not {other:?}"),
        }
    }

    /// How many leases are held, and how many claims wait.
    pub fn leases_and_waiters(&mut self) -> (u64, u64) {
        let stats = self.stats();
        (stats.leases, stats.waiters)
    }
}
