//! `memo verify`: have everything that is stored read, and what is bad removed.

use std::io::Write;

use memod_protocol::{Problem, VerifyReport};
use serde_json::{Value, json};

use crate::args::{Screen, Settings, VerifyArgs};
use crate::connect;
use crate::exit::{self, Failure, Outcome};
use crate::output::json::Object;
use crate::output::progress::Progress;
use crate::output::{shown, units};

/// Verifies, and says what was found.
///
/// # Errors
/// If the daemon gives no answer, or something bad is left.
pub(crate) fn run(args: VerifyArgs, settings: &Settings) -> Outcome {
    let report = {
        let mut progress = Progress::new(settings.screen);
        connect::asking(settings).verify(args.repair, &mut |done| progress.set(done))?
    };
    if settings.screen.is_json() {
        Screen::json(&as_json(&report))?;
    } else {
        tell(&report, settings.screen)?;
    }
    verdict(&report, args.repair)
}

/// What helps where repair does not.
const FILES_HINT: &str = "save what is good with `memo export`, restart the daemon with \
    `--on-damage set_aside`, and `memo import`";

fn verdict(report: &VerifyReport, repaired: bool) -> Outcome {
    if report.problems == 0 {
        return Ok(exit::DONE);
    }
    let damaged = |message: &str| Failure::new(exit::FAILED, "damaged", message);
    let only_files = report.problems == report.named.len() as u64
        && report.named.iter().all(Problem::is_of_files);
    if !repaired && only_files {
        return Err(damaged("the store's files are damaged, and no entry is bad that is known")
            .with_hint("`memo verify --repair` writes them anew of what is whole"));
    }
    if !repaired {
        return Err(damaged("the store is damaged")
            .with_hint("`memo verify --repair` removes what is bad and keeps the rest"));
    }
    if report.named.iter().any(|problem| problem.is_of_files() && !problem.is_mended()) {
        return Err(damaged("bad entries are removed, but the store's files remain damaged")
            .with_hint(FILES_HINT));
    }
    Ok(exit::DONE)
}

fn as_json(report: &VerifyReport) -> Value {
    let named = |problem: &Problem| -> Value {
        Object::default()
            .with_known("key", problem.key.map(|key| key.to_string()))
            .with_known("digest", problem.digest.map(|digest| digest.to_string()))
            .with("what", problem.what.as_str())
            .into()
    };
    json!({
        "entries": report.entries,
        "blobs": report.blobs,
        "bytes": report.bytes,
        "problems": report.problems,
        "buried": report.buried,
        "named": report.named.iter().map(named).collect::<Vec<_>>(),
    })
}

fn tell(report: &VerifyReport, screen: Screen) -> std::io::Result<()> {
    let mut out = Screen::out();
    for problem in &report.named {
        match &problem.key {
            Some(key) => writeln!(out, "{key}\t{}", shown(&problem.what))?,
            None => writeln!(out, "-\t{}", shown(&problem.what))?,
        }
    }
    out.flush()?;
    screen.fields(&[
        ("entries", report.entries.to_string()),
        ("blobs", report.blobs.to_string()),
        ("read", units::bytes(report.bytes)),
        ("problems", report.problems.to_string()),
        ("removed", units::entries(report.buried)),
    ])
}

#[cfg(test)]
mod tests {
    use memod_protocol::Key;

    use super::*;

    fn found(key: Option<Key>) -> VerifyReport {
        let problem = Problem { key, digest: None, what: "it is bad".to_owned() };
        VerifyReport { problems: 1, named: vec![problem], ..VerifyReport::default() }
    }

    #[test]
    fn the_exit_code_tells_whether_anything_bad_is_left() {
        let of_an_entry = found(Some(Key::from_bytes([1; 32])));
        let mut mended = found(None);
        mended.named[0].set_mended(true);
        assert_eq!(verdict(&mended, true), Ok(exit::DONE));
        assert_eq!(verdict(&VerifyReport::default(), false), Ok(exit::DONE));
        assert_eq!(verdict(&of_an_entry, true), Ok(exit::DONE));
        for (report, repaired) in [(of_an_entry, false), (found(None), false), (found(None), true)]
        {
            let failure = verdict(&report, repaired).expect_err("something bad is left");
            assert_eq!(failure.exit, exit::FAILED);
            assert!(failure.hint.is_some());
        }
    }

    #[test]
    fn problems_are_told_as_json() {
        let value = as_json(&found(None));
        assert_eq!(value["named"], json!([{"what": "it is bad"}]));
        assert_eq!(value["problems"], 1);
    }
}
