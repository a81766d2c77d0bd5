//! Large outputs: in sealed files beside streams, and beside reading memory that is mapped.

use std::io::Cursor;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Setup};
use memod_client::{Client, Content, Lookup, LookupOptions, PutOptions, PutOutput, Source};
use memod_descriptors::{MemoryFile, SealedFile};
use memod_protocol::LiteralType;

use crate::latency::{client, noise, store, task};
use crate::measure::{Report, Target, anywhere, apart, ratios};

const BYTES: usize = 64 << 20;
const MEGABYTE: f64 = 1e6;

/// Reads every byte.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum.wrapping_add(u64::from_le_bytes(word))
    })
}

/// Looks up what must be a hit, in memory.
fn look(client: &Client, call: &CallBuilder) -> Bytes {
    let found = client.lookup(&call.0, &LookupOptions::default()).expect("an answer");
    let Lookup::Hit(mut hit) = found else { panic!("a hit was due, not {found:?}") };
    match hit.outputs.remove(0).content {
        Content::Memory(bytes) => bytes,
        Content::File(_) => panic!("a client with so much room keeps it in memory"),
    }
}

/// The same, and reads every byte.
fn read(client: &Client, call: &CallBuilder, wanted: u64) {
    assert_eq!(sum(&look(client, call)), wanted);
}

fn sealed(content: &Bytes) -> SealedFile {
    let file = MemoryFile::new(content.len() as u64).expect("memory");
    file.write_at(content, 0).expect("memory");
    file.seal().expect("nobody else has it")
}

/// Milliseconds that a piece of work takes.
fn time(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e3
}

/// Warm hits, every byte read.
fn warm(report: &mut Report) {
    let (daemon, streaming) =
        apart(|| (Daemon::new(), Setup::new().config("sealed_bytes = 0\n").start()));
    let content = noise(BYTES, 3);
    let (wanted, call) = (sum(&content), task("64 MiB"));
    let file = sealed(&content);
    let builder = |daemon: &Daemon| {
        Client::builder().socket(daemon.socket()).memory_bytes_max(2 * BYTES as u64).build()
    };
    let (shared, streamed) = (builder(&daemon), builder(&streaming));
    for client in [&shared, &streamed] {
        store(client, &call, content.clone());
    }
    let (mut maps, mut files, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..23 {
        let of_map = time(|| assert_eq!(sum(file.map().expect("mapped").as_ref()), wanted));
        let of_file = time(|| read(&shared, &call, wanted));
        let of_stream = time(|| read(&streamed, &call, wanted));
        // The first rounds warm all of them up.
        if round >= 3 {
            maps.push(of_map);
            files.push(of_file);
            streams.push(of_stream);
        }
    }
    report.row("64 MiB of mapped memory, every byte read", "ms", &maps, &[], Target::None);
    let target = Target::AtMost(1.3);
    report.row("hit 64 MiB, by file, read", "ms", &files, &ratios(&files, &maps), target);
    let slower = ratios(&streams, &maps);
    report.row("hit 64 MiB, by stream, read", "ms", &streams, &slower, Target::None);
    anywhere();
}

/// The first hit of a daemon that has just started, in megabytes a second, until the verified
/// output is at hand and until every byte of it has been read. The daemon's files are in the page
/// cache.
fn cold(report: &mut Report) {
    for (manner, config, target) in
        [("file", "", Target::Over(1000.0)), ("stream", "sealed_bytes = 0\n", Target::None)]
    {
        let mut daemon = Setup::new().config(config).start();
        let content = noise(BYTES, 5);
        let (wanted, call) = (sum(&content), task("64 MiB"));
        store(&client(&daemon), &call, content);
        let (mut there, mut read) = (Vec::new(), Vec::new());
        for round in 0..17 {
            daemon.stop();
            daemon.start().expect("it starts again");
            let builder = Client::builder().socket(daemon.socket());
            let client = builder.memory_bytes_max(2 * BYTES as u64).build();
            // So that the connection is there already.
            client.status().expect("it answers");
            let began = Instant::now();
            let bytes = look(&client, &call);
            let of_look = began.elapsed();
            assert_eq!(sum(&bytes), wanted);
            let of_read = began.elapsed();
            if round >= 2 {
                let rate = |took: Duration| BYTES as f64 / MEGABYTE / took.as_secs_f64();
                there.push(rate(of_look));
                read.push(rate(of_read));
            }
        }
        report.row(&format!("hit 64 MiB, cold, by {manner}"), "MB/s", &there, &[], target);
        let name = format!("hit 64 MiB, cold, by {manner}, read");
        report.row(&name, "MB/s", &read, &[], Target::None);
    }
}

/// Puts of new content.
fn puts(report: &mut Report) {
    let daemon = Daemon::new();
    let client = client(&daemon);
    let put = |number: u64, source: Source| {
        let output = PutOutput { name: "o0".to_owned(), literal_type: LiteralType::Bytes, source };
        let call = task(&format!("put {number}"));
        client.put(&call.0, vec![output], &PutOptions::default()).expect("stored");
    };
    let (mut files, mut streams) = (Vec::new(), Vec::new());
    for round in 0..12 {
        let (one, other) = (noise(BYTES, 100 + 2 * round), noise(BYTES, 1001 + 2 * round));
        let of_file = time(|| put(2 * round, Source::Bytes(one)));
        let of_stream = time(|| put(2 * round + 1, Source::Reader(Box::new(Cursor::new(other)))));
        if round >= 2 {
            files.push(BYTES as f64 / MEGABYTE / of_file * 1e3);
            streams.push(BYTES as f64 / MEGABYTE / of_stream * 1e3);
        }
    }
    report.row("put 64 MiB, by stream", "MB/s", &streams, &[], Target::None);
    report.row("put 64 MiB, by file", "MB/s", &files, &ratios(&files, &streams), Target::None);
}

/// Hits and puts of 64 MiB.
pub(crate) fn large(report: &mut Report) {
    warm(report);
    cold(report);
    puts(report);
}
