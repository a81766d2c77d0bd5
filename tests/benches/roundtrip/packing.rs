//! What the options of `RocksDB` were chosen by: blocks, checksums and compressions, each beside
//! those that a store has, with rows as a store writes them.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use memod_store::{BareRows, Checksum, Compression, Packing};

use crate::floor::processor_us;
use crate::latency::noise;
use crate::measure::{Figure, Report, Target, microseconds, ratios};

const PUTS: u64 = 12_000;
const GROUP: u64 = 6;
const READS: u64 = 4000;
/// Too little for what is read, so that it comes from the files.
const BLOCK_CACHE_BYTES: u64 = 1 << 20;
const CONTENT_BYTES: usize = 4096;
const ROUNDS: usize = 5;

/// What one packing came to in each round.
#[derive(Default)]
struct Measured {
    put_us: Vec<f64>,
    read_us: Vec<f64>,
    put_bytes: Vec<f64>,
}

/// The packings, that of a store first.
fn packings() -> Vec<(&'static str, Packing)> {
    let of_a_store = Packing::default();
    let both = |to| Packing { rows: to, content: to, ..of_a_store };
    vec![
        ("as a store: 4 KiB, CRC32C, LZ4", of_a_store),
        ("blocks of 8 KiB", Packing { block_bytes: 8192, ..of_a_store }),
        ("blocks of 16 KiB", Packing { block_bytes: 16_384, ..of_a_store }),
        ("blocks of 32 KiB", Packing { block_bytes: 32_768, ..of_a_store }),
        ("XXH3", Packing { checksum: Checksum::Xxh3, ..of_a_store }),
        ("no compression", both(Compression::None)),
        ("Zstandard", both(Compression::Zstd)),
        ("Zstandard for content only", Packing { content: Compression::Zstd, ..of_a_store }),
    ]
}

/// Half of a content is noise, half is records as a table in JSON has them.
fn content(number: u64) -> Bytes {
    let noise = noise(CONTENT_BYTES / 2, number << 8);
    let mut content = Vec::with_capacity(CONTENT_BYTES);
    for (step, value) in noise.chunks(4).enumerate() {
        let loss = value.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        content.extend_from_slice(format!("{{\"step\": {step}, \"loss\": 0.{loss}}}\n").as_bytes());
    }
    content.truncate(CONTENT_BYTES - noise.len());
    content.extend_from_slice(&noise);
    content.into()
}

fn round(folder: &Path, packing: Packing, into: &mut Measured) {
    let open = || BareRows::open(folder, BLOCK_CACHE_BYTES, packing).expect("a database");
    let groups: Vec<Vec<Bytes>> = (0..PUTS / GROUP)
        .map(|group| (0..GROUP).map(|one| content(group * GROUP + one + 1)).collect())
        .collect();
    let mut bare = open();
    let before = processor_us();
    for group in &groups {
        bare.write(group).expect("written");
    }
    let bytes = bare.settle().expect("settled");
    into.put_us.push((processor_us() - before) / PUTS as f64);
    into.put_bytes.push(bytes as f64 / PUTS as f64);
    drop(bare);
    let bare = open();
    let began = Instant::now();
    for read in 0..READS {
        // A prime apart, so that all of them come once, and hardly any beside the one before.
        let bytes = bare.read(read * 7919 % PUTS + 1).expect("read");
        assert!(bytes > CONTENT_BYTES, "{bytes} bytes were read");
    }
    into.read_us.push(microseconds(began.elapsed()) / READS as f64);
    drop(bare);
    std::fs::remove_dir_all(folder).expect("removed");
}

/// Processor time of the rows of a put, compactions included; the time of reading what a hit needs,
/// from files in the page cache; and the disk that they take. Ratios are to those of a store.
pub(crate) fn packing(report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let packings = packings();
    let mut all: Vec<Measured> = packings.iter().map(|_| Measured::default()).collect();
    for count in 0..=ROUNDS {
        for ((_, packing), measured) in packings.iter().zip(&mut all) {
            // The first round warms up.
            let mut nowhere = Measured::default();
            let into = if count == 0 { &mut nowhere } else { measured };
            round(&folder.path().join("rows"), *packing, into);
        }
    }
    let columns: [Figure<Measured>; 3] = [
        ("write", "us", |measured| &measured.put_us),
        ("read", "us", |measured| &measured.read_us),
        ("disk", "B", |measured| &measured.put_bytes),
    ];
    for (what, unit, of) in columns {
        let own = of(&all[0]).clone();
        for (place, ((name, _), measured)) in packings.iter().zip(&all).enumerate() {
            let of = of(measured);
            let ratios = if place == 0 { Vec::new() } else { ratios(of, &own) };
            report.row(&format!("{what} 4 KiB, {name}"), unit, of, &ratios, Target::None);
        }
    }
}
