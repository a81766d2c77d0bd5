//! The process: open the store, bind, say READY, serve, drain, close.
//!
//! **Invariants.** The store's lock is taken before the socket is touched, so two daemons on one
//! store never share a socket either. What was acknowledged is on disk before the process ends,
//! unless the disk refuses it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use memod_store::{Mirror, Options, Store};
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::descriptors;
use crate::reload::Reload;
use crate::server::{BoundSocket, MetricsSocket, Server};
use crate::service::{Boards, Service, WORKING_THREADS_MAX};
use crate::settings::Settings;
use crate::shutdown::{Heeded, Held, Signals};
use crate::systemd::{self, Inherited};
use crate::watchdog;

/// Why the daemon has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to, or nobody needs it.
    Asked,
    /// Its store has to be opened again, which a new process does.
    Stuck,
}

/// What the daemon has before anything else.
pub(crate) struct Ground {
    runtime: Runtime,
    signals: Signals,
    inherited: Inherited,
}

/// After so many steps a thread looks who else has sent something: each is up to four turns, since
/// who is handed a turn is polled next. Connections with much under way would keep it from that for
/// long otherwise.
const LOOKS_FOR_EVENTS: u32 = 1;

/// Takes what systemd passed, and makes what the daemon runs on, which heeds the signals held.
///
/// # Errors
/// If something odd was passed, the system gives no threads, or takes no handler.
pub(crate) fn ground(held: Held) -> anyhow::Result<Ground> {
    let inherited = systemd::inherited()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("memod-async")
        .max_blocking_threads(WORKING_THREADS_MAX)
        .event_interval(LOOKS_FOR_EVENTS)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let signals = {
        let _within = runtime.enter();
        Signals::wait_for(held).context("cannot wait for signals")?
    };
    Ok(Ground { runtime, signals, inherited })
}

/// Runs the daemon until a signal, its idle time, or a store that is stuck ends it.
///
/// # Errors
/// If the store cannot be opened or the socket not be bound; the message says what to do.
pub(crate) fn run(
    mut settings: Settings,
    reload: Reload,
    Ground { runtime, mut signals, inherited }: Ground,
) -> anyhow::Result<Ended> {
    if let Some(name) = signals.has_come() {
        tracing::info!("{name}: stopping before anything has been opened");
        return Ok(Ended::Asked);
    }
    descriptors::raise_limit();
    descriptors::leave_some(&mut settings);
    let boards = boards(&settings);
    let mut options = store_options(&settings);
    options.mirror = Arc::clone(&boards) as Arc<dyn Mirror>;
    let store = Store::open(&options).map_err(|error| {
        let data = settings.data.display().to_string();
        // Most say which store it is.
        let is_told = error.to_string().contains(&data);
        let error = anyhow::Error::new(error);
        if is_told { error } else { error.context(format!("cannot open the store in {data}")) }
    })?;
    let socket = if let Some(listener) = inherited.listener {
        settings.inherit(&listener);
        tracing::info!("the socket {} was passed to this process", settings.socket.display());
        BoundSocket::inherited(listener)
    } else {
        let another = "another with --socket";
        BoundSocket::bind(&settings.socket, settings.socket_mode, another)?
    };
    let metrics = match inherited.metrics {
        Some(socket) => Some(socket),
        None => MetricsSocket::bind(&settings.metrics, settings.socket_mode)?,
    };
    let serving = serve(settings, reload, signals, (store.clone(), boards), (socket, metrics));
    let outcome = runtime.block_on(serving);
    // Whatever outlived the drain has been told to stop; a blocking read may need a moment more.
    runtime.shutdown_timeout(Duration::from_secs(2));
    store.close();
    outcome
}

async fn serve(
    settings: Settings,
    reload: Reload,
    mut signals: Signals,
    (store, boards): (Store, Arc<Boards>),
    (socket, metrics): (BoundSocket, Option<MetricsSocket>),
) -> anyhow::Result<Ended> {
    let settings = Arc::new(settings);
    let service = Service::new(Arc::clone(&settings), store.clone(), boards);
    let ledger = service.keep_ledger();
    let leases = service.keep_leases();
    let stop = CancellationToken::new();
    let server = Server::new(Arc::clone(&settings), Arc::clone(&service), stop.clone());
    let listener = socket.listen().context("cannot listen on the socket")?;
    tracing::info!(
        socket = &*settings.socket.to_string_lossy(),
        data = &*settings.data.to_string_lossy(),
        pid = std::process::id(),
        "memod {} is ready",
        env!("CARGO_PKG_VERSION")
    );
    systemd::notify(&[NotifyState::Ready]);
    let serving = tokio::spawn(Arc::clone(&server).run(listener));
    let signs = tokio::spawn(watchdog::run(store, Arc::clone(&server), stop.clone()));
    if let Some(metrics) = metrics {
        let (service, stop) = (Arc::clone(&service), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = metrics.serve(service, stop).await {
                tracing::error!("metrics cannot be served: {error}");
            }
        });
    }
    let mut ended = until_ended(&mut signals, &reload, &server, &service).await;
    systemd::notify(&[NotifyState::Stopping]);
    // New clients are refused from here on, so they start their own way at once.
    drop(socket);
    service.stop();
    stop.cancel();
    drain(&settings, &server, &mut signals, &mut ended).await;
    serving.abort();
    signs.abort();
    ledger.abort();
    leases.abort();
    service.save_ledger().await;
    Ok(ended)
}

/// Waits until what has begun is done, for as long as it may take. Who is told to end starts
/// nothing anew behind that, and who is told twice waits no longer.
async fn drain(settings: &Settings, server: &Server, signals: &mut Signals, ended: &mut Ended) {
    let mut drained = pin!(tokio::time::timeout(settings.drain_timeout, server.drained()));
    loop {
        tokio::select! {
            drained = &mut drained => {
                if drained.is_err() {
                    tracing::warn!("requests were still in flight after the drain timeout");
                }
                return;
            }
            name = signals.next() => {
                if *ended == Ended::Asked {
                    return tracing::warn!("{name} again: not waiting any longer");
                }
                tracing::info!("{name}: stopping, and not starting anew");
                *ended = Ended::Asked;
            }
        }
    }
}

/// Serves until something ends it, and reads the configuration again as often as it is told to.
async fn until_ended(
    signals: &mut Signals,
    reload: &Reload,
    server: &Server,
    service: &Arc<Service>,
) -> Ended {
    // These two go on with their own clocks, whatever is read meanwhile.
    let mut idle = pin!(server.idle(service.settings().idle_exit));
    let mut stuck = pin!(service.until_stuck());
    service.tell_idle_grants();
    loop {
        tokio::select! {
            heeded = signals.any() => match heeded {
                Heeded::Stop(name) => {
                    tracing::info!("{name}: stopping");
                    return Ended::Asked;
                }
                Heeded::Reload => {
                    tracing::info!("SIGHUP: reading the configuration again");
                    reload.run(service);
                }
            },
            () = &mut idle => {
                tracing::info!("no client left: stopping");
                return Ended::Asked;
            }
            () = &mut stuck => {
                let why = service.why_stuck();
                tracing::error!("{why}: stopping");
                return Ended::Stuck;
            }
        }
    }
}

/// The boards, which the store has to know from the beginning.
fn boards(settings: &Settings) -> Arc<Boards> {
    let max_age_ms = u64::try_from(settings.max_age.as_millis()).unwrap_or(u64::MAX);
    Boards::new(settings.board_bytes, settings.boards_max, max_age_ms)
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
