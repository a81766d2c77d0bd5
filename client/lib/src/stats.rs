//! The daemon's counters, as far as a user is told of them.
//!
//! **Invariants.** What is not told is absent, never zero.

use memod_protocol::{MissReason, TaskStats};

/// Counters. Those of requests count since the store was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lookups that hit: of all tasks, or of those that the user may read if it may not read all.
    pub hits: u64,
    /// Lookups that missed, likewise.
    pub misses: u64,
    /// Compute time spared by hits, net of what the hits took, in nanoseconds, likewise
    /// (semantics 36).
    pub time_saved_ns: u64,
    /// How long the daemon has been up, in nanoseconds.
    pub uptime_ns: u64,
    /// The same by task.
    pub by_task: Vec<TaskStats>,
    /// What is counted of all of it together; absent if the user may not read everything.
    pub whole: Option<WholeStats>,
}

/// What is counted neither by task nor by scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WholeStats {
    /// Puts that stored something.
    pub puts: u64,
    /// Entries stored now.
    pub entries: u64,
    /// Distinct blobs stored now.
    pub blobs: u64,
    /// Bytes of the distinct blobs.
    pub stored_bytes: u64,
    /// Bytes of all entries' outputs, counted once for each entry.
    pub logical_bytes: u64,
    /// Entries evicted.
    pub evicted_entries: u64,
    /// Leases held now.
    pub leases: u64,
    /// Requests waiting for a lease or an entry now.
    pub waiters: u64,
    /// Connections open now.
    pub connections: u64,
    /// Misses by reason.
    pub misses_by_reason: Vec<(MissReason, u64)>,
}

impl Stats {
    /// What the daemon has said, to a user who is told of everything or not.
    pub(crate) fn of(said: memod_protocol::Stats, tells_all: bool) -> Self {
        let whole = WholeStats {
            puts: said.puts,
            entries: said.entries,
            blobs: said.blobs,
            stored_bytes: said.stored_bytes,
            logical_bytes: said.logical_bytes,
            evicted_entries: said.evicted_entries,
            leases: said.leases,
            waiters: said.waiters,
            connections: said.connections,
            misses_by_reason: said.misses_by_reason,
        };
        Self {
            hits: said.hits,
            misses: said.misses,
            time_saved_ns: said.time_saved_ns,
            uptime_ns: said.uptime_ns,
            by_task: said.by_task,
            whole: tells_all.then_some(whole),
        }
    }
}
