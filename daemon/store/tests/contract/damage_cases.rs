//! Hundreds of ways to damage the files of a store, each on a copy.
//!
//! Whatever happens to any file: the store opens, or refuses and says what to do, or is repaired,
//! or set aside; what it serves was stored under that key, and not replaced since, unless a log or
//! the list of files was cut; what was served before a repair is served behind it; and when it has
//! been closed it opens again.
//!
//! `MEMOD_DAMAGE_CASES=n` tries more; `MEMOD_DAMAGE_SEED=n` tries one alone.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memod_store::{Content, Found, OnDamage, OpenError, Options, Replace, Store, StoreError, Tier};

use tempfile::TempDir;

use crate::harness::*;
use crate::verify::verify;

const ENTRIES: u64 = 48;
const CASES: u64 = 240;

/// A generator of numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// The outputs of an entry: some shared, some in files of their own, some in chunks.
fn outputs(number: u64) -> Vec<Bytes> {
    match number % 6 {
        0 => vec![content(number, 200)],
        1 => vec![content(number, 5000), content(7, 3000)],
        2 => vec![],
        3 => vec![content(number, WHOLE + 1 + number as usize)],
        4 => vec![content(9, 40_000), content(number, 30)],
        _ => vec![content(number, 1500)],
    }
}

const WHOLE: usize = memod_store::WHOLE_BYTES_MAX;

/// What an entry had before it was overwritten, if it was.
fn former(number: u64) -> Option<Vec<Bytes>> {
    (number % 8 == 1).then(|| vec![content(number + 1000, 700); 1])
}

fn fill(store: &Store, numbers: Range<u64>) {
    for number in numbers {
        if let Some(former) = former(number) {
            put(store, number, &former);
        }
        put_as(store, number, &outputs(number), 2, Replace::Always);
    }
}

/// Two stores: one that was closed, one as `kill -9` leaves it.
fn templates(folder: &Path) -> [PathBuf; 2] {
    let (closed, killed) = (folder.join("closed"), folder.join("killed"));
    let store = open_in(&closed);
    fill(&store, 0..ENTRIES / 2);
    drop(store);
    let store = open_in(&closed);
    fill(&store, ENTRIES / 2..ENTRIES);
    store.settle().unwrap();
    copy(&closed, &killed);
    drop(store);
    [closed, killed]
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("rocksdb")).unwrap();
    for entry in fs::read_dir(from.join("rocksdb")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join("rocksdb").join(path.file_name().unwrap())).unwrap();
    }
}

/// The kind of a file: what its name ends with, or its name without number.
fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    match path.extension() {
        Some(extension) => extension.to_string_lossy().into_owned(),
        None => name.split('-').next().unwrap().to_owned(),
    }
}

/// The files of a database that are worth damaging, by kind, so that each kind has its turn.
fn victims(database: &Path) -> Vec<Vec<PathBuf>> {
    let mut by_kind = std::collections::BTreeMap::<String, Vec<PathBuf>>::new();
    for entry in fs::read_dir(database).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("LO") {
            by_kind.entry(kind(&path)).or_default().push(path);
        }
    }
    by_kind
        .into_values()
        .map(|mut paths| {
            paths.sort();
            paths
        })
        .collect()
}

/// Damages one file; says how.
fn damage(database: &Path, random: &mut Random) -> String {
    let victims = victims(database);
    // What holds content has two turns.
    let holds_content = |of: &&Vec<PathBuf>| of[0].extension().is_some();
    let turns: Vec<_> = victims.iter().chain(victims.iter().filter(holds_content)).collect();
    let of_kind = turns[random.below(turns.len())];
    let path = &of_kind[random.below(of_kind.len())];
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut bytes = fs::read(path).unwrap();
    let at = random.below(bytes.len());
    match random.below(5) {
        0 if !bytes.is_empty() => {
            let bit = 1 << random.below(8);
            bytes[at] ^= bit;
            fs::write(path, &bytes).unwrap();
            format!("{name}: bit {bit} of byte {at} flipped")
        }
        1 => {
            bytes.truncate(at);
            fs::write(path, &bytes).unwrap();
            format!("{name}: cut to {at} bytes")
        }
        2 => {
            fs::remove_file(path).unwrap();
            format!("{name}: deleted")
        }
        3 => {
            let other = &of_kind[random.below(of_kind.len())];
            let theirs = fs::read(other).unwrap();
            fs::write(path, theirs).unwrap();
            fs::write(other, &bytes).unwrap();
            format!("{name}: swapped with {}", other.display())
        }
        _ => {
            let end = (at + 1 + random.below(4096)).min(bytes.len());
            bytes[at..end].fill(0);
            fs::write(path, &bytes).unwrap();
            format!("{name}: bytes {at} to {end} zeroed")
        }
    }
}

/// Whether an entry is served. If it is, it is what was stored, or, if that `may_be_former`, what
/// stood there before.
fn serves(store: &Store, number: u64, may_be_former: bool) -> bool {
    let found = match lookup(store, number) {
        Found::Entry(found) => found,
        Found::WouldBlock => panic!("a lookup on disk never would"),
        Found::Grave(_) | Found::Unknown | Found::Corrupt { .. } | Found::BlobMissing { .. } => {
            return false;
        }
    };
    let mut contents = Vec::new();
    for output in &found.outputs {
        let mut whole = Vec::new();
        match &output.content {
            Content::Whole(content) => whole.extend_from_slice(content),
            Content::Chunked(reader) => {
                for index in 0..reader.chunk_count() {
                    match reader.chunk(index, Tier::Disk) {
                        Ok(chunk) => whole.extend_from_slice(&chunk.unwrap()),
                        Err(StoreError::Damaged { .. }) => return false,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
        contents.push(Bytes::from(whole));
    }
    let is_former = may_be_former && Some(&contents) == former(number).as_ref();
    let sound = contents == outputs(number) || is_former;
    assert!(sound, "entry {number} is not what was stored");
    true
}

fn with(path: &Path, on_damage: OnDamage) -> Options {
    Options { on_damage, ..options(path) }
}

/// Opens a store as a daemon does that must come up; says whether the old one was set aside.
fn open_for_sure(path: &Path) -> (Store, bool) {
    match Store::open(&with(path, OnDamage::Refuse)) {
        Ok(store) => return (store, false),
        Err(OpenError::Damaged { .. }) => {}
        Err(error) => panic!("neither open nor damaged: {error}"),
    }
    let refused = Store::open(&with(path, OnDamage::Refuse)).unwrap_err().to_string();
    for part in [path.to_str().unwrap(), "mv ", "--on-damage set_aside"] {
        assert!(refused.contains(part), "{refused}");
    }
    let store = Store::open(&with(path, OnDamage::SetAside)).unwrap();
    (store, aside(path) == 1)
}

/// How many databases have been set aside.
fn aside(path: &Path) -> usize {
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.join("rocksdb").is_dir()).count()
}

/// A folder in memory, if there can be one: nothing here is about what the disk does.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// One case; gives how many entries were lost.
fn case(templates: &[PathBuf; 2], seed: u64) -> u64 {
    let mut random = Random(seed);
    let folder = quick_folder();
    let path = folder.path().join("store");
    copy(&templates[random.below(2)], &path);
    let how = damage(&path.join("rocksdb"), &mut random);
    eprintln!("MEMOD_DAMAGE_SEED={seed}: {how}");

    let (store, is_new) = open_for_sure(&path);
    // What is cut ends earlier, and what is behind that was never written.
    let may_be_former = how.contains(".log: ") || how.contains("MANIFEST");
    let has = |store: &Store, number: u64| serves(store, number, may_be_former);
    let served: Vec<u64> = (0..ENTRIES).filter(|number| has(&store, *number)).collect();
    assert!(!is_new || served.is_empty());
    // What cannot be listed could not be invalidated any more: it may go.
    let is_listed = |number: &u64| matches!(store.describe(&key(*number)), Ok(Some(_)));
    let sound: Vec<u64> = served.iter().copied().filter(is_listed).collect();
    match verify(&store, true) {
        Ok(report) => assert!(report.problems > 0 || report.buried == 0, "{report:?}"),
        Err(StoreError::Damaged { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    for number in &sound {
        assert!(has(&store, *number), "repair has taken sound entry {number}");
    }
    // A second look finds nothing that a removal could mend.
    if let Ok(report) = verify(&store, false)
        && verify(&store, true).is_ok()
    {
        let of_entries = report.named.iter().find(|problem| problem.key.is_some());
        assert_eq!(of_entries, None, "{report:?}");
    }
    let fresh = vec![store.prepare(content(5, 100))];
    let stored = match try_put(&store, entry(900, fresh, 1, Replace::Never)) {
        Ok(_) => true,
        Err(StoreError::Damaged { .. }) => false,
        Err(error) => panic!("{error}"),
    };
    drop(store);
    let store = Store::open(&with(&path, OnDamage::SetAside)).unwrap();
    if stored && aside(&path) == usize::from(is_new) {
        assert_hit(&store, 900, &[content(5, 100)]);
    }
    for number in 0..ENTRIES {
        has(&store, number);
    }
    ENTRIES - served.len() as u64
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn run(part: u64) {
    let folder = quick_folder();
    let templates = templates(folder.path());
    if let Some(seed) = number("MEMOD_DAMAGE_SEED") {
        case(&templates, seed);
        return;
    }
    let cases = number("MEMOD_DAMAGE_CASES").unwrap_or(CASES);
    let lost = (0..cases).filter(|seed| seed % 2 == part).map(|seed| case(&templates, seed));
    let lost: Vec<u64> = lost.collect();
    let untouched = lost.iter().filter(|lost| **lost == 0).count();
    eprintln!("{} cases, {untouched} without loss, {lost:?}", lost.len());
    assert!(lost.iter().any(|lost| *lost > 0), "nothing was damaged at all");
}

#[test]
fn no_damage_is_served_or_ends_it_in_even_cases() {
    run(0);
}

#[test]
fn no_damage_is_served_or_ends_it_in_odd_cases() {
    run(1);
}
