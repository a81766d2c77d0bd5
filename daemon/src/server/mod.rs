//! The server: sockets and frames.
//!
//! Data goes one way: [`listener`] -> [`connection`] -> [`dispatch`] -> the service, and back as a
//! value that [`replies`] writes.
//!
//! **Does not** know how anything is stored or why a lookup hits.

mod accept;
mod budget;
mod connection;
mod dispatch;
mod frames;
mod listener;
mod metrics_endpoint;
mod peer;
mod peer_groups;
mod received;
mod refusal;
mod replies;
mod socket;
mod stream;
mod turns;
mod uploads;
mod users;

pub(crate) use budget::writing_max;
pub(crate) use listener::{REFUSALS_MAX, Server};
pub(crate) use metrics_endpoint::{METRICS_CONNECTIONS_MAX, MetricsSocket};
pub(crate) use peer::Peer;
pub(crate) use received::RECEIVED_MAX;
pub(crate) use socket::BoundSocket;
