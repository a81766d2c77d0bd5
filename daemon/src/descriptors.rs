//! Descriptors of open files: as many as the process may have, and some left for the database.
//!
//! **Invariants.** Connections never take the last of them.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::server::{RECEIVED_MAX, REFUSALS_MAX};
use crate::service::SEALED_FILES_MAX;
use crate::settings::Settings;

/// Descriptors that are not for connections: the database has up to 256 files open to read, some to
/// write, and the daemon some of its own, and those of sealed outputs, from peers, and of peers
/// that are refused.
const DESCRIPTORS_KEPT: u64 =
    320 + SEALED_FILES_MAX as u64 + RECEIVED_MAX as u64 + REFUSALS_MAX as u64;
/// Boards may take one in so many of all descriptors.
const BOARDS_SHARE: u64 = 16;

/// Lets the process open as many descriptors as it may: a connection is one.
pub(crate) fn raise_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("the limit of open files stays at {soft}: {error}");
    }
}

/// Lets there be no more connections than leave descriptors for the database: without one it can
/// neither flush nor compact, and takes no changes any more.
pub(crate) fn leave_some(settings: &mut Settings) {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    // A board is one for as long as it is open.
    let boards = usize::try_from(limit / BOARDS_SHARE).unwrap_or(usize::MAX);
    settings.boards_max = settings.boards_max.min(boards);
    let kept = DESCRIPTORS_KEPT.saturating_add(settings.boards_max as u64);
    let most = usize::try_from(connections_max(limit, kept)).unwrap_or(usize::MAX);
    if settings.connections_max > most {
        tracing::warn!(
            "this process may open {limit} files: it serves {most} connections at a time, not {}",
            settings.connections_max
        );
        settings.connections_max = most;
        settings.origins.push(("connections_max", "limit of open files".to_owned()));
    }
}

/// How many connections leave so many descriptors, or half of all. One that waits to write has two.
fn connections_max(descriptors: u64, kept: u64) -> u64 {
    ((descriptors - kept.min(descriptors / 2)) / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::{DESCRIPTORS_KEPT, connections_max};

    #[test]
    fn connections_leave_descriptors() {
        assert_eq!(connections_max(1024, DESCRIPTORS_KEPT), 256);
        assert_eq!(connections_max(2048, DESCRIPTORS_KEPT + 64), 728);
        assert_eq!(connections_max(128, DESCRIPTORS_KEPT), 32);
        assert_eq!(connections_max(1, DESCRIPTORS_KEPT), 1);
        assert!(connections_max(u64::MAX, DESCRIPTORS_KEPT) > 1 << 62);
    }
}
