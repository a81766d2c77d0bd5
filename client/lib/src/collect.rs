//! Collects a hit's outputs: in memory up to a bound, beyond it in unnamed temporary files. What is
//! shared with the daemon stays where it is, and does not count.

use std::fs::File;
use std::io::{self, Seek, Write};

use bytes::Bytes;

use crate::content::{Content, Hit, HitOutput};
use crate::exchange::hit::{HitSummary, OutputDescription};
use crate::options::OutputSink;
use crate::spool;

/// A sink that keeps everything.
#[derive(Debug)]
pub(crate) struct Collector {
    memory_left: u64,
    current: Option<(usize, Target)>,
    finished: Vec<(usize, Content)>,
}

#[derive(Debug)]
enum Target {
    /// Nothing has come yet of so many bytes.
    Nothing(u64),
    Memory(Vec<u8>),
    File(File),
    /// All of it, shared with the daemon.
    Whole(Bytes),
}

impl Collector {
    /// Holds at most so many bytes in memory, over all outputs.
    pub(crate) const fn new(memory_bytes_max: u64) -> Self {
        Self { memory_left: memory_bytes_max, current: None, finished: Vec::new() }
    }

    /// Whether what comes now is written to a file.
    #[cfg(feature = "tokio")]
    pub(crate) const fn is_spooling(&self) -> bool {
        match &self.current {
            Some((_, Target::File(_))) => true,
            Some((_, Target::Nothing(bytes))) => *bytes > self.memory_left,
            _ => false,
        }
    }

    fn finish_current(&mut self) -> io::Result<()> {
        if let Some((index, target)) = self.current.take() {
            let content = match target {
                Target::Nothing(_) => Content::Memory(Bytes::new()),
                Target::Memory(bytes) => Content::Memory(Bytes::from(bytes)),
                Target::Whole(bytes) => Content::Memory(bytes),
                Target::File(mut file) => {
                    file.rewind()?;
                    Content::File(file)
                }
            };
            self.finished.push((index, content));
        }
        Ok(())
    }

    /// The hit, all of whose outputs have been taken.
    pub(crate) fn finish(mut self, summary: HitSummary) -> io::Result<Hit> {
        self.finish_current()?;
        self.finished.sort_by_key(|(index, _)| *index);
        let contents = self.finished.into_iter().map(|(_, content)| content);
        let outputs = summary.outputs.into_iter().zip(contents);
        let outputs = outputs
            .map(|(output, content)| HitOutput {
                name: output.name,
                literal_type: output.literal_type,
                digest: output.digest,
                bytes: output.bytes,
                content,
            })
            .collect();
        Ok(Hit { key: summary.key, age: summary.age, provenance: summary.provenance, outputs })
    }
}

impl OutputSink for Collector {
    fn begin(&mut self, output: &OutputDescription, index: usize) -> io::Result<()> {
        self.finish_current()?;
        self.current = Some((index, Target::Nothing(output.bytes)));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((_, target)) = &mut self.current else {
            return Err(io::Error::other("bytes that belong to no output"));
        };
        if let Target::Nothing(length) = *target {
            *target = match usize::try_from(length) {
                Ok(capacity) if length <= self.memory_left => {
                    self.memory_left -= length;
                    Target::Memory(Vec::with_capacity(capacity))
                }
                _ => Target::File(spool::file()?),
            };
        }
        match target {
            Target::Memory(memory) => memory.extend_from_slice(bytes),
            Target::File(file) => file.write_all(bytes)?,
            Target::Nothing(_) | Target::Whole(_) => {
                return Err(io::Error::other("more bytes than the output has"));
            }
        }
        Ok(())
    }

    fn whole(&mut self, bytes: Bytes) -> io::Result<()> {
        let Some((_, target @ Target::Nothing(_))) = &mut self.current else {
            return Err(io::Error::other("bytes that belong to no output"));
        };
        *target = Target::Whole(bytes);
        Ok(())
    }
}
