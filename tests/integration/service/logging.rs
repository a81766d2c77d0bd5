//! The daemon's own log: nothing that a peer says can forge a line of it, and no value is in it
//! (issue 6); and the journal is told an event's fields.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use bytes::Bytes;
use harness::{Daemon, Raw, Setup, call, eventually, named, run};
use memod_protocol::handshake::{CAPABILITIES, Hello};
use memod_protocol::{
    Digest, Filter, Frame, Literal, NewOutput, OutputSource, Request, Response, Selector,
};
use nix::unistd::Uid;
use serde_json::Value;

/// What a name says that wants to be a line of the log, and to be seen by nobody else.
const EVIL: &str = "x\n2026-01-01T00:00:00.000000Z ERROR forged line\r\u{1b}[2K\u{1b}]0;title\u{7}\
    \u{9b}1m\u{2028}MESSAGE=forged field\nPRIORITY=0\n";
/// A value; only its digest may be told.
const SECRET: &str = "a-value-that-nobody-may-read-in-a-log";

/// Says everything that somebody can say in their own words.
fn speaks_evil(daemon: &Daemon) {
    let secret = Literal::String(SECRET.into());
    let evil = call(EVIL).scope(EVIL, EVIL).version(EVIL).input(EVIL, "string", secret);
    let evil = evil.output(EVIL, "string");
    let mut raw = Raw::connect(&daemon.socket());
    let hello = Hello::new(EVIL).with_capabilities(CAPABILITIES);
    raw.send_frame(&Frame::bare(&hello).unwrap());
    raw.is_welcome();
    raw.lookup(&evil).expect_err("not stored");
    let outputs = [("o0", SECRET.as_bytes()), (EVIL, SECRET.as_bytes())];
    let mut outputs = outputs.to_vec();
    outputs.sort_unstable();
    raw.put(evil.put(&outputs));
    raw.lookup(&evil).expect("stored");
    assert!(raw.reserve(&evil.clone().version("2"), named(EVIL, 1000)).acquired);
    assert!(raw.release(&evil.clone().version("2"), Some(EVIL)));
    raw.explain(evil.clone().version("3").why());
    let reads = Request::Read { key: evil.0.key().unwrap(), output: EVIL.repeat(3) };
    raw.ask(reads, Bytes::new());
    // What is refused is told of in words, some of which the peer has chosen.
    let (mut put, _) = evil.clone().version("4").put(&[(EVIL, b"")]);
    put.outputs = vec![NewOutput {
        name: EVIL.into(),
        bytes: 1,
        digest: Some(Digest::of(b"x")),
        source: OutputSource::Upload(7),
    }];
    put.interface.outputs = vec![(EVIL.into(), EVIL.into())];
    raw.ask_error(Request::Put(Box::new(put)), Bytes::new());
    let filter = Filter { task: Some(EVIL.into()), ..Filter::default() };
    raw.invalidate(Selector::Matching(filter), false);
    // A program whose very name is a line.
    let program = daemon.folder().join("evil\n2026-01-01T00:00:00Z ERROR forged");
    fs::copy(harness::binary("memo"), &program).unwrap();
    let mut memo = std::process::Command::new(program);
    run(memo.env("MEMOD_SOCKET", daemon.socket()).args(["ls", "--no-start"]));
    // And ends in an error that is logged.
    raw.send_bytes(&[0xff; 64]).unwrap();
    while raw.read_frame().is_some() {}
    eventually("it is logged", || daemon.log().contains("a connection ended"));
}

#[track_caller]
fn has_no_secret(text: &str) {
    assert!(!text.contains(SECRET), "a value is logged");
    let control = text.chars().find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(control, None, "a terminal could be told something");
}

/// A daemon that logs everything, in this form.
fn talkative(format: &str) -> Daemon {
    Setup::new().config(format!("log = \"trace\"\nlog_format = \"{format}\"\n")).start()
}

#[test]
fn nobody_forges_a_line_of_text() {
    let daemon = talkative("text");
    speaks_evil(&daemon);
    let log = daemon.log();
    has_no_secret(&log);
    assert!(log.contains("ERROR forged"), "what peers say of themselves is logged, escaped");
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let time = words.next().unwrap_or_default();
        assert!(time.len() == 27 && time.ends_with('Z'), "no line of the log: {line:?}");
        let level = words.next().unwrap_or_default();
        assert!(["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level), "{line:?}");
        assert!(!line.starts_with("2026-01-01"), "{line:?}");
    }
    let ended = log.lines().find(|line| line.contains("a connection ended")).unwrap();
    assert!(ended.contains(" connection=") && ended.contains(" uid="), "{ended}");
    assert!(log.contains(":request{connection="), "requests have numbers: {log}");
}

#[test]
fn nobody_forges_an_object_of_json() {
    let daemon = talkative("json");
    speaks_evil(&daemon);
    let log = daemon.log();
    has_no_secret(&log);
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(events.iter().all(|event| event["timestamp"].is_string() && event["level"] != ""));
    let messages = events.iter().filter_map(|event| event["message"].as_str());
    let ended: Vec<&str> = messages.filter(|text| text.contains("connection ended")).collect();
    assert_eq!(ended.len(), 1, "{ended:?}");
    let ended = events.iter().find(|event| event["message"] == ended[0]).unwrap();
    assert_eq!(ended["span"]["name"], "connection", "{ended}");
    assert_eq!(ended["span"]["uid"], Uid::effective().as_raw(), "{ended}");
    assert!(ended.get("spans").is_none(), "the span is told twice: {ended}");
    for event in &events {
        let fields = event.as_object().unwrap().iter().filter(|(name, _)| *name != "message");
        for (name, text) in fields.filter_map(|(name, value)| Some((name, value.as_str()?))) {
            let is_plain = ["Some(", "Ok(", "Err(", " { "].iter().all(|of| !text.contains(of));
            assert!(is_plain, "{name} is for programmers: {event}");
        }
    }
    let connected = events.iter().find(|event| event["message"] == "connected").unwrap();
    assert_eq!(connected["uid"], Uid::effective().as_raw(), "{connected}");
    assert_eq!(connected["pid"], std::process::id(), "{connected}");
    // Numbers are numbers, and texts are themselves.
    assert_eq!(ended["uid"], Uid::effective().as_raw(), "{ended}");
    let ready = events.iter().find(|event| event["pid"] == daemon.pid()).expect("it is ready");
    assert_eq!(ready["socket"], daemon.socket().display().to_string(), "{ready}");
    let removed = events.iter().find(|event| event["message"] == "invalidating").unwrap();
    assert_eq!(removed["task"], EVIL.escape_debug().to_string(), "{removed}");
    assert_eq!(removed["dry_run"], false, "{removed}");
}

/// The fields of an event, as the journal's own protocol has them.
fn fields(mut datagram: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while !datagram.is_empty() {
        let end = datagram.iter().position(|byte| *byte == b'\n').expect("a field ends");
        let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
            datagram = rest;
        } else {
            let (length, rest) = rest.split_first_chunk::<8>().expect("a length");
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            fields.insert(text(line), text(&rest[..length]));
            datagram = &rest[length + 1..];
        }
    }
    fields
}

#[test]
fn the_journal_is_told_the_fields_of_events() {
    if !Uid::effective().is_root() {
        eprintln!("NOT TESTED: only root can put a journal where the daemon looks for it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("systemd/journal")).unwrap();
    let journal = UnixDatagram::bind(folder.path().join("systemd/journal/socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let over_run = "mount --bind \"$0\" /run && exec \"$@\"";
    let folder = folder.path().display().to_string();
    let within = ["unshare", "--mount", "sh", "-c", over_run, &folder].map(str::to_owned);
    let mut daemon = Setup::new().within(within).config("log = \"info\"\n").prepare();
    // As systemd says which stream it has made.
    let log = fs::File::create(daemon.folder().join("log")).unwrap().metadata().unwrap();
    let stream = |inode: u64| Some(format!("{}:{inode}", log.dev()));
    daemon.set_variable("JOURNAL_STREAM", stream(log.ino()));
    daemon.start().unwrap();
    let mut raw = daemon.connect();
    raw.send_bytes(&[0xff; 64]).unwrap();
    while raw.read_frame().is_some() {}
    let mut told: Vec<BTreeMap<String, String>> = Vec::new();
    let mut datagram = vec![0; 1 << 16];
    eventually("both are told", || {
        match journal.recv(&mut datagram) {
            // The first asks only whether there is a journal.
            Ok(0) => {}
            Ok(length) => told.push(fields(&datagram[..length])),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        told.last().is_some_and(|event| event["MESSAGE"].contains("connection ended"))
    });
    assert!(told.iter().all(|event| event["SYSLOG_IDENTIFIER"] == "memod"), "{told:?}");
    let ready = told.iter().find(|event| event["MESSAGE"].contains("is ready")).expect("told");
    assert_eq!(ready["F_PID"], daemon.pid().to_string(), "{ready:?}");
    assert_eq!(ready["PRIORITY"], "5", "info is a notice: {ready:?}");
    let ended = told.last().expect("told");
    let names = ["F_CONNECTION", "F_UID"].map(|name| ended[name].as_str());
    assert_eq!(names, ["1", "0"], "{ended:?}");
    assert_eq!(daemon.log(), "", "nothing is said twice");
    // A stream that has been redirected since is no journal.
    assert!(daemon.stop().success());
    daemon.set_variable("JOURNAL_STREAM", stream(log.ino() + 1));
    daemon.start().unwrap();
    assert!(daemon.log().contains("is ready"), "{}", daemon.log());
}

#[test]
fn a_journal_that_is_not_there_is_a_warning() {
    let daemon = Setup::new().config("log_format = \"journal\"\n").start();
    let log = daemon.log();
    if !std::path::Path::new("/run/systemd/journal/socket").exists() {
        assert!(log.contains("WARN the journal cannot be reached"), "{log}");
    }
    assert!(matches!(daemon.connect().ask(Request::Ping, Bytes::new()).response, Response::Pong));
}
