//! Processes that die: workers in the middle of a put, and the daemon at any moment.

mod daemon;
pub(crate) mod load;
mod worker;
