//! The protocol's tests: golden bytes, round trips, hostile bytes, and WIRE.md against the code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics is a test that fails"
)]

mod blobs;
mod corpora;
mod document;
mod document_messages;
mod frames;
#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, missing_docs, reason = "the fuzz targets' library is a module here")]
mod fuzz;
mod golden_keys;
mod golden_wire;
mod hostile;
mod json;
mod keys;
mod leases;
mod round_trips;
mod samples;
mod samples_batches;
mod samples_leases;
mod samples_reports;
mod samples_upkeep;
mod source;
mod strategies;
mod strategies_leases;
mod strategies_messages;
mod strategies_reports;
mod strategies_upkeep;
mod support;
