//! Who is at the other end of a connection, by the kernel's word.

use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::UnixStream;

/// A connected process.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its user.
    pub(crate) uid: u32,
    /// Its process id; absent if it lives in another process namespace.
    pub(crate) pid: Option<u32>,
    /// Its program's name, if that can be told.
    pub(crate) program: Option<String>,
}

impl Peer {
    /// Asks the kernel (`SO_PEERCRED`).
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(crate) fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let credentials = getsockopt(stream, sockopt::PeerCredentials)?;
        let pid = u32::try_from(credentials.pid()).ok().filter(|pid| *pid != 0);
        Ok(Self { uid: credentials.uid(), pid, program: pid.and_then(program) })
    }
}

/// The name of a process's program, without path; at most 255 bytes.
fn program(pid: u32) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = target.file_name()?.to_string_lossy().into_owned();
    Some(name.chars().take(255).collect())
}
