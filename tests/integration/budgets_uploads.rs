//! Large outputs and a store that is full: what is refused takes nothing from anybody.

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, Setup, call};
use memod_protocol::{
    Announcement, ErrorCode, Literal, NewOutput, OutputSource, Put, PutOutcome, Request, Response,
    WireError,
};

use crate::memo::ends;
use crate::semantics_lookup::noise;

const ENTRIES: u64 = 30;
const MIB: usize = 1 << 20;

/// A daemon of 4 MB, full of small entries.
fn full(config: &str) -> Daemon {
    full_of(4_000_000, ENTRIES, config)
}

/// A daemon of so many bytes with so many entries that took an hour each.
fn full_of(bytes: u64, entries: u64, config: &str) -> Daemon {
    let config = format!("store_bytes_max = {bytes}\nstore_bytes_high = {bytes}\n{config}");
    let daemon = Setup::new().config(config).start();
    let mut raw = daemon.connect();
    for number in 0..entries {
        let (mut put, payload) = small(number).put(&[("o0", &noise(number, 100_000))]);
        put.run.compute_ns = Some(3_600_000_000_000);
        assert_eq!(raw.put((put, payload)), PutOutcome::Populated);
    }
    assert_eq!(raw.stats().entries, entries);
    daemon
}

fn small(number: u64) -> CallBuilder {
    let number = Literal::String(number.to_string());
    call("small").bare().input("number", "string", number).output("o0", "bytes")
}

/// A file of so many bytes, as an output of `memo put`.
fn file_output(daemon: &Daemon, bytes: usize) -> String {
    let file = daemon.folder().join(format!("output{bytes}"));
    std::fs::write(&file, noise(bytes as u64, bytes)).unwrap();
    format!("o0:bytes=@{}", file.display())
}

fn memo_put<'a>(output: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["put", "--task", "large", "--cache-version", "1", "--output", output], rest].concat()
}

fn announce(raw: &mut Raw, put: &Put) -> Result<Response, WireError> {
    let announcement = Announcement { put: put.clone(), writer_uid: None };
    match raw.ask(Request::Announce(Box::new(announcement)), Bytes::new()).response {
        Response::Error(error) => Err(error),
        response => Ok(response),
    }
}

/// The put of a task with one output, to be uploaded as number 1.
fn uploaded(task: &str, bytes: usize) -> Put {
    let (mut put, _) = call(task).put(&[]);
    let (name, bytes) = ("o0".to_owned(), bytes as u64);
    put.outputs = vec![NewOutput { name, bytes, digest: None, source: OutputSource::Upload(1) }];
    put
}

fn upload(raw: &mut Raw, content: &[u8]) -> Result<(), WireError> {
    for piece in content.chunks(MIB) {
        raw.send(Request::UploadData { upload: 1 }, Bytes::copy_from_slice(piece));
    }
    match raw.ask(Request::UploadEnd { upload: 1, digest: None }, Bytes::new()).response {
        Response::Uploaded { .. } => Ok(()),
        Response::Error(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_put_that_is_refused_takes_nothing_from_anybody() {
    let daemon = full("scope_bytes = { small = { development = 300000 } }");
    let large = file_output(&daemon, 5 * MIB);
    let refused = ends(&daemon, 4, &memo_put(&large, &[]));
    assert!(refused.errors().contains("entries of up to 3200000"), "{refused:?}");
    let medium = file_output(&daemon, 3_100_000);
    let scope = ["--project", "small", "--domain", "development"];
    let refused = ends(&daemon, 4, &memo_put(&medium, &scope));
    let budget = "project small, domain development may hold 300000 bytes";
    assert!(refused.errors().contains(budget), "{refused:?}");
    assert_eq!(daemon.connect().stats().entries, ENTRIES);
}

/// Semantics 17.
#[test]
fn a_put_of_what_is_there_uploads_and_evicts_nothing() {
    let daemon = full("");
    let output = file_output(&daemon, 10);
    assert!(ends(&daemon, 0, &memo_put(&output, &[])).text().contains("POPULATED"));
    let large = file_output(&daemon, 3_100_000);
    assert!(ends(&daemon, 0, &memo_put(&large, &[])).text().contains("EXISTS"));
    assert_eq!(daemon.connect().stats().entries, ENTRIES + 1);
    let replaced = ends(&daemon, 0, &memo_put(&large, &["--overwrite"]));
    assert!(replaced.text().contains("POPULATED"), "{replaced:?}");
    let stats = daemon.connect().stats();
    assert!(stats.entries < 15, "there was no room for both: {stats:?}");
}

#[test]
fn an_upload_that_nobody_announced_and_nobody_ends_evicts_next_to_nothing() {
    let daemon = full_of(32_000_000, 310, "");
    let refused = upload(&mut daemon.connect(), &noise(1, 24 * MIB)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::OverBudget);
    assert!(refused.message.contains("an eighth of what the store may hold"), "{refused}");
    let stats = daemon.connect().stats();
    assert!(stats.entries > 260, "{stats:?}");
}

#[test]
fn an_upload_beyond_its_users_budget_is_refused_and_evicts_nothing() {
    let uid = nix::unistd::geteuid();
    let daemon = Setup::new()
        .config(format!("store_bytes_max = 32000000\nuser_bytes = {{ {uid} = 2500000 }}"))
        .start();
    let mut raw = daemon.connect();
    raw.put(small(1).put(&[("o0", &noise(1, 100_000))]));
    let error = upload(&mut raw, &noise(2, 4 * MIB)).unwrap_err();
    assert_eq!(error.code, ErrorCode::OverBudget);
    let text = format!("user {uid} may store 2500000 bytes");
    assert!(error.message.contains(&text), "{error}");
    assert!(error.message.contains("2097152 of them in unfinished uploads"), "{error}");
    let error = announce(&mut raw, &uploaded("t", 3 * MIB)).unwrap_err();
    assert!(error.message.contains(&text), "{error}");
    assert_eq!(raw.stats().evicted_entries, 0);
}

#[test]
fn what_was_announced_is_uploaded_into_a_full_store_and_put() {
    let daemon = full("");
    let (mut raw, content) = (daemon.connect(), noise(5, 2_500_000));
    let put = uploaded("announced", content.len());
    assert_eq!(announce(&mut raw, &put), Ok(Response::Awaited));
    upload(&mut raw, &content).unwrap();
    assert_eq!(raw.put((put.clone(), Bytes::new())), PutOutcome::Populated);
    assert!(raw.lookup(&call("announced")).is_ok());
    let told = announce(&mut raw, &put);
    assert!(matches!(told, Ok(Response::Put(PutOutcome::Exists(_)))), "{told:?}");
    // Nothing is promised any more, nor by an announcement that no upload follows.
    let mut other = daemon.connect();
    assert_eq!(announce(&mut other, &uploaded("other", 3_000_000)), Ok(Response::Awaited));
    drop(other);
    let error = upload(&mut raw, &noise(6, 3_100_000)).unwrap_err();
    assert!(error.message.contains("nothing is evicted"), "{error}");
}

#[test]
fn an_announcement_is_checked_as_a_put_is() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let mut put = uploaded("t", 10);
    put.outputs[0].name = "another".to_owned();
    let error = announce(&mut raw, &put).unwrap_err();
    assert!(error.message.contains("is not declared in the interface"), "{error}");
    let mut put = uploaded("t", 10);
    put.call.cache_version = " ".to_owned();
    assert_eq!(announce(&mut raw, &put).unwrap_err().code, ErrorCode::InvalidArgument);
    let mut put = uploaded("t", 10);
    put.outputs[0].bytes = u64::MAX;
    assert_eq!(announce(&mut raw, &put).unwrap_err().code, ErrorCode::OverBudget);
}

#[test]
fn an_output_that_would_go_at_once_is_refused_and_one_that_fits_stays() {
    let daemon = Setup::new().config("store_bytes_max = 4000000").start();
    for number in 0..15 {
        let put = small(number).put(&[("o0", &noise(number, 100_000))]);
        assert_eq!(daemon.connect().put(put), PutOutcome::Populated);
    }
    let refused = ends(&daemon, 4, &memo_put(&file_output(&daemon, 3_700_000), &[]));
    assert!(refused.errors().contains("store_bytes_low"), "{refused:?}");
    assert_eq!(daemon.connect().stats().entries, 15);
    let stored = ends(&daemon, 0, &memo_put(&file_output(&daemon, 3_100_000), &[]));
    assert!(stored.text().contains("POPULATED"), "{stored:?}");
    let look = ["lookup", "--task", "large", "--cache-version", "1", "--output", "o0:bytes"];
    ends(&daemon, 0, &look);
}
