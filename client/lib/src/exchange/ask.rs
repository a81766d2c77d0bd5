//! Exchanges of one request and answers without payload.

use std::time::Duration;

use memod_protocol::{
    Call, CallIdentity, EntryDetail, EntryRow, Explanation, Filter, InterfaceText, Key, LogPage,
    LogQuery, Lookup, Miss, NamedOwner, Release, Request, Reservation, Reserve, Response, Savings,
    Selector, Stats, Status, Why,
};

use super::unexpected;
use crate::error::Error;
use crate::options::{LookupOptions, milliseconds};

/// A question, and what its answers mean.
pub(crate) trait Ask {
    /// What is wanted.
    type Answer;

    /// What to send.
    fn request(&self) -> Request;

    /// Whether the daemon may need longer than for an answer from memory.
    fn is_long(&self) -> bool {
        false
    }

    /// For how long the daemon is asked to hold the answer back.
    fn waits(&self) -> Duration {
        Duration::ZERO
    }

    /// What an answer means; nothing if more will follow.
    fn answer(&mut self, response: Response) -> Result<Option<Self::Answer>, Error>;
}

/// Is the daemon there?
pub(crate) struct Ping;

impl Ask for Ping {
    type Answer = ();

    fn request(&self) -> Request {
        Request::Ping
    }

    fn answer(&mut self, response: Response) -> Result<Option<()>, Error> {
        match response {
            Response::Pong => Ok(Some(())),
            other => Err(unexpected("a ping", &other)),
        }
    }
}

/// Its counters.
pub(crate) struct AskStats;

impl Ask for AskStats {
    type Answer = Stats;

    fn request(&self) -> Request {
        Request::Stats
    }

    fn answer(&mut self, response: Response) -> Result<Option<Stats>, Error> {
        match response {
            Response::Stats(stats) => Ok(Some(*stats)),
            other => Err(unexpected("a question for its counters", &other)),
        }
    }
}

/// Who it is.
pub(crate) struct AskStatus;

impl Ask for AskStatus {
    type Answer = Status;

    fn request(&self) -> Request {
        Request::Status
    }

    fn answer(&mut self, response: Response) -> Result<Option<Status>, Error> {
        match response {
            Response::Status(status) => Ok(Some(*status)),
            other => Err(unexpected("a question for its status", &other)),
        }
    }
}

/// Everything about an entry.
pub(crate) struct Show(pub(crate) Key);

impl Ask for Show {
    type Answer = EntryDetail;

    fn request(&self) -> Request {
        Request::Show { key: self.0 }
    }

    fn answer(&mut self, response: Response) -> Result<Option<EntryDetail>, Error> {
        match response {
            Response::Shown(detail) if detail.key == self.0 => Ok(Some(*detail)),
            other => Err(unexpected("a question for an entry", &other)),
        }
    }
}

/// What a listing gives at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// One row an entry.
    pub rows: Vec<EntryRow>,
    /// Where to go on, if there is more.
    pub cursor: Option<Vec<u8>>,
}

/// What is stored.
pub(crate) struct List {
    pub(crate) filter: Filter,
    pub(crate) limit: u32,
    pub(crate) cursor: Option<Vec<u8>>,
}

impl Ask for List {
    type Answer = Page;

    fn request(&self) -> Request {
        Request::List {
            filter: self.filter.clone(),
            limit: self.limit,
            cursor: self.cursor.clone(),
        }
    }

    fn is_long(&self) -> bool {
        true
    }

    fn answer(&mut self, response: Response) -> Result<Option<Page>, Error> {
        match response {
            Response::Listed { rows, cursor } => Ok(Some(Page { rows, cursor })),
            other => Err(unexpected("a listing", &other)),
        }
    }
}

/// Forgets entries.
pub(crate) struct Invalidate<F> {
    pub(crate) selector: Selector,
    pub(crate) dry_run: bool,
    pub(crate) progress: F,
}

impl<F: FnMut(u64)> Ask for Invalidate<F> {
    type Answer = u64;

    fn request(&self) -> Request {
        Request::Invalidate { selector: self.selector.clone(), dry_run: self.dry_run }
    }

    fn is_long(&self) -> bool {
        true
    }

    fn answer(&mut self, response: Response) -> Result<Option<u64>, Error> {
        match response {
            Response::Progress { done } => {
                (self.progress)(done);
                Ok(None)
            }
            Response::Invalidated { matched } => Ok(Some(matched)),
            other => Err(unexpected("an invalidation", &other)),
        }
    }
}

/// Takes or extends the lease of a named owner.
pub(crate) struct AskReserve<'a> {
    pub(crate) call: &'a CallIdentity,
    pub(crate) owner: &'a NamedOwner,
}

impl Ask for AskReserve<'_> {
    type Answer = Reservation;

    fn request(&self) -> Request {
        let (call, owner) = (self.call.clone(), self.owner.clone());
        Request::Reserve(Box::new(Reserve { call, owner }))
    }

    fn answer(&mut self, response: Response) -> Result<Option<Reservation>, Error> {
        match response {
            Response::Reservation(made) if made.key == self.call.key() => Ok(Some(*made)),
            other => Err(unexpected("a reservation", &other)),
        }
    }
}

/// Gives a lease back: a named owner's, or the connection's own.
pub(crate) struct AskRelease<'a> {
    pub(crate) call: &'a CallIdentity,
    pub(crate) owner: Option<&'a str>,
}

impl Ask for AskRelease<'_> {
    type Answer = bool;

    fn request(&self) -> Request {
        let (call, owner) = (self.call.clone(), self.owner.map(str::to_owned));
        Request::Release(Box::new(Release { call, owner }))
    }

    fn answer(&mut self, response: Response) -> Result<Option<bool>, Error> {
        match response {
            Response::Released { released } => Ok(Some(released)),
            other => Err(unexpected("a release", &other)),
        }
    }
}

/// Why does a lookup miss?
pub(crate) struct AskWhy<'a> {
    pub(crate) call: &'a Call,
    pub(crate) identity: &'a CallIdentity,
    pub(crate) options: &'a LookupOptions,
    pub(crate) nearest_max: u32,
}

impl Ask for AskWhy<'_> {
    type Answer = Explanation;

    fn request(&self) -> Request {
        let max_age_ms = milliseconds(self.options.max_age);
        Request::Why(Box::new(Why {
            lookup: Lookup { call: self.identity.clone(), max_age_ms },
            interface: InterfaceText::from(&self.call.interface),
            nearest_max: self.nearest_max,
        }))
    }

    fn is_long(&self) -> bool {
        true
    }

    fn answer(&mut self, response: Response) -> Result<Option<Explanation>, Error> {
        match response {
            Response::Explained(said) if said.key == self.identity.key() => Ok(Some(*said)),
            other => Err(unexpected("a question for the reason of a miss", &other)),
        }
    }
}

/// Why is an entry not served, however old it may be?
pub(crate) struct AskUnserved<'a>(pub(crate) &'a EntryDetail);

impl Ask for AskUnserved<'_> {
    type Answer = Option<Miss>;

    fn request(&self) -> Request {
        let EntryDetail { scope, task, cache_version, signature, interface, inputs, .. } =
            self.0.clone();
        let call = CallIdentity { scope, task, cache_version, signature, inputs };
        let lookup = Lookup { call, max_age_ms: Some(0) };
        Request::Why(Box::new(Why { lookup, interface, nearest_max: 0 }))
    }

    fn is_long(&self) -> bool {
        true
    }

    fn answer(&mut self, response: Response) -> Result<Option<Option<Miss>>, Error> {
        match response {
            Response::Explained(said) if said.key == self.0.key => Ok(Some(said.miss)),
            other => Err(unexpected("a question for the reason of a miss", &other)),
        }
    }
}

/// Recent requests.
pub(crate) struct AskLog<'a>(pub(crate) &'a LogQuery);

impl Ask for AskLog<'_> {
    type Answer = LogPage;

    fn request(&self) -> Request {
        Request::Log(Box::new(self.0.clone()))
    }

    fn waits(&self) -> Duration {
        Duration::from_millis(self.0.wait_ms)
    }

    fn answer(&mut self, response: Response) -> Result<Option<LogPage>, Error> {
        match response {
            Response::Logged(page) => Ok(Some(page)),
            other => Err(unexpected("a question for its request log", &other)),
        }
    }
}

/// Its counters by scope and by user.
pub(crate) struct AskSavings;

impl Ask for AskSavings {
    type Answer = Savings;

    fn request(&self) -> Request {
        Request::Savings
    }

    fn answer(&mut self, response: Response) -> Result<Option<Savings>, Error> {
        match response {
            Response::Savings(savings) => Ok(Some(*savings)),
            other => Err(unexpected("a question for its counters by scope", &other)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use memod_protocol::LiteralType;

    use super::*;
    use crate::testing::{call_with_outputs, holder};

    #[test]
    fn each_question_takes_only_its_own_answer() {
        assert_eq!(Ping.answer(Response::Pong).unwrap(), Some(()));
        assert!(matches!(Ping.answer(Response::Stats(Box::default())), Err(Error::Protocol(_))));
        assert!(AskStats.answer(Response::Stats(Box::default())).unwrap().is_some());
        assert!(matches!(AskStats.answer(Response::Pong), Err(Error::Protocol(_))));
        assert!(matches!(AskStatus.answer(Response::Pong), Err(Error::Protocol(_))));
        let mut show = Show(Key::from_bytes([1; 32]));
        assert!(matches!(show.answer(Response::Pong), Err(Error::Protocol(_))));
    }

    #[test]
    fn the_newer_questions_take_only_their_own_answers_of_their_own_key() {
        let call = call_with_outputs(&["a"], &LiteralType::Bytes);
        let identity = call.identity().unwrap();
        let (key, other) = (identity.key(), Key::from_bytes([1; 32]));
        let owner = NamedOwner { name: "worker".into(), heartbeat_ms: 1000 };
        let mut reserve = AskReserve { call: &identity, owner: &owner };
        let made = |key| Reservation { key, acquired: true, holder: holder() };
        let answer = Response::Reservation(Box::new(made(key)));
        assert_eq!(reserve.answer(answer).unwrap(), Some(made(key)));
        let answer = Response::Reservation(Box::new(made(other)));
        assert!(matches!(reserve.answer(answer), Err(Error::Protocol(_))));
        let mut release = AskRelease { call: &identity, owner: None };
        assert_eq!(release.answer(Response::Released { released: true }).unwrap(), Some(true));
        assert!(matches!(release.answer(Response::Pong), Err(Error::Protocol(_))));
        let options = LookupOptions { max_age: Some(Duration::from_secs(1)) };
        let mut why =
            AskWhy { call: &call, identity: &identity, options: &options, nearest_max: 3 };
        let Request::Why(asked) = why.request() else { panic!() };
        assert_eq!((asked.lookup.max_age_ms, asked.nearest_max), (Some(1000), 3));
        assert_eq!(asked.interface.outputs, [("a".to_owned(), "bytes".to_owned())]);
        let said = |key| Explanation { key, miss: None, nearest: vec![] };
        let answer = Response::Explained(Box::new(said(key)));
        assert_eq!(why.answer(answer).unwrap(), Some(said(key)));
        let answer = Response::Explained(Box::new(said(other)));
        assert!(matches!(why.answer(answer), Err(Error::Protocol(_))));
        let query = LogQuery { wait_ms: 1500, ..LogQuery::default() };
        let mut log = AskLog(&query);
        assert_eq!(log.waits(), Duration::from_millis(1500));
        assert!(log.answer(Response::Logged(LogPage::default())).unwrap().is_some());
        assert!(matches!(log.answer(Response::Pong), Err(Error::Protocol(_))));
        assert!(AskSavings.answer(Response::Savings(Box::default())).unwrap().is_some());
        assert!(matches!(AskSavings.answer(Response::Pong), Err(Error::Protocol(_))));
    }

    #[test]
    fn an_invalidation_tells_how_far_it_has_come() {
        let mut told = Vec::new();
        let selector = Selector::Matching(Filter::default());
        let mut ask = Invalidate { selector, dry_run: false, progress: |done| told.push(done) };
        assert_eq!(ask.answer(Response::Progress { done: 10 }).unwrap(), None);
        assert_eq!(ask.answer(Response::Invalidated { matched: 12 }).unwrap(), Some(12));
        assert!(matches!(ask.answer(Response::Pong), Err(Error::Protocol(_))));
        assert_eq!(told, [10]);
    }
}
