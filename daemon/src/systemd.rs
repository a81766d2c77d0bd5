//! What systemd wants to know, and the socket it may hand over.
//!
//! **Invariants.** One of the daemon's two kinds of `unsafe`: the descriptor that systemd
//! passes by number becomes an owned listener, once, after it has been checked for kind. They are
//! told apart by their names (`FileDescriptorName=`).

use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, bail};
use nix::sys::socket::{AddressFamily, SockType, SockaddrLike, SockaddrStorage};
use nix::sys::socket::{getsockname, getsockopt, sockopt};
use sd_notify::NotifyState;

use crate::server::{BoundSocket, MetricsSocket};

/// The name of the socket on which metrics are asked for.
const METRICS: &str = "metrics";

/// Tells systemd a state; without systemd nothing happens.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd could not be told: {error}");
    }
}

/// Whether this process was given a socket to listen on.
pub(crate) fn gives_sockets() -> bool {
    std::env::var_os("LISTEN_FDS").is_some()
}

/// The listening sockets that systemd passed to this process.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// That on which clients ask.
    pub(crate) listener: Option<UnixListener>,
    /// That on which metrics are asked for.
    pub(crate) metrics: Option<MetricsSocket>,
}

/// Takes the listening sockets that systemd passed to this process. To be called before anything
/// else is opened, which could get the number of a socket that was counted and not passed.
///
/// # Errors
/// If it passed something else than a listening Unix stream socket, and perhaps one for metrics.
#[expect(unsafe_code, reason = "an inherited descriptor is a bare number")]
pub(crate) fn inherited() -> anyhow::Result<Inherited> {
    let mut inherited = Inherited::default();
    let fds = sd_notify::listen_fds_with_names().context("LISTEN_FDS cannot be understood")?;
    for (fd, name) in fds {
        if !Path::new(&format!("/proc/self/fd/{fd}")).exists() {
            bail!("LISTEN_FDS counts the descriptor {fd}, which is not open");
        }
        // SAFETY: LISTEN_PID names this process, so systemd opened the descriptor for it; nothing
        // else in this process knows the number, and this function is called once.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        if name == METRICS {
            inherited.metrics = Some(metrics_socket(owned)?);
        } else if inherited.listener.is_some() {
            bail!("systemd passed more than one socket; memod.socket must have one ListenStream=");
        } else if listens(&owned) == Some(AddressFamily::Unix) {
            inherited.listener = Some(UnixListener::from(owned));
        } else {
            bail!("the descriptor that systemd passed is not a listening Unix stream socket");
        }
    }
    Ok(inherited)
}

/// The family of a stream socket that listens; none if it is anything else.
fn listens(socket: &OwnedFd) -> Option<AddressFamily> {
    let address = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok()?;
    let is_stream = getsockopt(socket, sockopt::SockType).ok()? == SockType::Stream;
    let listens = getsockopt(socket, sockopt::AcceptConn).ok()?;
    address.family().filter(|_| is_stream && listens)
}

fn metrics_socket(socket: OwnedFd) -> anyhow::Result<MetricsSocket> {
    match listens(&socket) {
        Some(AddressFamily::Unix) => {
            Ok(MetricsSocket::Unix(BoundSocket::inherited(UnixListener::from(socket))))
        }
        Some(AddressFamily::Inet | AddressFamily::Inet6) => {
            let listener = TcpListener::from(socket);
            if !listener.local_addr().is_ok_and(|address| address.ip().is_loopback()) {
                bail!("the socket for metrics that systemd passed is not on a loopback address");
            }
            Ok(MetricsSocket::Loopback(listener))
        }
        _ => bail!("the descriptor for metrics that systemd passed is not a listening socket"),
    }
}
