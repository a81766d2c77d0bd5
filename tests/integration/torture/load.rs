//! The load of a cycle: workers who write, look and lease, readers, and one who keeps count.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use harness::{Daemon, Random};
use nix::sys::signal::Signal;

use super::asker::Asker;
use super::content::LEASE_KEYS;
use super::model::Model;
use super::plan::{End, Plan};

const WORKERS: usize = 4;
const READERS: usize = 1;

/// How often what was done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests of workers that were answered.
    pub(crate) acknowledged: AtomicU64,
    /// Puts that stored something.
    pub(crate) puts: AtomicU64,
    /// Puts for which there was no room.
    pub(crate) refused: AtomicU64,
    /// Hits, every byte of which was right.
    pub(crate) hits: AtomicU64,
    /// Misses, whose reason was right.
    pub(crate) misses: AtomicU64,
    /// Removals, by key or by condition.
    pub(crate) removals: AtomicU64,
    /// Uploads that were given up.
    pub(crate) cut_off: AtomicU64,
    /// Leases that were held.
    pub(crate) leases: AtomicU64,
    /// Claims that waited.
    pub(crate) waits: AtomicU64,
    /// Verifications and collections in the middle of it.
    pub(crate) upkeep: AtomicU64,
}

/// Counts one more.
pub(crate) fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where the daemon listens.
    pub(crate) socket: PathBuf,
    /// Who has which lease.
    pub(crate) held: [AtomicBool; LEASE_KEYS],
    /// What was done.
    pub(crate) tally: Tally,
    model: Mutex<Model>,
    /// The daemon may end at any moment.
    may_end: AtomicBool,
}

impl Shared {
    /// Of a daemon that listens there, on a new store.
    pub(crate) fn new(socket: PathBuf, model: Model) -> Self {
        Self {
            socket,
            held: Default::default(),
            tally: Tally::default(),
            model: Mutex::new(model),
            may_end: AtomicBool::new(false),
        }
    }

    /// What is known, for a moment.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something over and over, until the daemon ends, which must be its time.
    fn work<'a>(&'a self, seed: u64, mut step: impl FnMut(&mut Asker<'a>) -> io::Result<()>) {
        let error = match Asker::connect(self, seed) {
            Ok(mut asker) => loop {
                if let Err(error) = step(&mut asker) {
                    break error;
                }
            },
            Err(error) => error,
        };
        assert!(self.may_end.load(Ordering::SeqCst), "the daemon broke off: {error}");
    }

    fn write(&self, seed: u64, acknowledge: &SyncSender<()>) {
        self.work(seed, |asker| {
            asker.write_something()?;
            count(&self.tally.acknowledged);
            // The daemon is being ended if nobody wants to know any more.
            let _ = acknowledge.send(());
            Ok(())
        });
    }
}

/// Has a daemon do what the plan says until it ends; says whether it died by itself, where it was
/// to. What was in flight then is not known.
pub(crate) fn run(daemon: &mut Daemon, plan: &Plan, shared: &Shared, random: &mut Random) -> bool {
    shared.held.iter().for_each(|held| held.store(false, Ordering::SeqCst));
    shared.may_end.store(plan.armed().is_some(), Ordering::SeqCst);
    let died = thread::scope(|scope| {
        let (acknowledge, acknowledged) = sync_channel(WORKERS);
        for _ in 0..WORKERS {
            let (seed, acknowledge) = (random.number(), acknowledge.clone());
            scope.spawn(move || shared.write(seed, &acknowledge));
        }
        drop(acknowledge);
        for _ in 0..READERS {
            let seed = random.number();
            scope.spawn(move || shared.work(seed, Asker::read_something));
        }
        let seed = random.number();
        scope.spawn(move || shared.work(seed, Asker::keep_count));
        // It ends early if all workers have: then the daemon is dead, or one of them says why.
        let _ = acknowledged.into_iter().take(plan.load).count();
        shared.may_end.store(true, Ordering::SeqCst);
        if plan.end == End::Kill {
            daemon.kill();
            return false;
        }
        let status = daemon.stop();
        let killed = status.signal() == Some(Signal::SIGKILL as i32);
        let armed = matches!(plan.end, End::At(..));
        assert!(status.success() || (killed && armed), "memod ended, {status}:\n{}", daemon.log());
        killed
    });
    shared.model().crash();
    died
}
