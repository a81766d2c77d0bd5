//! Asks whether the command has been run before; with `--serialize` also for the right to run it,
//! or for what comes of somebody else's run.
//!
//! **Invariants.** Whatever the daemon does, there is an answer: what cannot be replayed is a miss.

use std::io;

use jiff::Timestamp;
use memod_client::{
    CacheStatus, ClaimFound, ClaimOptions, Client, Error, HitSummary, Lease, LookupOptions, Mode,
    OutputDescription, OutputSink, ReservationStatus, Wait,
};
use memod_protocol::{ErrorCode, Miss, MissReason, Pending};

use super::replay::{Replay, Streams};
use super::subject::Subject;
use crate::args::{RunArgs, Screen};
use crate::connect;
use crate::output::{holder, shown, tell};

/// What came of asking.
pub(super) struct Recalled {
    /// What there is.
    pub(super) answer: Answer,
    /// How a lease was involved; nothing if none was asked for.
    pub(super) reservation: Option<ReservationStatus>,
}

/// What there is.
pub(super) enum Answer {
    /// The command has been run before; its files are in place.
    Hit(Box<HitSummary>, Streams),
    /// It has to be run.
    Miss(Missed),
}

/// Why the command has to be run.
pub(super) struct Missed {
    /// What came of the lookup, in Flyte's words (semantics 25).
    pub(super) status: CacheStatus,
    /// The stable name of the reason.
    pub(super) reason: &'static str,
    /// Whether the entry, if there is one, is of no use to anybody.
    pub(super) is_worthless: bool,
    /// Whether a warning has told already that the daemon is of no help.
    pub(super) is_told: bool,
    /// The right to run it, if it was asked for and given. Held by a connection that the command
    /// does not inherit, so that it ends with this process.
    pub(super) lease: Option<Box<Lease>>,
}

impl Missed {
    fn because(status: CacheStatus, reason: &'static str) -> Self {
        Self { status, reason, is_worthless: false, is_told: false, lease: None }
    }

    fn of(miss: &Miss) -> Self {
        Self {
            is_worthless: miss.reason == MissReason::Corrupt,
            ..Self::because(CacheStatus::Miss, miss.reason.name())
        }
    }
}

/// Asks, and waits if the flags say so.
pub(super) fn recall(
    args: &RunArgs,
    mode: Mode,
    subject: &Subject,
    client: &Client,
    screen: Screen,
) -> Recalled {
    if mode == Mode::Overwrite {
        let reservation = args.serialize.then_some(ReservationStatus::Disabled);
        let answer = Answer::Miss(Missed::because(CacheStatus::Skipped, "overwrite"));
        return Recalled { answer, reservation };
    }
    let mut sink = Sink { replay: Replay::new(subject), screen, has_waited: false };
    let found = ask(args, mode, subject, client, &mut sink);
    let reservation = reservation(&found, sink.has_waited, !mode.writes());
    let missed = match found {
        Ok(ClaimFound::Hit(hit)) => match sink.replay.finish() {
            Ok(streams) => {
                let answer = Answer::Hit(Box::new(hit), streams);
                return Recalled { answer, reservation: args.serialize.then_some(reservation) };
            }
            Err(error) => unreplayed(&error, screen),
        },
        Ok(ClaimFound::Miss(miss)) => Missed::of(&miss),
        Ok(ClaimFound::Leased(lease)) => {
            let missed = Missed::of(lease.miss());
            Missed { lease: Some(Box::new(lease)), ..missed }
        }
        Ok(ClaimFound::Pending(pending)) => {
            if screen.verbose {
                let holder = holder::phrase(&pending.holder);
                tell(&format!("memo: waits no longer, by now for {}", shown(&holder)));
            }
            Missed::because(CacheStatus::Miss, "pending")
        }
        Err(Error::Local { source, .. }) => unreplayed(&source, screen),
        Err(error) => unasked(&error, sink.has_waited, screen),
    };
    Recalled { answer: Answer::Miss(missed), reservation: args.serialize.then_some(reservation) }
}

fn ask(
    args: &RunArgs,
    mode: Mode,
    subject: &Subject,
    client: &Client,
    sink: &mut Sink,
) -> Result<ClaimFound, Error> {
    if !args.serialize {
        let options = LookupOptions { max_age: args.max_age };
        return client.lookup_into(&subject.call, &options, sink).map(ClaimFound::from);
    }
    let options = ClaimOptions {
        max_age: args.max_age,
        // Who remembers nothing has nothing for those who would wait.
        take: mode.writes(),
        owner: None,
        wait: args.wait.map_or(Wait::Forever, connect::wait),
    };
    client.claim_into(&subject.call, &options, sink)
}

/// How a lease was involved, in Flyte's words (semantics 25).
fn reservation(
    found: &Result<ClaimFound, Error>,
    has_waited: bool,
    read_only: bool,
) -> ReservationStatus {
    match found {
        Ok(ClaimFound::Leased(_)) => ReservationStatus::Acquired,
        Ok(ClaimFound::Pending(_)) => ReservationStatus::Exists,
        // What was replayed, or could not be, came from an entry.
        Ok(ClaimFound::Hit(_) | ClaimFound::Miss(_)) | Err(Error::Local { .. }) if has_waited => {
            ReservationStatus::Exists
        }
        Ok(ClaimFound::Hit(_)) | Err(Error::Local { .. }) => ReservationStatus::Disabled,
        Ok(ClaimFound::Miss(_)) if read_only => ReservationStatus::Disabled,
        // The lease was wanted, and there is neither it nor what would have come of it.
        Ok(ClaimFound::Miss(_)) | Err(_) => ReservationStatus::Failure,
    }
}

fn unreplayed(error: &io::Error, screen: Screen) -> Missed {
    screen.warn(&format!("cannot replay, so the command runs: {error}"));
    Missed::because(CacheStatus::LookupFailure, "replay_failed")
}

fn unasked(error: &Error, has_waited: bool, screen: Screen) -> Missed {
    // One that is too busy to let us wait will still take what we have to store.
    let is_busy = matches!(error, Error::Daemon(wire) if wire.code == ErrorCode::Busy);
    let what = match (has_waited, is_busy) {
        (true, _) => "wait any longer",
        (false, true) => "wait",
        (false, false) => "look up",
    };
    screen.warn(&format!("cannot {what}, so the command runs: {error}"));
    Missed { is_told: !is_busy, ..Missed::because(CacheStatus::LookupFailure, error.name()) }
}

/// The replay, and a word when somebody else turns out to run the command.
struct Sink {
    replay: Replay,
    screen: Screen,
    has_waited: bool,
}

impl OutputSink for Sink {
    fn begin(&mut self, output: &OutputDescription, index: usize) -> io::Result<()> {
        self.replay.begin(output, index)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.replay.data(bytes)
    }

    fn waiting(&mut self, pending: &Pending) {
        self.has_waited = true;
        if self.screen.verbose {
            let holder = holder::phrase(&pending.holder);
            // The lease may pass to another while we wait, of which nobody is told.
            let at = Timestamp::now();
            tell(&format!("memo: waiting for {} (at {at:.0})", shown(&holder)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use memod_protocol::{Holder, Key, WireError};

    use super::*;

    const HOLDER: Holder =
        Holder { name: None, uid: 7, pid: None, program: None, held_ms: 1, expires_in_ms: None };

    fn miss(reason: MissReason) -> Miss {
        Miss { key: Key::from_bytes([0; 32]), reason, at_ms: None, by_uid: None, detail: None }
    }

    fn daemon(code: ErrorCode) -> Error {
        Error::Daemon(WireError::new(code, "no"))
    }

    #[test]
    fn semantics_25_reservations() {
        let pending = || Pending { key: Key::from_bytes([0; 32]), holder: HOLDER, waiting: false };
        let missed = || Ok(ClaimFound::Miss(miss(MissReason::NeverSeen)));
        let local = || Error::Local { what: String::new(), source: io::Error::other("full") };
        for (found, has_waited, read_only, expected) in [
            (Ok(ClaimFound::Pending(pending())), true, false, ReservationStatus::Exists),
            (Ok(ClaimFound::Pending(pending())), false, false, ReservationStatus::Exists),
            (missed(), false, true, ReservationStatus::Disabled),
            (missed(), true, true, ReservationStatus::Exists),
            (missed(), false, false, ReservationStatus::Failure),
            (missed(), true, false, ReservationStatus::Exists),
            (Err(daemon(ErrorCode::Internal)), true, false, ReservationStatus::Failure),
            (Err(daemon(ErrorCode::Busy)), false, false, ReservationStatus::Failure),
            (Err(local()), false, false, ReservationStatus::Disabled),
            (Err(local()), true, false, ReservationStatus::Exists),
        ] {
            let told = format!("{found:?}, {has_waited}, {read_only}");
            assert_eq!(reservation(&found, has_waited, read_only), expected, "{told}");
        }
    }

    #[test]
    fn only_a_daemon_that_is_of_no_help_is_left_alone() {
        let screen = Screen::new(&crate::args::Globals { quiet: 1, ..Default::default() });
        assert!(!unasked(&daemon(ErrorCode::Busy), false, screen).is_told);
        assert!(unasked(&daemon(ErrorCode::Internal), true, screen).is_told);
        let gone = Error::NoDaemon { path: PathBuf::new(), source: io::Error::other("gone") };
        assert!(unasked(&gone, false, screen).is_told);
    }

    #[test]
    fn a_damaged_entry_is_worthless() {
        assert!(Missed::of(&miss(MissReason::Corrupt)).is_worthless);
        assert!(!Missed::of(&miss(MissReason::Expired)).is_worthless);
    }
}
