//! What whoever is given a board can do with it: read it, and nothing else.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use harness::{Daemon, Raw, call};
use memod_descriptors::{Inbox, receive};
use memod_protocol::frame::PREFIX_BYTES;
use memod_protocol::handshake::DESCRIPTORS;
use memod_protocol::{
    BoardOffer, ErrorCode, Frame, Request, RequestHeader, Response, ResponseHeader, Scope, wire,
};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{client, hit, warm};

/// Asks for the board of a scope and reads the answer with its descriptor.
pub(super) fn board(raw: &mut Raw, scope: &Scope) -> (BoardOffer, OwnedFd) {
    let request = Request::Board { scope: scope.clone() };
    let frame = Frame::bare(&RequestHeader { id: 5, request }).unwrap();
    raw.send_frame(&frame);
    let (mut inbox, mut bytes) = (Inbox::default(), [0; 4096]);
    let mut readable = [PollFd::new(raw.stream().as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut readable, PollTimeout::from(60_000_u16)), Ok(1));
    let read = receive(raw.stream(), &mut bytes, &mut inbox).unwrap();
    let header = wire::decode(&bytes[PREFIX_BYTES..read]).expect("a whole frame");
    let ResponseHeader { response: Response::Board(Some(offer)), .. } = header else {
        panic!("a board was due, not {header:?}");
    };
    let mut descriptors = inbox.take(1, 0).expect("one comes with it");
    (offer, descriptors.remove(0))
}

#[test]
fn nobody_but_the_daemon_can_change_a_board() {
    let (daemon, one) = (Daemon::new(), call("t"));
    daemon.connect().put(one.put(&[("o0", b"x")]));
    let client = client(&daemon);
    warm(&client, &one);
    let mut raw = Raw::capable(&daemon.socket(), DESCRIPTORS);
    let (offer, descriptor) = board(&mut raw, &one.0.scope);
    let file = File::from(descriptor);
    assert_eq!(file.metadata().unwrap().len(), offer.bytes);
    // The same memory, opened anew to be written.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let anew = OpenOptions::new().read(true).write(true).open(path).unwrap();
    for mut file in [file, anew] {
        let refused = |outcome: std::io::Result<()>| {
            let error = outcome.expect_err("it is sealed");
            assert_eq!(error.raw_os_error(), Some(Errno::EPERM as i32), "{error}");
        };
        refused(file.write_all(b"garbage"));
        refused(file.write_all_at(b"garbage", 4096));
        refused(file.set_len(0));
        refused(file.set_len(offer.bytes + 4096));
        let punch = nix::fcntl::FallocateFlags::FALLOC_FL_PUNCH_HOLE
            | nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
        assert!(nix::fcntl::fallocate(&file, punch, 0, 4096).is_err());
        let unseal = fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::empty()));
        assert_eq!(unseal, Err(Errno::EPERM));
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap();
        let seals = SealFlag::from_bits_retain(seals);
        assert!(seals.contains(SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SEAL));
        let mut magic = [0; 8];
        file.read_exact_at(&mut magic, 0).unwrap();
        assert_eq!(&magic, b"memodbrd");
    }
    assert!(hit(&client, &one).1, "nothing has happened to it");
}

#[test]
fn no_board_is_given_without_descriptors_or_a_scope() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let ask = |raw: &mut Raw, scope| raw.ask(Request::Board { scope }, Bytes::new()).response;
    assert_eq!(ask(&mut raw, Scope::new("p", "d")), Response::Board(None));
    let mut raw = Raw::capable(&daemon.socket(), DESCRIPTORS);
    for scope in [Scope::new("", "d"), Scope::new("p", ""), Scope::new("p".repeat(5000), "d")] {
        let Response::Error(error) = ask(&mut raw, scope) else { panic!("an error was due") };
        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }
    assert!(raw.ping());
}

#[test]
fn a_hundred_thousand_scopes_are_asked_for_and_nothing_leaks() {
    let daemon = Daemon::new();
    let before = harness::descriptors(daemon.pid());
    let mut raw = Raw::capable(&daemon.socket(), DESCRIPTORS);
    for number in 0..100_000 {
        board(&mut raw, &Scope::new("p", number.to_string()));
    }
    let open = harness::descriptors(daemon.pid());
    assert!(open <= before + 80, "{open} descriptors, {before} before");
    let resident = harness::resident_bytes(daemon.pid());
    assert!(resident < 256 << 20, "{resident} bytes");
    assert!(raw.ping());
}
