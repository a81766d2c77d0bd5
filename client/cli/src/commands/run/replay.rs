//! Takes a hit's outputs and does again what the command did.
//!
//! **Invariants.** Nothing is visible before the whole hit is there: streams wait in a spool, files
//! under temporary names. Memory is bounded.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use memod_client::{OutputDescription, OutputSink};
use memod_protocol::{Literal, LiteralType};
use tempfile::SpooledTempFile;

use super::signals::{Signals, Temporary};
use super::subject::{STDERR, STDOUT, Subject};
use super::target::Target;
use super::write;

/// What of a stream is held in memory; the rest is in a temporary file without a name.
pub(super) const SPOOL_MEMORY_BYTES: usize = 1024 * 1024;
/// More than the stored form of permissions ever takes.
const MODE_BYTES_MAX: usize = 64;

/// What the command wrote to its two streams.
pub(super) struct Streams {
    stdout: SpooledTempFile,
    stderr: SpooledTempFile,
}

/// A hit on its way in.
pub(super) struct Replay<'a> {
    signals: &'a Signals,
    streams: Streams,
    files: BTreeMap<String, File>,
    modes: BTreeMap<String, String>,
    current: Current,
}

/// A file of the hit.
struct File {
    path: PathBuf,
    target: Option<Target>,
    temporary: Option<Temporary>,
    mode: Vec<u8>,
}

/// Where the next bytes go.
enum Current {
    Nowhere,
    Stdout,
    Stderr,
    Content(String),
    Mode(String),
}

impl<'a> Replay<'a> {
    /// A replay of the subject's run.
    pub(super) fn new(subject: &Subject, signals: &'a Signals) -> Self {
        let spool = || SpooledTempFile::new(SPOOL_MEMORY_BYTES);
        let file = |path: PathBuf| File { path, target: None, temporary: None, mode: Vec::new() };
        let outputs = subject.outputs.iter();
        Self {
            signals,
            streams: Streams { stdout: spool(), stderr: spool() },
            files: outputs.clone().map(|of| (of.content.clone(), file(of.path.clone()))).collect(),
            modes: outputs.map(|of| (of.mode.clone(), of.content.clone())).collect(),
            current: Current::Nowhere,
        }
    }

    /// Puts all files in place and gives the streams.
    ///
    /// # Errors
    /// If a file cannot be put in place; others may have been by then.
    pub(super) fn finish(mut self) -> io::Result<Streams> {
        for file in self.files.into_values() {
            let about = |error: io::Error| told(&file.path, &error);
            let mode = read_mode(&file.mode).map_err(about)?;
            let target = file
                .target
                .ok_or_else(|| io::Error::other("its content is missing"))
                .map_err(about)?;
            target.finish(mode).map_err(about)?;
        }
        for stream in [&mut self.streams.stdout, &mut self.streams.stderr] {
            stream.rewind()?;
        }
        Ok(self.streams)
    }

    fn file(&mut self, content: &str) -> io::Result<&mut File> {
        self.files.get_mut(content).ok_or_else(|| io::Error::other("an output nobody asked for"))
    }
}

impl OutputSink for Replay<'_> {
    fn begin(&mut self, output: &OutputDescription, _index: usize) -> io::Result<()> {
        let name = output.name.as_str();
        self.current = if name == STDOUT {
            Current::Stdout
        } else if name == STDERR {
            Current::Stderr
        } else if let Some(content) = self.modes.get(name) {
            Current::Mode(content.clone())
        } else {
            let signals = self.signals;
            let file = self.file(name)?;
            let target = Target::new(&file.path).map_err(|error| told(&file.path, &error))?;
            file.temporary = Some(signals.remove_at_end(target.temporary()));
            file.target = Some(target);
            Current::Content(name.to_owned())
        };
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        match std::mem::replace(&mut self.current, Current::Nowhere) {
            Current::Nowhere => return Err(io::Error::other("bytes of no output")),
            Current::Stdout => {
                self.streams.stdout.write_all(bytes)?;
                self.current = Current::Stdout;
            }
            Current::Stderr => {
                self.streams.stderr.write_all(bytes)?;
                self.current = Current::Stderr;
            }
            Current::Content(name) => {
                let file = self.file(&name)?;
                let path = &file.path;
                let write =
                    |target: &mut Target| target.write(bytes).map_err(|error| told(path, &error));
                file.target.as_mut().map_or(Ok(()), write)?;
                self.current = Current::Content(name);
            }
            Current::Mode(content) => {
                let file = self.file(&content)?;
                if file.mode.len() + bytes.len() > MODE_BYTES_MAX {
                    return Err(io::Error::other("permissions that are none"));
                }
                file.mode.extend_from_slice(bytes);
                self.current = Current::Mode(content);
            }
        }
        Ok(())
    }
}

impl Streams {
    /// Writes both streams to ours.
    ///
    /// # Errors
    /// As the kernel says.
    pub(super) fn write(self) -> io::Result<()> {
        copy(self.stdout, &write::unbuffered(io::stdout().as_fd())?)?;
        copy(self.stderr, &write::unbuffered(io::stderr().as_fd())?)
    }
}

fn copy(mut from: SpooledTempFile, to: &std::fs::File) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => write::write_all(to, buffer.get(..read).unwrap_or_default())?,
        }
    }
}

fn read_mode(blob: &[u8]) -> io::Result<u32> {
    let literal = Literal::from_blob(&LiteralType::Integer, &blob.to_vec().into());
    match literal {
        Ok(Literal::Integer(mode)) => u32::try_from(mode).ok(),
        _ => None,
    }
    .ok_or_else(|| io::Error::other("permissions that are none"))
}

fn told(path: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("output file `{}`: {error}", path.display()))
}
