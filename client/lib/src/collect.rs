//! Collects a hit's outputs: in memory up to a bound, beyond it in unnamed temporary files.

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
    Memory(Vec<u8>),
    File(File),
}

impl Collector {
    /// Holds at most so many bytes in memory, over all outputs.
    pub(crate) const fn new(memory_bytes_max: u64) -> Self {
        Self { memory_left: memory_bytes_max, current: None, finished: Vec::new() }
    }

    /// Whether what comes now is written to a file.
    #[cfg(feature = "tokio")]
    pub(crate) const fn is_spooling(&self) -> bool {
        matches!(self.current, Some((_, Target::File(_))))
    }

    fn finish_current(&mut self) -> io::Result<()> {
        if let Some((index, target)) = self.current.take() {
            let content = match target {
                Target::Memory(bytes) => Content::Memory(Bytes::from(bytes)),
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
        let target = match usize::try_from(output.bytes) {
            Ok(bytes) if output.bytes <= self.memory_left => {
                self.memory_left -= output.bytes;
                Target::Memory(Vec::with_capacity(bytes))
            }
            _ => Target::File(spool::file()?),
        };
        self.current = Some((index, target));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Some((_, Target::Memory(memory))) => memory.extend_from_slice(bytes),
            Some((_, Target::File(file))) => file.write_all(bytes)?,
            None => return Err(io::Error::other("bytes that belong to no output")),
        }
        Ok(())
    }
}
