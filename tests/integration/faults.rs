//! Disks that fail: power cuts, full disks, errors of reading and writing, no descriptors.

mod preloaded;
