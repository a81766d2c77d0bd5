//! `memo export`: write entries with their outputs into one portable file.
//!
//! **Invariants.** A file of that name is whole or not there: it is written beside it, put on the
//! disk and renamed. Memory is bounded by a part of one entry.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use memod_client::Client;
use memod_client::archive::{ArchiveWriter, Totals};
use memod_protocol::limits::LIST_ROWS_MAX;
use memod_protocol::{Filter, name};
use serde_json::json;

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
    if args.file == Path::new("-") {
        let (totals, left_out, mut out) = work.write(io::stdout().lock(), Failure::from)?;
        out.flush()?;
        if !settings.screen.quiet {
            tell(&said(totals, left_out));
        }
        return Ok(exit::DONE);
    }
    let (totals, left_out) = work.write_file(&args.file)?;
    if settings.screen.is_json() {
        Screen::json(&json!({
            "entries": totals.entries,
            "outputs": totals.outputs,
            "bytes": totals.bytes,
            "left_out": left_out,
        }))?;
    } else {
        let mut out = Screen::out();
        writeln!(out, "{}", said(totals, left_out))?;
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

fn said(totals: Totals, left_out: u64) -> String {
    let left_out = match left_out {
        0 => String::new(),
        some => format!(", {} left out", units::entries(some)),
    };
    format!("{} exported, {}{left_out}", units::entries(totals.entries), units::bytes(totals.bytes))
}

struct Work<'a> {
    client: Client,
    filter: Filter,
    settings: &'a Settings,
}

impl Work<'_> {
    fn write_file(&self, path: &Path) -> Result<(Totals, u64), Failure> {
        let cannot = |error: io::Error| Failure::file("write", path, &error);
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = path
            .file_name()
            .ok_or_else(|| Failure::usage(format!("`{}` does not name a file", path.display())))?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        let beside = tempfile::Builder::new().prefix(&prefix).suffix(".part").tempfile_in(folder);
        let (totals, left_out, out) = self.write(beside.map_err(cannot)?, cannot)?;
        out.as_file().sync_all().map_err(cannot)?;
        out.persist(path).map_err(|error| cannot(error.error))?;
        Ok((totals, left_out))
    }

    /// Writes an archive; gives what it holds, and how many entries could not be had.
    fn write<W: Write>(
        &self,
        out: W,
        cannot: impl Fn(io::Error) -> Failure,
    ) -> Result<(Totals, u64, W), Failure> {
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, out);
        let mut archive = ArchiveWriter::new(buffered).map_err(&cannot)?;
        let mut progress = Progress::new(self.settings.screen);
        let (mut left_out, mut cursor) = (0, None);
        loop {
            let page = self.client.list(&self.filter, LIST_ROWS_MAX, cursor)?;
            for row in page.rows {
                if let Some(entry) = self.client.entry(&row.key)? {
                    archive.entry(&entry).map_err(&cannot)?;
                } else {
                    left_out += 1;
                    let what = "has been removed meanwhile, or is damaged";
                    self.settings.screen.warn(&format!("entry {} {what}", row.key));
                }
                progress.set(archive.totals().entries);
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        let totals = archive.totals();
        let out = archive.finish().map_err(&cannot)?;
        let out = out.into_inner().map_err(|error| cannot(error.into_error()))?;
        Ok((totals, left_out, out))
    }
}
