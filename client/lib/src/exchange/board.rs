//! Exchanges about boards.

use memod_protocol::{BoardHit, BoardHits, BoardOffer, Request, Response, Scope};

use super::ask::Ask;
use super::{request, unexpected};
use crate::error::Error;

/// The board of a scope.
pub(crate) struct AskBoard<'a>(pub(crate) &'a Scope);

impl Ask for AskBoard<'_> {
    type Answer = Option<BoardOffer>;

    fn request(&self) -> Request {
        Request::Board { scope: self.0.clone() }
    }

    fn answer(&mut self, response: Response) -> Result<Option<Self::Answer>, Error> {
        match response {
            Response::Board(board) => Ok(Some(board)),
            other => Err(unexpected("a question for a board", &other)),
        }
    }
}

/// The frame that reports hits.
pub(crate) fn report(scope: &Scope, hits: Vec<BoardHit>) -> Result<Vec<u8>, Error> {
    let hits = BoardHits { scope: scope.clone(), hits };
    // It is not answered, so its number may be any.
    request(0, Request::BoardHits(Box::new(hits)), 0)
}
