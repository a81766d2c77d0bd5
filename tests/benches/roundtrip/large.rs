//! Large outputs: in sealed files beside streams, and beside reading memory that is mapped.

use std::io::Cursor;
use std::time::Instant;

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Setup};
use memod_client::{Client, Content, Lookup, LookupOptions, PutOptions, PutOutput, Source};
use memod_descriptors::{MemoryFile, SealedFile};
use memod_protocol::LiteralType;

use crate::latency::{client, noise, store, task};
use crate::measure::{Report, Target, anywhere, apart, ratios};

const BYTES: usize = 64 << 20;
const MIB_BYTES: f64 = 1e6;

/// Reads every byte.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum.wrapping_add(u64::from_le_bytes(word))
    })
}

/// Looks up and reads every byte of what must be a hit; whether it was shared memory.
fn read(client: &Client, call: &CallBuilder, wanted: u64) {
    match client.lookup(&call.0, &LookupOptions::default()).expect("an answer") {
        Lookup::Hit(hit) => {
            let Content::Memory(bytes) = &hit.outputs[0].content else { panic!("not in memory") };
            assert_eq!(sum(bytes), wanted);
        }
        Lookup::Miss(miss) => panic!("a hit was due, not {miss:?}"),
    }
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

/// The first hit of a daemon that has just started, in megabytes a second; its files are in the
/// page cache.
fn cold(report: &mut Report) {
    for (name, config, target) in [
        ("hit 64 MiB, cold, by file, read", "", Target::Over(1000.0)),
        ("hit 64 MiB, cold, by stream, read", "sealed_bytes = 0\n", Target::None),
    ] {
        let mut daemon = Setup::new().config(config).start();
        let content = noise(BYTES, 5);
        let (wanted, call) = (sum(&content), task("64 MiB"));
        store(&client(&daemon), &call, content);
        let mut rates = Vec::new();
        for round in 0..12 {
            daemon.stop();
            daemon.start().expect("it starts again");
            let builder = Client::builder().socket(daemon.socket());
            let client = builder.memory_bytes_max(2 * BYTES as u64).build();
            // So that the connection is there already.
            client.status().expect("it answers");
            let took = time(|| read(&client, &call, wanted));
            if round >= 2 {
                rates.push(BYTES as f64 / MIB_BYTES / took * 1e3);
            }
        }
        report.row(name, "MB/s", &rates, &[], target);
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
            files.push(BYTES as f64 / MIB_BYTES / of_file * 1e3);
            streams.push(BYTES as f64 / MIB_BYTES / of_stream * 1e3);
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
