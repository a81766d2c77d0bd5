//! Two users and one daemon: neither learns of what the other has, unless it is granted.

pub(crate) mod house;
mod live;
mod probe;
mod verbs;
mod waiters;
