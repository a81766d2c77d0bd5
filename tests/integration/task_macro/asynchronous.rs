//! Semantics 13, 15, 20, 27 and 34 through the macro, for async tasks.

#![allow(clippy::unused_async, reason = "what is tested is what the macro awaits")]

use std::fs;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use harness::{Daemon, Fake, PATIENCE};
use memod_client as memod;
use memod_client::{CacheStatus, Client, File, TaskOptions, set_client};

use super::{FAILED, HIT, MADE, listen, statuses, told_of};
use crate::client::{DEADLINE, to_daemon};

fn to(daemon: &Daemon) -> TaskOptions {
    let client = Client::builder().socket(daemon.socket()).build_async();
    TaskOptions::new().async_client(client)
}

static RUNS: AtomicU32 = AtomicU32::new(0);

#[memod::task(cache_version = "1")]
async fn fetch(url: String, tries: &str) -> Result<Vec<u8>, String> {
    RUNS.fetch_add(1, Ordering::SeqCst);
    tokio::task::yield_now().await;
    if url.is_empty() { Err(format!("nothing after {tries} tries")) } else { Ok(url.into_bytes()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn s15_s20_what_succeeds_is_stored_and_what_fails_is_not() {
    let daemon = Daemon::new();
    let options = Arc::new(to(&daemon));
    // Its future goes to another thread.
    let there = Arc::clone(&options);
    let made = tokio::spawn(async move { fetch::memoize(&there, "u".to_owned(), "3").await });
    assert_eq!(statuses(&made.await.unwrap()), MADE);
    let hit = fetch::memoize(&options, "u".to_owned(), "3").await;
    assert_eq!(statuses(&hit), HIT);
    assert_eq!(hit.unwrap().outputs, b"u");
    for _ in 0..2 {
        let failed = fetch::with(&options, String::new(), "3").await;
        assert_eq!(failed, Err("nothing after 3 tries".to_owned()));
    }
    assert_eq!(RUNS.load(Ordering::SeqCst), 3);
    assert_eq!(to_daemon(&daemon).stats().unwrap().whole.unwrap().entries, 1);
}

#[memod::task(cache_version = "1", name = "lines")]
async fn lines(data: File, others: Vec<File>) -> i64 {
    let all = others.iter().chain([&data]).map(|file| file.bytes().unwrap());
    all.map(|bytes| i64::try_from(bytes.len()).unwrap()).sum()
}

#[tokio::test]
async fn s13_files_are_read_elsewhere_and_count_by_content() {
    listen();
    let (daemon, folder) = (Daemon::new(), tempfile::tempdir().unwrap());
    let options = to(&daemon);
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        File::at(path)
    };
    let (one, same, other) = (file("one", "abc"), file("same", "abc"), file("other", "abcd"));
    let made = lines::memoize(&options, one.clone(), vec![other.clone()]).await;
    assert_eq!(statuses(&made), MADE);
    let hit = lines::memoize(&options, same.clone(), vec![other.clone()]).await;
    assert_eq!(statuses(&hit), HIT);
    assert_eq!(hit.unwrap().key, lines::describe(one, vec![other]).unwrap().key().ok());
    let longer = file("other", "abcde");
    assert_eq!(lines::with(&options, same.clone(), vec![longer]).await, 8);
    assert!(told_of("lines").is_empty());
    let none = File::at(folder.path().join("none"));
    assert_eq!(lines::describe(same, vec![none.clone()]).unwrap_err().field, "input `others`[0]");
    let call = tokio::spawn(async move { lines::with(&options, none, Vec::new()).await });
    assert!(call.await.unwrap_err().is_panic(), "the task was run, and that is what it does");
    assert!(told_of("lines")[0].1.contains("cannot be read"));
}

static SLOW_RUNS: AtomicU32 = AtomicU32::new(0);

#[memod::task(cache_version = "1", serialize, ignore(daemon))]
async fn slow(n: i64, daemon: &Watcher) -> i64 {
    SLOW_RUNS.fetch_add(1, Ordering::SeqCst);
    let begun = Instant::now();
    while daemon.0.stats().await.is_ok_and(|stats| stats.whole.unwrap().waiters < 7) {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until all others wait");
        tokio::task::yield_now().await;
    }
    n
}

struct Watcher(memod::aio::Client);

impl memod::Typed for Watcher {
    fn literal_type() -> Result<memod::LiteralType, memod::InvalidArgument> {
        Ok(memod::LiteralType::None)
    }
}

#[tokio::test]
async fn s27_eight_at_once_run_it_once() {
    let daemon = Daemon::new();
    let calls = (0..8).map(|_| {
        let client = Watcher(Client::builder().socket(daemon.socket()).build_async());
        let options = to(&daemon);
        tokio::spawn(async move { slow::with(&options, 5, &client).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), 5);
    }
    assert_eq!(SLOW_RUNS.load(Ordering::SeqCst), 1);
}

#[memod::task(cache_version = "1", name = "simple")]
async fn simple(n: i64) -> i64 {
    n + 1
}

#[tokio::test]
async fn s34_a_daemon_that_never_answers() {
    listen();
    let silent = Fake::silent();
    let client = Client::builder().socket(silent.socket()).deadline(DEADLINE).build_async();
    let options = TaskOptions::new().async_client(client);
    assert_eq!(statuses(&simple::memoize(&options, 1).await), FAILED);
    assert_eq!(told_of("simple").len(), 1);
}

#[memod::task(cache_version = "1", name = "without_runtime")]
async fn without_runtime(n: i64) -> i64 {
    n + 1
}

#[test]
fn s34_outside_of_tokio_the_task_is_run() {
    listen();
    let options = TaskOptions::new();
    let mut call = pin!(without_runtime::memoize(&options, 1));
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(made) = polled else { panic!("nothing is waited for") };
    assert_eq!(statuses(&made), FAILED);
    assert!(told_of("without_runtime")[0].1.contains("on a tokio runtime only"));
}

#[memod::task(cache_version = "1")]
async fn of_process(n: i64) -> i64 {
    n
}

/// Connections do not outlive their runtime, so neither may the client that keeps them.
#[test]
fn s15_the_process_has_a_client_for_each_runtime() {
    let daemon = Daemon::new();
    set_client(to_daemon(&daemon));
    for status in [CacheStatus::Miss, CacheStatus::Hit, CacheStatus::Hit] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let made = runtime.block_on(of_process::memoize(&TaskOptions::new(), 1));
        assert_eq!(made.unwrap().status, status);
        assert_eq!(runtime.block_on(of_process(1)), 1);
    }
}
