//! The supplementary groups of a connected process, from the kernel.
//!
//! **Invariants.** One of the daemon's two kinds of `unsafe`: a socket option that no library of
//! ours knows. The work is bounded by the number of groups that a process may have, whatever number
//! of members these have.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// Most groups of a process (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;
/// As many as most have.
const GROUPS_USUAL: usize = 64;

/// Asks with `SO_PEERGROUPS`.
///
/// # Errors
/// If the kernel does not know the option, as before 4.13.
pub(super) fn ask(socket: impl AsFd) -> io::Result<Vec<u32>> {
    match ask_for(&socket, GROUPS_USUAL) {
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => ask_for(&socket, GROUPS_MAX),
        asked => asked,
    }
}

#[expect(unsafe_code, reason = "a socket option is asked for with a bare pointer")]
fn ask_for(socket: &impl AsFd, room: usize) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; room];
    let bytes = size_of_val(groups.as_slice());
    let mut length = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the pointer is to `length` bytes that live until the call is over, any bytes are good
    // numbers of groups, and the kernel writes no more than `length` bytes.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let told = usize::try_from(length).map_err(io::Error::other)? / size_of::<libc::gid_t>();
    groups.truncate(told);
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_kernel_tells_the_groups_of_who_connected() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let mut told = ask(&one).expect("the kernel knows the option");
        let own = nix::unistd::getgroups().expect("groups");
        let mut own: Vec<u32> = own.into_iter().map(nix::unistd::Gid::as_raw).collect();
        told.sort_unstable();
        own.sort_unstable();
        assert_eq!(told, own);
    }
}
