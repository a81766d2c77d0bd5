//! A hit on its way in: which bytes belong to which output.
//!
//! **Invariants.** An output gets exactly as many bytes as the hit says, no more than
//! [`BLOB_BYTES_MAX`]; a frame that would bring others, or in another order, ends the transfer. A
//! hit whose outputs are not those that the call declares is a miss (semantics 22).

use std::io;
use std::time::Duration;

use memod_protocol::limits::{BLOB_BYTES_MAX, OUTPUTS_MAX};
use memod_protocol::{
    Call, CallIdentity, Delivery, Digest, ErrorCode, Hit, Key, Lookup, Miss, MissReason, Output,
    Provenance, Request, Response, Scope, WireError,
};

use super::{response, unexpected};
use crate::error::Error;
use crate::options::{LookupOptions, OutputSink, milliseconds};

/// What is known of an output before its bytes come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputDescription {
    /// Its name.
    pub name: String,
    /// Its type.
    pub literal_type: memod_protocol::LiteralType,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A hit without its outputs' bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HitSummary {
    /// The entry's key.
    pub key: Key,
    /// How long ago the entry was written.
    pub age: Duration,
    /// Who made the outputs.
    pub provenance: Provenance,
    /// The outputs, in ascending order of their names.
    pub outputs: Vec<OutputDescription>,
}

/// What outputs a hit must have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// Those that the call declares.
    Call { call: &'a Call, identity: &'a CallIdentity },
    /// One output of an entry.
    Output { key: Key, name: &'a str },
}

impl<'a> Wanted<'a> {
    /// The request for it.
    pub(crate) fn request(&self, options: &LookupOptions) -> Request {
        match *self {
            Self::Call { identity, .. } => Request::Lookup(Lookup {
                call: identity.clone(),
                max_age_ms: milliseconds(options.max_age),
            }),
            Self::Output { key, name } => Request::Read { key, output: name.to_owned() },
        }
    }

    /// The same with its key, which takes a while to hash: done when the request has been sent, it
    /// costs nothing, since the daemon is at work meanwhile.
    pub(crate) fn expect(self) -> Expected<'a> {
        let key = match self {
            Self::Call { identity, .. } => identity.key(),
            Self::Output { key, .. } => key,
        };
        Expected { wanted: self, key, is_withheld: false }
    }

    /// The scope of the call, if it is one.
    pub(crate) const fn scope(&self) -> Option<&'a Scope> {
        match *self {
            Self::Call { identity, .. } => Some(&identity.scope),
            Self::Output { .. } => None,
        }
    }

    /// What is wrong with the outputs, if anything is.
    fn mismatch(&self, outputs: &[OutputDescription]) -> Option<String> {
        match *self {
            Self::Call { call, .. } => {
                let declared = &call.interface.outputs;
                let stored = outputs.iter().map(|output| (&output.name, &output.literal_type));
                (!declared.iter().eq(stored))
                    .then(|| "the stored outputs are not those that the call declares".into())
            }
            Self::Output { name, .. } => {
                let alone = matches!(outputs, [output] if output.name == name);
                (!alone).then(|| format!("what is stored is not an output `{name}` alone"))
            }
        }
    }
}

/// What is wanted, and the key that the answer must name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    wanted: Wanted<'a>,
    key: Key,
    /// Whether a hit withholds all outputs; else it withholds none.
    is_withheld: bool,
}

impl Expected<'_> {
    /// The same without the outputs' bytes.
    pub(crate) const fn withheld(self) -> Self {
        Self { is_withheld: true, ..self }
    }

    /// The key that the answer must name.
    pub(crate) const fn key(&self) -> Key {
        self.key
    }
}

/// The miss of a client that does not read.
pub(crate) fn unread(identity: &CallIdentity) -> Miss {
    miss(identity.key(), MissReason::Disabled, None)
}

fn miss(key: Key, reason: MissReason, detail: Option<String>) -> Miss {
    Miss { key, reason, at_ms: None, by_uid: None, detail }
}

/// The error for one output that was asked for by name and is not there.
pub(crate) fn not_found(miss: &Miss, output: &str) -> Error {
    let reason = miss.detail.as_deref().unwrap_or(miss.reason.name());
    Error::Daemon(WireError::new(
        ErrorCode::NotFound,
        format!("output `{output}` of entry {} cannot be had: {reason}", miss.key),
    ))
}

/// The first frame of the answer.
#[derive(Debug)]
pub(crate) enum First {
    /// There is nothing, or nothing that can be used. If `settled` is false, bytes of a hit that
    /// cannot be used may follow, and the connection is spent.
    Miss { miss: Miss, settled: bool },
    /// There is: move its bytes as [`Transfer::step`] says.
    Hit(Box<Transfer>),
}

/// What to do next with the connection and the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Begin the output of this index.
    Begin(usize),
    /// Take the next descriptor that came with the hit: all of the output of this index.
    Map(usize),
    /// Move so many bytes of the current payload into the sink.
    Move(usize),
    /// Read the next frame's header and give it to [`Transfer::chunk`].
    Receive,
    /// All outputs are there.
    Done,
}

/// A hit on its way in.
#[derive(Debug)]
pub(crate) struct Transfer {
    id: u64,
    summary: HitSummary,
    /// Outputs in the order in which they come, with the way they come.
    order: Vec<(usize, Delivery)>,
    /// Where in `order` the transfer is, and whether that output has been begun.
    at: usize,
    begun: bool,
    /// Whether the current output has been taken in a file.
    mapped: bool,
    /// Bytes of the current output that have been moved.
    moved: u64,
    /// Bytes of the current frame's payload that have not.
    in_frame: usize,
}

/// Reads the first frame of the answer to a lookup or read.
pub(crate) fn first(
    id: u64,
    expected: Expected<'_>,
    header: &[u8],
    payload_bytes: usize,
) -> Result<First, Error> {
    found(id, expected, response(id, header)?, payload_bytes)
}

/// What an answer means that may be a hit or a miss; `id` is its request's number.
pub(super) fn found(
    id: u64,
    expected: Expected<'_>,
    response: Response,
    payload_bytes: usize,
) -> Result<First, Error> {
    let Expected { wanted, key, is_withheld } = expected;
    let hit = match response {
        Response::Miss(miss) if payload_bytes == 0 && miss.key == key => {
            return Ok(First::Miss { miss, settled: true });
        }
        Response::Hit(hit) => *hit,
        other => return Err(unexpected("a lookup", &other)),
    };
    if hit.key != key {
        return Err(Error::Protocol("it answered with the entry of another key".into()));
    }
    if hit.outputs.len() > OUTPUTS_MAX {
        return Err(Error::Protocol(format!("a hit with {} outputs", hit.outputs.len())));
    }
    let described: Result<Vec<_>, String> = hit.outputs.iter().map(describe).collect();
    let mismatch = match described {
        Ok(outputs) => match wanted.mismatch(&outputs) {
            None => {
                if hit.outputs.iter().any(|of| withholds(of) != is_withheld) {
                    let wrong = if is_withheld { "brings" } else { "withholds" };
                    return Err(Error::Protocol(format!("a hit that {wrong} its outputs")));
                }
                let transfer = Transfer::new(id, hit, outputs, payload_bytes)?;
                return Ok(First::Hit(Box::new(transfer)));
            }
            Some(mismatch) => mismatch,
        },
        Err(problem) => problem,
    };
    let miss = miss(key, MissReason::Corrupt, Some(mismatch));
    Ok(First::Miss { miss, settled: false })
}

fn withholds(output: &Output) -> bool {
    output.delivery == Delivery::Withheld
}

fn describe(output: &Output) -> Result<OutputDescription, String> {
    let literal_type = output.literal_type.parse();
    Ok(OutputDescription {
        name: output.name.clone(),
        literal_type: literal_type.map_err(|error| format!("output `{}`, {error}", output.name))?,
        digest: output.digest,
        bytes: output.bytes,
    })
}

impl Transfer {
    fn new(
        id: u64,
        hit: Hit,
        outputs: Vec<OutputDescription>,
        payload_bytes: usize,
    ) -> Result<Self, Error> {
        let mut inline: u64 = 0;
        for output in &hit.outputs {
            if output.bytes > BLOB_BYTES_MAX {
                return Err(Error::Protocol(format!("an output of {} bytes", output.bytes)));
            }
            match output.delivery {
                Delivery::Inline => inline = inline.saturating_add(output.bytes),
                Delivery::Stream | Delivery::Sealed | Delivery::Withheld => {}
            }
        }
        if inline != payload_bytes as u64 {
            return Err(Error::Protocol(format!(
                "a hit of {inline} inline bytes in a payload of {payload_bytes}"
            )));
        }
        let all = || hit.outputs.iter().map(|output| output.delivery).enumerate();
        let order = all()
            .filter(|(_, delivery)| *delivery == Delivery::Inline)
            .chain(all().filter(|(_, delivery)| *delivery == Delivery::Sealed))
            .chain(all().filter(|(_, delivery)| *delivery == Delivery::Stream))
            .collect();
        let summary = HitSummary {
            key: hit.key,
            age: Duration::from_millis(hit.age_ms),
            provenance: hit.provenance,
            outputs,
        };
        let (at, begun, mapped, moved, in_frame) = (0, false, false, 0, payload_bytes);
        Ok(Self { id, summary, order, at, begun, mapped, moved, in_frame })
    }

    /// Whether all its outputs come in the payload of the first frame.
    pub(crate) fn is_inline(&self) -> bool {
        self.order.iter().all(|(_, delivery)| *delivery == Delivery::Inline)
    }

    /// Hands the outputs of a hit on, all of which come in this payload.
    ///
    /// # Errors
    /// With what the sink fails.
    pub(crate) fn pour(
        mut self,
        mut payload: &[u8],
        sink: &mut dyn OutputSink,
    ) -> io::Result<HitSummary> {
        loop {
            match self.step() {
                Step::Begin(index) => sink.begin(self.output(index), index)?,
                Step::Move(bytes) => {
                    let (piece, behind) = payload.split_at_checked(bytes).unwrap_or((payload, &[]));
                    payload = behind;
                    sink.data(piece)?;
                }
                // None of them is mapped or streamed.
                Step::Map(_) | Step::Receive | Step::Done => return Ok(self.summary),
            }
        }
    }

    /// The hit without its outputs' bytes.
    pub(crate) fn into_summary(self) -> HitSummary {
        self.summary
    }

    /// How many descriptors came with the hit.
    pub(crate) fn descriptors(&self) -> usize {
        self.order.iter().filter(|(_, delivery)| *delivery == Delivery::Sealed).count()
    }

    /// The output of this index, which a step named.
    pub(crate) fn output(&self, index: usize) -> &OutputDescription {
        self.summary.outputs.get(index).expect("a step names only outputs that there are")
    }

    /// Bytes of the current output that have not come yet.
    fn left(&self, index: usize) -> u64 {
        self.output(index).bytes.saturating_sub(self.moved)
    }

    /// What to do next. Whoever is told to move bytes has moved them before asking again.
    pub(crate) fn step(&mut self) -> Step {
        loop {
            let Some(&(index, delivery)) = self.order.get(self.at) else { return Step::Done };
            if !self.begun {
                self.begun = true;
                self.mapped = false;
                return Step::Begin(index);
            }
            if delivery == Delivery::Sealed && !self.mapped {
                self.mapped = true;
                self.moved = self.output(index).bytes;
                return Step::Map(index);
            }
            let left = self.left(index);
            if left == 0 {
                self.at += 1;
                self.begun = false;
                self.moved = 0;
                continue;
            }
            if delivery == Delivery::Stream && self.in_frame == 0 {
                return Step::Receive;
            }
            // Both lengths have been compared: the frame holds no more than the output lacks, or
            // it is the hit's own and holds all that is inline.
            let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(self.in_frame);
            self.in_frame -= bytes;
            self.moved += bytes as u64;
            return Step::Move(bytes);
        }
    }

    /// Takes the header of the frame that [`Step::Receive`] asked for; gives a miss if it says that
    /// the hit is void, because what is stored turned out damaged.
    pub(crate) fn chunk(
        &mut self,
        header: &[u8],
        payload_bytes: usize,
    ) -> Result<Option<Miss>, Error> {
        let (output, offset) = match response(self.id, header) {
            Ok(Response::Chunk { output, offset }) => (output, offset),
            Ok(other) => return Err(unexpected("a hit's stream", &other)),
            Err(Error::Daemon(error)) if error.code == ErrorCode::Internal => {
                let detail = Some(error.message);
                return Ok(Some(miss(self.summary.key, MissReason::Corrupt, detail)));
            }
            Err(error) => return Err(error),
        };
        let wanted = self.order.get(self.at).map_or(usize::MAX, |(index, _)| *index);
        if usize::try_from(output).ok() != Some(wanted) || offset != self.moved {
            return Err(Error::Protocol(format!(
                "it sent output {output} from {offset} on, output {wanted} from {} on was due",
                self.moved
            )));
        }
        if payload_bytes == 0 || payload_bytes as u64 > self.left(wanted) {
            return Err(Error::Protocol(format!(
                "a chunk of {payload_bytes} bytes, the output lacks {}",
                self.left(wanted)
            )));
        }
        self.in_frame = payload_bytes;
        Ok(None)
    }
}

#[cfg(test)]
#[path = "hit_tests.rs"]
mod tests;
