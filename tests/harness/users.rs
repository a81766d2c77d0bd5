//! Connections of other users: the kernel says of a socket who connected it, so a process of that
//! user does so and hands the socket over.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use memod_descriptors::{Inbox, receive};
use memod_protocol::handshake::CAPABILITIES;

use crate::raw::Raw;

/// Becomes a user, with groups, connects so often, and sends each socket through descriptor 0.
const HAND_OVER: &str = "\
import array, os, socket, sys
path, uid, gid, groups, count = sys.argv[1:]
os.setgroups([int(group) for group in groups.split()])
os.setgid(int(gid))
os.setuid(int(uid))
through = socket.socket(fileno=0)
for _ in range(int(count)):
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(path)
    rights = array.array('i', [connected.fileno()])
    through.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
";

/// A socket that a process of this user and group has connected.
///
/// # Panics
/// If it cannot connect, or this process may not be other users.
#[must_use]
pub fn connected_as(socket: &Path, uid: u32, gid: u32) -> UnixStream {
    connected_in_groups(socket, uid, gid, &[])
}

/// The same of a process in further groups.
///
/// # Panics
/// See [`connected_as`].
#[must_use]
pub fn connected_in_groups(socket: &Path, uid: u32, gid: u32, groups: &[u32]) -> UnixStream {
    connected(socket, (uid, gid, groups), 1).remove(0)
}

/// So many sockets that one process of this user and group has connected.
///
/// # Panics
/// See [`connected_as`].
#[must_use]
pub fn connected_many_as(socket: &Path, uid: u32, gid: u32, count: usize) -> Vec<UnixStream> {
    connected(socket, (uid, gid, &[]), count)
}

fn connected(
    socket: &Path,
    (uid, gid, groups): (u32, u32, &[u32]),
    count: usize,
) -> Vec<UnixStream> {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let numbers: Vec<String> = groups.iter().map(u32::to_string).collect();
    let mut python = Command::new("python3");
    python.args(["-c", HAND_OVER]).arg(socket).env_clear().current_dir("/");
    python.args([uid.to_string(), gid.to_string(), numbers.join(" "), count.to_string()]);
    let ended = python.stdin(OwnedFd::from(theirs)).status().expect("python3 is installed");
    assert!(ended.success(), "user {uid} cannot connect to {}", socket.display());
    // Its copy of our counterpart must go, or nothing would end a reading from it.
    drop(python);
    let handed_over = || {
        let mut inbox = Inbox::default();
        let received = receive(&ours, &mut [0; 1], &mut inbox).expect("it has been sent");
        assert_eq!(received, 1);
        inbox.take(1, 0).expect("one descriptor").remove(0).into()
    };
    (0..count).map(|_| handed_over()).collect()
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
