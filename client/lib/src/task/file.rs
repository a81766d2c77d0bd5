//! A file that counts by its content, as an input or as an output by itself.
//!
//! **Invariants.** The path never counts (semantics 13). What a task has read of a file that
//! changed meanwhile is not stored.
//!
//! **Does not** keep what it has read: a file at a path is hashed for every call.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memod_protocol::{Digest, InvalidArgument, Literal, LiteralType};

use super::typed::{FromLiteral, ToLiteral, Typed, mismatch, wrong};
use crate::content::{Content, HitOutput};
use crate::error::Error;
use crate::input_file::InputFile;
use crate::outputs::Source;

/// A file that counts by its content and never by its path.
///
/// As an input it is hashed for every call; in an async task that happens on a thread that may
/// block. As an output its content is stored, and a hit has it in memory or, if it is large, in a
/// temporary file without a name. Only a task's output by itself can be a file, not a part of one.
#[derive(Debug, Clone)]
pub struct File {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Path(PathBuf),
    Here(Arc<Here>),
}

#[derive(Debug)]
struct Here {
    digest: Digest,
    bytes: u64,
    content: Content,
}

impl File {
    /// The file at this path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { place: Place::Path(path.into()) }
    }

    /// A file that has this content and no path.
    #[must_use]
    pub fn with_content(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let (digest, bytes) = (Digest::of(&content), content.len() as u64);
        let here = Here { digest, bytes, content: Content::Memory(content) };
        Self { place: Place::Here(Arc::new(here)) }
    }

    /// Its path; a file that came from the cache has none.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Path(path) => Some(path),
            Place::Here(_) => None,
        }
    }

    /// Reads the content from its beginning.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match &self.place {
            Place::Path(path) => Box::new(std::fs::File::open(path)?),
            Place::Here(here) => Box::new(Reader { here: Arc::clone(here), offset: 0 }),
        })
    }

    /// The content in memory; not copied if it is there already.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn bytes(&self) -> io::Result<Bytes> {
        match &self.place {
            Place::Path(path) => std::fs::read(path).map(Bytes::from),
            Place::Here(here) => here.content.to_bytes(),
        }
    }

    /// Writes the content to this path; gives how many bytes it has. Whether the file may be
    /// executed is neither kept nor copied, so that a run and a hit save the same.
    ///
    /// # Errors
    /// If the file cannot be read or the other not be written.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<u64> {
        if let Place::Path(from) = &self.place {
            let mut from = std::fs::File::open(from)?;
            return io::copy(&mut from, &mut std::fs::File::create(path)?);
        }
        let mut reader = io::BufReader::with_capacity(256 * 1024, self.reader()?);
        let mut file = std::fs::File::create(path)?;
        let bytes = io::copy(&mut reader, &mut file)?;
        file.flush()?;
        Ok(bytes)
    }
}

struct Reader {
    here: Arc<Here>,
    offset: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.here.content.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Typed for File {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        Ok(LiteralType::File)
    }
}

impl ToLiteral for File {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        match &self.place {
            Place::Here(here) => Ok(Literal::File { digest: here.digest, bytes: here.bytes }),
            Place::Path(path) => READING.with_borrow_mut(|reading| reading.literal(path)),
        }
    }

    fn to_source(&self) -> Result<Source, InvalidArgument> {
        Ok(match &self.place {
            Place::Path(path) => Source::File(path.clone()),
            Place::Here(here) => match &here.content {
                Content::Memory(bytes) => Source::Bytes(bytes.clone()),
                Content::File(_) => {
                    let reader = Reader { here: Arc::clone(here), offset: 0 };
                    Source::Sized(Box::new(reader), here.bytes)
                }
            },
        })
    }
}

impl FromLiteral for File {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        match literal {
            Literal::File { .. } => Err(wrong("is a file inside a value, which has no content")),
            other => Err(mismatch("a file", &other)),
        }
    }

    fn from_output(output: &HitOutput) -> Result<Self, Error> {
        let content = match &output.content {
            Content::Memory(bytes) => Content::Memory(bytes.clone()),
            Content::File(file) => Content::File(file.try_clone().map_err(|source| {
                Error::Local { what: format!("output `{}` cannot be kept", output.name), source }
            })?),
        };
        let here = Here { digest: output.digest, bytes: output.bytes, content };
        Ok(Self { place: Place::Here(Arc::new(here)) })
    }
}

thread_local! {
    /// What is being done with the files among the inputs that this thread makes into literals.
    static READING: RefCell<Reading> = const { RefCell::new(Reading::Alone) };
}

/// Where the digests of files come from.
#[derive(Debug)]
enum Reading {
    /// From the files, at once; not kept, since this is no call.
    Alone,
    /// From the files, at once; kept to be compared after the run.
    Now(BTreeMap<PathBuf, InputFile>),
    /// From here; what is not here is to be read first.
    #[cfg(feature = "tokio")]
    Known { known: BTreeMap<PathBuf, InputFile>, missing: Vec<PathBuf> },
}

impl Reading {
    fn literal(&mut self, path: &Path) -> Result<Literal, InvalidArgument> {
        let of = |file: &InputFile| Literal::File { digest: file.digest, bytes: file.bytes };
        match self {
            Self::Alone => read(path).map(|file| of(&file)),
            Self::Now(known) => match known.entry(path.to_owned()) {
                Entry::Occupied(file) => Ok(of(file.get())),
                Entry::Vacant(place) => Ok(of(place.insert(read(path)?))),
            },
            #[cfg(feature = "tokio")]
            Self::Known { known, missing } => Ok(known.get(path).map_or_else(
                || {
                    missing.push(path.to_owned());
                    // Nobody sees this: the inputs are made into literals again.
                    Literal::None
                },
                of,
            )),
        }
    }
}

fn read(path: &Path) -> Result<InputFile, InvalidArgument> {
    InputFile::read(path)
        .map_err(|error| wrong(format!("the file {} cannot be read: {error}", path.display())))
}

/// The files among the inputs of one call.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    read: BTreeMap<PathBuf, InputFile>,
    #[cfg(feature = "tokio")]
    missing: Vec<PathBuf>,
}

impl Files {
    /// Makes inputs into literals, reading files as they come.
    pub(super) fn while_reading<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (made, reading) = within(Reading::Now(std::mem::take(&mut self.read)), work);
        self.take(reading);
        made
    }

    /// Makes inputs into literals without reading files; whether all had been read already.
    #[cfg(feature = "tokio")]
    pub(super) fn while_known<T>(&mut self, work: impl FnOnce() -> T) -> (T, bool) {
        let known = std::mem::take(&mut self.read);
        let (made, reading) = within(Reading::Known { known, missing: Vec::new() }, work);
        self.take(reading);
        let complete = self.missing.is_empty();
        (made, complete)
    }

    /// Reads the files that were missing.
    #[cfg(feature = "tokio")]
    pub(super) fn read_missing(&mut self) -> Result<(), InvalidArgument> {
        for path in std::mem::take(&mut self.missing) {
            let file = read(&path)?;
            self.read.insert(path, file);
        }
        Ok(())
    }

    fn take(&mut self, reading: Reading) {
        match reading {
            Reading::Alone => {}
            Reading::Now(read) => self.read = read,
            #[cfg(feature = "tokio")]
            Reading::Known { known, missing } => (self.read, self.missing) = (known, missing),
        }
    }

    /// Sees to it that no file has changed since it was read.
    pub(super) fn check(&self) -> Result<(), InvalidArgument> {
        match self.read.values().find(|file| !file.is_unchanged()) {
            None => Ok(()),
            Some(file) => Err(InvalidArgument::new(
                format!("the file {}", file.path.display()),
                "has changed or gone while the task ran, so its outputs are not stored",
            )),
        }
    }
}

/// Does something with files read in this way; gives what has been read.
fn within<T>(reading: Reading, work: impl FnOnce() -> T) -> (T, Reading) {
    let before = READING.replace(reading);
    // A panic in between must not leave this behind for the next call on this thread.
    let restore = Restore(Some(before));
    let made = work();
    (made, restore.end())
}

struct Restore(Option<Reading>);

impl Restore {
    fn end(mut self) -> Reading {
        READING.replace(self.0.take().unwrap_or(Reading::Alone))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            READING.set(before);
        }
    }
}
