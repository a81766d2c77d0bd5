//! `memo run`: run a command once, afterwards replay what it did.
//!
//! **Invariants.** Whatever happens to the daemon, the command runs, or what it did before is
//! replayed as a whole. What cannot be remembered is told in a warning and never changes the exit
//! code.
//!
//! **Does not** look at what the command reads or writes beyond what the flags name.

mod child;
mod inputs;
mod replay;
mod signals;
mod spawn;
mod store;
mod subject;
mod target;
mod write;

use std::time::{Duration, Instant};

use memod_client::{Client, Error, Found, HitSummary, LookupOptions};
use memod_protocol::MissReason;

use crate::args::{RunArgs, Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::tell;
use crate::output::units::seconds_exact;
use child::Ran;
use replay::{Replay, Streams};
use subject::Subject;

/// A daemon that was of no help is asked again only after a run that took longer than this: what
/// was long to compute is worth another wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Replays the command, or runs it.
///
/// # Errors
/// If the flags describe no call, the command cannot be started, or our own output cannot be
/// written.
pub(crate) fn run(args: &RunArgs, settings: &Settings) -> Outcome {
    let began = Instant::now();
    let subject = Subject::new(args, &settings.scope)?;
    let key = subject.call.key()?;
    let screen = settings.screen;
    let client = connect::working(settings);
    let miss = match recall(args, &subject, &client, screen) {
        Recalled::Hit(hit, streams) => {
            streams.write()?;
            if screen.verbose {
                let computed = Duration::from_nanos(hit.provenance.run.compute_ns.unwrap_or(0));
                let saved = seconds_exact(computed.saturating_sub(began.elapsed()));
                tell(&format!("memo: HIT key={key} saved={saved}"));
            }
            return Ok(exit::DONE);
        }
        Recalled::Miss(miss) => miss,
    };
    let ran = child::run(&args.command, screen)?;
    let (code, took) = (ran.code, ran.took);
    let is_hopeless = miss.is_told && took < PATIENCE;
    if code == exit::DONE && !args.read_only && !is_hopeless {
        remember(args, &subject, ran, &client, &miss, screen);
    }
    if screen.verbose {
        let took = seconds_exact(took);
        tell(&format!("memo: MISS key={key} reason={} took={took}", miss.reason));
    }
    Ok(code)
}

/// What came of asking.
enum Recalled {
    /// The command has been run before; its files are in place.
    Hit(Box<HitSummary>, Streams),
    /// It has to be run.
    Miss(Missed),
}

/// Why the command has to be run.
struct Missed {
    /// The stable name of the reason.
    reason: &'static str,
    /// Whether the entry, if there is one, is of no use to anybody.
    is_worthless: bool,
    /// Whether a warning has told already that the daemon is of no help.
    is_told: bool,
}

impl Missed {
    fn because(reason: &'static str) -> Self {
        Self { reason, is_worthless: false, is_told: false }
    }
}

fn recall(args: &RunArgs, subject: &Subject, client: &Client, screen: Screen) -> Recalled {
    if args.overwrite {
        return Recalled::Miss(Missed::because("overwrite"));
    }
    let mut replay = Replay::new(subject);
    let options = LookupOptions { max_age: args.max_age };
    let missed = match client.lookup_into(&subject.call, &options, &mut replay) {
        Ok(Found::Hit(hit)) => match replay.finish() {
            Ok(streams) => return Recalled::Hit(Box::new(hit), streams),
            Err(error) => unreplayed(&error, screen),
        },
        Ok(Found::Miss(miss)) => Missed {
            is_worthless: miss.reason == MissReason::Corrupt,
            ..Missed::because(miss.reason.name())
        },
        Err(Error::Local { source, .. }) => unreplayed(&source, screen),
        Err(error) => {
            screen.warn(&format!("cannot look up, so the command runs: {error}"));
            Missed { is_told: true, ..Missed::because(error.name()) }
        }
    };
    Recalled::Miss(missed)
}

fn unreplayed(error: &std::io::Error, screen: Screen) -> Missed {
    screen.warn(&format!("cannot replay, so the command runs: {error}"));
    Missed::because("replay_failed")
}

fn remember(
    args: &RunArgs,
    subject: &Subject,
    ran: Ran,
    client: &Client,
    miss: &Missed,
    screen: Screen,
) {
    let is_overwrite = args.overwrite || miss.is_worthless;
    match store::store(subject, ran, client, is_overwrite, args.max_age) {
        Ok(()) => {}
        Err(store::Unstored::Daemon(_)) if miss.is_told => {}
        Err(store::Unstored::ReaderGone) if !screen.verbose => {}
        Err(error) => screen.warn(&format!("not remembered: {error}")),
    }
}
