//! Black-box tests: every module holds one theme, and all share one binary and one harness.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod semantics_invalidate;
mod semantics_key;
mod semantics_lookup;
mod tidy;
