//! Takes a hit's outputs and does again what the command did.
//!
//! **Invariants.** Nothing is visible before the whole hit is there: streams wait in a spool, files
//! beside their places. Memory is bounded.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use memod_client::{OutputDescription, OutputSink};
use memod_protocol::{Literal, LiteralType};
use tempfile::SpooledTempFile;

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
pub(super) struct Replay {
    streams: Streams,
    files: BTreeMap<String, File>,
    modes: BTreeMap<String, String>,
    current: Current,
}

/// A file of the hit.
struct File {
    path: PathBuf,
    target: Option<Target>,
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

impl Replay {
    /// A replay of the subject's run.
    pub(super) fn new(subject: &Subject) -> Self {
        let spool = || SpooledTempFile::new(SPOOL_MEMORY_BYTES);
        let file = |path: PathBuf| File { path, target: None, mode: Vec::new() };
        let outputs = subject.outputs.iter();
        Self {
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

impl OutputSink for Replay {
    fn begin(&mut self, output: &OutputDescription, _index: usize) -> io::Result<()> {
        let name = output.name.as_str();
        self.current = if name == STDOUT {
            Current::Stdout
        } else if name == STDERR {
            Current::Stderr
        } else if let Some(content) = self.modes.get(name) {
            Current::Mode(content.clone())
        } else {
            let file = self.file(name)?;
            let target = Target::new(&file.path).map_err(|error| told(&file.path, &error))?;
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use memod_protocol::{Digest, Scope};

    use super::*;
    use crate::args::RunArgs;

    fn replay(output: &Path) -> Replay {
        let args = RunArgs {
            cache_version: "1".into(),
            outputs: vec![output.to_owned()],
            command: vec![OsString::from("tool")],
            ..RunArgs::default()
        };
        Replay::new(&Subject::new(&args, &Scope::new("p", "d")).expect("valid"))
    }

    fn give(replay: &mut Replay, name: &str, pieces: &[&[u8]]) -> io::Result<()> {
        let description = OutputDescription {
            name: name.to_owned(),
            literal_type: LiteralType::Bytes,
            digest: Digest::of(&pieces.concat()),
            bytes: pieces.concat().len() as u64,
        };
        replay.begin(&description, 0)?;
        pieces.iter().try_for_each(|piece| replay.data(piece))
    }

    fn mode(bits: i64) -> Vec<u8> {
        Literal::Integer(bits).to_blob(&LiteralType::Integer).expect("it is one").to_vec()
    }

    #[test]
    fn files_appear_only_at_the_end() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("made").join("file");
        let name = path.display().to_string();
        let mut replay = replay(&path);
        give(&mut replay, "stdout", &[b"out", b"put"]).expect("taken");
        give(&mut replay, "stderr", &[]).expect("taken");
        give(&mut replay, &format!("mode:{name}"), &[&mode(0o640)]).expect("taken");
        give(&mut replay, &format!("file:{name}"), &[b"con", b"tent"]).expect("taken");
        assert!(!path.exists());
        let mut streams = replay.finish().expect("it can be written");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"content");
        let permissions = std::fs::metadata(&path).expect("it is there").permissions();
        assert_eq!(permissions.mode() & 0o7777, 0o640);
        let mut stdout = String::new();
        streams.stdout.read_to_string(&mut stdout).expect("readable");
        assert_eq!(stdout, "output");
    }

    #[test]
    fn what_is_no_replay_is_refused_and_leaves_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("file");
        let name = path.display().to_string();
        let unasked = give(&mut replay(&path), "file:other", &[b"x"]);
        assert!(unasked.is_err(), "nobody asked for it");
        let mut endless = replay(&path);
        let refused = give(&mut endless, &format!("mode:{name}"), &[&[2; MODE_BYTES_MAX + 1]]);
        assert!(refused.is_err(), "no permissions are that long");
        let mut wrong = replay(&path);
        give(&mut wrong, &format!("file:{name}"), &[b"content"]).expect("taken");
        give(&mut wrong, &format!("mode:{name}"), &[&mode(-1)]).expect("taken");
        assert!(wrong.finish().is_err(), "permissions are not negative");
        assert_eq!(root.path().read_dir().expect("readable").count(), 0);
    }
}
