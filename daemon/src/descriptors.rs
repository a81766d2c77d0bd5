//! Descriptors of open files: as many as the process may have, and some left for the database.
//!
//! **Invariants.** Connections, and those of them that wait for room to write, never take the last
//! of them.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::server::{METRICS_CONNECTIONS_MAX, RECEIVED_MAX, REFUSALS_MAX, writing_max};
use crate::service::SEALED_FILES_MAX;
use crate::settings::Settings;

/// Descriptors that are not for connections: the database has up to 256 files open to read, some to
/// write, and the daemon some of its own, and those of sealed outputs, from peers, of peers that
/// are refused, and of those who ask for metrics.
const DESCRIPTORS_KEPT: u64 = 320
    + SEALED_FILES_MAX as u64
    + RECEIVED_MAX as u64
    + REFUSALS_MAX as u64
    + METRICS_CONNECTIONS_MAX as u64;
/// Boards may take one in so many of all descriptors.
const BOARDS_SHARE: u64 = 16;

/// Lets the process open as many descriptors as it may: a connection is one, and one more for as
/// long as it waits for room to write.
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

/// How many connections leave so many descriptors, or half of all. Those that may wait for room to
/// write at a time have two each.
fn connections_max(descriptors: u64, kept: u64) -> u64 {
    let left = descriptors - kept.min(descriptors / 2);
    let taken = |connections: u64| {
        let writing = writing_max(usize::try_from(connections).unwrap_or(usize::MAX));
        connections.saturating_add(writing as u64)
    };
    // The first number of connections that is too many.
    let (mut fits, mut too_many) = (1, left.saturating_add(1));
    while too_many - fits > 1 {
        let between = fits + (too_many - fits) / 2;
        if taken(between) <= left { fits = between } else { too_many = between }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::{DESCRIPTORS_KEPT, connections_max};
    use crate::server::writing_max;

    #[test]
    fn connections_leave_descriptors() {
        assert_eq!(connections_max(128, DESCRIPTORS_KEPT), 48);
        assert_eq!(connections_max(1, DESCRIPTORS_KEPT), 1);
        assert!(connections_max(14_300, DESCRIPTORS_KEPT + 64) >= 12_000);
        assert!(connections_max(u64::MAX, DESCRIPTORS_KEPT) > 1 << 62);
        for limit in 2..4000 {
            let most = connections_max(limit, DESCRIPTORS_KEPT);
            let taken = |connections: u64| {
                connections + writing_max(usize::try_from(connections).expect("few")) as u64
            };
            let left = limit - DESCRIPTORS_KEPT.min(limit / 2);
            assert!(taken(most) <= left || most == 1, "{most} of {limit}");
            assert!(taken(most + 1) > left, "there is room for more than {most} of {limit}");
        }
    }
}
