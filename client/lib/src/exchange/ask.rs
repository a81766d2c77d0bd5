//! Exchanges of one request and answers without payload.

use memod_protocol::{
    EntryDetail, EntryRow, Filter, Key, Request, Response, Selector, Stats, Status,
};

use super::unexpected;
use crate::error::Error;

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

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
