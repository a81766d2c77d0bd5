//! What systemd wants to know, and the socket it may hand over.
//!
//! **Invariants.** This is this crate's only `unsafe`: the descriptor that systemd passes by number
//! becomes an owned listener, once, after it has been checked for kind.

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use anyhow::{Context, bail};
use nix::sys::socket::{AddressFamily, SockType, SockaddrLike, SockaddrStorage};
use nix::sys::socket::{getsockname, getsockopt, sockopt};
use sd_notify::NotifyState;

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

/// The listening socket that systemd passed to this process, if it did.
///
/// # Errors
/// If it passed something else than one listening Unix stream socket.
#[expect(unsafe_code, reason = "an inherited descriptor is a bare number")]
pub(crate) fn inherited_listener() -> anyhow::Result<Option<UnixListener>> {
    let mut fds = sd_notify::listen_fds().context("LISTEN_FDS cannot be understood")?;
    let Some(fd) = fds.next() else { return Ok(None) };
    if fds.next().is_some() {
        bail!("systemd passed more than one socket; memod.socket must have one ListenStream=");
    }
    // SAFETY: LISTEN_PID names this process, so systemd opened the descriptor for it; nothing else
    // in this process knows the number, and this function is called once.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let family = getsockname::<SockaddrStorage>(fd).ok().and_then(|address| address.family());
    let kind = getsockopt(&owned, sockopt::SockType).ok();
    let listens = getsockopt(&owned, sockopt::AcceptConn).unwrap_or(false);
    if family != Some(AddressFamily::Unix) || kind != Some(SockType::Stream) || !listens {
        bail!("the descriptor that systemd passed is not a listening Unix stream socket");
    }
    Ok(Some(UnixListener::from(owned)))
}
