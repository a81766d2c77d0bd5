//! A daemon that is killed while many read its boards, and one that comes after it (semantics 24
//! and 34).

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use harness::{CallBuilder, Daemon, call};
use memod_client::{Client, Lookup, LookupOptions};
use memod_protocol::{Put, Selector};

use super::text;

const ROUNDS: u64 = 60;
const READERS: usize = 3;
/// Clients of earlier daemons that go on to be asked.
const CLIENTS_MAX: usize = 4;

fn reader(socket: &Path) -> Client {
    Client::builder().socket(socket).build()
}

/// Puts a number in place of what is there.
fn overwrite(daemon: &Daemon, one: &CallBuilder, version: u64) {
    let (put, payload) = one.put(&[("o0", version.to_string().as_bytes())]);
    daemon.connect().put((Put { overwrite: true, ..put }, payload));
}

/// Reads until all is over; nothing older may be seen than what was acknowledged before.
fn read(socket: &Path, one: &CallBuilder, least: &AtomicU64, ended: &AtomicBool) -> u64 {
    let mut clients: Vec<Client> = vec![reader(socket)];
    let mut by_board = 0;
    while !ended.load(Ordering::SeqCst) {
        let mut failed = false;
        for (age, asked) in clients.iter().rev().enumerate() {
            let due = least.load(Ordering::SeqCst);
            let before = asked.board_hits();
            match asked.lookup(&one.0, &LookupOptions::default()) {
                Ok(Lookup::Hit(hit)) => {
                    let seen: u64 = text(&hit).parse().unwrap();
                    assert!(seen >= due, "{seen} was seen after {due}");
                    by_board += asked.board_hits() - before;
                }
                // It has been forgotten, and is not there again yet.
                Ok(Lookup::Miss(_)) => {}
                // There is no daemon just now, and who was told so leaves it alone for a while.
                Err(_) => failed |= age == 0,
            }
        }
        if failed {
            // Who has a board of an earlier daemon may not believe it later either.
            clients.push(reader(socket));
            if clients.len() > CLIENTS_MAX {
                clients.remove(0);
            }
            thread::yield_now();
        }
    }
    by_board
}

#[test]
fn s24_nobody_sees_what_a_successor_has_forgotten_or_replaced() {
    let (mut daemon, one) = (Daemon::new(), call("succeeded"));
    overwrite(&daemon, &one, 0);
    let (least, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let socket = daemon.socket();
    let by_board: u64 = thread::scope(|scope| {
        let readers: Vec<_> =
            (0..READERS).map(|_| scope.spawn(|| read(&socket, &one, &least, &ended))).collect();
        let observer = reader(&socket);
        for round in 1..=ROUNDS {
            // Some rounds kill a daemon whose board is read, others one that has hardly begun.
            let pauses = if round % 3 == 0 { 0 } else { 300 };
            (0..pauses).for_each(|_| drop(observer.lookup(&one.0, &LookupOptions::default())));
            daemon.kill();
            daemon.start().unwrap();
            if round % 2 == 0 {
                let selector = Selector::Keys(vec![one.0.key().unwrap()]);
                assert_eq!(daemon.connect().invalidate(selector, false), 1);
                least.store(round, Ordering::SeqCst);
            }
            overwrite(&daemon, &one, round);
            least.store(round, Ordering::SeqCst);
        }
        ended.store(true, Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    println!("{by_board} hits came by boards");
    assert!(by_board > ROUNDS, "only {by_board} hits came by boards, so this shows nothing");
}
