//! Starts the real daemon in a temporary directory and speaks to it, byte by byte if need be.
//!
//! **Invariants.** Nothing here waits by sleeping: the daemon says READY through the same datagram
//! that systemd would read. A daemon that a test leaves behind is killed when it is dropped.

#![allow(clippy::indexing_slicing, reason = "a test that asks for too much shall panic")]

mod asks;
mod calls;
mod daemon;
mod fake;
mod faults;
mod leases;
mod patience;
mod process;
mod ran;
mod random;
mod raw;
mod relay;
mod users;

pub use calls::{CallBuilder, call};
pub use daemon::{Daemon, Setup, binary};
pub use fake::{Answer, Fake};
pub use faults::Faults;
pub use leases::{WaitingClaim, named};
pub use patience::{PATIENCE, eventually, output, wait};
pub use process::{descriptors, resident_bytes, resident_peak_bytes, sockets, threads};
pub use ran::{Ran, run};
pub use random::Random;
pub use raw::{Raw, RawReply};
pub use relay::Relay;
pub use users::{connected_as, connected_in_groups, connected_many_as};

/// The examples of the README, compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
