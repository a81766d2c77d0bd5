//! What memod's processes say to each other: digests, typed values, keys, frames and messages.
//!
//! **Invariants.** Everything here is a pure function of its arguments. Every number that comes
//! from a peer is checked against a bound of [`limits`]. `WIRE.md` beside this crate says the same
//! byte by byte.
//!
//! **Does not** open sockets or files, read the clock, or depend on a runtime (the `tokio` feature
//! adds a codec, no I/O).

mod batch;
pub mod board;
mod board_messages;
mod call;
mod canonical;
#[cfg(feature = "tokio")]
mod codec;
mod digest;
mod error;
mod explain;
pub mod frame;
pub mod handshake;
#[cfg(feature = "json")]
pub mod json;
mod key;
mod lease;
pub mod limits;
mod literal;
mod literal_check;
mod literal_decode;
mod literal_type;
mod log;
pub mod name;
mod posted_hit;
mod request;
mod response;
mod savings;
pub mod shell;
mod task_identity;
mod type_text;
mod upkeep;
pub mod wire;

pub use batch::Looked;
pub use board_messages::{BoardHit, BoardHits, BoardOffer};
pub use call::{Call, CallIdentity, Interface, Scope};
#[cfg(feature = "tokio")]
pub use codec::{FrameCodec, FrameStreamError};
pub use digest::{Digest, ParseDigestError};
pub use error::{ErrorCode, InvalidArgument, WireError};
pub use explain::{Difference, DifferenceKind, Explanation, Nearest, Why};
pub use frame::Frame;
pub use key::Key;
pub use lease::{
    Claim, Holder, LeaseRow, Leased, NamedOwner, Pending, Release, Reservation, Reserve,
};
pub use literal::Literal;
pub use literal_type::LiteralType;
pub use log::{LogPage, LogQuery, LogRow, Outcome, Verb};
pub use posted_hit::{PostedHit, PostedOutput};
pub use request::{
    Filter, InterfaceText, Lookup, NewOutput, OutputSource, Put, Request, RequestHeader, RunClaim,
    Selector,
};
pub use response::{
    Delivery, EntryDetail, EntryRow, Hit, Miss, MissReason, Output, Provenance, PutOutcome,
    Response, ResponseHeader, Stats, Status, TaskStats,
};
pub use savings::{Savings, ScopeStats, UserStats};
pub use task_identity::{KnownCall, TaskIdentity};
pub use upkeep::{
    Announcement, BudgetOf, BudgetReport, BudgetRow, CollectReport, Import, Problem, VerifyReport,
};
