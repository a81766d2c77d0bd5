//! `memo import`: store the entries of an archive.
//!
//! **Invariants.** What is there already is left as it is, and is not sent; so an import that is
//! run again goes on where it ended. What is not sound in the archive is not stored. Memory is
//! bounded by a part of one entry, and 32 bytes for each entry that was imported.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use memod_client::archive::{ArchiveError, ArchiveReader, Archived};
use memod_client::{Client, Error, ImportedRun, WholeEntry};
use memod_protocol::{ErrorCode, Key, PutOutcome};

use crate::args::{ImportArgs, Screen, Settings};
use crate::connect;
use crate::exit::{self, Failure, Outcome};
use crate::output::json::Object;
use crate::output::progress::Progress;
use crate::output::units;

/// What is read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// What became of the entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    imported: u64,
    existing: u64,
    damaged: u64,
    /// Entries of the store that were evicted meanwhile, if that is told.
    evicted: Option<u64>,
    /// Those among them that had just been imported.
    evicted_again: u64,
}

/// Imports.
///
/// # Errors
/// If the archive cannot be read to its end, the daemon refuses an entry, or some were damaged or
/// evicted again. What was stored before stays.
pub(crate) fn run(args: &ImportArgs, settings: &Settings) -> Outcome {
    let from: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let cannot = |error: io::Error| Failure::file("open", &args.file, &error);
        let file = File::open(&args.file).map_err(cannot)?;
        if file.metadata().map_err(cannot)?.is_dir() {
            return Err(cannot(io::ErrorKind::IsADirectory.into()));
        }
        Box::new(file)
    };
    let mut import = Import::new(args, settings);
    let outcome = import.all(from);
    // Also if the import ended early: what was stored may have been too much.
    let counted = import.count_evicted();
    tell(import.tally, settings.screen)?;
    outcome?;
    counted?;
    verdict(import.tally)
}

fn verdict(tally: Tally) -> Outcome {
    if tally.damaged > 0 {
        let what = format!("damaged in the archive: {}", units::entries(tally.damaged));
        return Err(Failure::new(exit::FAILED, "damaged", what)
            .with_hint("the others are stored; export again to have them all"));
    }
    if tally.evicted_again > 0 {
        let what = format!(
            "the store is too small: {} of {} imported were evicted again to make room",
            tally.evicted_again, tally.imported
        );
        return Err(Failure::new(exit::FORBIDDEN, ErrorCode::OverBudget.name(), what).with_hint(
            "`memo stats` shows the budgets; with larger ones, import again: what is there is not \
             sent a second time",
        ));
    }
    Ok(exit::DONE)
}

struct Import<'a> {
    args: &'a ImportArgs,
    screen: Screen,
    client: Client,
    tally: Tally,
    /// Entries that the store had evicted when the first was sent.
    evicted_before: Option<u64>,
    keys: Vec<Key>,
}

impl<'a> Import<'a> {
    fn new(args: &'a ImportArgs, settings: &Settings) -> Self {
        Self {
            args,
            screen: settings.screen,
            client: connect::asking(settings),
            tally: Tally::default(),
            evicted_before: None,
            keys: Vec::new(),
        }
    }

    fn all(&mut self, from: Box<dyn Read>) -> Result<(), Failure> {
        let path = self.args.file.as_path();
        let cannot = |error| unreadable(path, &error);
        let buffered = BufReader::with_capacity(BUFFER_BYTES, from);
        let mut archive = ArchiveReader::new(buffered).map_err(cannot)?;
        self.evicted_before = self.client.stats()?.whole.map(|whole| whole.evicted_entries);
        self.tally.evicted = self.evicted_before.map(|_| 0);
        let mut progress = Progress::new(self.screen);
        loop {
            match archive.next_entry() {
                Ok(Some(Archived::Whole(entry))) => self.store(*entry)?,
                Ok(Some(Archived::Damaged { what })) => {
                    self.tally.damaged += 1;
                    self.screen.warn(&what);
                }
                Ok(None) => {
                    self.tally.damaged += archive.lost();
                    return Ok(());
                }
                Err(error @ ArchiveError::Damaged { .. }) if self.args.salvage => {
                    // If nothing is found any more, the damage is what is to be told.
                    archive.find_next().map_err(|_| unreadable(path, &error))?;
                    self.screen.warn(&error.to_string());
                }
                Err(error) => return Err(cannot(error)),
            }
            progress.set(archive.totals().entries);
        }
    }

    fn store(&mut self, entry: WholeEntry) -> Result<(), Failure> {
        let WholeEntry { detail, outputs } = entry;
        let key = detail.key;
        if self.has(&key)? {
            self.tally.existing += 1;
            return Ok(());
        }
        match self.client.import(&ImportedRun::of(detail), &outputs)? {
            PutOutcome::Populated => {
                self.tally.imported += 1;
                self.keys.push(key);
            }
            PutOutcome::Exists(_) => self.tally.existing += 1,
        }
        Ok(())
    }

    fn has(&self, key: &Key) -> Result<bool, Failure> {
        match self.client.show(key) {
            Ok(_) => Ok(true),
            Err(Error::Daemon(error)) if error.code == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts what was evicted since the import began. Who is not told how much that is looks
    /// whether what it has imported is there.
    fn count_evicted(&mut self) -> Result<(), Failure> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let now = self.client.stats()?.whole.map(|whole| whole.evicted_entries);
        let evicted = now.zip(self.evicted_before);
        self.tally.evicted = evicted.map(|(now, before)| now.saturating_sub(before));
        if self.tally.evicted != Some(0) {
            for key in &self.keys {
                self.tally.evicted_again += u64::from(!self.has(key)?);
            }
        }
        Ok(())
    }
}

fn unreadable(path: &Path, error: &ArchiveError) -> Failure {
    let message = format!("cannot import `{}`: {error}", path.display());
    match error {
        ArchiveError::NotAnArchive | ArchiveError::Newer(_) => Failure::usage(message),
        ArchiveError::Damaged { .. } => Failure::new(exit::FAILED, "damaged", message).with_hint(
            "what stands before that is stored; get a whole copy and run it again, or have \
             --salvage look for entries behind it",
        ),
        ArchiveError::CutOff(_) | ArchiveError::Io(_) => {
            Failure::new(exit::FAILED, "damaged", message)
                .with_hint("what stands before that is stored; get a whole copy and run it again")
        }
    }
}

fn tell(tally: Tally, screen: Screen) -> io::Result<()> {
    let Tally { imported, existing, damaged, evicted, evicted_again } = tally;
    if screen.is_json() {
        let told = Object::default()
            .with("imported", imported)
            .with("existing", existing)
            .with("damaged", damaged)
            .with_known("evicted", evicted)
            .with("evicted_again", evicted_again);
        return Screen::json(&told.into());
    }
    let some = |number: u64, what: &str| match number {
        0 => String::new(),
        some => format!(", {some} {what}"),
    };
    let line = [
        format!("{} imported, {existing} were there already", units::entries(imported)),
        some(damaged, "damaged"),
        some(evicted.unwrap_or(0), "evicted meanwhile"),
    ];
    let mut out = Screen::out();
    writeln!(out, "{}", line.concat())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_whether_all_of_it_is_stored() {
        let tally = Tally { imported: 3, evicted: Some(2), ..Tally::default() };
        assert_eq!(verdict(tally), Ok(exit::DONE), "others were evicted for them");
        let small = verdict(Tally { evicted_again: 1, ..tally }).expect_err("one is gone");
        assert_eq!((small.exit, small.code), (exit::FORBIDDEN, "over_budget"));
        let damaged = Tally { damaged: 1, evicted_again: 1, ..tally };
        assert_eq!(verdict(damaged).expect_err("one is damaged").exit, exit::FAILED);
    }
}
