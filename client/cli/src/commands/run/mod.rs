//! `memo run`: run a command once, afterwards replay what it did.
//!
//! **Invariants.** Whatever happens to the daemon, the command runs, or what it did before is
//! replayed as a whole. What cannot be remembered is told in a warning and never changes the exit
//! code. A lease is held until the run is remembered or the command has failed, and ends with this
//! process at the latest.
//!
//! **Does not** look at what the command reads or writes beyond what the flags name.

mod child;
mod recall;
mod replay;
mod signals;
mod spawn;
mod store;
mod subject;
mod target;
mod tether;
mod write;

use std::time::{Duration, Instant};

use memod_client::{CacheStatus, Client, LookupOptions, Mode, ReservationStatus};

use memod_protocol::PutOutcome;

use super::why;
use crate::args::{NEAREST, RunArgs, Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::tell;
use crate::output::units::seconds_exact;
use child::Ran;
use recall::{Answer, Missed, Recalled, recall};
use store::Writer;
use subject::Subject;
pub(crate) use tether::become_command;

/// Another's run of the same call was remembered first (semantics 17).
const EXISTS: &str = "EXISTS";

/// A daemon that was of no help is asked again only after a run that took longer than this: what
/// was long to compute is worth another wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Replays the command, or runs it; or says which it would be.
///
/// # Errors
/// If the flags describe no call, the command cannot be started, or our own output cannot be
/// written.
pub(crate) fn run(args: &RunArgs, settings: &Settings) -> Outcome {
    let mode = mode(args, settings.mode()?);
    if args.why {
        let subject = Subject::new(args, &settings.scope)?;
        if !mode.reads() {
            return why::unread(mode, &subject.call.key()?, settings.screen);
        }
        let options = LookupOptions { max_age: args.max_age };
        return why::explain(&subject.call, &options, NEAREST, settings);
    }
    if mode == Mode::Disabled {
        return just_run(args, settings.screen);
    }
    let began = Instant::now();
    let subject = Subject::new(args, &settings.scope)?;
    let key = subject.call.key()?;
    let screen = settings.screen;
    let client = connect::working(settings);
    let Recalled { answer, reservation } = recall(args, mode, &subject, &client, screen);
    connect::warn_of_substitute(&client, settings);
    let reservation = in_line(reservation);
    let mut missed = match answer {
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
    let ran = child::run(&args.command, screen, |ended| {
        if ended.code != exit::DONE {
            // What it has left behind may hold its output open for long, and nothing comes of it.
            missed.lease = None;
        }
    })?;
    let (ended, status, reason) = (ran.ended, missed.status, missed.reason);
    let is_warned = client.started().is_some();
    let store = settle(args, mode, &subject, ran, &client, missed, screen);
    if !is_warned {
        connect::warn_of_substitute(&client, settings);
    }
    if screen.verbose {
        let took = seconds_exact(ended.took);
        let line = format!("memo: {status} key={key} reason={reason} took={took} store={store}");
        tell(&format!("{line}{reservation}"));
    }
    Ok(ended.code)
}

/// The mode that the flags say, else that of the environment.
fn mode(args: &RunArgs, otherwise: Mode) -> Mode {
    match (args.disabled, args.read_only, args.overwrite) {
        (true, ..) => Mode::Disabled,
        (_, true, _) => Mode::ReadOnly,
        (.., true) => Mode::Overwrite,
        _ => otherwise,
    }
}

/// Runs the command as if we were not there.
fn just_run(args: &RunArgs, screen: Screen) -> Outcome {
    let ended = child::run_unkept(&args.command, screen)?;
    if screen.verbose {
        let status = CacheStatus::Disabled;
        tell(&format!("memo: {status} took={}", seconds_exact(ended.took)));
    }
    Ok(ended.code)
}

/// What the line of `--verbose` ends with.
fn in_line(reservation: Option<ReservationStatus>) -> String {
    reservation.map(|status| format!(" reservation={status}")).unwrap_or_default()
}

/// Remembers the run if it is to be, and says what came of that. The lease ends here.
fn settle(
    args: &RunArgs,
    mode: Mode,
    subject: &Subject,
    ran: Ran,
    client: &Client,
    missed: Missed,
    screen: Screen,
) -> &'static str {
    if !mode.writes() {
        return CacheStatus::Disabled.name();
    }
    let is_hopeless = missed.is_told && ran.ended.took < PATIENCE;
    if ran.ended.code != exit::DONE || is_hopeless {
        return CacheStatus::Skipped.name();
    }
    let Missed { lease, is_told, is_worthless, .. } = missed;
    let writer = lease.map_or(Writer::Client(client), Writer::Lease);
    let is_overwrite = mode == Mode::Overwrite || is_worthless;
    match store::store(subject, ran, writer, is_overwrite, args.max_age) {
        Ok(PutOutcome::Populated) => return CacheStatus::Populated.name(),
        Ok(PutOutcome::Exists(_)) => return EXISTS,
        Err(store::Unstored::Daemon(_)) if is_told => {}
        Err(store::Unstored::ReaderGone) if !screen.verbose => {}
        Err(error) => screen.warn(&format!("not remembered: {error}")),
    }
    CacheStatus::PutFailure.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantics_23_flags_over_the_environment() {
        let args = RunArgs::default();
        for of_environment in [Mode::Enabled, Mode::Disabled, Mode::ReadOnly, Mode::Overwrite] {
            assert_eq!(mode(&args, of_environment), of_environment);
            let disabled = RunArgs { disabled: true, ..args.clone() };
            assert_eq!(mode(&disabled, of_environment), Mode::Disabled);
            let read_only = RunArgs { read_only: true, ..args.clone() };
            assert_eq!(mode(&read_only, of_environment), Mode::ReadOnly);
            let overwrite = RunArgs { overwrite: true, ..args.clone() };
            assert_eq!(mode(&overwrite, of_environment), Mode::Overwrite);
        }
    }
}
