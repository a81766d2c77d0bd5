//! The socket that a daemon is given: it must be one, and it outlives the daemon.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use bytes::Bytes;
use harness::{Raw, Setup, call};
use memod_protocol::{PutOutcome, Request, Response};

/// Clients that ask while no daemon runs.
const CLIENTS: usize = 50;

#[test]
fn a_descriptor_of_another_kind_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let wrong: [(&str, OwnedFd); 5] = [
        ("a datagram socket", UnixDatagram::bind(folder.path().join("a")).unwrap().into()),
        ("a connection", UnixStream::pair().unwrap().0.into()),
        ("an internet socket", TcpListener::bind("127.0.0.1:0").unwrap().into()),
        ("a file", File::create(folder.path().join("b")).unwrap().into()),
        ("a device", File::open("/dev/null").unwrap().into()),
    ];
    for (what, descriptor) in wrong {
        let (code, said) = Setup::new().inherits(descriptor).prepare().refused();
        assert_eq!(code, 1, "{what}: {said}");
        let wanted = "is not a listening Unix stream socket";
        assert!(said.contains(wanted), "{what}: {said}");
    }
}

#[test]
fn what_was_inherited_is_told_and_not_what_was_configured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("given.sock");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o606)).unwrap();
    // Its arguments name another socket, which nobody serves.
    let mut daemon = Setup::new().inherits(listener).prepare();
    daemon.start().unwrap();
    assert!(!daemon.socket().exists());
    let mut raw = Raw::connect(&path);
    raw.greet();
    raw.is_welcome();
    let Response::Status(status) = raw.ask(Request::Status, Bytes::new()).response else {
        panic!("a status was due")
    };
    let path = path.display().to_string();
    assert_eq!(status.socket, path);
    let setting = |name: &str| {
        let row = status.settings.iter().find(|(row, ..)| row == name);
        row.map(|(_, value, origin)| (value.as_str(), origin.as_str())).expect("it is told")
    };
    assert_eq!(setting("socket"), (path.as_str(), "inherited socket"));
    assert_eq!(setting("socket_mode"), ("0606", "inherited socket"));
    let log = daemon.log();
    assert!(log.contains(&format!("the socket {path} was passed")), "{log}");
    assert!(!log.contains(&daemon.socket().display().to_string()), "{log}");
}

#[test]
fn nobody_is_refused_while_a_daemon_that_was_given_its_socket_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("given.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut daemon = Setup::new().inherits(listener).prepare();
    daemon.listen_on(&path);
    // The first client is there before the daemon.
    let mut first = Raw::connect(&path);
    daemon.start().unwrap();
    first.greet();
    first.is_welcome();
    let stored = call("kept");
    assert_eq!(first.put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
    for orderly in [false, true] {
        if orderly {
            assert_eq!(daemon.stop().code(), Some(0));
        } else {
            daemon.kill();
        }
        assert!(path.exists(), "the socket is not the daemon's to remove");
        let mut clients: Vec<Raw> = (0..CLIENTS).map(|_| Raw::connect(&path)).collect();
        daemon.start().unwrap();
        for client in &mut clients {
            client.greet();
            client.is_welcome();
            let reply = client.ask(stored.lookup(), Bytes::new());
            assert!(matches!(reply.response, Response::Hit(_)), "{:?}", reply.response);
        }
    }
}
