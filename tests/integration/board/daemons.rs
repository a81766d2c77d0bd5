//! Daemons that die, hang, come back, or drop a scope (semantics 34).

use harness::{Daemon, Setup, call, eventually};
use memod_client::{Error, Lookup, LookupOptions};
use memod_protocol::{Put, PutOutcome};
use nix::sys::signal::Signal;

use super::{client, hit, look, text, warm, warmed};

#[test]
fn s34_the_board_of_a_dead_daemon_is_not_believed() {
    let (mut daemon, client, one) = warmed("killed", "old");
    for round in 0..3 {
        assert!(hit(&client, &one).1);
        daemon.kill();
        // It may be believed for the millisecond after it was last seen to live.
        eventually("nobody answers", || match client.lookup(&one.0, &LookupOptions::default()) {
            Ok(Lookup::Hit(hit)) => {
                let before =
                    if round == 0 { "old".to_owned() } else { format!("of round {}", round - 1) };
                assert_eq!(text(&hit), before);
                false
            }
            asked => {
                assert!(matches!(asked, Err(Error::NoDaemon { .. })), "{asked:?}");
                true
            }
        });
        daemon.start().unwrap();
        let content = format!("of round {round}");
        let (put, payload) = one.put(&[("o0", content.as_bytes())]);
        let put = Put { overwrite: true, ..put };
        assert_eq!(daemon.connect().put((put, payload)), PutOutcome::Populated);
        assert_eq!(hit(&client, &one).0, content);
        warm(&client, &one);
    }
}

#[test]
fn s34_a_daemon_that_was_replaced_unnoticed_is_not_believed() {
    let (mut daemon, client, one) = warmed("replaced", "old");
    assert!(hit(&client, &one).1);
    // Nobody asks while there is none.
    assert!(daemon.stop().success());
    daemon.start().unwrap();
    let (put, payload) = one.put(&[("o0", b"new")]);
    daemon.connect().put((Put { overwrite: true, ..put }, payload));
    assert_eq!(hit(&client, &one).0, "new");
}

#[test]
fn s34_a_daemon_that_hangs_does_not_keep_hits_from_coming() {
    let (daemon, client, one) = warmed("frozen", "content");
    daemon.freeze();
    for _ in 0..2000 {
        assert_eq!(hit(&client, &one), ("content".to_owned(), true));
    }
    let hits = client.board_hits();
    daemon.signal(Signal::SIGCONT);
    // What could not be told meanwhile is told now.
    let stats = client.stats().unwrap();
    assert!(stats.hits >= hits, "{} of {hits} are counted", stats.hits);
}

#[test]
fn s34_more_scopes_than_boards_are_served_all_the_same() {
    let config = "boards_max = 2\nboard_bytes = 131072";
    let daemon = Setup::new().config(config).start();
    let (mut raw, client) = (daemon.connect(), client(&daemon));
    let scopes: Vec<_> = (0..6).map(|n| call("t").scope("p", &n.to_string())).collect();
    for (number, one) in scopes.iter().enumerate() {
        raw.put(one.put(&[("o0", number.to_string().as_bytes())]));
    }
    for round in 0..3 {
        for (number, one) in scopes.iter().enumerate() {
            if round == 0 {
                warm(&client, one);
            }
            (0..5).for_each(|_| assert_eq!(hit(&client, one).0, number.to_string()));
        }
    }
    // The first is not there any more, and the client has noticed.
    assert_eq!(hit(&client, &scopes[0]), ("0".to_owned(), false));
}

#[test]
fn s34_a_board_that_was_given_up_soon_is_not_asked_for_at_once() {
    let config = "boards_max = 1\nboard_bytes = 131072";
    let daemon = Setup::new().config(config).start();
    let (mut raw, client) = (daemon.connect(), client(&daemon));
    let scopes: Vec<_> = (0..2).map(|n| call("t").scope("p", &n.to_string())).collect();
    for one in &scopes {
        raw.put(one.put(&[("o0", b"x")]));
        warm(&client, one);
    }
    // The first was given up for the second, which is left alone for a while.
    for _ in 0..20 {
        assert_eq!(hit(&client, &scopes[0]), ("x".to_owned(), false));
    }
    assert_eq!(hit(&client, &scopes[1]), ("x".to_owned(), true));
    eventually("it is asked for again", || hit(&client, &scopes[0]).1);
}

#[test]
fn s34_many_scopes_take_a_bounded_part_of_the_daemon() {
    let daemon = Setup::new().config("boards_max = 3").start();
    let (mut raw, client) = (daemon.connect(), client(&daemon));
    let descriptors = || harness::descriptors(daemon.pid());
    let before = descriptors();
    for number in 0..200 {
        let one = call("t").scope("p", &number.to_string());
        raw.put(one.put(&[("o0", b"x")]));
        for _ in 0..3 {
            look(&client, &one);
        }
    }
    eventually("descriptors are bounded", || descriptors() < before + 20);
}

#[test]
fn boards_can_be_turned_off_at_either_end() {
    let daemon = Setup::new().config("board_bytes = 0").start();
    let one = call("off");
    daemon.connect().put(one.put(&[("o0", b"x")]));
    let asks = client(&daemon);
    for _ in 0..20 {
        assert!(matches!(look(&asks, &one), Lookup::Hit(_)));
    }
    assert_eq!(asks.board_hits(), 0);
    let daemon = Daemon::new();
    daemon.connect().put(one.put(&[("o0", b"x")]));
    let asks = memod_client::Client::builder().socket(daemon.socket()).board(false).build();
    for _ in 0..20 {
        assert!(matches!(look(&asks, &one), Lookup::Hit(_)));
    }
    assert_eq!(asks.board_hits(), 0);
}
