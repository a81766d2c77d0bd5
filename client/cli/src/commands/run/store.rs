//! Remembers what a command did.

use std::fmt;
use std::io::{self, Seek};
use std::path::PathBuf;
use std::time::Duration;

use memod_client::{Client, Error, Lease, PutOptions, PutOutput, Source};
use memod_protocol::{Literal, LiteralType, PutOutcome, RunClaim};
use tempfile::SpooledTempFile;

use super::child::{Kept, Ran};
use super::subject::{OutputFile, STDERR, STDOUT, Subject};
use super::target::mode_of;

/// By whom a run is stored.
pub(super) enum Writer<'a> {
    /// Anybody.
    Client(&'a Client),
    /// Who had the right to run; it ends with this.
    Lease(Box<Lease>),
}

/// Why a run is not remembered.
#[derive(Debug)]
pub(super) enum Unstored {
    /// Our own output was not read to its end, so the command's was not either.
    ReaderGone,
    /// A stream could not be kept.
    Stream(&'static str, io::Error),
    /// An input is not what it was when it was hashed.
    InputChanged(PathBuf),
    /// An output is not there, or no file.
    OutputMissing(PathBuf, io::Error),
    /// The client or the daemon did not take it.
    Daemon(Error),
}

impl fmt::Display for Unstored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReaderGone => formatter.write_str("the output was not read to its end"),
            Self::Stream(name, error) => write!(formatter, "{name} could not be kept: {error}"),
            Self::InputChanged(path) => {
                write!(formatter, "the input file `{}` has changed meanwhile", path.display())
            }
            Self::OutputMissing(path, error) => {
                write!(formatter, "the output file `{}` was not made: {error}", path.display())
            }
            Self::Daemon(error) => fmt::Display::fmt(error, formatter),
        }
    }
}

/// Stores the run, unless another's is there and stays.
///
/// # Errors
/// Why it is not stored.
pub(super) fn store(
    subject: &Subject,
    ran: Ran,
    writer: Writer<'_>,
    overwrite: bool,
    max_age: Option<Duration>,
) -> Result<PutOutcome, Unstored> {
    let mut outputs = vec![stream(STDOUT, ran.stdout)?, stream(STDERR, ran.stderr)?];
    for file in &subject.outputs {
        outputs.extend(content_and_mode(file)?);
    }
    if let Some(changed) = subject.inputs.iter().find(|input| !input.is_unchanged()) {
        return Err(Unstored::InputChanged(changed.path.clone()));
    }
    let compute_ns = Some(u64::try_from(ran.ended.took.as_nanos()).unwrap_or(u64::MAX));
    let run = RunClaim { compute_ns, ..RunClaim::default() };
    let options = PutOptions { overwrite, max_age, run };
    let stored = match writer {
        Writer::Client(client) => client.put(&subject.call, outputs, &options),
        Writer::Lease(lease) => lease.put(&subject.call, outputs, &options),
    };
    stored.map_err(Unstored::Daemon)
}

fn stream(name: &'static str, kept: Kept) -> Result<PutOutput, Unstored> {
    let rewound = |mut spool: SpooledTempFile| {
        let bytes = spool.seek(io::SeekFrom::End(0))?;
        spool.rewind().map(|()| (spool, bytes))
    };
    match kept {
        Kept::Whole(spool) => {
            let (spool, bytes) = rewound(spool).map_err(|error| Unstored::Stream(name, error))?;
            Ok(PutOutput {
                name: name.to_owned(),
                literal_type: LiteralType::Bytes,
                source: Source::Sized(Box::new(spool), bytes),
            })
        }
        Kept::ReaderGone => Err(Unstored::ReaderGone),
        Kept::Unwritable(error) | Kept::Lost(error) => Err(Unstored::Stream(name, error)),
    }
}

fn content_and_mode(file: &OutputFile) -> Result<[PutOutput; 2], Unstored> {
    let missing = |error| Unstored::OutputMissing(file.path.clone(), error);
    let metadata = std::fs::metadata(&file.path).map_err(missing)?;
    if !metadata.is_file() {
        return Err(missing(io::Error::other("it is not a regular file")));
    }
    let mode = i64::from(mode_of(&metadata.permissions()));
    Ok([
        PutOutput {
            name: file.content.clone(),
            literal_type: LiteralType::File,
            source: Source::File(file.path.clone()),
        },
        PutOutput {
            name: file.mode.clone(),
            literal_type: LiteralType::Integer,
            source: Source::Literal(Literal::Integer(mode)),
        },
    ])
}
