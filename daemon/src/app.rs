//! The process: open the store, bind, say READY, serve, drain, close.
//!
//! **Invariants.** The store's lock is taken before the socket is touched, so two daemons on one
//! store never share a socket either. What was acknowledged is on disk before the process ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use memod_store::{Options, Store};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::reload::Reload;
use crate::server::{BoundSocket, Server};
use crate::service::Service;
use crate::settings::Settings;
use crate::shutdown::{Heeded, Signals};
use crate::systemd;

/// Most threads that wait for the disk at a time.
const BLOCKING_THREADS_MAX: usize = 32;

/// Runs the daemon until a signal or its idle time ends it.
///
/// # Errors
/// If the store cannot be opened or the socket not be bound; the message says what to do.
pub(crate) fn run(settings: Settings, reload: Reload) -> anyhow::Result<()> {
    raise_descriptor_limit();
    let store = Store::open(&store_options(&settings))
        .with_context(|| format!("cannot open the store in {}", settings.data.display()))?;
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
    let outcome = runtime.block_on(serve(settings, reload, store.clone(), socket));
    // Whatever outlived the drain has been told to stop; a blocking read may need a moment more.
    runtime.shutdown_timeout(Duration::from_secs(2));
    store.close();
    outcome
}

async fn serve(
    settings: Settings,
    reload: Reload,
    store: Store,
    socket: BoundSocket,
) -> anyhow::Result<()> {
    let mut signals = Signals::catch().context("cannot catch signals")?;
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
    service.tell_idle_grants().await;
    loop {
        let heeded = tokio::select! {
            heeded = signals.any() => heeded,
            () = server.idle(settings.idle_exit) => {
                tracing::info!("no client left: stopping");
                break;
            }
        };
        match heeded {
            Heeded::Stop(name) => {
                tracing::info!("{name}: stopping");
                break;
            }
            Heeded::Reload => {
                tracing::info!("SIGHUP: reading the configuration again");
                reload.run(&service).await;
            }
        }
    }
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
    Ok(())
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
