//! Disks that fail: power cuts, full disks, errors of reading and writing, no descriptors.

mod history;
mod journal;
mod power;
mod preloaded;
mod remains;
