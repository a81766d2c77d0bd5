//! `#[task]` against the real daemon: what a function gets that is memoized by declaration.

mod alone;
mod asynchronous;
mod declared;
mod keys;
mod names;
mod runs;
mod serialized;
mod surroundings;
mod values;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Mutex;

use harness::Daemon;
use memod_client::{CacheStatus, Client, Doing, Memoized, TaskOptions, on_trouble};

/// Options for a call that asks the daemon at this socket.
fn at(socket: impl Into<PathBuf>) -> TaskOptions {
    TaskOptions::new().client(Client::builder().socket(socket).build())
}

fn to(daemon: &Daemon) -> TaskOptions {
    at(daemon.socket())
}

fn statuses<T, E: Debug>(made: &Result<Memoized<T>, E>) -> (CacheStatus, CacheStatus) {
    made.as_ref().map(|made| (made.status, made.store)).expect("the task does not fail")
}

const MADE: (CacheStatus, CacheStatus) = (CacheStatus::Miss, CacheStatus::Populated);
const HIT: (CacheStatus, CacheStatus) = (CacheStatus::Hit, CacheStatus::Skipped);
const FAILED: (CacheStatus, CacheStatus) = (CacheStatus::LookupFailure, CacheStatus::PutFailure);
const DISABLED: (CacheStatus, CacheStatus) = (CacheStatus::Disabled, CacheStatus::Disabled);

type Told = (String, Doing, String);

static TOLD: Mutex<Vec<Told>> = Mutex::new(Vec::new());

/// Has troubles collected, of all tests in this process.
fn listen() {
    on_trouble(|trouble| {
        let told = (trouble.task.to_owned(), trouble.doing, trouble.to_string());
        TOLD.lock().unwrap().push(told);
    });
}

/// What was told of a task since the last time.
fn told_of(task: &str) -> Vec<(Doing, String)> {
    let mut told = TOLD.lock().unwrap();
    let (of_task, others) = told.drain(..).partition(|(name, ..)| name == task);
    *told = others;
    of_task.into_iter().map(|(_, doing, text): Told| (doing, text)).collect()
}
