//! Disks that fail: power cuts, full disks, errors of reading and writing, no descriptors.

mod errors;
mod full;
mod history;
mod journal;
mod patient;
mod power;
mod preloaded;
mod refusals;
mod remains;
