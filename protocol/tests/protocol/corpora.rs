//! Replays the corpora of the fuzz targets, whose seeds are golden messages and hostile samples.
//!
//! `MEMOD_BLESS=1` writes the seeds; what fuzzing found beside them stays.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use memod_protocol::{LiteralType, limits};
use serde_json::Value;

use crate::fuzz::bodies;
use crate::golden_wire::recorded;
use crate::support::{from_hex, in_crate, is_blessing, read};

type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 10] = [
    ("call_key", bodies::call_key),
    ("call_message", bodies::call_message),
    ("frame", bodies::frame),
    ("greeting", bodies::greeting),
    ("json_call", bodies::json_call),
    ("literal_blob", bodies::literal_blob),
    ("put_message", bodies::put_message),
    ("request", bodies::request),
    ("response", bodies::response),
    ("type_text", bodies::type_text),
];

/// Seeds by target and name.
type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

fn file_name(text: &str) -> String {
    let character = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    text.chars().map(character).collect()
}

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for (name, bytes) in recorded() {
        let target = match name.split(' ').next() {
            Some("request") => "request",
            Some("response") => "response",
            Some("frame") => "frame",
            _ => "greeting",
        };
        seeds.insert((target, file_name(&name)), bytes);
    }
    let vectors: Value = serde_json::from_str(&read("tests/golden/vectors.json")).unwrap();
    for (index, vector) in vectors["vectors"].as_array().unwrap().iter().enumerate() {
        // Every type stands at the beginning of the file, every shape of call behind them.
        if index % 8 == 0 {
            let name = file_name(vector["name"].as_str().unwrap());
            seeds.insert(("json_call", name), vector["call"].to_string().into_bytes());
        }
    }
    for (index, blob) in vectors["blobs"].as_array().unwrap().iter().enumerate() {
        let of = blob["type"].as_str().unwrap();
        let content = from_hex(blob["blob"].as_str().unwrap());
        let seed = [of.as_bytes(), b"\n", &content].concat();
        seeds.insert(("literal_blob", format!("blob_{index:02}")), seed);
        seeds.insert(("type_text", format!("type_{index:02}")), of.as_bytes().to_vec());
    }
    hostile(&mut seeds);
    seeds
}

/// A call without inputs, as it is on the wire.
fn least_call() -> Vec<u8> {
    [&[1, b'p', 1, b'd', 1, b't', 1, b'1'][..], &[7; 32], &[0]].concat()
}

fn hostile(seeds: &mut Seeds) {
    let mut add = |target, name: &str, bytes: Vec<u8>| {
        seeds.insert((target, format!("hostile_{name}")), bytes);
    };
    let claim = [&[0xfd][..], &(1_u64 << 60).to_le_bytes()].concat();
    add("frame", "too_long", [limits::FRAME_BYTES_MAX + 1, 0].map(u32::to_le_bytes).concat());
    add("frame", "too_short", [3_u32, 0].map(u32::to_le_bytes).concat());
    add("frame", "header_beyond", [10_u32, 7].map(u32::to_le_bytes).concat());
    add("frame", "all_ones", vec![0xff; 16]);
    add("request", "many_keys", [&[1, 8, 0], &claim[..]].concat());
    add("request", "long_project", [&[1, 0], &claim[..]].concat());
    add("request", "long_number", vec![0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 11]);
    add("request", "unknown_variant", vec![1, 250]);
    add("request", "left_over", vec![1, 11, 0]);
    add("request", "long_owner", [&[1, 14][..], &least_call(), &[1], &claim].concat());
    add("request", "unknown_verb", vec![1, 16, 0, 0, 1, 9, 0, 0, 0, 0, 0]);
    add(
        "request",
        "long_heartbeat",
        [&[1, 13][..], &least_call(), &[1, b'o', 0xfd, 2, 0, 0, 0, 0, 0, 0, 0]].concat(),
    );
    add("request", "many_hits", [&[1, 24, 1, b'p', 1, b'd'], &claim[..]].concat());
    add("response", "unknown_board", vec![1, 23, 2]);
    add("response", "many_rows", [&[1, 6], &claim[..]].concat());
    add("response", "not_utf8", vec![1, 12, 0, 1, 0xff, 0]);
    add("response", "many_log_rows", [&[1, 18], &claim[..]].concat());
    add("response", "many_nearest", [&[1, 17][..], &[7; 32], &[0], &claim].concat());
    add("response", "many_scopes", [&[1, 19], &claim[..]].concat());
    add("response", "unknown_released", vec![1, 16, 2]);
    add("greeting", "many_versions", [&b"memod\r\n\x1a"[..], &claim].concat());
    add("greeting", "cut", b"memod\r\n\x1a\x01\x01\x00\x0ame".to_vec());
    add("greeting", "foreign", b"GET / HTTP/1.1\r\n\r\n".to_vec());
    let list = [&b"\x09"[..], &1_u64.to_le_bytes()].concat();
    add("literal_blob", "deep", [b"list<none>\n", &list.repeat(500)[..]].concat());
    let many = [&b"list<none>\n\x09"[..], &(1_u64 << 60).to_le_bytes()].concat();
    add("literal_blob", "many_items", many);
    add("literal_blob", "empty_hash", [&b"integer\n\x0e"[..], &[0; 8]].concat());
    add("type_text", "deep", "list<".repeat(500).into_bytes());
    add("type_text", "open_quote", b"struct{\"a\\".to_vec());
    add("type_text", "doubly_optional", b"optional<optional<integer>>".to_vec());
    add("json_call", "deep", "[".repeat(500).into_bytes());
    add("json_call", "twice", b"{\"a\":1,\"a\":2}".to_vec());
    add("json_call", "beyond_64_bits", b"[18446744073709551616]".to_vec());
    // Any bytes make a call; these make some of every kind.
    for seed in 0..12_u8 {
        let noise: Vec<u8> =
            std::iter::successors(Some(seed), |last| Some(last.wrapping_mul(141).wrapping_add(71)))
                .take(64 + 16 * usize::from(seed))
                .collect();
        add("call_key", &format!("noise_{seed:02}"), noise.clone());
        add("put_message", &format!("noise_{seed:02}"), noise.clone());
        // The number and the kind of request come first.
        let told = [&[0; 8], &[seed % 4, seed % 3][..], &noise].concat();
        add("call_message", &format!("noise_{seed:02}"), told);
    }
    add("call_key", "nothing", Vec::new());
    add("put_message", "nothing", Vec::new());
    add("call_message", "nothing", Vec::new());
}

#[test]
fn seeds_are_in_the_corpora() {
    for ((target, name), bytes) in seeds() {
        let path = in_crate("fuzz/corpus").join(target).join(&name);
        if is_blessing() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            continue;
        }
        let found = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(found == bytes, "{} is not what the code gives", path.display());
    }
}

fn names(folder: &str) -> BTreeSet<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        path.file_stem().unwrap().to_str().unwrap().to_owned()
    };
    std::fs::read_dir(in_crate(folder)).unwrap().map(name).collect()
}

/// A target without a corpus, or a corpus that nobody replays, fails here.
#[test]
fn every_target_is_replayed() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    if !is_blessing() {
        assert_eq!(names("fuzz/corpus"), targets);
    }
    let manifest = read("fuzz/Cargo.toml");
    for name in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let target = read(&format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(target.contains(&format!("bodies::{name}(data)")), "{target}");
    }
}

#[test]
fn corpora_are_replayed() {
    if is_blessing() {
        return;
    }
    for (target, body) in TARGETS {
        let mut replayed = 0;
        for entry in std::fs::read_dir(in_crate("fuzz/corpus").join(target)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let run = std::panic::AssertUnwindSafe(|| body(&bytes));
            assert!(std::panic::catch_unwind(run).is_ok(), "{} breaks {target}", path.display());
            replayed += 1;
        }
        assert!(replayed >= 6, "{target} has {replayed} samples");
    }
}

/// The structured targets are worth nothing if what they build is refused.
#[test]
fn built_calls_have_keys() {
    let mut with_key = 0;
    let mut kinds = HashSet::new();
    for ((target, _), bytes) in seeds() {
        if target != "call_key" {
            continue;
        }
        let call = crate::fuzz::build::call(&mut arbitrary::Unstructured::new(&bytes)).unwrap();
        with_key += usize::from(call.key().is_ok());
        kinds.extend(call.interface.inputs.values().map(std::mem::discriminant::<LiteralType>));
    }
    assert!(with_key >= 10, "{with_key}");
    assert!(kinds.len() >= 4, "{}", kinds.len());
}

/// Noise makes every kind of request about a call.
#[test]
fn built_requests_are_of_every_kind() {
    let mut kinds = HashSet::new();
    for ((target, _), bytes) in seeds() {
        if target == "call_message" {
            let built = crate::fuzz::build::about_a_call(&mut arbitrary::Unstructured::new(&bytes));
            kinds.extend(built.ok().map(|header| std::mem::discriminant(&header.request)));
        }
    }
    assert_eq!(kinds.len(), 4);
    let mut kinds = HashSet::new();
    for ((target, _), bytes) in seeds() {
        if target == "put_message" {
            let built = crate::fuzz::build::put(&mut arbitrary::Unstructured::new(&bytes));
            kinds.extend(built.ok().map(|header| std::mem::discriminant(&header.request)));
        }
    }
    assert_eq!(kinds.len(), 2);
}
