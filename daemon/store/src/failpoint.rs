//! Places at which a process can be made to die, for the torture of crashes.
//!
//! With the feature `failpoints`, `$MEMOD_FAILPOINT`, a name and a number as in `after-write:3`,
//! has the process send itself SIGKILL when it comes to the place of that name for that time. With
//! `:hang` behind that, as in `after-write:3:hang`, the thread that comes there hangs for ever.
//! Without the feature coming to a place is nothing at all.
//!
//! **Invariants.** Each place stands in the code exactly once. Nothing is cleaned up at one: the
//! kernel ends the process there, or the thread stays there.
//!
//! **Does not** decide who reaches which place: the torture does, and tells which it never reached.

macro_rules! failpoints {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Failpoint {
            $($(#[$doc])* $point,)*
        }

        impl Failpoint {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// The name by which it is armed.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

failpoints! {
    /// A batch of changes is made, and not written.
    BeforeWrite = "before-write",
    /// It is in the log, and nobody knows: neither who asked nor the counters in memory.
    AfterWrite = "after-write",
    /// One of those who asked has been told.
    BetweenAnswers = "between-answers",
    /// An upload has handed over some of its chunks, and has more.
    UploadChunk = "upload-chunk",
    /// An upload has handed over all of them; no entry owns them.
    UploadFinished = "upload-finished",
    /// Entries to evict are chosen, their graves made, and nothing is written.
    EvictionChosen = "eviction-chosen",
    /// They are evicted; the chunks of what they had are not removed.
    Evicted = "evicted",
    /// Entries are evicted for a put; the put itself is not made.
    RoomMade = "room-made",
    /// Chunks that belong to nobody are to be removed.
    BeforeReap = "before-reap",
    /// The uses of some entries are written down, those of the others are not.
    BetweenFolds = "between-folds",
    /// The log is to be synced.
    BeforeSync = "before-sync",
    /// Space is to be given back: a column is flushed, and not compacted.
    CollectFlushed = "collect-flushed",
    /// A column is compacted, others are not.
    Collected = "collected",
    /// A new database is made; it does not say yet which store it is.
    CreateDatabase = "create-database",
    /// The entries of a store that is counted anew, or is of an older format, have been read and
    /// have their details; references have not been read.
    RebuildEntries = "rebuild-entries",
    /// What is charged has been made anew in part, and the rest not.
    Rebuild = "rebuild",
    /// A damaged column has been written anew; others, and what is counted, have not been.
    Renewed = "renewed",
    /// The database is open, and what is loose handed to the writer, who has not begun.
    OpenLoose = "open-loose",
    /// There is a folder for a damaged database, and nothing in it.
    SetAsideFolder = "set-aside-folder",
    /// A damaged database is moved away, and the mark beside it is not.
    SetAsideMoved = "set-aside-moved",
    /// The store is being closed: all uses are written down, and nothing is flushed.
    CloseFolded = "close-folded",
    /// The store is being closed: all is flushed and synced.
    CloseFlushed = "close-flushed",
}

/// The process has come to a place.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn reach(_: Failpoint) {}

/// Whether this place is where the process is to die.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn is_armed(_: Failpoint) -> bool {
    false
}

#[cfg(feature = "failpoints")]
pub(crate) use armed::{is_armed, reach};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::{Act, Failpoint, parse};

    /// Says which place is armed.
    const VARIABLE: &str = "MEMOD_FAILPOINT";

    /// The place that is armed, how often it is still to be passed, and what happens then.
    fn armed() -> Option<&'static (Failpoint, AtomicU64, Act)> {
        static ARMED: OnceLock<Option<(Failpoint, AtomicU64, Act)>> = OnceLock::new();
        let read = || {
            let text = std::env::var(VARIABLE).ok()?;
            let (point, time, act) =
                parse(&text).expect("MEMOD_FAILPOINT is a name, a colon and a number from 1 on");
            Some((point, AtomicU64::new(time), act))
        };
        ARMED.get_or_init(read).as_ref()
    }

    /// Whether this place is where the process is to die.
    pub(crate) fn is_armed(point: Failpoint) -> bool {
        armed().is_some_and(|(armed, ..)| *armed == point)
    }

    /// The process has come to a place. Does not return if that is its time to die or to hang.
    pub(crate) fn reach(point: Failpoint) {
        let Some((_, left, act)) = armed().filter(|(armed, ..)| *armed == point) else { return };
        if left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        match act {
            Act::Die => kill(Pid::this(), Signal::SIGKILL).expect("a process may kill itself"),
            Act::Hang => loop {
                std::thread::park();
            },
        }
    }
}

/// What happens at a place.
#[cfg(any(test, feature = "failpoints"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Die,
    Hang,
}

/// A place, for what time it is to be reached, and what happens then.
#[cfg(any(test, feature = "failpoints"))]
fn parse(text: &str) -> Option<(Failpoint, u64, Act)> {
    let (name, time) = text.split_once(':')?;
    let (time, act) = match time.strip_suffix(":hang") {
        Some(time) => (time, Act::Hang),
        None => (time, Act::Die),
    };
    let point = Failpoint::ALL.iter().copied().find(|point| point.name() == name)?;
    Some((point, time.parse().ok().filter(|time| *time > 0)?, act))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_a_time_are_read() {
        for point in Failpoint::ALL {
            assert_eq!(parse(&format!("{}:7", point.name())), Some((*point, 7, Act::Die)));
            assert_eq!(parse(&format!("{}:7:hang", point.name())), Some((*point, 7, Act::Hang)));
        }
        for wrong in
            ["", "evicted", "evicted:", "evicted:0", "evicted:x", "nowhere:1", "evicted:1:die"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
