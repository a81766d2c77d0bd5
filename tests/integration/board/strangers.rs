//! Who may not read a scope gets none of its board (issue 5), whatever it tries.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use bytes::Bytes;
use harness::{Raw, call};
use memod_client::{Client, Lookup, LookupOptions, MissReason};
use memod_protocol::handshake::DESCRIPTORS;
use memod_protocol::{ErrorCode, Request, Response, Scope};

use super::given::board;
use super::{client, warm};
use crate::grants::house::{ALICE, BOB, GRANTS, House, NOBODY, READER, STRANGER};

/// Set in the process of another user: the daemon's socket.
const SOCKET: &str = "MEMOD_TEST_BOARD_SOCKET";
const NAME: &str = "board::strangers::who_may_not_read_a_scope_is_not_given_its_board";
const SECRET: &[u8] = b"nobody else may see this";

fn scope() -> Scope {
    Scope::new("alpha", "development")
}

fn of_alpha() -> harness::CallBuilder {
    call("secret").scope("alpha", "development")
}

/// What another user comes to, by every way to a board.
fn tries(socket: &PathBuf) {
    let may_read = [ALICE, READER].contains(&nix::unistd::Uid::effective().as_raw());
    let client = Client::builder().socket(socket).build();
    for _ in 0..20 {
        match client.lookup(&of_alpha().0, &LookupOptions::default()).unwrap() {
            Lookup::Hit(_) => assert!(may_read),
            Lookup::Miss(miss) => {
                assert_eq!((miss.reason, may_read), (MissReason::Forbidden, false));
            }
        }
    }
    assert_eq!(client.board_hits() > 0, may_read);
    let mut raw = Raw::capable(socket, DESCRIPTORS);
    if may_read {
        board(&mut raw, &scope());
        return;
    }
    for asked in [scope(), Scope::new("alpha", "other"), Scope::new("nothing", "there")] {
        let reply = raw.ask(Request::Board { scope: asked }, Bytes::new());
        match reply.response {
            Response::Board(None) => {}
            Response::Error(error) => assert_eq!(error.code, ErrorCode::Forbidden),
            other => panic!("{other:?}"),
        }
        assert!(raw.descriptors(0).is_empty());
    }
    assert!(raw.ping(), "nothing else came");
    // Nor by way of the daemon's own descriptors.
    let pid = client.status().unwrap().pid;
    let denied = fs::read_dir(format!("/proc/{pid}/fd")).expect_err("another user's");
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
    let denied = fs::File::open(format!("/proc/{pid}/maps")).expect_err("another user's");
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn who_may_not_read_a_scope_is_not_given_its_board() {
    if let Some(socket) = env::var_os(SOCKET) {
        return tries(&socket.into());
    }
    let Some(house) = House::new(GRANTS) else { return };
    house.daemon.connect().put(of_alpha().put(&[("o0", SECRET)]));
    let ours = client(&house.daemon);
    warm(&ours, &of_alpha());
    let before = harness::descriptors(house.daemon.pid());
    for uid in [BOB, STRANGER, NOBODY, ALICE, READER] {
        house.plays(uid, NAME, SOCKET);
    }
    harness::eventually("nothing leaks", || harness::descriptors(house.daemon.pid()) <= before + 2);
    warm(&ours, &of_alpha());
}
