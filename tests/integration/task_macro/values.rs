//! Semantics 15 and 16 through the macro: what a hit gives is what the run gave, type by type.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::{Daemon, run};
use memod_client as memod;
use memod_client::{Bytes, File};

use super::{HIT, MADE, statuses, to};

#[derive(Debug, Clone, PartialEq, memod::Literal)]
enum Shape {
    Dot,
    Circle(f32),
    Box { width: u16, height: u16 },
    Line((i64, i64), (i64, i64)),
}

#[derive(Debug, Clone, PartialEq, memod::Literal)]
#[literal(untagged)]
enum Cell {
    Number(f64),
    Text(String),
    Cells(Vec<Option<i64>>),
}

#[derive(Debug, Clone, PartialEq, memod::Literal)]
struct Row<T> {
    id: T,
    shapes: Vec<Shape>,
    cells: BTreeMap<String, Cell>,
    at: SystemTime,
    took: Duration,
    raw: Vec<u8>,
    tags: BTreeSet<String>,
    pair: (bool, Box<str>),
    corners: [f64; 3],
    nothing: (),
    r#type: char,
}

type Everything = (Vec<Row<i64>>, Option<Row<String>>, HashMap<String, Bytes>, u8, i128);

#[memod::task(cache_version = "1")]
fn everything(n: i64, runs: &[u8]) -> Everything {
    let _ = runs;
    let row = Row {
        id: n,
        shapes: vec![
            Shape::Dot,
            Shape::Circle(0.1),
            Shape::Box { width: 1, height: u16::MAX },
            Shape::Line((0, 0), (i64::MIN, i64::MAX)),
        ],
        cells: BTreeMap::from([
            ("a".to_owned(), Cell::Number(f64::INFINITY)),
            ("b".to_owned(), Cell::Text("ünï\0".to_owned())),
            (String::new(), Cell::Cells(vec![None, Some(1)])),
        ]),
        at: UNIX_EPOCH - Duration::new(1, 1),
        took: Duration::new(u64::from(u32::MAX), 999_999_999),
        raw: vec![0, 255],
        tags: ["x", "y"].map(str::to_owned).into(),
        pair: (true, "boxed".into()),
        corners: [0.5, -0.0, f64::MIN_POSITIVE],
        nothing: (),
        r#type: '🦀',
    };
    let large = HashMap::from([("k".to_owned(), Bytes::from(vec![7; 100_000]))]);
    (vec![row; 3], None, large, 200, i128::from(n))
}

#[test]
fn s15_every_type_comes_back_as_it_was() {
    let daemon = Daemon::new();
    let made = everything::memoize(&to(&daemon), i64::MIN, &[]);
    assert_eq!(statuses(&made), MADE, "{made:?}");
    let hit = everything::memoize(&to(&daemon), i64::MIN, &[]);
    assert_eq!(statuses(&hit), HIT, "{hit:?}");
    assert_eq!(made.unwrap().outputs, hit.unwrap().outputs);
}

/// Outputs with names of their own, one of them a file.
#[derive(Debug, memod::Literal)]
#[literal(outputs)]
struct Report {
    #[literal(rename = "mean value")]
    mean: f64,
    text: File,
    best: Option<String>,
}

#[memod::task(cache_version = "1", project = "p", domain = "d", name = "report")]
fn report(folder: String, lines: i64) -> Result<Report, std::io::Error> {
    let path = std::path::Path::new(&folder).join("report");
    fs::write(&path, "line\n".repeat(usize::try_from(lines).unwrap_or(0)))?;
    Ok(Report { mean: 0.5, text: File::at(path), best: None })
}

fn content(file: &File) -> String {
    let mut text = String::new();
    file.reader().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn s15_named_outputs_and_files() {
    let daemon = Daemon::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report");
    let place = folder.path().to_str().unwrap().to_owned();
    let lines = ["line\n"; 3].concat();
    let made = report::with(&to(&daemon), place.clone(), 3).unwrap();
    assert_eq!(made.text.path(), Some(path.as_path()));
    fs::remove_file(&path).unwrap();
    let hit = report::memoize(&to(&daemon), place.clone(), 3).unwrap().outputs;
    assert_eq!((hit.mean, hit.best.as_deref(), hit.text.path()), (0.5, None, None));
    assert_eq!(content(&hit.text), lines);
    assert_eq!(hit.text.bytes().unwrap(), lines);
    assert_eq!(hit.text.save(&path).unwrap(), lines.len() as u64);
    assert_eq!(fs::read_to_string(&path).unwrap(), lines);
    let folder = format!("folder:string={place}");
    let mut memo = daemon.memo();
    memo.args([
        "--project",
        "p",
        "--domain",
        "d",
        "--format",
        "json",
        "lookup",
        "--task",
        "report",
    ]);
    memo.args(["--cache-version", "1", "--input", &folder, "--input", "lines:integer=3"]);
    memo.args(["--output", "mean value:float", "--output", "text:file"]);
    let found = run(memo.args(["--output", "best:optional<string>"])).json();
    assert_eq!(found["outputs"]["mean value"]["value"], 0.5, "{found}");
}

#[memod::task(cache_version = "1")]
fn large_file(bytes: u32) -> File {
    File::with_content(vec![b'x'; usize::try_from(bytes).expect("it fits")])
}

/// A file larger than a client keeps in memory comes back through a temporary file.
#[test]
fn s15_large_files() {
    let daemon = Daemon::new();
    let client = memod::Client::builder().socket(daemon.socket()).memory_bytes_max(1 << 20).build();
    let options = memod::TaskOptions::new().client(client);
    let bytes = 5_000_000;
    assert_eq!(statuses(&large_file::memoize(&options, bytes)), MADE);
    let hit = large_file::memoize(&options, bytes).unwrap();
    assert_eq!(hit.status, memod::CacheStatus::Hit);
    for _ in 0..2 {
        assert!(content(&hit.outputs) == "x".repeat(5_000_000), "however often it is read");
    }
    assert_eq!(hit.outputs.bytes().unwrap().len(), 5_000_000);
}

#[memod::task(cache_version = "1")]
fn long_list(list: Vec<i64>) -> Vec<String> {
    list.into_iter().map(|item| item.to_string()).collect()
}

#[test]
fn s15_a_million_elements() {
    let daemon = Daemon::new();
    let list: Vec<i64> = (0..1_000_000).collect();
    let made = long_list::memoize(&to(&daemon), list.clone());
    assert_eq!(statuses(&made), MADE, "{:?}", made.map(|made| made.store_error));
    let hit = long_list::memoize(&to(&daemon), list);
    assert_eq!(statuses(&hit), HIT);
    let hit = hit.unwrap().outputs;
    assert_eq!((hit.len(), hit[999_999].as_str()), (1_000_000, "999999"));
}

static BYTES_RUNS: AtomicU32 = AtomicU32::new(0);

#[memod::task(cache_version = "1")]
fn bytes_through(data: Bytes) -> Bytes {
    BYTES_RUNS.fetch_add(1, Ordering::SeqCst);
    data
}

#[test]
fn s16_bytes_of_any_length() {
    let daemon = Daemon::new();
    for length in [0, 1, 1 << 20, 3 << 20] {
        let data = Bytes::from(vec![b'b'; length]);
        let made = bytes_through::with(&to(&daemon), data.clone());
        assert!(std::ptr::eq(made.as_ptr(), data.as_ptr()), "they are not copied on their way");
        assert!(bytes_through::with(&to(&daemon), data.clone()) == data);
    }
    assert_eq!(BYTES_RUNS.load(Ordering::SeqCst), 4);
}
