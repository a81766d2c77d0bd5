//! Two users and one daemon: neither learns of what the other has, unless it is granted.

mod crowd;
mod fairness;
pub(crate) mod house;
mod identities;
mod live;
mod probe;
mod requests;
mod unread;
mod verbs;
mod waiters;
