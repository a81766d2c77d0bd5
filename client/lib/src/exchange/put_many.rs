//! Many puts: which are under way at a time, and which of them an answer answers.
//!
//! **Invariants.** Every put ends with exactly one outcome, at the place that it had. Puts of one
//! key are done one behind the other, in their order. What the daemon answers to as many as are
//! under way fits into a socket, so that it goes on reading.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use memod_protocol::handshake::PeerLimits;
use memod_protocol::{Call, CallIdentity, Key, PutOutcome, Response, ResponseHeader, wire};

use super::put::PutExchange;
use super::unexpected;
use crate::client::{plan, put_options};
use crate::error::Error;
use crate::mode::Mode;
use crate::options::{NewRun, PutOptions};
use crate::outputs::{Body, Prepared, PutOutput};

/// Puts under way at a time. An answer has less than five kilobytes.
const PUTS_MAX: usize = 24;

/// The outputs of a run.
enum Outputs {
    Given(Vec<PutOutput>),
    Prepared(Vec<Prepared>),
    /// They have gone with the put, or there is nothing to be put.
    None,
}

struct Item<'a> {
    call: &'a Call,
    identity: Option<(CallIdentity, Key)>,
    options: PutOptions,
    outputs: Outputs,
    outcome: Option<Result<PutOutcome, Error>>,
}

/// One that has to be put alone.
pub(crate) struct Alone<'a> {
    pub(crate) index: usize,
    pub(crate) call: &'a Call,
    pub(crate) identity: CallIdentity,
    pub(crate) options: PutOptions,
    pub(crate) outputs: Vec<Prepared>,
}

/// What is to be sent.
#[derive(Debug)]
pub(crate) struct PutFrame {
    pub(crate) head: Vec<u8>,
    pub(crate) inline: Vec<Bytes>,
}

/// Many puts under way.
pub(crate) struct Puts<'a> {
    items: Vec<Item<'a>>,
    open: VecDeque<usize>,
    apart: Vec<usize>,
    /// The keys of those.
    apart_keys: HashSet<Key>,
    /// Numbers of the requests under way.
    flights: Vec<(u64, usize)>,
}

impl<'a> Puts<'a> {
    /// Begins.
    pub(crate) fn new(runs: Vec<NewRun<'a>>, mode: Mode) -> Self {
        let mut open = VecDeque::with_capacity(runs.len());
        let item = |(index, run): (usize, NewRun<'a>)| {
            let NewRun { call, outputs, options } = run;
            let checked = || -> Result<_, Error> {
                let identity = call.identity()?;
                let options = put_options(mode, &options)?;
                options.run.check()?;
                let key = identity.key();
                Ok(((identity, key), options))
            };
            match checked() {
                Ok((identity, options)) => {
                    open.push_back(index);
                    let (identity, outputs) = (Some(identity), Outputs::Given(outputs));
                    Item { call, identity, options, outputs, outcome: None }
                }
                Err(error) => {
                    let (identity, outputs) = (None, Outputs::None);
                    Item { call, identity, options, outputs, outcome: Some(Err(error)) }
                }
            }
        };
        let items = runs.into_iter().enumerate().map(item).collect();
        let (apart, apart_keys, flights) = (Vec::new(), HashSet::new(), Vec::new());
        Self { items, open, apart, apart_keys, flights }
    }

    /// Begins on a connection: what was under way on another is sent anew.
    pub(crate) fn begin(&mut self) {
        let flights = std::mem::take(&mut self.flights);
        flights.into_iter().rev().for_each(|(_, index)| self.open.push_front(index));
    }

    /// Whether none is left to be sent together with others.
    pub(crate) fn is_done(&self) -> bool {
        self.open.is_empty() && self.flights.is_empty()
    }

    /// Whether an answer is to come.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.flights.is_empty()
    }

    fn key(&self, index: usize) -> Option<Key> {
        self.items.get(index)?.identity.as_ref().map(|(_, key)| *key)
    }

    /// The next that may be sent before there are more answers.
    pub(crate) fn next(&mut self, limits: PeerLimits) -> Option<usize> {
        let in_flight_max = usize::try_from(limits.requests_in_flight_max).unwrap_or(PUTS_MAX);
        let key = self.key(*self.open.front()?);
        let is_free = self.flights.len() < PUTS_MAX.min(in_flight_max.max(1))
            && !self.flights.iter().any(|(_, other)| self.key(*other) == key);
        if is_free { self.open.pop_front() } else { None }
    }

    /// The outputs of one that is to be sent, if they have to be prepared.
    pub(crate) fn take_given(&mut self, index: usize) -> Option<(&'a Call, Vec<PutOutput>)> {
        let item = self.items.get_mut(index)?;
        match std::mem::replace(&mut item.outputs, Outputs::None) {
            Outputs::Given(outputs) => Some((item.call, outputs)),
            other => {
                item.outputs = other;
                None
            }
        }
    }

    /// Takes prepared outputs.
    pub(crate) fn prepared(&mut self, index: usize, outputs: Result<Vec<Prepared>, Error>) {
        let Some(item) = self.items.get_mut(index) else { return };
        match outputs {
            Ok(outputs) => item.outputs = Outputs::Prepared(outputs),
            Err(error) => item.outcome = Some(Err(error)),
        }
    }

    /// The frame of one that is to be sent; nothing if there is none, because its outputs are
    /// wrong or have to be uploaded.
    pub(crate) fn frame(&mut self, id: u64, index: usize, limits: PeerLimits) -> Option<PutFrame> {
        let item = self.items.get_mut(index)?;
        let (Some((identity, key)), Outputs::Prepared(outputs)) = (&item.identity, &item.outputs)
        else {
            return None;
        };
        let planned = plan(item.call, identity, &item.options, outputs, limits);
        let head = planned.and_then(|put| {
            let is_whole = put.uploads().is_empty() && !self.apart_keys.contains(key);
            is_whole.then(|| Ok((put.request(id)?, inline(&put, outputs)))).transpose()
        });
        match head {
            Ok(Some((head, inline))) => {
                self.flights.push((id, index));
                Some(PutFrame { head, inline })
            }
            Ok(None) => {
                self.apart_keys.insert(*key);
                self.apart.push(index);
                None
            }
            Err(error) => {
                item.outcome = Some(Err(error));
                None
            }
        }
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// If it is none, or the connection ends with it.
    pub(crate) fn answered(&mut self, header: &[u8]) -> Result<(), Error> {
        let ResponseHeader { id, response } = wire::decode(header)?;
        let at = self.flights.iter().position(|(of, _)| *of == id);
        let Some(at) = at else {
            return Err(match response {
                Response::Error(error) if id == 0 => Error::Daemon(error),
                _ => Error::Protocol(format!("it answered request {id}")),
            });
        };
        let outcome = match response {
            Response::Put(outcome) => Ok(outcome),
            Response::Error(error) => Err(Error::Daemon(error)),
            other => return Err(unexpected("a put", &other)),
        };
        let (_, index) = self.flights.remove(at);
        self.end(index, outcome);
        Ok(())
    }

    /// Takes what came of one.
    pub(crate) fn end(&mut self, index: usize, outcome: Result<PutOutcome, Error>) {
        if let Some(item) = self.items.get_mut(index) {
            item.outcome = Some(outcome);
            item.outputs = Outputs::None;
        }
    }

    /// The next that is to be put alone.
    pub(crate) fn take_apart(&mut self) -> Option<Alone<'a>> {
        while !self.apart.is_empty() {
            let index = self.apart.remove(0);
            let item = self.items.get_mut(index)?;
            let outputs = std::mem::replace(&mut item.outputs, Outputs::None);
            if let (Some((identity, _)), Outputs::Prepared(outputs)) =
                (item.identity.take(), outputs)
            {
                let (call, options) = (item.call, item.options.clone());
                return Some(Alone { index, call, identity, options, outputs });
            }
        }
        None
    }

    /// All that have no outcome have failed.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.apart.clear();
        for item in self.items.iter_mut().filter(|item| item.outcome.is_none()) {
            item.outcome = Some(Err(error.again()));
        }
    }

    /// What all came to, in order.
    pub(crate) fn into_outcomes(self) -> Vec<Result<PutOutcome, Error>> {
        let outcome = |item: Item<'_>| item.outcome.expect("each was answered, or has failed");
        self.items.into_iter().map(outcome).collect()
    }
}

/// The bytes that travel inside the put's own frame, in order.
pub(crate) fn inline(put: &PutExchange, outputs: &[Prepared]) -> Vec<Bytes> {
    put.inline()
        .filter_map(|index| match outputs.get(index).map(|output| &output.body) {
            Some(Body::Memory(bytes)) => Some(bytes.clone()),
            _ => None,
        })
        .collect()
}
