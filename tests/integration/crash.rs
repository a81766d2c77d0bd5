//! Processes that die: workers in the middle of a put. The daemon's own death is the torture's.

mod worker;
