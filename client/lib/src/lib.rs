//! Ask memod whether a task has been run before: the client library.
//!
//! [`Client`] blocks and needs no runtime; with the feature `tokio` there is the same client for
//! async programs in [`aio`].
//!
//! ```no_run
//! use memod_client::{Call, Client, Error, Lookup, LookupOptions};
//!
//! fn look(call: &Call) -> Result<(), Error> {
//!     let client = Client::from_env();
//!     match client.lookup(call, &LookupOptions::default())? {
//!         Lookup::Hit(hit) => println!("{} outputs, {:?} old", hit.outputs.len(), hit.age),
//!         Lookup::Miss(miss) => println!("a miss: {}", miss.reason.name()),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! **Invariants.** What frames are sent and what each reply means stands in `exchange`, which
//! does no I/O; both clients only move bytes for it. [`Client::memoize`] runs the task whatever
//! happens to the daemon, and every wait has a bound. Nothing here raises SIGPIPE.
//!
//! **Does not** keep what it has read: every lookup asks the daemon, or reads what the daemon has
//! posted for all.

// So that the macros find the library by its name in the library's own tests, too.
extern crate self as memod_client;

/// The examples of the manual, compiled and run with the documentation tests.
#[cfg(all(doctest, feature = "macros"))]
#[doc = include_str!("../README.md")]
mod manual {}

pub mod address;
#[cfg(feature = "tokio")]
pub mod aio;
pub mod archive;
mod board;
mod breaker;
mod builder;
mod claiming;
mod client;
mod collect;
mod connect;
mod connection;
mod content;
mod declarations;
mod error;
mod exchange;
mod hang_ups;
mod inherited;
mod input_file;
mod known;
mod lease;
mod many;
mod memo;
mod memoize;
mod mode;
mod options;
mod outputs;
mod pause;
mod pool;
mod sealed;
mod spool;
pub mod start;
mod stats;
mod status;
pub mod task;
#[cfg(test)]
mod testing;
mod upkeep;

pub use board::report_board_hits;
pub use builder::{Builder, Start};
pub use client::Client;
pub use content::{Content, ContentReader, Hit, HitOutput};
pub use error::Error;
pub use exchange::ask::Page;
pub use exchange::hit::{HitSummary, OutputDescription};
pub use inherited::inherited_sockets;
pub use input_file::InputFile;
pub use lease::Lease;
pub use memo::{MemoizeError, Memoized, Recall};
pub use mode::Mode;
pub use options::{
    ClaimFound, ClaimOptions, Claimed, Found, Lookup, LookupOptions, MemoizeOptions, NewRun,
    OutputSink, PutOptions, Wait,
};
pub use outputs::{PutOutput, Source};
pub use stats::{Stats, WholeStats};
pub use status::{CacheStatus, ReservationStatus};
pub use task::{
    Doing, File, Format, FromLiteral, Opaque, Returned, TaskOptions, ToLiteral, Trouble, Typed,
    on_trouble, set_client,
};
pub use upkeep::{ImportedRun, WholeEntry};

#[cfg(feature = "macros")]
pub use memod_macros::{Literal, task};

pub use bytes::Bytes;
pub use memod_protocol::{
    BudgetOf, BudgetReport, BudgetRow, Call, CallIdentity, CollectReport, Difference,
    DifferenceKind, Digest, EntryDetail, EntryRow, ErrorCode, Explanation, Filter, Holder,
    Interface, InterfaceText, InvalidArgument, Key, KnownCall, LeaseRow, Literal, LiteralType,
    LogPage, LogQuery, LogRow, Miss, MissReason, NamedOwner, Nearest, Outcome, Pending, Problem,
    Provenance, PutOutcome, Reservation, RunClaim, Savings, Scope, ScopeStats, Selector, Status,
    TaskIdentity, TaskStats, UserStats, Verb, VerifyReport, WireError,
};
