//! Hits by the board: had without the daemon's turn, and right whatever happens meanwhile.

mod changes;
mod counting;
mod daemons;
mod forked;
mod given;
mod glance;
mod strangers;
mod succeeded;

use harness::{CallBuilder, Daemon, call};
use memod_client::{Client, Hit, Lookup, LookupOptions, MissReason};

/// A client that waits for a busy machine.
fn client(daemon: &Daemon) -> Client {
    Client::builder().socket(daemon.socket()).build()
}

fn look(client: &Client, of: &CallBuilder) -> Lookup {
    client.lookup(&of.0, &LookupOptions::default()).expect("an answer")
}

fn text(hit: &Hit) -> String {
    let bytes = hit.outputs[0].content.to_bytes().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The content of a hit that must be, and whether it came by the board.
#[track_caller]
fn hit(client: &Client, of: &CallBuilder) -> (String, bool) {
    let before = client.board_hits();
    match look(client, of) {
        Lookup::Hit(hit) => (text(&hit), client.board_hits() > before),
        Lookup::Miss(miss) => panic!("a hit was due, not {miss:?}"),
    }
}

/// Why there is none.
#[track_caller]
fn miss(client: &Client, of: &CallBuilder) -> MissReason {
    match look(client, of) {
        Lookup::Miss(miss) => miss.reason,
        Lookup::Hit(hit) => panic!("a miss was due, not {hit:?}"),
    }
}

/// Looks up until the hits come by the board, which takes few; gives how many came otherwise.
#[track_caller]
fn warm(client: &Client, of: &CallBuilder) -> u64 {
    for number in 0..20 {
        if hit(client, of).1 {
            return number;
        }
    }
    panic!("no hit came by the board");
}

/// A daemon with this entry, and a client that has it by the board.
fn warmed(task: &str, content: &str) -> (Daemon, Client, CallBuilder) {
    let (daemon, one) = (Daemon::new(), call(task));
    daemon.connect().put(one.put(&[("o0", content.as_bytes())]));
    let client = client(&daemon);
    warm(&client, &one);
    (daemon, client, one)
}
