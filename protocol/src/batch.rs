//! Many lookups in one frame.

use crate::error::WireError;
use crate::response::{Hit, Miss};
use crate::wire::{Decode, Encode};

/// What one lookup of many is answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Looked {
    /// A hit, all of whose outputs stand in the payload, behind those of the hits before it.
    Hit(Box<Hit>),
    /// A miss.
    Miss(Box<Miss>),
    /// This lookup is wrong, or failed. The others are not touched by it.
    Error(Box<WireError>),
    /// Not looked up, because the answers before it fill the frame. Never the first of an answer.
    Full,
    /// There may be a hit that is too large to share a frame: it is to be asked for by a `Lookup`
    /// of its own, and has not been counted.
    Apart,
}
