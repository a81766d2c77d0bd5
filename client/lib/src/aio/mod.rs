//! The same client for async programs, on tokio.
//!
//! **Invariants.** The exchanges, the memoizing decisions, the breaker and the pool are those of
//! the blocking client; only the moving of bytes is written anew. A future that is dropped closes
//! its connection. What blocks leaves the async threads in `hop`.
//!
//! **Does not** survive a fork: neither does the runtime.

mod board;
mod client;
mod connection;
mod hop;
mod lease;
mod many;
mod memoize;
mod upkeep;
mod wire;

pub use client::Client;
pub(crate) use hop::hop;
pub use lease::Lease;

/// As [`crate::Claimed`].
pub type Claimed = crate::Claimed<Lease>;
/// As [`crate::ClaimFound`].
pub type ClaimFound = crate::ClaimFound<Lease>;
/// As [`crate::Recall`].
pub type Recall = crate::Recall<Lease>;
