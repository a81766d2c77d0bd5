//! One client, one request at a time.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Setup, call};
use memod_client::{
    Client, Found, Lookup, LookupOptions, OutputDescription, OutputSink, PutOptions, PutOutput,
    Source,
};
use memod_protocol::{Frame, Hit, LiteralType, RequestHeader};

use crate::echo::Echo;
use crate::measure::{Report, Target, anywhere, apart, microseconds, quantile, ratios};

const ROUNDS: usize = 30;

/// A client of this daemon.
pub(crate) fn client(daemon: &Daemon) -> Client {
    patient(&daemon.socket())
}

/// A client that waits for a disk that is busy: it is to be measured, not to be given up. It asks
/// the daemon for every hit.
pub(crate) fn patient(socket: &Path) -> Client {
    Client::builder().socket(socket).deadline(Duration::from_secs(60)).board(false).build()
}

/// Bytes that do not compress: Marsaglia's xorshift.
pub(crate) fn noise(bytes: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let mut content = vec![0; bytes];
    for chunk in content.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = state.to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    content.into()
}

/// Stores one run with one output of these bytes.
pub(crate) fn store(client: &Client, call: &CallBuilder, content: Bytes) {
    store_with(client, call, content, &PutOptions::default());
}

/// As [`store`], in this manner.
pub(crate) fn store_with(
    client: &Client,
    call: &CallBuilder,
    content: Bytes,
    options: &PutOptions,
) {
    let output = PutOutput {
        name: "o0".to_owned(),
        literal_type: LiteralType::Bytes,
        source: Source::Bytes(content),
    };
    client.put(&call.0, vec![output], options).expect("stored");
}

/// A call of a task with one output of bytes.
pub(crate) fn task(name: &str) -> CallBuilder {
    call(name).output("o0", "bytes")
}

/// The lengths of a lookup's frame and of its hit's, on the wire.
pub(crate) fn wire_bytes(daemon: &Daemon, call: &CallBuilder) -> (usize, usize) {
    let mut raw = daemon.connect();
    let request = Frame::bare(&RequestHeader { id: 1, request: call.lookup() }).expect("fits");
    let (hit, contents): (Hit, Vec<Bytes>) = raw.lookup(call).expect("a hit");
    let header = memod_protocol::wire::encode(&hit).len() + 3;
    let payload: usize = contents.iter().map(Bytes::len).sum();
    (request.head().len(), 8 + header + payload)
}

/// How long a piece of work takes, in microseconds.
fn time(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    microseconds(began.elapsed())
}

/// Hits of small and middling outputs, and a put, each beside an echo of as many bytes.
pub(crate) fn hits(report: &mut Report) {
    let (daemon, echo) = apart(|| {
        let daemon = Daemon::new();
        let echo = Echo::start(daemon.folder());
        (daemon, echo)
    });
    let client = client(&daemon);
    for (name, bytes, operations, target) in [
        ("256 B", 256, 400, Target::AtMost(1.15)),
        ("4 KiB", 4096, 400, Target::None),
        ("1 MiB", 1 << 20, 30, Target::None),
    ] {
        let call = task(name);
        store(&client, &call, noise(bytes, 1));
        let (request, reply) = wire_bytes(&daemon, &call);
        let mut raw = echo.connect(request, reply);
        let options = LookupOptions::default();
        let mut hit = || match client.lookup(&call.0, &options).expect("an answer") {
            Lookup::Hit(hit) => assert_eq!(hit.outputs[0].bytes, bytes as u64),
            Lookup::Miss(miss) => panic!("a hit was due, not {miss:?}"),
        };
        pair(report, &format!("hit {name}"), operations, &mut || raw.ask(), &mut hit, target);
    }
    let mut number = 0;
    let mut raw = echo.connect(4096 + 300, 16);
    let content = noise(4096, 2);
    let mut put = || {
        number += 1;
        store(&client, &task(&format!("put {number}")), content.clone());
    };
    pair(report, "put 4 KiB, 1 client", 200, &mut || raw.ask(), &mut put, Target::None);
    anywhere();
}

/// Measures work and its echo in turns, one operation of each at a time, so that both meet the same
/// mood of scheduler and processor: a processor that has begun to doze answers many times later.
fn pair(
    report: &mut Report,
    name: &str,
    operations: usize,
    echo: &mut dyn FnMut(),
    work: &mut dyn FnMut(),
    target: Target,
) {
    let (mut echoes, mut works) = (Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let (mut of_echo, mut of_work) = (Vec::new(), Vec::new());
        for _ in 0..operations {
            of_echo.push(time(&mut *echo));
            of_work.push(time(&mut *work));
        }
        // The first round warms both up.
        if round > 0 {
            ratios.push(quantile(&of_work, 0.5) / quantile(&of_echo, 0.5));
            echoes.extend(of_echo);
            works.extend(of_work);
        }
    }
    report.row(&format!("{name}: echo of the same bytes"), "us", &echoes, &[], Target::None);
    report.row(name, "us", &works, &ratios, target);
}

/// Takes bytes and counts them.
struct Count(u64);

impl OutputSink for Count {
    fn begin(&mut self, _: &OutputDescription, _: usize) -> std::io::Result<()> {
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

/// A warm large hit beside a raw stream.
pub(crate) fn streams(report: &mut Report) {
    const BYTES: usize = 64 << 20;
    let (daemon, echo) = apart(|| {
        // Nothing is shared, or there would be no stream.
        let daemon = Setup::new().config("sealed_bytes = 0\n").start();
        let echo = Echo::start(daemon.folder());
        (daemon, echo)
    });
    let client = client(&daemon);
    let call = task("64 MiB");
    store(&client, &call, noise(BYTES, 3));
    let mut raw = echo.connect(300, BYTES);
    let options = LookupOptions::default();
    let (mut echoes, mut works) = (Vec::new(), Vec::new());
    let hit = || {
        let mut count = Count(0);
        let found = client.lookup_into(&call.0, &options, &mut count).expect("an answer");
        assert!(matches!(found, Found::Hit(_)), "a hit was due");
        assert_eq!(count.0, BYTES as u64);
    };
    for round_number in 0..23 {
        let (of_echo, of_work) = (time(|| raw.ask()), time(hit));
        // The first rounds warm both up.
        if round_number >= 3 {
            let rate = |microseconds: f64| BYTES as f64 / microseconds;
            echoes.push(rate(of_echo));
            works.push(rate(of_work));
        }
    }
    report.row("64 MiB: raw stream", "MB/s", &echoes, &[], Target::None);
    let target = Target::AtLeast(0.7);
    report.row("hit 64 MiB, warm, by stream", "MB/s", &works, &ratios(&works, &echoes), target);
    anywhere();
}
