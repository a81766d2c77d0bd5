//! Many lookups in one frame, and many puts under way at a time.

mod lookups;
mod puts;
mod sizes;
mod strangers;
mod wrong;

use std::time::Duration;

use bytes::Bytes;
use harness::{CallBuilder, Daemon, call};
use memod_client::{
    Call, Client, Error, Hit, Lookup, LookupOptions, NewRun, PutOptions, PutOutput, RunClaim,
};
use memod_protocol::{Literal, LiteralType};

/// A client that asks the daemon for everything.
fn asking(daemon: &Daemon) -> Client {
    let client = Client::builder().socket(daemon.socket()).board(false);
    client.deadline(Duration::from_secs(20)).build()
}

/// The calls of one task that differ in their input.
fn numbered(task: &str, count: usize) -> Vec<Call> {
    let one = |number: usize| {
        let value = Literal::String(number.to_string());
        call(task).input("original", "string", value).0
    };
    (0..count).map(one).collect()
}

fn output(content: &[u8]) -> PutOutput {
    PutOutput {
        name: "o0".to_owned(),
        literal_type: LiteralType::String,
        source: memod_client::Source::Bytes(Bytes::copy_from_slice(content)),
    }
}

/// A run that took two seconds.
fn run<'a>(of: &'a Call, content: &[u8]) -> NewRun<'a> {
    let run = RunClaim { compute_ns: Some(2_000_000_000), ..RunClaim::default() };
    let options = PutOptions { run, ..PutOptions::default() };
    NewRun { call: of, outputs: vec![output(content)], options }
}

/// What a run of this number gives.
fn content(number: usize) -> Vec<u8> {
    format!("content {number} ").repeat(1 + number % 40).into_bytes()
}

fn store(daemon: &Daemon, call: &Call, content: &[u8]) {
    daemon.connect().put(CallBuilder(call.clone()).put(&[("o0", content)]));
}

#[track_caller]
fn bytes(hit: &Hit) -> Bytes {
    hit.outputs[0].content.to_bytes().unwrap()
}

/// The hit or miss that must be.
#[track_caller]
fn found(outcome: &Result<Lookup, Error>) -> Option<Bytes> {
    match outcome {
        Ok(Lookup::Hit(hit)) => Some(bytes(hit)),
        Ok(Lookup::Miss(_)) => None,
        Err(error) => panic!("an answer was due, not {error}"),
    }
}

fn look(client: &Client, calls: &[Call]) -> Vec<Result<Lookup, Error>> {
    let found = client.lookup_many(calls, &LookupOptions::default());
    assert_eq!(found.len(), calls.len());
    found
}
