//! An output of two gibibytes goes in and out, and neither side holds much of it.
//!
//! `$MEMOD_TEST_LARGE_MIB` is another size, for a machine with little disk.

use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Daemon, Random, resident_peak_bytes};
use memod_protocol::Stats;
use nix::sys::resource::{UsageWho, getrusage};

const MIB: usize = 1 << 20;
/// What either side may hold resident at any time.
const RESIDENT_BYTES_MAX: u64 = 256 << 20;
/// Set in the process that runs `memo` and measures it: what it shall run.
const ROLE: &str = "MEMOD_TEST_LARGE_ROLE";
const SELF: &str = "large::two_gibibytes_go_in_and_out_in_little_memory";

fn mebibytes() -> usize {
    let given = env::var("MEMOD_TEST_LARGE_MIB").ok();
    given.map_or(2048, |number| number.parse().expect("MEMOD_TEST_LARGE_MIB is a number"))
}

/// The content, a mebibyte at a time: no two are the same, and none compresses.
struct Content {
    block: Vec<u8>,
    next: u64,
}

impl Content {
    fn begin() -> Self {
        Self { block: Random::new(2).bytes(MIB), next: 0 }
    }

    fn next(&mut self) -> &[u8] {
        self.next += 1;
        self.block[..8].copy_from_slice(&self.next.to_le_bytes());
        &self.block
    }
}

fn write_content(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut content = Content::begin();
    for _ in 0..mebibytes() {
        file.write_all(content.next()).unwrap();
    }
}

/// Reads what must be the content, to the last byte.
fn check_content(mut from: impl Read) {
    let mut content = Content::begin();
    let mut read = vec![0; MIB];
    for number in 0..mebibytes() {
        from.read_exact(&mut read).expect("as much comes out as went in");
        assert!(read == content.next(), "the {number}th mebibyte is another");
    }
    assert_eq!(from.read(&mut read).unwrap(), 0, "more comes out than went in");
}

/// In a process of its own, whose only child `memo` is: runs it and says how much it held.
fn measure(role: &str) {
    let arguments: Vec<&str> = role.split('\n').collect();
    let mut memo = Command::new(harness::binary("memo"))
        .args(&arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = memo.stdout.take().unwrap();
    if arguments[0] == "cat" {
        check_content(said);
    } else {
        std::io::copy(&mut said, &mut std::io::stdout()).unwrap();
    }
    assert!(memo.wait().unwrap().success());
    let kibibytes = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    println!("\nheld {kibibytes} KiB");
}

/// Runs `memo` with these arguments; gives what it said and the most that it held resident.
fn memo(daemon: &Daemon, arguments: &[&str]) -> (String, u64) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "--test-threads=1", SELF]);
    command.env(ROLE, arguments.join("\n"));
    // The environment of a `memo` that speaks to this daemon.
    for (name, value) in daemon.memo().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let (code, said) = Daemon::run_to_end(&mut command);
    assert_eq!(code, 0, "{said}");
    let held = said.lines().find_map(|line| line.strip_prefix("held ")?.strip_suffix(" KiB"));
    let held: u64 = held.expect("it says what was held").parse().unwrap();
    (said, held * 1024)
}

#[test]
fn two_gibibytes_go_in_and_out_in_little_memory() {
    if let Ok(role) = env::var(ROLE) {
        return measure(&role);
    }
    let daemon = Daemon::new();
    let file = daemon.folder().join("large");
    write_content(&file);
    let output = format!("o0:file=@{}", file.display());
    let put = ["put", "--format=json", "--task=large", "--cache-version=1", "--output", &output];
    let (said, put_held) = memo(&daemon, &put);
    assert!(said.contains("\"status\":\"POPULATED\""), "{said}");
    std::fs::remove_file(&file).unwrap();
    let key = daemon.connect().list()[0].key.to_string();
    let (_, cat_held) = memo(&daemon, &["cat", &key, "o0"]);
    let daemon_held = resident_peak_bytes(daemon.pid());
    println!("put {put_held}, cat {cat_held}, daemon {daemon_held} bytes resident at the most");
    for (who, held) in [("put", put_held), ("cat", cat_held), ("daemon", daemon_held)] {
        assert!(held < RESIDENT_BYTES_MAX, "{who} held {} MiB", held >> 20);
    }
    let stored = (mebibytes() * MIB) as u64;
    let Stats { entries, blobs, stored_bytes, .. } = daemon.connect().stats();
    assert_eq!((entries, blobs, stored_bytes), (1, 1, stored));
}
