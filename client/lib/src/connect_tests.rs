//! Tests of the socket.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::io::Write;
use std::os::unix::net::UnixListener;

use memod_protocol::handshake::{MAGIC, VERSIONS, Welcome};
use memod_protocol::{ErrorCode, Frame, WireError};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::*;

const SHORT: Duration = Duration::from_millis(100);
/// What no bounded wait of these tests comes near, on however busy a machine.
const LONG: Duration = Duration::from_secs(8);

fn pair() -> (Wire, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Wire::over(ours, Path::new("/pair")), theirs)
}

#[test]
fn a_frame_comes_out_as_it_went_in_however_many_pieces_it_has() {
    let (mut wire, mut peer) = pair();
    let pieces: Vec<Vec<u8>> = (0..2000_usize).map(|n| vec![n.to_le_bytes()[0]; n % 5]).collect();
    let payload: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    let whole = payload.concat();
    let prefix = Prefix::of(4, whole.len()).unwrap();
    let head = [&prefix.to_bytes()[..], b"head"].concat();
    let expected = [head.as_slice(), &whole].concat();
    let length = expected.len();
    let reader = std::thread::spawn(move || {
        let mut read = vec![0; length];
        peer.read_exact(&mut read).unwrap();
        peer.write_all(&read).unwrap();
        read
    });
    let patience = Patience::within(Duration::from_secs(10));
    wire.send(&head, &payload, &[], patience).unwrap();
    assert!(reader.join().unwrap() == expected);
    let (header, payload_bytes) = wire.header(patience).unwrap();
    assert_eq!((header.as_slice(), payload_bytes), (&b"head"[..], whole.len()));
    let mut got = Vec::new();
    for bytes in [1, whole.len() - 1] {
        let taker = |piece: &[u8]| {
            got.extend_from_slice(piece);
            Ok(())
        };
        wire.payload(bytes, patience, taker).unwrap();
    }
    assert!(got == whole);
}

#[test]
fn a_lying_length_is_an_error_and_not_an_allocation() {
    let (mut wire, mut peer) = pair();
    peer.write_all(&[0xff; 8]).unwrap();
    let patience = Patience::within(Duration::from_secs(10));
    assert!(matches!(wire.header(patience), Err(Error::Protocol(_))));
}

#[test]
fn silence_ends_at_the_deadline() {
    let (mut wire, _peer) = pair();
    let begun = Instant::now();
    let error = wire.header(Patience::within(SHORT)).unwrap_err();
    assert!(matches!(error, Error::Timeout { after, .. } if after == SHORT));
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < LONG);
}

#[test]
fn a_peer_that_drips_cannot_stretch_the_deadline() {
    let (mut wire, mut peer) = pair();
    let dripper = std::thread::spawn(move || {
        // A header that never ends, a byte at a time, until the other side is gone.
        let prefix = Prefix::of(100_000, 0).unwrap().to_bytes();
        peer.set_read_timeout(Some(SHORT / 10)).unwrap();
        let mut bytes = prefix.into_iter().chain(std::iter::repeat(0));
        while peer.write_all(&[bytes.next().unwrap()]).is_ok() {
            let _ = peer.read(&mut [0]);
        }
    });
    let begun = Instant::now();
    let error = wire.header(Patience::within(SHORT)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begun.elapsed() < LONG);
    drop(wire);
    dripper.join().unwrap();
}

#[test]
fn a_stall_is_counted_from_the_last_byte() {
    let (mut wire, mut peer) = pair();
    peer.write_all(&[0; 4]).unwrap();
    let error = wire.header(Patience::Stall(SHORT)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }));
}

#[test]
fn a_peer_that_takes_nothing_does_not_hold_a_send_for_ever() {
    for patience in [Patience::within(SHORT), Patience::Stall(SHORT)] {
        let (mut wire, _peer) = pair();
        let large = vec![0; 8 * 1024 * 1024];
        let error = wire.send(&[], &[&large], &[], patience).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }));
    }
}

#[test]
fn alistener_that_never_accepts_does_not_hold_a_connect_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.sock");
    let listener = UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let mut held = Vec::new();
    let error = loop {
        match Wire::open(&path, Patience::within(SHORT)) {
            Ok(wire) => held.push(wire),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[test]
fn nobody_there_is_told_apart_and_so_is_a_path_that_is_too_long() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent.sock");
    let patience = Patience::within(SHORT);
    assert!(matches!(Wire::open(&absent, patience), Err(Error::NoDaemon { .. })));
    let left_over = directory.path().join("left-over.sock");
    drop(UnixListener::bind(&left_over).unwrap());
    assert!(matches!(Wire::open(&left_over, patience), Err(Error::NoDaemon { .. })));
    let longest = format!("/{}", "x".repeat(SOCKET_PATH_BYTES_MAX - 1));
    assert!(matches!(Wire::open(Path::new(&longest), patience), Err(Error::NoDaemon { .. })));
    let longer = format!("{longest}x");
    let refused = Wire::open(Path::new(&longer), patience);
    assert!(matches!(refused, Err(Error::PathTooLong { bytes: 108, max: 107, .. })));
}

#[test]
fn a_send_to_a_peer_that_is_gone_raises_no_signal() {
    // Rust ignores SIGPIPE, but a worker may not. A signal that is blocked stays pending even if
    // it is ignored, so this sees whether one is raised, whatever the disposition.
    let mut sigpipe = SigSet::empty();
    sigpipe.add(Signal::SIGPIPE);
    sigpipe.thread_block().unwrap();
    let pending = SignalFd::with_flags(&sigpipe, SfdFlags::SFD_NONBLOCK).unwrap();
    let (mut wire, peer) = pair();
    drop(peer);
    assert!(nix::unistd::write(&wire.socket, b"x").is_err());
    assert!(pending.read_signal().unwrap().is_some(), "a plain write raises it");
    for payload in [&[][..], &[&b"payload"[..]][..]] {
        let error = wire.send(b"head", payload, &[], Patience::within(SHORT)).unwrap_err();
        assert!(error.is_hang_up());
    }
    assert!(pending.read_signal().unwrap().is_none());
}

#[test]
fn who_refuses_and_leaves_before_it_is_greeted_is_heard() {
    let (mut wire, mut peer) = pair();
    let error = WireError::new(ErrorCode::Busy, "full");
    let refused = Welcome::Refused { magic: MAGIC, versions: VERSIONS.to_vec(), error };
    peer.write_all(&Frame::bare(&refused).unwrap().head()).unwrap();
    drop(peer);
    let error = wire.greet("test", Patience::within(LONG)).unwrap_err();
    assert!(matches!(&error, Error::Daemon(of) if of.code == ErrorCode::Busy), "{error}");
    let (mut wire, peer) = pair();
    drop(peer);
    assert!(wire.greet("test", Patience::within(LONG)).unwrap_err().is_hang_up());
}

#[test]
fn a_quiet_peer_is_one_that_is_there_and_has_said_nothing() {
    let (wire, mut peer) = pair();
    assert!(wire.is_quiet());
    peer.write_all(b"unasked").unwrap();
    assert!(!wire.is_quiet());
    let (wire, peer) = pair();
    drop(peer);
    assert!(!wire.is_quiet());
}
