//! memod through its client library. A lookup makes its key from the typed call, every time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use memod_client::{
    Bytes, Call, Client, Content, Found as Answer, Interface, Literal, LiteralType, Lookup,
    LookupOptions, OutputDescription, OutputSink, PutOptions, PutOutput, Scope, Source,
};

use crate::rival::{Found, Place, Rival, Show};

const INPUT: &str = "number";
const OUTPUT: &str = "o0";
/// A slow disk is to be measured, not to be given up.
const DEADLINE: Duration = Duration::from_secs(60);
/// How much of a value in a file is compared at a time.
const PIECE_BYTES: usize = 256 << 10;

/// How values are read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading {
    /// By [`Client::lookup`], which gives them whole.
    Whole,
    /// By [`Client::lookup_into`], piece by piece as they come.
    Stream,
}

/// A daemon.
pub(crate) struct Daemon {
    socket: PathBuf,
    reading: Reading,
}

impl Daemon {
    /// The one that listens there.
    pub(crate) fn new(socket: &Path, reading: Reading) -> Self {
        Self { socket: socket.to_owned(), reading }
    }
}

impl Place for Daemon {
    fn connect(&self) -> Result<Box<dyn Rival>> {
        let client = Client::builder().socket(&self.socket).deadline(DEADLINE).build();
        client.ping().context("no daemon")?;
        let call = Call {
            scope: Scope::new("compare", "development"),
            task: String::new(),
            cache_version: "1.0.0".to_owned(),
            interface: Interface {
                inputs: BTreeMap::from([(INPUT.to_owned(), LiteralType::Integer)]),
                outputs: BTreeMap::from([(OUTPUT.to_owned(), LiteralType::Bytes)]),
            },
            inputs: BTreeMap::new(),
            ignored: BTreeSet::new(),
        };
        let options = LookupOptions::default();
        Ok(Box::new(Caller { client, call, options, reading: self.reading, calls: Vec::new() }))
    }
}

struct Caller {
    client: Client,
    call: Call,
    options: LookupOptions,
    reading: Reading,
    /// The calls that were looked up together last. Their keys are made anew each time.
    calls: Vec<Call>,
}

impl Rival for Caller {
    fn aim(&mut self, group: &str, number: u64) {
        group.clone_into(&mut self.call.task);
        let value = Literal::Integer(number.cast_signed());
        match self.call.inputs.get_mut(INPUT) {
            Some(input) => *input = value,
            None => drop(self.call.inputs.insert(INPUT.to_owned(), value)),
        }
    }

    fn put(&mut self, content: &[u8]) -> Result<()> {
        let output = PutOutput {
            name: OUTPUT.to_owned(),
            literal_type: LiteralType::Bytes,
            source: Source::Bytes(Bytes::copy_from_slice(content)),
        };
        self.client.put(&self.call, vec![output], &PutOptions::default())?;
        Ok(())
    }

    fn get(&mut self, expected: &[u8]) -> Result<Found> {
        match self.reading {
            Reading::Whole => match self.client.lookup(&self.call, &self.options)? {
                Lookup::Miss(_) => Ok(Found::Miss),
                Lookup::Hit(hit) => {
                    let output = hit.outputs.first().context("a hit without outputs")?;
                    compare(&output.content, expected)
                }
            },
            Reading::Stream => {
                let mut sink = Comparing { rest: expected, same: true };
                match self.client.lookup_into(&self.call, &self.options, &mut sink)? {
                    Answer::Miss(_) => Ok(Found::Miss),
                    Answer::Hit(_) if sink.same && sink.rest.is_empty() => Ok(Found::Hit),
                    Answer::Hit(_) => Ok(Found::Wrong),
                }
            }
        }
    }

    fn get_many(&mut self, group: &str, numbers: &[u64], show: Show<'_>) -> Result<()> {
        // Whoever asks for other numbers is another client.
        if self.calls.len() != numbers.len() {
            self.calls.clear();
            for number in numbers {
                self.aim(group, *number);
                self.calls.push(self.call.clone());
            }
        }
        let found = self.client.lookup_many(&self.calls, &self.options);
        for (number, found) in numbers.iter().zip(found) {
            show_hit(*number, &found?, show)?;
        }
        Ok(())
    }
}

fn show_hit(number: u64, found: &Lookup, show: Show<'_>) -> Result<()> {
    let Lookup::Hit(hit) = found else { return show(number, None) };
    let output = hit.outputs.first().context("a hit without outputs")?;
    show(number, Some(&output.content.to_bytes()?))
}

fn compare(content: &Content, expected: &[u8]) -> Result<Found> {
    if let Content::Memory(bytes) = content {
        return Ok(Found::compare(Some(bytes), expected));
    }
    let mut reader = content.reader();
    let mut sink = Comparing { rest: expected, same: true };
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let bytes = reader.read(&mut piece)?;
        match piece.get(..bytes) {
            None | Some([]) => break,
            Some(read) => sink.take(read),
        }
    }
    Ok(if sink.same && sink.rest.is_empty() { Found::Hit } else { Found::Wrong })
}

/// Compares bytes as they come.
struct Comparing<'a> {
    rest: &'a [u8],
    same: bool,
}

impl Comparing<'_> {
    fn take(&mut self, bytes: &[u8]) {
        match self.rest.split_at_checked(bytes.len()) {
            Some((due, rest)) => {
                self.same &= due == bytes;
                self.rest = rest;
            }
            None => self.same = false,
        }
    }
}

impl OutputSink for Comparing<'_> {
    fn begin(&mut self, _: &OutputDescription, _: usize) -> std::io::Result<()> {
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.take(bytes);
        Ok(())
    }
}
