//! A hit by a board.
//!
//! **Invariants.** It has exactly the outputs that the call declares, by name, by type and by
//! length; what stands on a board otherwise is no hit.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::board::Posted;
use memod_protocol::{Call, Delivery, Key, PostedHit, PostedOutput, TaskIdentity};

use crate::collect::Collector;
use crate::connect::sink_error;
use crate::content::{Content, Hit, HitOutput};
use crate::error::Error;
use crate::exchange::hit::{HitSummary, OutputDescription};
use crate::options::OutputSink;

/// A hit by a board.
#[derive(Debug)]
pub(crate) struct OnBoard {
    summary: HitSummary,
    /// The outputs' bytes, one behind the other.
    payload: Bytes,
    payload_bytes: usize,
}

impl OnBoard {
    /// What stands there, if it is a whole hit of what is wanted; the bytes are still to come.
    pub(super) fn of(
        call: &Call,
        task: &TaskIdentity,
        key: Key,
        posted: &Posted<'_>,
        age_ms: u64,
    ) -> Option<Self> {
        let PostedHit { key: of, outputs, provenance, .. } =
            PostedHit::decode(posted.header).ok()?;
        let wanted = &call.interface.outputs;
        let payload_bytes = posted.payload.len();
        let bytes = outputs.iter().map(|output| output.bytes).fold(0, u64::saturating_add);
        if of != key || outputs.len() != wanted.len() || bytes != payload_bytes as u64 {
            return None;
        }
        let mut described = Vec::with_capacity(outputs.len());
        let texts = task.output_types();
        for (((name, literal_type), text), output) in wanted.iter().zip(texts).zip(&outputs) {
            let PostedOutput { digest, bytes, delivery, .. } = *output;
            let is_it = output.name == *name && output.literal_type == *text;
            if !is_it || delivery != Delivery::Inline {
                return None;
            }
            let (name, literal_type) = (name.clone(), literal_type.clone());
            described.push(OutputDescription { name, literal_type, digest, bytes });
        }
        let age = Duration::from_millis(age_ms);
        let summary = HitSummary { key, age, provenance, outputs: described };
        Some(Self { summary, payload: Bytes::new(), payload_bytes })
    }

    /// The same with what was read, at whose end the outputs' bytes stand.
    pub(super) fn with(self, read: Vec<u8>) -> Self {
        let from = read.len().saturating_sub(self.payload_bytes);
        Self { payload: Bytes::from(read).slice(from..), ..self }
    }

    /// Bytes of all outputs.
    pub(crate) fn bytes(&self) -> u64 {
        self.payload.len() as u64
    }

    /// Hands the outputs on.
    ///
    /// # Errors
    /// With what the sink fails.
    pub(crate) fn pour(self, sink: &mut dyn OutputSink) -> Result<HitSummary, Error> {
        let Self { summary, mut payload, .. } = self;
        let mut pour = || -> io::Result<()> {
            for (index, output) in summary.outputs.iter().enumerate() {
                sink.begin(output, index)?;
                let bytes = take(&mut payload, output.bytes);
                if !bytes.is_empty() {
                    sink.data(&bytes)?;
                }
            }
            Ok(())
        };
        pour().map_err(sink_error)?;
        Ok(summary)
    }

    /// The hit with its outputs: in memory, if no more than this.
    ///
    /// # Errors
    /// If they would have to go into a file, and cannot.
    pub(crate) fn collect(self, memory_bytes_max: u64) -> Result<Hit, Error> {
        if self.bytes() > memory_bytes_max {
            let mut collector = Collector::new(memory_bytes_max);
            let summary = self.pour(&mut collector)?;
            return collector.finish(summary).map_err(sink_error);
        }
        let Self { summary, mut payload, .. } = self;
        let HitSummary { key, age, provenance, outputs } = summary;
        let collected = |output: OutputDescription| {
            let OutputDescription { name, literal_type, digest, bytes } = output;
            let content = Content::Memory(take(&mut payload, bytes));
            HitOutput { name, literal_type, digest, bytes, content }
        };
        Ok(Hit { key, age, provenance, outputs: outputs.into_iter().map(collected).collect() })
    }
}

/// The next bytes; their sum has been compared with what there is.
fn take(payload: &mut Bytes, bytes: u64) -> Bytes {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(payload.len());
    payload.split_to(bytes)
}
