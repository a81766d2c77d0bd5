//! Descriptors that belong to no message, or to messages that never come to an end.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use harness::{Daemon, Raw, eventually};
use memod_protocol::handshake::{DESCRIPTORS, Hello};
use memod_protocol::limits::DESCRIPTORS_MAX;
use memod_protocol::{ErrorCode, Frame, Request, RequestHeader, Response};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::bystander::Bystander;

fn ping() -> Vec<u8> {
    let ping = RequestHeader { id: 1, request: Request::Ping };
    Frame::bare(&ping).unwrap().head().to_vec()
}

/// What a peer may send of each kind, by name.
pub(super) fn kinds() -> Vec<(&'static str, OwnedFd)> {
    let (pipe, _) = nix::unistd::pipe().unwrap();
    let (socket, _) = UnixStream::pair().unwrap();
    let memory = nix::sys::memfd::memfd_create("test", nix::sys::memfd::MFdFlags::empty());
    vec![
        ("a directory", File::open("/tmp").unwrap().into()),
        ("a pipe", pipe),
        ("a socket", socket.into()),
        ("/dev/zero", File::open("/dev/zero").unwrap().into()),
        ("a memory file", memory.unwrap()),
    ]
}

/// The reason that the daemon gives before it ends the connection.
fn reason(raw: &mut Raw) -> String {
    let reply = raw.read_reply().expect("it is told why");
    assert_eq!(reply.id, 0, "the error belongs to no request");
    assert!(raw.read_frame().is_none(), "the connection goes on");
    match reply.response {
        Response::Error(error) => {
            assert_eq!(error.code, ErrorCode::Malformed);
            error.message
        }
        other => panic!("an error was due, not {other:?}"),
    }
}

/// How many descriptors the daemon has open, but for the files of its store, of which there are
/// more and less at any time.
pub(super) fn open(daemon: &Daemon) -> usize {
    let data = daemon.data();
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let links = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| !link.starts_with(&data)).count()
}

#[track_caller]
pub(super) fn none_is_left(daemon: &Daemon, before: usize) {
    eventually("every descriptor is closed", || open(daemon) <= before);
}

#[test]
fn descriptors_that_no_message_announces_end_the_connection_and_are_closed() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let before = open(&daemon);
    for (kind, descriptor) in kinds() {
        for capabilities in [0, DESCRIPTORS] {
            let mut raw = Raw::capable(&daemon.socket(), capabilities);
            raw.send_descriptors(&ping(), &[descriptor.as_fd()]).unwrap();
            let reason = reason(&mut raw);
            assert!(reason.contains("that no message announces"), "{kind}: {reason}");
        }
    }
    none_is_left(&daemon, before);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn a_greeting_has_no_descriptors() {
    let daemon = Daemon::new();
    let before = open(&daemon);
    let mut raw = Raw::connect(&daemon.socket());
    let hello = Hello::new("memod-tests").with_capabilities(DESCRIPTORS);
    let zero = File::open("/dev/zero").unwrap();
    raw.send_descriptors(&Frame::bare(&hello).unwrap().head(), &[zero.as_fd()]).unwrap();
    while raw.read_frame().is_some() {}
    none_is_left(&daemon, before);
}

#[test]
fn more_descriptors_than_a_frame_may_have_end_the_connection_and_are_closed() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let before = open(&daemon);
    let zero = File::open("/dev/zero").unwrap();
    for count in [DESCRIPTORS_MAX, DESCRIPTORS_MAX + 1, 253] {
        let mut raw = Raw::capable(&daemon.socket(), DESCRIPTORS);
        let many: Vec<BorrowedFd<'_>> = vec![zero.as_fd(); count];
        raw.send_descriptors(&ping(), &many).unwrap();
        while raw.read_frame().is_some() {}
        none_is_left(&daemon, before);
    }
    bystander.noticed_nothing(&daemon);
}

#[test]
fn descriptors_of_frames_that_never_end_are_bounded_and_closed_with_the_connection() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let before = open(&daemon);
    let zero = File::open("/dev/zero").unwrap();
    let one = [zero.as_fd()];
    let (mut patient, mut flooding) =
        (Raw::capable(&daemon.socket(), DESCRIPTORS), Raw::capable(&daemon.socket(), DESCRIPTORS));
    // The beginning of a frame of 1000 bytes.
    let begun = [1000_u32.to_le_bytes(), 500_u32.to_le_bytes()].concat();
    patient.send_descriptors(&begun, &one).unwrap();
    flooding.send_descriptors(&begun, &one).unwrap();
    eventually("they have come", || open(&daemon) >= before + 4);
    while memod_descriptors::send(flooding.stream(), &[IoSlice::new(b"x")], &one).is_ok() {
        assert!(open(&daemon) <= before + 6);
    }
    drop((patient, flooding));
    none_is_left(&daemon, before);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn all_connections_of_a_user_hold_a_bounded_number_of_descriptors() {
    let daemon = Daemon::new();
    let before = open(&daemon);
    let zero = File::open("/dev/zero").unwrap();
    let begun = [1000_u32.to_le_bytes(), 500_u32.to_le_bytes()].concat();
    let mut peers: Vec<Raw> =
        (0..100).map(|_| Raw::capable(&daemon.socket(), DESCRIPTORS)).collect();
    for peer in &mut peers {
        peer.send_descriptors(&begun, &[zero.as_fd()]).unwrap();
    }
    // Those that came when the user's places were taken are cut off.
    let ended = |peer: &&mut Raw| {
        let mut wanted = [PollFd::new(peer.stream().as_fd(), PollFlags::POLLIN)];
        poll(&mut wanted, PollTimeout::ZERO).unwrap() == 1
    };
    let held = 48;
    eventually("the rest is cut off", || peers.iter_mut().filter(ended).count() == 100 - held);
    let folder = format!("/proc/{}/fd", daemon.pid());
    let open = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let links = open.filter_map(|path| std::fs::read_link(path).ok());
    assert_eq!(links.filter(|of| of.as_os_str() == "/dev/zero").count(), held);
    drop(peers);
    none_is_left(&daemon, before);
    let mut raw = daemon.connect();
    assert!(matches!(raw.ask(Request::Ping, Bytes::new()).response, Response::Pong));
}
