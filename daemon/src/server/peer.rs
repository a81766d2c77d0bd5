//! Who is at the other end of a connection, by the kernel's word.
//!
//! **Invariants.** All of it is as it was when the peer connected. Groups are asked for once.

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::net::UnixStream;

use super::peer_groups;

/// A connected process.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its user.
    pub(crate) uid: u32,
    /// Its groups, in ascending order.
    pub(crate) groups: Box<[u32]>,
    /// Its process id; absent if it lives in another process namespace.
    pub(crate) pid: Option<u32>,
    /// Its program's name, if that can be told.
    pub(crate) program: Option<String>,
}

impl Peer {
    /// Asks the kernel (`SO_PEERCRED` and `SO_PEERGROUPS`).
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(crate) fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let credentials = getsockopt(stream, sockopt::PeerCredentials)?;
        let pid = u32::try_from(credentials.pid()).ok().filter(|pid| *pid != 0);
        let (uid, gid) = (credentials.uid(), credentials.gid());
        let mut groups = match peer_groups::ask(stream) {
            Ok(groups) => groups,
            Err(error) => {
                tracing::debug!(uid, "the kernel does not tell a peer's groups: {error}");
                listed(uid, gid)
            }
        };
        groups.push(gid);
        groups.sort_unstable();
        groups.dedup();
        Ok(Self { uid, groups: groups.into(), pid, program: pid.and_then(program) })
    }
}

/// The groups in which a user is listed, for kernels before 4.13. A user without a name has none.
fn listed(uid: u32, gid: u32) -> Vec<u32> {
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let name = name.and_then(|user| std::ffi::CString::new(user.name).ok());
    let groups = name.and_then(|name| getgrouplist(&name, Gid::from_raw(gid)).ok());
    groups.unwrap_or_default().into_iter().map(Gid::as_raw).collect()
}

/// The name of a process's program, without path; at most 255 bytes.
fn program(pid: u32) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = target.file_name()?.to_string_lossy().into_owned();
    Some(name.chars().take(255).collect())
}
