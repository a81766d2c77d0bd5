//! `memo put`: remember the outputs of a call.

use memod_client::{CacheStatus, Mode, PutOptions};
use memod_protocol::{PutOutcome, RunClaim};

use super::lookup::tell_status;
use crate::args::{PutArgs, Screen, Settings};
use crate::connect;
use crate::describe;
use crate::exit::{self, Outcome};
use crate::output::json::{Object, provenance};

/// Stores the outputs.
///
/// # Errors
/// If the flags describe no call with its outputs, or the daemon does not store them.
pub(crate) fn run(args: PutArgs, settings: &Settings) -> Outcome {
    let mode = if args.overwrite { Mode::Overwrite } else { settings.mode()? };
    let (call, given) = describe::put(&args.call, &settings.scope)?;
    describe::warn_of_strangers(&call, settings.screen);
    let key = call.key()?;
    if !mode.writes() {
        tell_status(CacheStatus::Disabled.name(), &key, settings.screen)?;
        return Ok(exit::DONE);
    }
    let outputs = given.into_iter().map(describe::Given::into_put).collect::<Result<_, _>>()?;
    let compute_ns = args.compute_time.map(|time| u64::try_from(time.as_nanos()));
    let options = PutOptions {
        overwrite: mode == Mode::Overwrite,
        max_age: args.max_age,
        run: RunClaim {
            compute_ns: compute_ns.map(|time| time.unwrap_or(u64::MAX)),
            task_version: args.task_version,
            execution: args.execution,
            node: args.node,
            attempt: args.attempt,
        },
    };
    options.run.check()?;
    let outcome = connect::asking(settings).put(&call, outputs, &options)?;
    let (status, winner) = match &outcome {
        PutOutcome::Populated => ("POPULATED", None),
        PutOutcome::Exists(winner) => ("EXISTS", Some(winner)),
    };
    if settings.screen.is_json() {
        let answer = Object::default()
            .with("status", status)
            .with("key", key.to_string())
            .with_known("provenance", winner.map(provenance));
        Screen::json(&answer.into())?;
    } else {
        tell_status(status, &key, settings.screen)?;
    }
    Ok(exit::DONE)
}
