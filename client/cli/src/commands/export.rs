//! `memo export`: write entries with their outputs into one portable file.
//!
//! **Invariants.** A file of that name is whole or not there: it is written beside it, put on the
//! disk and renamed. What was cut off is gone on with. Memory is bounded by a part of one entry,
//! and 32 bytes for each entry that an unfinished file holds.

mod interrupt;
mod part;
mod place;

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use memod_client::archive::unfinished::{Before, Origin};
use memod_client::archive::{ArchiveWriter, Totals};
use memod_client::{Client, Error};
use memod_protocol::limits::LIST_ROWS_MAX;
use memod_protocol::{ErrorCode, Filter, Key, name};
use serde_json::{Value, json};

use self::interrupt::Interrupt;
use self::part::Part;
use self::place::Place;
use crate::args::{ExportArgs, Screen, Settings};
use crate::connect;
use crate::exit::{self, Failure, Outcome};
use crate::output::progress::Progress;
use crate::output::{tell, units};

/// What is written at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// Exports.
///
/// # Errors
/// If the daemon gives no answer, or the file cannot be written.
pub(crate) fn run(args: &ExportArgs, settings: &Settings) -> Outcome {
    if let Some(task) = &args.task {
        name::check("task", task)?;
    }
    let work = Work { client: connect::asking(settings), filter: filter(args, settings), settings };
    let done = match Place::of(&args.file)? {
        Place::Stdout => {
            let done = work.write_through(io::stdout().lock(), Failure::from)?;
            // The archive has the standard output.
            if settings.screen.is_json() {
                tell(&done.as_json().to_string());
            } else if !settings.screen.quiet {
                tell(&done.said());
            }
            return Ok(exit::DONE);
        }
        Place::Through(out) => work.write_through(out, |error| unwritten(&args.file, &error))?,
        Place::File(file) => work.write_file(&file, &args.file)?,
    };
    if settings.screen.is_json() {
        Screen::json(&done.as_json())?;
    } else {
        let mut out = Screen::out();
        writeln!(out, "{}", done.said())?;
        out.flush()?;
    }
    Ok(exit::DONE)
}

fn filter(args: &ExportArgs, settings: &Settings) -> Filter {
    let is_scoped = args.scope || args.task.is_some();
    Filter {
        scope: is_scoped.then(|| settings.scope.clone()),
        task: args.task.clone(),
        ..Filter::default()
    }
}

/// A file that was begun and cannot be written any more.
fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::FAILED, "io", format!("cannot write `{}`: {error}", path.display()))
}

/// What an archive holds, and what it does not.
#[derive(Debug, Clone, Copy)]
struct Done {
    totals: Totals,
    /// Entries that could not be had.
    left_out: u64,
    /// Entries of an export before this one.
    resumed: u64,
}

impl Done {
    fn as_json(self) -> Value {
        json!({
            "entries": self.totals.entries,
            "outputs": self.totals.outputs,
            "bytes": self.totals.bytes,
            "left_out": self.left_out,
            "resumed": self.resumed,
        })
    }

    fn said(self) -> String {
        let Totals { entries, bytes, .. } = self.totals;
        let resumed = match self.resumed {
            0 => String::new(),
            some => format!(", {some} of them before"),
        };
        let left_out = match self.left_out {
            0 => String::new(),
            some => format!(", {} left out", units::entries(some)),
        };
        if entries == 0 && self.left_out == 0 {
            return "no entry matched; the archive is empty".to_owned();
        }
        let (entries, bytes) = (units::entries(entries), units::bytes(bytes));
        format!("{entries} exported, {bytes}{resumed}{left_out}")
    }
}

struct Work<'a> {
    client: Client,
    filter: Filter,
    settings: &'a Settings,
}

impl Work<'_> {
    /// Writes the file in its place, or goes on with one that was begun. `named` is what it was
    /// called.
    fn write_file(&self, place: &Path, named: &Path) -> Result<Done, Failure> {
        // Asked before anything is made: without a daemon there is nothing to begin.
        let origin = Origin::of(&self.client.status()?.store_id, &self.filter);
        let mut there = HashSet::new();
        let mut progress = Progress::new(self.settings.screen);
        let (part, mut unfinished) = Part::open(place, origin, &mut |key| {
            there.insert(key);
            progress.set(there.len() as u64);
        })?;
        drop(progress);
        let interrupt = Interrupt::begin(&part, there.len() as u64, self.settings.screen);
        let interrupt = interrupt.map_err(|error| Failure::file("write", named, &error))?;
        self.tell_before(unfinished.before, there.len() as u64, &part);
        let written = self.entries(&mut unfinished.writer, &there, |entries| {
            interrupt.note(entries);
        });
        let written = written.and_then(|left_out| {
            let resumed = there.len() as u64;
            let done = Done { totals: unfinished.writer.totals(), left_out, resumed };
            let finished = unfinished.finish().and_then(|()| {
                interrupt.end();
                part.persist(place)
            });
            finished.map_err(WriteError::Io).map(|()| done)
        });
        interrupt.end();
        written.map_err(|error| {
            let failure = match error {
                WriteError::Io(error) => unwritten(named, &error),
                WriteError::Daemon(failure) => failure,
            };
            part.leave(interrupt.entries(), failure)
        })
    }

    /// Says what has become of a file that was there.
    fn tell_before(&self, before: Before, entries: u64, part: &Part) {
        let screen = self.settings.screen;
        match before {
            Before::Empty => {}
            Before::Begun if screen.quiet || screen.is_json() => {}
            Before::Begun => tell(&format!(
                "memo: going on with `{}`, which holds {}",
                part.path().display(),
                units::entries(entries)
            )),
            Before::Another => screen.warn(&format!(
                "`{}` was that of another export, or damaged, and is begun anew",
                part.path().display()
            )),
        }
    }

    /// Writes an archive to where nothing can be taken back.
    fn write_through<W: Write>(
        &self,
        out: W,
        cannot: impl Fn(io::Error) -> Failure,
    ) -> Result<Done, Failure> {
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, out);
        let mut archive = ArchiveWriter::new(buffered).map_err(&cannot)?;
        let left_out =
            self.entries(&mut archive, &HashSet::new(), |_| ()).map_err(|error| match error {
                WriteError::Io(error) => cannot(error),
                WriteError::Daemon(failure) => failure,
            })?;
        let done = Done { totals: archive.totals(), left_out, resumed: 0 };
        archive.finish().map_err(&cannot)?;
        Ok(done)
    }

    /// Writes the entries that are not there yet; gives how many could not be had. `note` is told
    /// the number of entries whenever one has left our memory.
    fn entries<W: Write>(
        &self,
        archive: &mut ArchiveWriter<W>,
        there: &HashSet<Key>,
        note: impl Fn(u64),
    ) -> Result<u64, WriteError> {
        let mut progress = Progress::new(self.settings.screen);
        let (mut left_out, mut cursor) = (0, None);
        loop {
            let page = self.client.list(&self.filter, LIST_ROWS_MAX, cursor)?;
            for row in page.rows.iter().filter(|row| !there.contains(&row.key)) {
                let missed = match self.client.entry(&row.key) {
                    Ok(Some(entry)) => {
                        archive.entry(&entry)?;
                        archive.flush()?;
                        note(archive.totals().entries);
                        None
                    }
                    Ok(None) => Some(
                        "has been removed meanwhile, or is damaged (if only what describes it is, \
                         lookups may still hit it)"
                            .to_owned(),
                    ),
                    // Others of the same listing may be had.
                    Err(Error::Daemon(error)) if error.code == ErrorCode::Forbidden => {
                        Some(format!("of task `{}` is left out: {}", row.task, error.message))
                    }
                    Err(error) => return Err(error.into()),
                };
                if let Some(why) = missed {
                    left_out += 1;
                    self.settings.screen.warn(&format!("entry {} {why}", row.key));
                }
                progress.set(archive.totals().entries);
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(left_out);
            }
        }
    }
}

/// Why an archive could not be written to its end.
enum WriteError {
    Io(io::Error),
    Daemon(Failure),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<memod_client::Error> for WriteError {
    fn from(error: memod_client::Error) -> Self {
        Self::Daemon(error.into())
    }
}
