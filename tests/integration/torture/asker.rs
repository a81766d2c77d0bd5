//! A connection of the torture: what it sees is compared with what is known.

use std::io;

use harness::{Random, Raw};
use memod_protocol::{Delivery, ErrorCode, Hit, Output, Request, Response, WireError};

use super::content::{self, KEYS, numbered};
use super::load::{Shared, count};
use super::model::Seen;

/// Somebody who asks.
pub(crate) struct Asker<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) raw: Raw,
    pub(crate) random: Random,
}

/// The error of a daemon that ends.
///
/// # Panics
/// If it is another.
pub(crate) fn ending(error: WireError) -> io::Error {
    assert_eq!(error.code, ErrorCode::ShuttingDown, "{error}");
    io::Error::other(error)
}

impl<'a> Asker<'a> {
    /// A connection of its own.
    pub(crate) fn connect(shared: &'a Shared, seed: u64) -> io::Result<Self> {
        Ok(Self { shared, raw: Raw::try_greeted(&shared.socket)?, random: Random::new(seed) })
    }

    /// Ends the connection, and makes another.
    pub(crate) fn reconnect(&mut self) -> io::Result<()> {
        self.raw = Raw::try_greeted(&self.shared.socket)?;
        Ok(())
    }

    /// A moment before what is asked next.
    pub(crate) fn now(&self) -> u64 {
        self.shared.model().now()
    }

    /// Something was seen by a look that began at that moment.
    pub(crate) fn saw(&self, number: usize, began: u64, seen: Seen) {
        let tally = &self.shared.tally;
        count(if matches!(seen, Seen::Hit(_)) { &tally.hits } else { &tally.misses });
        if let Err(why) = self.shared.model().look(number, began, seen) {
            panic!("{why}");
        }
    }

    /// Takes the outputs of a hit; `only`: it is of that output alone.
    pub(crate) fn take_hit(
        &mut self,
        number: usize,
        began: u64,
        (hit, payload): (&Hit, bytes::Bytes),
        only: Option<usize>,
    ) -> io::Result<()> {
        let contents = self.raw.try_contents(hit, payload)?;
        let version = content::version_of(number, hit, &contents, only);
        self.saw(number, began, Seen::Hit(version));
        Ok(())
    }

    /// Looks a call up, with all its outputs. `removed`: while most of them are still to come, the
    /// entry is removed; a reply that has begun stays whole.
    fn look_up(&mut self, number: usize, removed: bool) -> io::Result<()> {
        let began = self.now();
        let reply = self.raw.try_ask(numbered(number).call.lookup(), b"")?;
        match reply.response {
            Response::Hit(hit) => {
                let streams = |of: &Output| of.delivery == Delivery::Stream;
                if removed && hit.outputs.iter().any(streams) {
                    let seed = self.random.number();
                    Self::connect(self.shared, seed)?.remove_keys(vec![number])?;
                }
                self.take_hit(number, began, (&hit, reply.payload), None)
            }
            Response::Miss(miss) => {
                self.saw(number, began, Seen::from(&miss));
                Ok(())
            }
            Response::Error(error) => Err(ending(error)),
            other => panic!("a lookup was answered by {other:?}"),
        }
    }

    /// Reads one output of an entry.
    fn read_one(&mut self, number: usize) -> io::Result<()> {
        let outputs = numbered(number).call.0.interface.outputs.len();
        if outputs == 0 {
            return Ok(());
        }
        let (began, output) = (self.now(), self.random.below(outputs));
        let key = numbered(number).key;
        let reply = self.raw.try_ask(Request::Read { key, output: format!("o{output}") }, b"")?;
        match reply.response {
            Response::Hit(hit) => self.take_hit(number, began, (&hit, reply.payload), Some(output)),
            Response::Error(error) if error.code == ErrorCode::NotFound => Ok(()),
            Response::Error(error) => Err(ending(error)),
            other => panic!("a read was answered by {other:?}"),
        }
    }

    /// Looks at any entry.
    pub(crate) fn read_something(&mut self) -> io::Result<()> {
        let number = self.random.below(KEYS);
        match self.random.below(20) {
            0..4 => self.read_one(number),
            4 => self.look_up(number, true),
            _ => self.look_up(number, false),
        }
    }
}
