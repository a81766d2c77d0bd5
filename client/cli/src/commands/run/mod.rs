//! `memo run`: run a command once, afterwards replay what it did.
//!
//! **Invariants.** Whatever happens to the daemon, the command runs, or what it did before is
//! replayed as a whole. What cannot be remembered is told in a warning and never changes the exit
//! code. A lease is held until the run is remembered or has failed, and ends with this process at
//! the latest.
//!
//! **Does not** look at what the command reads or writes beyond what the flags name.

mod child;
mod inputs;
mod recall;
mod replay;
mod signals;
mod spawn;
mod store;
mod subject;
mod target;
mod write;

use std::time::{Duration, Instant};

use memod_client::{Client, ReservationStatus};

use crate::args::{RunArgs, Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::tell;
use crate::output::units::seconds_exact;
use child::Ran;
use recall::{Answer, Missed, Recalled, recall};
use store::Writer;
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
    let Recalled { answer, reservation } = recall(args, &subject, &client, screen);
    let reservation = in_line(reservation);
    let missed = match answer {
        Answer::Hit(hit, streams) => {
            streams.write()?;
            if screen.verbose {
                let computed = Duration::from_nanos(hit.provenance.run.compute_ns.unwrap_or(0));
                let saved = seconds_exact(computed.saturating_sub(began.elapsed()));
                tell(&format!("memo: HIT key={key} saved={saved}{reservation}"));
            }
            return Ok(exit::DONE);
        }
        Answer::Miss(missed) => missed,
    };
    let ran = child::run(&args.command, screen)?;
    let (code, took, reason) = (ran.code, ran.took, missed.reason);
    let is_hopeless = missed.is_told && took < PATIENCE;
    if code == exit::DONE && !args.read_only && !is_hopeless {
        remember(args, &subject, ran, &client, missed, screen);
    } else {
        // What another run would have to wait for is over.
        drop(missed);
    }
    if screen.verbose {
        let took = seconds_exact(took);
        tell(&format!("memo: MISS key={key} reason={reason} took={took}{reservation}"));
    }
    Ok(code)
}

/// What the line of `--verbose` ends with.
fn in_line(reservation: Option<ReservationStatus>) -> String {
    reservation.map(|status| format!(" reservation={status}")).unwrap_or_default()
}

fn remember(
    args: &RunArgs,
    subject: &Subject,
    ran: Ran,
    client: &Client,
    missed: Missed,
    screen: Screen,
) {
    let Missed { lease, is_told, is_worthless, .. } = missed;
    let writer = lease.map_or(Writer::Client(client), Writer::Lease);
    let is_overwrite = args.overwrite || is_worthless;
    match store::store(subject, ran, writer, is_overwrite, args.max_age) {
        Ok(()) => {}
        Err(store::Unstored::Daemon(_)) if is_told => {}
        Err(store::Unstored::ReaderGone) if !screen.verbose => {}
        Err(error) => screen.warn(&format!("not remembered: {error}")),
    }
}
