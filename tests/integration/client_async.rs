//! Semantics 15, 20 and 34 through the async client: the same promises in a runtime.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use harness::{Answer, Daemon, Fake, Random, call};
use memod_client::aio::Client;
use memod_client::{CacheStatus, MemoizeError, MemoizeOptions, Memoized, PutOutput};
use memod_protocol::{Call, ErrorCode};
use nix::sys::signal::Signal;

use crate::client::{DEADLINE, SLACK, content, output};

fn client(socket: impl Into<std::path::PathBuf>) -> Client {
    memod_client::Client::builder().socket(socket).deadline(DEADLINE).stall(DEADLINE).build_async()
}

/// Memoizes a run that gives this content and counts itself.
async fn run(client: &Client, of: &Call, runs: &AtomicU32, content: &str) -> Memoized {
    let compute = || async {
        runs.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Infallible>(vec![output(content)])
    };
    let made = client.memoize(of, &MemoizeOptions::default(), compute).await;
    made.expect("the task does not fail")
}

#[tokio::test]
async fn s15_s20_what_succeeds_is_stored_and_what_fails_is_not() {
    let daemon = Daemon::new();
    let (of, runs, client) = (call("async").0, AtomicU32::new(0), client(daemon.socket()));
    let fails = || async { Err::<Vec<PutOutput>, _>("broken") };
    let failed = client.memoize(&of, &MemoizeOptions::default(), fails).await;
    assert!(matches!(failed, Err(MemoizeError::Compute("broken"))), "{failed:?}");
    let made = run(&client, &of, &runs, "made").await;
    assert_eq!((made.status, made.store), (CacheStatus::Miss, CacheStatus::Populated));
    let hit = run(&client, &of, &runs, "other").await;
    assert_eq!((hit.status, hit.store), (CacheStatus::Hit, CacheStatus::Skipped));
    assert_eq!((content(&hit).as_str(), runs.into_inner()), ("made", 1));
    assert_eq!(hit.provenance.expect("a hit has one").writer_pid, Some(std::process::id()));
}

#[tokio::test]
async fn s15_many_at_once_get_each_their_own() {
    let daemon = Daemon::new();
    let client = client(daemon.socket());
    for runs_wanted in [50, 0] {
        let tasks: Vec<_> = (0..50)
            .map(|number: u32| {
                let client = client.clone();
                tokio::spawn(async move {
                    let (runs, wanted) = (AtomicU32::new(0), format!("number {number}"));
                    let of = call("many").version(&wanted).0;
                    assert_eq!(content(&run(&client, &of, &runs, &wanted).await), wanted);
                    runs.into_inner()
                })
            })
            .collect();
        let mut runs = 0;
        for task in tasks {
            runs += task.await.unwrap();
        }
        assert_eq!(runs, runs_wanted);
    }
}

#[tokio::test]
async fn s34_the_task_runs_whatever_sits_at_the_socket() {
    let nowhere = tempfile::tempdir().unwrap();
    let hanging = Daemon::new();
    hanging.freeze();
    let fakes = [
        ("silent", Fake::silent()),
        ("garbage", Fake::saying(Random::new(5).bytes(4096))),
        ("another version", Fake::of_another_version()),
        ("forbidding", Fake::refusing(ErrorCode::Forbidden)),
        ("leaving", Fake::answering(|_| Answer::Leave)),
    ];
    let mut cases =
        vec![("absent", nowhere.path().join("none.sock")), ("hanging", hanging.socket())];
    cases.extend(fakes.iter().map(|(name, fake)| (*name, fake.socket())));
    for (name, socket) in cases {
        let (client, runs, begun) = (client(socket), AtomicU32::new(0), Instant::now());
        for number in 0..6 {
            let of = call("unhelped").version(&number.to_string()).0;
            let wanted = format!("computed {number}");
            let made = run(&client, &of, &runs, &wanted).await;
            assert_eq!(content(&made), wanted, "{name}");
            assert_eq!(runs.load(Ordering::SeqCst), number + 1, "{name}");
            let statuses = (made.status, made.store);
            assert_eq!(statuses, (CacheStatus::LookupFailure, CacheStatus::PutFailure), "{name}");
        }
        assert!(begun.elapsed() < 3 * DEADLINE + SLACK, "{name}: {:?}", begun.elapsed());
    }
    hanging.signal(Signal::SIGCONT);
}
