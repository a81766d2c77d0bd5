//! The process: open the store, bind, say READY, serve, drain, close.
//!
//! **Invariants.** The store's lock is taken before the socket is touched, so two daemons on one
//! store never share a socket either. What was acknowledged is on disk before the process ends,
//! unless the disk refuses it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use memod_store::{Options, Store};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::server::{BoundSocket, Server};
use crate::service::Service;
use crate::settings::Settings;
use crate::shutdown::StopSignals;
use crate::systemd;

/// Most threads that wait for the disk at a time.
const BLOCKING_THREADS_MAX: usize = 32;

/// Descriptors that are not for connections: the database has up to 256 files open to read, some to
/// write, and the daemon some of its own.
const DESCRIPTORS_KEPT: u64 = 320;

/// Why the daemon has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to, or nobody needs it.
    Asked,
    /// Its store has to be opened again, which a new process does.
    Stuck,
}

/// Runs the daemon until a signal, its idle time, or a store that is stuck ends it.
///
/// # Errors
/// If the store cannot be opened or the socket not be bound; the message says what to do.
pub(crate) fn run(mut settings: Settings) -> anyhow::Result<Ended> {
    raise_descriptor_limit();
    leave_descriptors(&mut settings);
    let store = Store::open(&store_options(&settings)).map_err(|error| {
        let data = settings.data.display().to_string();
        // Most say which store it is.
        let is_told = error.to_string().contains(&data);
        let error = anyhow::Error::new(error);
        if is_told { error } else { error.context(format!("cannot open the store in {data}")) }
    })?;
    let socket = match systemd::inherited_listener()? {
        Some(listener) => BoundSocket::inherited(listener),
        None => BoundSocket::bind(&settings.socket, settings.socket_mode)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("memod-async")
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let outcome = runtime.block_on(serve(settings, store.clone(), socket));
    // Whatever outlived the drain has been told to stop; a blocking read may need a moment more.
    runtime.shutdown_timeout(Duration::from_secs(2));
    store.close();
    outcome
}

async fn serve(settings: Settings, store: Store, socket: BoundSocket) -> anyhow::Result<Ended> {
    let mut signals = StopSignals::catch().context("cannot catch signals")?;
    let settings = Arc::new(settings);
    let service = Service::new(Arc::clone(&settings), store);
    let ledger = service.keep_ledger();
    let leases = service.keep_leases();
    let stop = CancellationToken::new();
    let server = Server::new(Arc::clone(&settings), Arc::clone(&service), stop.clone());
    let listener = socket.listen().context("cannot listen on the socket")?;
    tracing::info!(
        socket = ?settings.socket, data = ?settings.data, pid = std::process::id(),
        "memod {} is ready", env!("CARGO_PKG_VERSION")
    );
    systemd::notify(&[NotifyState::Ready]);
    let serving = tokio::spawn(Arc::clone(&server).run(listener));
    let ended = tokio::select! {
        name = signals.next() => {
            tracing::info!("{name}: stopping");
            Ended::Asked
        }
        () = server.idle(settings.idle_exit) => {
            tracing::info!("no client left: stopping");
            Ended::Asked
        }
        () = service.until_stuck() => {
            tracing::error!("the disk can be written again, and the store cannot: stopping");
            Ended::Stuck
        }
    };
    systemd::notify(&[NotifyState::Stopping]);
    // New clients are refused from here on, so they start their own way at once.
    drop(socket);
    service.stop();
    stop.cancel();
    tokio::select! {
        drained = tokio::time::timeout(settings.drain_timeout, server.drained()) => {
            if drained.is_err() {
                tracing::warn!("requests were still in flight after the drain timeout");
            }
        }
        name = signals.next() => tracing::warn!("{name} again: not waiting any longer"),
    }
    serving.abort();
    ledger.abort();
    leases.abort();
    service.save_ledger().await;
    Ok(ended)
}

fn store_options(settings: &Settings) -> Options {
    let mut options = Options::new(&settings.data);
    options.on_damage = settings.on_damage;
    options.durability = settings.durability;
    options.sync_interval = settings.sync_interval;
    options.hot_bytes = settings.hot_bytes;
    options.block_cache_bytes = settings.block_cache_bytes;
    options.budgets = settings.budgets.resolve(&settings.data);
    options
}

/// Lets the process open as many descriptors as it may: a connection is one.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("the limit of open files stays at {soft}: {error}");
    }
}

/// Lets there be no more connections than leave descriptors for the database: without one it can
/// neither flush nor compact, and takes no changes any more.
fn leave_descriptors(settings: &mut Settings) {
    use nix::sys::resource::{Resource, getrlimit};
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let most = usize::try_from(connections_max(limit)).unwrap_or(usize::MAX);
    if settings.connections_max > most {
        tracing::warn!(
            "this process may open {limit} files: it serves {most} connections at a time, not {}",
            settings.connections_max
        );
        settings.connections_max = most;
    }
}

/// How many connections leave enough of so many descriptors. One that waits to write has two.
fn connections_max(descriptors: u64) -> u64 {
    ((descriptors - DESCRIPTORS_KEPT.min(descriptors / 2)) / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::connections_max;

    #[test]
    fn connections_leave_descriptors() {
        assert_eq!(connections_max(1024), 352);
        assert_eq!(connections_max(128), 32);
        assert_eq!(connections_max(1), 1);
        assert!(connections_max(u64::MAX) > 1 << 62);
    }
}
