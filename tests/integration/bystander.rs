//! A well-behaved client beside whatever a test does: it must notice nothing.

use std::time::{Duration, Instant};

use harness::{CallBuilder, Daemon, Raw, call, eventually, resident_peak_bytes};
use memod_protocol::{PutOutcome, Stats};

/// What a daemon with its usual settings may ever hold resident, whatever is sent to it.
pub(crate) const RESIDENT_BYTES_MAX: u64 = 256 << 20;

/// What a bystander's request may take at the most while others misbehave: less than any of the
/// daemon's patience with them, and far more than a busy machine needs.
pub(crate) const UNDISTURBED: Duration = Duration::from_secs(8);

/// A connection with entries of its own.
pub(crate) struct Bystander {
    raw: Raw,
    small: (CallBuilder, Vec<u8>),
    large: (CallBuilder, Vec<u8>),
    before: Stats,
    fresh: u32,
}

impl Bystander {
    /// Connects and stores a small and a large entry.
    pub(crate) fn of(daemon: &Daemon) -> Self {
        let mut raw = daemon.connect();
        let small = (call("bystander.small"), b"small".to_vec());
        let large = (call("bystander.large"), b"large".repeat(200_000));
        for (call, content) in [&small, &large] {
            assert_eq!(raw.put(call.put(&[("o0", content)])), PutOutcome::Populated);
        }
        let before = raw.stats();
        Self { raw, small, large, before, fresh: 0 }
    }

    /// The connection, for what a test wants to look up.
    pub(crate) fn raw(&mut self) -> &mut Raw {
        &mut self.raw
    }

    /// Looks up and stores, small and large; everything must be as it was, and quickly.
    pub(crate) fn is_served(&mut self) {
        let began = Instant::now();
        for (call, content) in [&self.small, &self.large] {
            let (hit, contents) = self.raw.lookup(call).expect("what was stored is there");
            assert_eq!(hit.outputs.len(), 1);
            assert!(contents[0] == *content, "other bytes were served");
        }
        self.fresh += 1;
        let (fresh, version) = (call("bystander.fresh"), self.fresh.to_string());
        let content = [version.as_bytes(), &self.large.1].concat();
        let put = fresh.version(&version).put(&[("o0", &content)]);
        assert_eq!(self.raw.put(put), PutOutcome::Populated);
        assert!(began.elapsed() < UNDISTURBED, "it took {:?}", began.elapsed());
    }

    /// What is stored is what the bystander stored: nothing more, nothing less.
    pub(crate) fn sees_nothing_new(&mut self) {
        let now = self.raw.stats();
        let fresh = u64::from(self.fresh);
        assert_eq!(now.entries, self.before.entries + fresh);
        assert_eq!(now.blobs, self.before.blobs + fresh);
        assert_eq!(now.puts, self.before.puts + fresh);
        let rows = self.raw.list();
        assert_eq!(rows.len() as u64, now.entries);
        assert_eq!(rows.iter().map(|row| row.bytes).sum::<u64>(), now.logical_bytes);
        assert_eq!(now.stored_bytes, now.logical_bytes, "the bystander stores nothing twice");
    }

    /// All of the above, when all others are gone.
    pub(crate) fn noticed_nothing(mut self, daemon: &Daemon) {
        self.is_served();
        self.sees_nothing_new();
        eventually("the others' connections are closed", || self.raw.stats().connections == 1);
        assert_bounded(daemon);
    }
}

/// The daemon never held more memory than it may.
#[track_caller]
pub(crate) fn assert_bounded(daemon: &Daemon) {
    let peak = resident_peak_bytes(daemon.pid());
    assert!(peak < RESIDENT_BYTES_MAX, "{} MiB were resident", peak >> 20);
}
