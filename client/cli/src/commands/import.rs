//! `memo import`: store the entries of an archive.
//!
//! **Invariants.** What is there already is left as it is, and is not sent; so an import that is
//! run again goes on where it ended. What is not sound in the archive is not stored.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use memod_client::archive::{ArchiveError, ArchiveReader, Archived};
use memod_client::{Client, Error, ImportedRun, WholeEntry};
use memod_protocol::{ErrorCode, PutOutcome};
use serde_json::json;

use crate::args::{ImportArgs, Screen, Settings};
use crate::connect;
use crate::exit::{self, Failure, Outcome};
use crate::output::progress::Progress;
use crate::output::units;

/// What is read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// What became of the entries.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    imported: u64,
    existing: u64,
    damaged: u64,
}

/// Imports.
///
/// # Errors
/// If the archive cannot be read to its end, the daemon refuses an entry, or some were damaged.
/// What was stored before stays.
pub(crate) fn run(args: &ImportArgs, settings: &Settings) -> Outcome {
    let from: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let cannot = |error: io::Error| Failure::file("open", &args.file, &error);
        Box::new(File::open(&args.file).map_err(cannot)?)
    };
    let mut tally = Tally::default();
    let outcome = import(from, &args.file, settings, &mut tally);
    tell(tally, settings.screen)?;
    outcome?;
    if tally.damaged > 0 {
        let what = format!("{} of the archive are damaged", units::entries(tally.damaged));
        return Err(Failure::new(exit::FAILED, "damaged", what)
            .with_hint("the others are stored; export again to have them all"));
    }
    Ok(exit::DONE)
}

fn import(
    from: Box<dyn Read>,
    path: &Path,
    settings: &Settings,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let cannot = |error| unreadable(path, &error);
    let client = connect::asking(settings);
    let mut progress = Progress::new(settings.screen);
    let mut archive =
        ArchiveReader::new(BufReader::with_capacity(BUFFER_BYTES, from)).map_err(cannot)?;
    while let Some(archived) = archive.next_entry().map_err(cannot)? {
        match archived {
            Archived::Whole(entry) => store(&client, *entry, tally)?,
            Archived::Damaged { what } => {
                tally.damaged += 1;
                settings.screen.warn(&what);
            }
        }
        progress.set(archive.totals().entries);
    }
    Ok(())
}

fn store(client: &Client, entry: WholeEntry, tally: &mut Tally) -> Result<(), Failure> {
    match client.show(&entry.detail.key) {
        Ok(_) => {
            tally.existing += 1;
            return Ok(());
        }
        Err(Error::Daemon(error)) if error.code == ErrorCode::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let WholeEntry { detail, outputs } = entry;
    match client.import(&ImportedRun::of(detail), &outputs)? {
        PutOutcome::Populated => tally.imported += 1,
        PutOutcome::Exists(_) => tally.existing += 1,
    }
    Ok(())
}

fn unreadable(path: &Path, error: &ArchiveError) -> Failure {
    let message = format!("cannot import `{}`: {error}", path.display());
    match error {
        ArchiveError::NotAnArchive | ArchiveError::Newer(_) => Failure::usage(message),
        ArchiveError::CutOff(_) | ArchiveError::Damaged { .. } | ArchiveError::Io(_) => {
            Failure::new(exit::FAILED, "damaged", message)
                .with_hint("what stands before that is stored; get a whole copy and run it again")
        }
    }
}

fn tell(tally: Tally, screen: Screen) -> io::Result<()> {
    let Tally { imported, existing, damaged } = tally;
    if screen.is_json() {
        let told = json!({"imported": imported, "existing": existing, "damaged": damaged});
        return Screen::json(&told);
    }
    let mut line = format!("{} imported, {existing} were there already", units::entries(imported));
    if damaged > 0 {
        line += ", ";
        line += &damaged.to_string();
        line += " are damaged";
    }
    let mut out = Screen::out();
    writeln!(out, "{line}")?;
    out.flush()
}
