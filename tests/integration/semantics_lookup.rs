//! Semantics 14 to 18: what a lookup tells, and which of several puts it tells of.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Random, Raw, call};
use memod_protocol::{
    Digest, ErrorCode, Literal, Lookup, MissReason, NewOutput, OutputSource, Put, PutOutcome,
    Request, Response, RunClaim, Selector,
};

pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    Random::new(seed).bytes(bytes)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("before the year 500,000,000")
}

#[test]
fn s14_an_unknown_key_is_a_miss_that_was_never_seen() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let miss = raw.lookup(&call("unknown")).expect_err("nothing is stored");
    assert_eq!(miss.reason, MissReason::NeverSeen);
    assert_eq!((miss.at_ms, miss.by_uid), (None, None));
    let stats = raw.stats();
    assert_eq!((stats.hits, stats.misses), (0, 1));
    assert_eq!(stats.misses_by_reason, [(MissReason::NeverSeen, 1)]);
}

#[test]
fn s14_an_invalidated_key_is_a_miss_that_says_when_and_by_whom() {
    let mut daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("forgotten");
    raw.put(one.put(&[("o0", b"x")]));
    let before = now_ms();
    assert_eq!(raw.invalidate(Selector::Keys(vec![one.0.key().unwrap()]), false), 1);
    let after = now_ms();
    let check = |raw: &mut Raw| {
        let miss = raw.lookup(&one).expect_err("it was invalidated");
        assert_eq!(miss.reason, MissReason::Invalidated);
        assert_eq!(miss.by_uid, Some(nix::unistd::getuid().as_raw()));
        let at = miss.at_ms.expect("it is known when");
        assert!((before..=after).contains(&at), "{before} {at} {after}");
    };
    check(&mut raw);
    assert!(daemon.stop().success());
    daemon.start().expect("it starts again");
    let mut raw = daemon.connect();
    check(&mut raw);
    assert_eq!(raw.put(one.put(&[("o0", b"y")])), PutOutcome::Populated);
    assert_eq!(raw.lookup(&one).expect("stored anew").1, ["y"]);
}

#[test]
fn s14_an_expired_entry_is_a_miss_that_says_so() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("old");
    raw.put(one.put(&[("o0", b"x")]));
    let created = loop {
        let (hit, _) = raw.lookup(&one).expect("no age is too old by default");
        if hit.age_ms > 1 {
            break hit.provenance.created_at_ms;
        }
    };
    let identity = one.0.identity().unwrap();
    let aged = |max_age_ms| {
        Request::Lookup(Lookup { call: identity.clone(), max_age_ms: Some(max_age_ms) })
    };
    let reply = raw.ask(aged(1), Bytes::new());
    let Response::Miss(miss) = reply.response else {
        panic!("older than a millisecond: {:?}", reply.response);
    };
    assert_eq!((miss.reason, miss.at_ms), (MissReason::Expired, Some(created + 1)));
    for young in [0, 3_600_000] {
        let reply = raw.ask(aged(young), Bytes::new());
        assert!(matches!(reply.response, Response::Hit(_)), "{young}");
    }
}

/// Changes a byte in the middle of this content wherever it stands in the store's files.
pub(crate) fn damage(data: &Path, content: &[u8]) -> usize {
    let needle = &content[content.len() / 2..][..64];
    let mut damaged = 0;
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damaged += damage(&path, content);
            continue;
        }
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let found = bytes.windows(needle.len()).position(|window| window == needle);
        if let Some(offset) = found {
            file.seek(SeekFrom::Start(offset as u64)).unwrap();
            file.write_all(&[!needle[0]]).unwrap();
            damaged += 1;
        }
    }
    damaged
}

#[test]
fn s14_s22_what_does_not_verify_is_a_miss_and_can_be_stored_anew() {
    for bytes in [40 << 10, 700 << 10] {
        let mut daemon = Daemon::new();
        let (bad, good) = (noise(1, bytes), noise(2, bytes));
        let (damaged, sound) = (call("damaged"), call("sound"));
        let of = |one: CallBuilder| one.output("o0", "bytes");
        let (damaged, sound) = (of(damaged), of(sound));
        let mut raw = daemon.connect();
        assert_eq!(raw.put(damaged.put(&[("o0", &bad)])), PutOutcome::Populated);
        assert_eq!(raw.put(sound.put(&[("o0", &good)])), PutOutcome::Populated);
        assert!(daemon.stop().success());
        assert!(damage(&daemon.data(), &bad) > 0, "the content stands in the store's files");
        daemon.start().expect("it starts with a damaged blob");

        let mut raw = daemon.connect();
        let miss = raw.lookup(&damaged).expect_err("damaged bytes are not served");
        let damage = [MissReason::Corrupt, MissReason::BlobMissing];
        assert!(damage.contains(&miss.reason), "{bytes}: {miss:?}");
        assert_eq!(raw.lookup(&sound).expect("the other is whole").1, [good]);
        assert_eq!(raw.put(damaged.put(&[("o0", &bad)])), PutOutcome::Populated, "{bytes}");
        assert_eq!(raw.lookup(&damaged).expect("stored anew").1, [bad]);
    }
}

#[test]
fn s15_a_hit_has_the_same_bytes_and_all_that_is_known_of_the_run() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("all").bare().output("a", "bytes").output("b", "string").output("c", "integer");
    let integer = Literal::Integer(7).to_blob(&"integer".parse().unwrap()).unwrap();
    let (mut put, payload) = one.put(&[("a", b"\0\xff\r\n"), ("b", b"text"), ("c", &integer)]);
    put.run = RunClaim {
        compute_ns: Some(2_000_000_001),
        task_version: Some("v7-abc".to_owned()),
        execution: Some("f1b2c3".to_owned()),
        node: Some("n0".to_owned()),
        attempt: Some(2),
    };
    let claimed = put.run.clone();
    let before = now_ms();
    assert_eq!(raw.put((put, payload)), PutOutcome::Populated);
    let after = now_ms();
    let (hit, contents) = raw.lookup(&one).expect("it was stored");
    assert_eq!(contents, [Bytes::from_static(b"\0\xff\r\n"), "text".into(), integer]);
    let described: Vec<_> = hit
        .outputs
        .iter()
        .map(|output| (output.name.as_str(), output.literal_type.as_str(), output.digest))
        .collect();
    let digests: Vec<_> = contents.iter().map(|content| Digest::of(content)).collect();
    assert_eq!(
        described,
        [("a", "bytes", digests[0]), ("b", "string", digests[1]), ("c", "integer", digests[2])]
    );
    let of = hit.provenance;
    assert_eq!(of.run, claimed);
    assert_eq!(of.writer_uid, nix::unistd::getuid().as_raw());
    assert_eq!(of.writer_pid, Some(std::process::id()));
    let program = std::env::current_exe().unwrap();
    assert_eq!(of.program.as_deref(), program.file_name().and_then(|name| name.to_str()));
    assert_eq!(of.host, nix::unistd::gethostname().unwrap().into_string().ok());
    assert!((before..=after).contains(&of.created_at_ms));
    assert!(hit.age_ms <= now_ms() - before);

    let Ok(shown) = raw.show(hit.key) else { panic!("it is there") };
    assert_eq!(
        (shown.scope.project.as_str(), shown.scope.domain.as_str()),
        ("flytesnacks", "development")
    );
    assert_eq!((shown.task.as_str(), shown.cache_version.as_str()), ("all", "1.0.0"));
    assert_eq!(shown.provenance.run, claimed);
}

#[test]
fn s15_what_is_not_known_of_the_run_is_absent() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("little");
    let (mut put, payload) = one.put(&[("o0", b"x")]);
    put.run = RunClaim::default();
    raw.put((put, payload));
    assert_eq!(raw.lookup(&one).expect("stored").0.provenance.run, RunClaim::default());
}

#[test]
fn s15_large_outputs_come_back_byte_for_byte() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let sizes = [1 << 20, (1 << 20) + 1, 3 << 20, 0, 65_536, (2 << 20) - 1];
    let names = ["a", "b", "c", "d", "e", "f"];
    let one = names.iter().fold(call("large").bare(), |one, name| one.output(name, "bytes"));
    let contents: Vec<Vec<u8>> =
        sizes.iter().zip(10..).map(|(bytes, seed)| noise(seed, *bytes)).collect();
    let (mut put, _) = one.put(&[]);
    for ((number, name), content) in (0..).zip(names).zip(&contents) {
        let id = raw.upload(number, content);
        assert_eq!(id, Digest::of(content));
        put.outputs.push(NewOutput {
            name: name.to_owned(),
            bytes: content.len() as u64,
            digest: Some(id),
            source: OutputSource::Upload(number),
        });
    }
    assert_eq!(raw.put((put, Bytes::new())), PutOutcome::Populated);
    let (_, found) = raw.lookup(&one).expect("stored");
    assert_eq!(found, contents);
}

#[test]
fn s16_no_outputs_and_empty_outputs_are_stored_as_any() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let none = call("none").bare();
    assert_eq!(raw.put(none.put(&[])), PutOutcome::Populated);
    let (hit, contents) = raw.lookup(&none).expect("stored");
    assert_eq!((hit.outputs.len(), contents.len()), (0, 0));
    assert!(matches!(raw.put(none.put(&[])), PutOutcome::Exists(_)));
    let empty = call("empty").bare().output("a", "string").output("b", "bytes");
    assert_eq!(raw.put(empty.put(&[("a", b""), ("b", b"")])), PutOutcome::Populated);
    let (hit, contents) = raw.lookup(&empty).expect("stored");
    assert_eq!(contents, ["", ""]);
    assert!(hit.outputs.iter().all(|output| output.bytes == 0 && output.digest == Digest::of(b"")));
    assert_eq!(raw.stats().entries, 2);
}

#[test]
fn s17_the_first_commit_wins_and_the_second_is_told_of_it() {
    let daemon = Daemon::new();
    let one = call("twice");
    let mut first = daemon.connect();
    let (mut put, payload) = one.put(&[("o0", b"first")]);
    put.run.execution = Some("one".to_owned());
    assert_eq!(first.put((put.clone(), payload)), PutOutcome::Populated);
    let (stored, _) = first.lookup(&one).expect("stored");
    let before = first.stats();

    let mut second = daemon.connect();
    put.run.execution = Some("two".to_owned());
    let PutOutcome::Exists(winner) = second.put((put, "other".into())) else {
        panic!("there is an entry already");
    };
    assert_eq!(winner, stored.provenance);
    let (hit, contents) = second.lookup(&one).expect("still there");
    assert_eq!((hit.provenance, contents), (stored.provenance, vec![Bytes::from("first")]));
    let after = second.stats();
    assert_eq!(
        (after.puts, after.entries, after.blobs, after.stored_bytes),
        (before.puts, before.entries, before.blobs, before.stored_bytes)
    );
}

fn overwriting((mut put, payload): (Put, Bytes), execution: &str) -> (Put, Bytes) {
    put.overwrite = true;
    put.run.execution = Some(execution.to_owned());
    (put, payload)
}

#[test]
fn s18_overwriting_replaces_outputs_and_provenance() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("replaced").output("o1", "string");
    let put = |a: &[u8], b: &[u8]| one.put(&[("o0", a), ("o1", b)]);
    let created = raw.put(overwriting(put(b"old a", b"old b"), "one"));
    assert_eq!(created, PutOutcome::Populated, "it creates what is not there");
    assert_eq!(raw.put(overwriting(put(b"new a", b""), "two")), PutOutcome::Populated);
    let (hit, contents) = raw.lookup(&one).expect("stored");
    assert_eq!(contents, ["new a", ""]);
    assert_eq!(hit.provenance.run.execution.as_deref(), Some("two"));
    let stats = raw.stats();
    assert_eq!((stats.entries, stats.blobs), (1, 2), "the old outputs are gone");
    assert_eq!((stats.stored_bytes, stats.logical_bytes), (5, 5));
}

#[test]
fn s18_an_overwrite_that_fails_leaves_the_old_entry() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("kept");
    raw.put(one.put(&[("o0", b"old")]));
    let (mut wrong, payload) = overwriting(one.put(&[("o0", b"new")]), "two");
    wrong.outputs[0].digest = Some(Digest::of(b"something else"));
    assert_eq!(raw.put_error((wrong, payload)).code, ErrorCode::DigestMismatch);
    let (mut cut_off, _) = overwriting(one.put(&[("o0", b"new")]), "three");
    cut_off.outputs[0].source = OutputSource::Upload(1);
    raw.send(Request::UploadData { upload: 1 }, "ne".into());
    let error = raw.put_error((cut_off, Bytes::new()));
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
    let (hit, contents) = raw.lookup(&one).expect("the old entry");
    assert_eq!((hit.provenance.run.execution, contents), (None, vec![Bytes::from("old")]));
}

#[test]
fn an_entry_is_listed_with_what_it_is() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("listed").output("o1", "bytes");
    raw.put(one.put(&[("o0", b"abc"), ("o1", b"de")]));
    let rows = raw.list();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].key, rows[0].outputs, rows[0].bytes), (one.0.key().unwrap(), 2, 5));
    assert_eq!((rows[0].task.as_str(), rows[0].cache_version.as_str()), ("listed", "1.0.0"));
    assert_eq!(rows[0].compute_ns.map(Duration::from_nanos), Some(Duration::from_secs(2)));
    assert_eq!(rows[0].writer_uid, nix::unistd::getuid().as_raw());
}
