//! Many lookups: which share a frame, and which of them an answer answers.
//!
//! **Invariants.** Every lookup ends with exactly one outcome, at the place that it had. One that
//! is wrong, or that fails, is an error of its own. A frame is sent ahead of the answers to another
//! only if both fit into the socket, so that neither side waits for the other to read.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::handshake::{Agreement, BATCHES};
use memod_protocol::limits::LOOKUPS_MAX;
use memod_protocol::{
    Call, CallIdentity, Delivery, Hit, Looked, Lookup as Asked, Request, Response, ResponseHeader,
    Scope, wire,
};

use super::hit::{First, Transfer, Wanted, found, unread};
use super::{request, unexpected};
use crate::board::OnBoard;
use crate::collect::Collector;
use crate::connect::sink_error;
use crate::error::Error;
use crate::options::{Lookup, LookupOptions, milliseconds};

/// Frames under way at a time.
const FRAMES_MAX: usize = 2;
/// What one frame takes, unless a single lookup is larger: two of them fit into a socket's buffer.
const FRAME_BYTES: usize = 64 * 1024;
/// What a lookup takes at the most besides its texts, and what an input does.
const LOOKUP_BYTES: usize = 128;
const INPUT_BYTES: usize = 64;
/// Lookups that are asked in one frame after one that brought fewer.
const LOOKUPS_MIN: usize = 16;

/// What a lookup of many has come to.
#[derive(Debug)]
pub(crate) enum Kept {
    /// All is there.
    Lookup(Lookup),
    /// It was had by a board.
    OnBoard(Box<OnBoard>),
    /// The outputs are still in the answer's payload.
    Inline(Box<Transfer>, Bytes),
}

impl Kept {
    /// Bytes that have not been collected.
    #[cfg(feature = "tokio")]
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Lookup(_) => 0,
            Self::OnBoard(hit) => hit.bytes(),
            Self::Inline(_, payload) => payload.len() as u64,
        }
    }

    /// Collects the outputs.
    fn collect(self, memory_bytes_max: u64) -> Result<Lookup, Error> {
        match self {
            Self::Lookup(lookup) => Ok(lookup),
            Self::OnBoard(hit) => hit.collect(memory_bytes_max).map(Lookup::Hit),
            Self::Inline(transfer, payload) => {
                let mut collector = Collector::new(memory_bytes_max);
                let summary = transfer.pour(&payload, &mut collector).map_err(sink_error)?;
                collector.finish(summary).map(Lookup::Hit).map_err(sink_error)
            }
        }
    }
}

/// What lookups have come to.
pub(crate) type Outcomes = Vec<Result<Kept, Error>>;

/// Collects the outputs of all.
pub(crate) fn collect(outcomes: Outcomes, memory_bytes_max: u64) -> Vec<Result<Lookup, Error>> {
    outcomes.into_iter().map(|kept| kept?.collect(memory_bytes_max)).collect()
}

/// A frame under way.
#[derive(Debug)]
struct Flight {
    id: u64,
    asked: Vec<usize>,
}

/// Many lookups under way.
#[derive(Debug)]
pub(crate) struct Lookups<'a> {
    calls: &'a [Call],
    identities: Vec<Option<CallIdentity>>,
    max_age: Option<Duration>,
    outcomes: Vec<Option<Result<Kept, Error>>>,
    /// To be asked together with others, in this order.
    open: VecDeque<usize>,
    /// To be asked alone.
    apart: Vec<usize>,
    flights: Vec<Flight>,
    /// How many may share the next frame.
    count: usize,
    /// The greatest length of a frame that has been sent.
    frame_bytes: usize,
    /// Hits since they were taken note of.
    noted: Vec<usize>,
}

impl<'a> Lookups<'a> {
    /// Begins; a client that does not read is told "disabled" at once.
    pub(crate) fn new(calls: &'a [Call], options: &LookupOptions, reads: bool) -> Self {
        let mut identities = Vec::with_capacity(calls.len());
        let mut outcomes = Vec::with_capacity(calls.len());
        let mut open = VecDeque::with_capacity(calls.len());
        for (index, call) in calls.iter().enumerate() {
            let (identity, outcome) = match call.identity() {
                Ok(identity) if reads => (Some(identity), None),
                Ok(identity) => (None, Some(Ok(Kept::Lookup(Lookup::Miss(unread(&identity)))))),
                Err(error) => (None, Some(Err(error.into()))),
            };
            if outcome.is_none() {
                open.push_back(index);
            }
            identities.push(identity);
            outcomes.push(outcome);
        }
        Self {
            calls,
            identities,
            max_age: options.max_age,
            outcomes,
            open,
            apart: Vec::new(),
            flights: Vec::new(),
            count: LOOKUPS_MAX,
            frame_bytes: 0,
            noted: Vec::new(),
        }
    }

    /// Takes those that stand on a board.
    pub(crate) fn settle(&mut self, mut look: impl FnMut(&Call) -> Option<OnBoard>) {
        let open = std::mem::take(&mut self.open);
        for index in open {
            match self.calls.get(index).and_then(&mut look) {
                Some(hit) => self.end(index, Ok(Kept::OnBoard(Box::new(hit)))),
                None => self.open.push_back(index),
            }
        }
    }

    fn wanted(&self, index: usize) -> Option<Wanted<'_>> {
        let identity = self.identities.get(index)?.as_ref()?;
        Some(Wanted::Call { call: self.calls.get(index)?, identity })
    }

    fn end(&mut self, index: usize, outcome: Result<Kept, Error>) {
        if let Some(place) = self.outcomes.get_mut(index) {
            *place = Some(outcome);
        }
    }

    /// Whether none is left to be asked together with others.
    pub(crate) fn is_done(&self) -> bool {
        self.open.is_empty() && self.flights.is_empty()
    }

    /// Begins on a connection: what was under way on another is asked anew.
    pub(crate) fn begin(&mut self, agreement: &Agreement) {
        for flight in std::mem::take(&mut self.flights).into_iter().rev() {
            flight.asked.into_iter().rev().for_each(|index| self.open.push_front(index));
        }
        self.frame_bytes = 0;
        if agreement.capabilities & BATCHES == 0 {
            self.apart.extend(self.open.drain(..));
        }
    }

    /// Whether another frame may be sent before there is an answer to those that were.
    pub(crate) fn may_send(&self) -> bool {
        !self.open.is_empty()
            && (self.flights.is_empty()
                || self.flights.len() < FRAMES_MAX && self.frame_bytes <= FRAME_BYTES)
    }

    /// Whether an answer is to come.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.flights.is_empty()
    }

    /// The next frame.
    ///
    /// # Errors
    /// Never: what does not fit into a frame with others is asked alone.
    pub(crate) fn frame(&mut self, id: u64) -> Result<Option<Vec<u8>>, Error> {
        let (mut asked, mut lookups, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        while let Some(index) = self.open.front().copied().filter(|_| asked.len() < self.count) {
            let identity = self.identities.get(index).and_then(Option::as_ref);
            let identity = identity.expect("only what has an identity is open");
            let more = request_bytes(identity);
            if more > FRAME_BYTES {
                self.open.pop_front();
                self.apart.push(index);
                continue;
            }
            if bytes + more > FRAME_BYTES {
                break;
            }
            bytes += more;
            lookups.push(Asked { call: identity.clone(), max_age_ms: milliseconds(self.max_age) });
            asked.push(index);
            self.open.pop_front();
        }
        if asked.is_empty() {
            return Ok(None);
        }
        let head = request(id, Request::LookupMany(lookups), 0)?;
        self.frame_bytes = self.frame_bytes.max(head.len());
        self.flights.push(Flight { id, asked });
        Ok(Some(head))
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// If it is none, or the daemon has failed all that the frame asked.
    pub(crate) fn answered(&mut self, header: &[u8], payload: &Bytes) -> Result<(), Error> {
        let ResponseHeader { id, response } = wire::decode(header)?;
        let at = self.flights.iter().position(|flight| flight.id == id);
        let (at, looked) = match (at, response) {
            (_, Response::Error(error)) if at.is_some() || id == 0 => {
                return Err(Error::Daemon(error));
            }
            (Some(at), Response::LookedUp(looked)) => (at, looked),
            (Some(_), other) => return Err(unexpected("many lookups", &other)),
            (None, _) => return Err(Error::Protocol(format!("it answered request {id}"))),
        };
        let asked = self.flights.get(at).map_or(0, |flight| flight.asked.len());
        if looked.len() != asked || matches!(looked.first(), Some(Looked::Full)) {
            let answers = looked.len();
            return Err(Error::Protocol(format!("{answers} answers to {asked} lookups")));
        }
        let flight = self.flights.remove(at);
        let mut rest = payload.clone();
        // Nothing is believed of an answer that is wrong anywhere.
        let (mut ended, mut full, mut apart) = (Vec::with_capacity(asked), Vec::new(), Vec::new());
        let mut noted = Vec::new();
        for (index, looked) in flight.asked.iter().copied().zip(looked) {
            match looked {
                Looked::Full => full.push(index),
                Looked::Apart => apart.push(index),
                Looked::Miss(miss) => {
                    let kept = self.kept(index, Response::Miss(*miss), Bytes::new())?;
                    ended.push((index, Ok(kept)));
                }
                Looked::Error(error) => ended.push((index, Err(Error::Daemon(*error)))),
                Looked::Hit(hit) => {
                    let bytes = inline_bytes(&hit).filter(|bytes| *bytes <= rest.len());
                    let Some(bytes) = bytes else {
                        return Err(Error::Protocol("a hit without all of its bytes".into()));
                    };
                    let own = rest.split_to(bytes);
                    ended.push((index, Ok(self.kept(index, Response::Hit(hit), own)?)));
                    noted.push(index);
                }
            }
        }
        if !rest.is_empty() {
            return Err(Error::Protocol(format!("{} bytes that belong to nothing", rest.len())));
        }
        let told = ended.len() + apart.len();
        let next = (2 * told).clamp(LOOKUPS_MIN, LOOKUPS_MAX);
        self.count = if full.is_empty() { LOOKUPS_MAX } else { next };
        for (index, outcome) in ended {
            self.end(index, outcome);
        }
        self.apart.append(&mut apart);
        self.noted.append(&mut noted);
        full.into_iter().rev().for_each(|index| self.open.push_front(index));
        Ok(())
    }

    /// What an answer means.
    fn kept(&self, index: usize, response: Response, payload: Bytes) -> Result<Kept, Error> {
        let wanted = self.wanted(index).expect("only what has an identity is asked");
        match found(0, wanted.expect(), response, payload.len())? {
            First::Miss { miss, .. } => Ok(Kept::Lookup(Lookup::Miss(miss))),
            First::Hit(transfer) if transfer.is_inline() => Ok(Kept::Inline(transfer, payload)),
            First::Hit(_) => Err(Error::Protocol("a hit that shares no frame".into())),
        }
    }

    /// The scopes of the hits that came since this was asked.
    pub(crate) fn take_noted(&mut self) -> Vec<Scope> {
        let noted = std::mem::take(&mut self.noted);
        let scope = |index: usize| Some(self.identities.get(index)?.as_ref()?.scope.clone());
        noted.into_iter().filter_map(scope).collect()
    }

    /// Takes those that are to be asked alone.
    pub(crate) fn take_apart(&mut self) -> Vec<(usize, &'a Call, CallIdentity)> {
        let mut apart = std::mem::take(&mut self.apart);
        apart.sort_unstable();
        let asked = |index: usize| {
            let identity = self.identities.get_mut(index)?.take()?;
            Some((index, self.calls.get(index)?, identity))
        };
        apart.into_iter().filter_map(asked).collect()
    }

    /// Takes what came of one that was asked alone.
    pub(crate) fn alone(&mut self, index: usize, outcome: Result<Lookup, Error>) {
        self.end(index, outcome.map(Kept::Lookup));
    }

    /// All that have no outcome have failed.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.apart.clear();
        for place in self.outcomes.iter_mut().filter(|place| place.is_none()) {
            *place = Some(Err(error.again()));
        }
    }

    /// What all came to, in order.
    pub(crate) fn into_outcomes(self) -> Outcomes {
        let outcome = |place: Option<_>| place.expect("each has been answered, or has failed");
        self.outcomes.into_iter().map(outcome).collect()
    }
}

/// What a lookup takes of a frame at the most.
fn request_bytes(identity: &CallIdentity) -> usize {
    let CallIdentity { scope, task, cache_version, inputs, .. } = identity;
    let texts = scope.project.len() + scope.domain.len() + task.len() + cache_version.len();
    let inputs: usize = inputs.iter().map(|(name, _)| INPUT_BYTES + name.len()).sum();
    LOOKUP_BYTES + texts + inputs
}

/// How many bytes of the payload are a hit's.
fn inline_bytes(hit: &Hit) -> Option<usize> {
    let inline = hit.outputs.iter().filter(|output| output.delivery == Delivery::Inline);
    let bytes = inline.map(|output| output.bytes).fold(0, u64::saturating_add);
    usize::try_from(bytes).ok()
}
