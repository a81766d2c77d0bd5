//! A hit as it stands on a board: what it says, without a copy of every text.
//!
//! **Invariants.** Its layout is that of a [`crate::ResponseHeader`] whose response is a hit, and
//! nothing else is taken for one.

use crate::digest::Digest;
use crate::key::Key;
use crate::response::{Delivery, Provenance};
use crate::wire::{self, BorrowDecode, DecodeError};

/// What stands in the first part of an entry on a board.
#[derive(BorrowDecode)]
struct PostedHeader<'a> {
    _id: u64,
    response: PostedResponse<'a>,
}

/// The first variant of a response; any other is refused.
#[derive(BorrowDecode)]
enum PostedResponse<'a> {
    Hit(PostedHit<'a>),
}

/// A hit. Its outputs' bytes are the posted payload.
#[derive(Debug, Clone, PartialEq, Eq, BorrowDecode)]
pub struct PostedHit<'a> {
    /// The entry's key.
    pub key: Key,
    /// How old it was when it was posted, in milliseconds.
    pub age_ms: u64,
    /// The outputs, in ascending order of their names.
    pub outputs: Vec<PostedOutput<'a>>,
    /// Who made them.
    pub provenance: Provenance,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, BorrowDecode)]
pub struct PostedOutput<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type's text.
    pub literal_type: &'a str,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
    /// How its bytes travel.
    pub delivery: Delivery,
}

impl<'a> PostedHit<'a> {
    /// The hit that these bytes are.
    ///
    /// # Errors
    /// If they are anything else.
    pub fn decode(header: &'a [u8]) -> Result<Self, DecodeError> {
        let header: PostedHeader<'a> = wire::borrow(header)?;
        let PostedResponse::Hit(hit) = header.response;
        Ok(hit)
    }
}
