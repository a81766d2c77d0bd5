//! Connections of other users: the kernel says of a socket who connected it, so a process of that
//! user does so and hands the socket over.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use memod_descriptors::{Inbox, receive};
use memod_protocol::handshake::CAPABILITIES;

use crate::raw::Raw;

/// Connects to the first argument and sends the socket through descriptor 0.
const HAND_OVER: &str = "\
import array, socket, sys
connected = socket.socket(socket.AF_UNIX)
connected.connect(sys.argv[1])
rights = array.array('i', [connected.fileno()])
socket.socket(fileno=0).sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
";

/// A socket that a process of this user and group has connected.
///
/// # Panics
/// If it cannot connect, or this process may not be other users.
#[must_use]
pub fn connected_as(socket: &Path, uid: u32, gid: u32) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut python = Command::new("python3");
    python.args(["-c", HAND_OVER]).arg(socket).env_clear().current_dir("/").uid(uid).gid(gid);
    let ended = python.stdin(OwnedFd::from(theirs)).status().expect("python3 is installed");
    assert!(ended.success(), "user {uid} cannot connect to {}", socket.display());
    // Its copy of our counterpart must go, or nothing would end a reading from it.
    drop(python);
    let mut inbox = Inbox::default();
    let received = receive(&ours, &mut [0; 8], &mut inbox).expect("it has been sent");
    assert_eq!(received, 1);
    inbox.take(1, 0).expect("one descriptor").remove(0).into()
}

impl Raw {
    /// Connects as this user and group, and greets with all capabilities.
    ///
    /// # Panics
    /// If the daemon does not agree.
    #[must_use]
    pub fn of_user(socket: &Path, uid: u32, gid: u32) -> Self {
        let mut raw = Self::over(connected_as(socket, uid, gid));
        raw.greet_with(CAPABILITIES);
        raw.is_welcome();
        raw
    }
}
