//! Exchanges about boards, and what stands on one.

use memod_protocol::board::Posted;
use memod_protocol::{
    BoardHit, BoardHits, BoardOffer, Request, Response, ResponseHeader, Scope, wire,
};

use super::ask::Ask;
use super::hit::{Expected, First, Transfer, found};
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

/// The hit that stands on a board, if it is a whole one of what is wanted. Its outputs' bytes are
/// the posted payload.
pub(crate) fn posted(expected: Expected<'_>, posted: &Posted<'_>, age_ms: u64) -> Option<Transfer> {
    let ResponseHeader { response, .. } = wire::decode(posted.header).ok()?;
    let Response::Hit(mut hit) = response else { return None };
    hit.age_ms = age_ms;
    match found(0, expected, Response::Hit(hit), posted.payload.len()).ok()? {
        First::Hit(transfer) if transfer.is_inline() => Some(*transfer),
        _ => None,
    }
}
