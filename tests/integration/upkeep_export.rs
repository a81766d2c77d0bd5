//! `memo export` to places of all kinds, and cut off and gone on with; `memo import` of what is
//! damaged, and into a store that is too small.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use harness::{Daemon, Relay, Setup, binary, call, output, run};
use memod_protocol::PutOutcome;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, Uid, mkfifo};

use crate::memo::{ends, json_of, memo};
use crate::semantics_lookup::noise;

const ENTRIES: u64 = 20;
/// Bytes of each entry's output.
const BYTES: usize = 100_000;

/// A daemon with entries of one task each.
fn full() -> Daemon {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    for seed in 0..ENTRIES {
        let one = call(&format!("task{seed:02}")).bare().output("o0", "bytes");
        assert_eq!(raw.put(one.put(&[("o0", &noise(seed, BYTES))])), PutOutcome::Populated);
    }
    daemon
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What an export into a file of a new folder is.
fn whole(daemon: &Daemon) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("archive");
    ends(daemon, 0, &["export", text(&file)]);
    assert_eq!(names(folder.path()), ["archive"]);
    fs::read(&file).unwrap()
}

#[test]
fn what_is_no_file_is_written_through() {
    let (daemon, folder) = (full(), tempfile::tempdir().unwrap());
    let whole = whole(&daemon);

    // Where the test could replace the machine's own it has one of its own.
    let device = folder.path().join("device");
    if Uid::effective().is_root() {
        mknod(&device, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 7)).unwrap();
    } else {
        symlink("/dev/full", &device).unwrap();
    }
    let full_disk = ends(&daemon, 5, &["export", text(&device)]);
    assert!(full_disk.errors().contains("No space left"), "{full_disk:?}");
    assert!(fs::metadata(&device).unwrap().file_type().is_char_device());

    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let reading = pipe.clone();
    let reader = thread::spawn(move || fs::read(reading).unwrap());
    let told = ends(&daemon, 0, &["export", text(&pipe)]);
    assert!(told.text().starts_with("20 entries exported"), "{told:?}");
    assert!(reader.join().unwrap() == whole);
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());

    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        bytes
    });
    ends(&daemon, 0, &["export", text(&socket)]);
    assert!(reader.join().unwrap() == whole);

    // Behind what is there already, as a shell's `>>` has it; what is told goes elsewhere.
    let open = folder.path().join("open");
    fs::write(&open, "before").unwrap();
    let append = || fs::OpenOptions::new().append(true).open(&open).unwrap();
    let mut command = daemon.memo();
    command.args(["export", "/dev/stdout"]).stdout(append()).stderr(Stdio::piped());
    let ran = output(command.spawn().unwrap());
    assert!(ran.status.success(), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("20 entries exported"), "{ran:?}");
    assert!(fs::read(&open).unwrap() == [b"before", whole.as_slice()].concat());

    let refused = ends(&daemon, 2, &["export", text(folder.path())]);
    assert!(refused.errors().contains("is a directory"), "{refused:?}");
    let mut left = names(folder.path());
    left.sort();
    assert_eq!(left, ["device", "open", "pipe", "socket"]);
}

#[test]
fn what_a_link_points_to_is_replaced() {
    let (daemon, folder) = (full(), tempfile::tempdir().unwrap());
    let whole = whole(&daemon);
    let (link, below) = (folder.path().join("link"), folder.path().join("below"));
    fs::create_dir(&below).unwrap();
    symlink("below/archive", &link).unwrap();
    for content in [None, Some("old")] {
        if let Some(old) = content {
            fs::write(below.join("archive"), old).unwrap();
        }
        ends(&daemon, 0, &["export", text(&link)]);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert!(fs::read(below.join("archive")).unwrap() == whole);
        assert_eq!(names(&below), ["archive"]);
    }
}

/// An export that has come to the middle of its entries and waits for the daemon.
struct Begun {
    child: Child,
    _relay: Relay,
}

impl Begun {
    fn new(daemon: &Daemon, file: &Path) -> Self {
        let relay = Relay::before(daemon, BYTES * 9 + BYTES / 2);
        let mut memo = Command::new(binary("memo"));
        memo.arg("--socket").arg(relay.socket()).arg("export").arg(file);
        memo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = memo.spawn().unwrap();
        relay.wait_until_silent();
        Self { child, _relay: relay }
    }

    /// Ends it; gives what it said.
    fn end(self, signal: Signal) -> String {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        let ran = output(self.child);
        assert_eq!(ran.status.signal(), Some(signal as i32), "{ran:?}");
        assert!(ran.stdout.is_empty(), "{ran:?}");
        String::from_utf8(ran.stderr).unwrap()
    }
}

fn part_of(file: &Path) -> PathBuf {
    file.with_extension("part")
}

#[test]
fn an_export_that_was_killed_is_gone_on_with() {
    let daemon = full();
    let whole = whole(&daemon);
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archive");
        fs::write(&file, "old").unwrap();
        let said = Begun::new(&daemon, &file).end(signal);
        if signal != Signal::SIGKILL {
            assert!(said.contains(&format!("the export was ended by {signal}")), "{said}");
            assert!(said.contains("entries are in") && said.contains("goes on"), "{said}");
        }
        assert_eq!(fs::read(&file).unwrap(), b"old");
        let kept = fs::metadata(part_of(&file)).unwrap().len();
        assert!(kept > 5 * BYTES as u64, "{kept} bytes of {} are there", whole.len());

        let told = ends(&daemon, 0, &["export", text(&file)]);
        assert!(told.errors().contains("going on with"), "{told:?}");
        assert!(told.text().contains("20 entries exported"), "{told:?}");
        assert!(told.text().contains("of them before"), "{told:?}");
        assert!(fs::read(&file).unwrap() == whole);
        assert_eq!(names(folder.path()), ["archive"]);
    }
}

#[test]
fn what_was_exported_is_not_asked_for_again() {
    let (daemon, folder) = (full(), tempfile::tempdir().unwrap());
    let file = folder.path().join("archive");
    Begun::new(&daemon, &file).end(Signal::SIGKILL);
    // It passes the listing and the entries that are missing, but not all entries.
    let relay = Relay::before(&daemon, BYTES * 16);
    let mut command = Command::new(binary("memo"));
    command.arg("--socket").arg(relay.socket());
    let told = run(command.args(["--format", "json", "export", text(&file)])).json();
    assert_eq!(told["entries"], ENTRIES, "{told}");
    assert!(told["resumed"].as_u64().unwrap() > 5, "{told}");
}

#[test]
fn one_export_at_a_time_writes_a_file() {
    let (daemon, folder) = (full(), tempfile::tempdir().unwrap());
    let file = folder.path().join("archive");
    let first = Begun::new(&daemon, &file);
    let before = fs::read(part_of(&file)).unwrap();
    let second = ends(&daemon, 5, &["--format", "json", "export", text(&file)]);
    assert_eq!(second.json_error()["code"], "busy");
    assert!(fs::read(part_of(&file)).unwrap() == before);
    first.end(Signal::SIGTERM);
    ends(&daemon, 0, &["export", text(&file)]);
    assert!(fs::read(&file).unwrap() == whole(&daemon));
}

#[test]
fn what_is_damaged_or_of_another_export_is_not_believed() {
    let (daemon, folder) = (full(), tempfile::tempdir().unwrap());
    let (whole, file) = (whole(&daemon), folder.path().join("archive"));
    Begun::new(&daemon, &file).end(Signal::SIGKILL);
    let part = fs::read(part_of(&file)).unwrap();

    // A flipped bit in the third entry or so: what stands before it is kept.
    let mut flipped = part.clone();
    flipped[BYTES * 5 / 2] ^= 1;
    fs::write(part_of(&file), flipped).unwrap();
    let told = json_of(&daemon, 0, &["export", text(&file)]);
    assert_eq!(told["resumed"], 2, "{told}");
    assert!(fs::read(&file).unwrap() == whole);

    fs::write(part_of(&file), &part).unwrap();
    let of_task = ["export", text(&file), "--task", "task03", "--project", "flytesnacks"];
    let told = ends(&daemon, 0, &of_task);
    assert!(told.errors().contains("begun anew"), "{told:?}");
    assert!(told.text().starts_with("1 entry exported"), "{told:?}");

    fs::write(part_of(&file), &part).unwrap();
    let told = json_of(&Daemon::new(), 0, &["export", text(&file)]);
    assert_eq!((&told["entries"], &told["resumed"]), (&0.into(), &0.into()), "of another store");

    fs::write(part_of(&file), "a film").unwrap();
    let refused = ends(&daemon, 2, &["export", text(&file)]);
    assert!(refused.errors().contains("no unfinished export"), "{refused:?}");
    assert_eq!(fs::read(part_of(&file)).unwrap(), b"a film");
}

#[test]
fn an_export_whose_daemon_dies_says_how_to_go_on() {
    let (mut daemon, folder) = (full(), tempfile::tempdir().unwrap());
    let file = folder.path().join("archive");
    let begun = Begun::new(&daemon, &file);
    daemon.kill();
    let ran = output(begun.child);
    assert_eq!(ran.status.code(), Some(3), "{ran:?}");
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("the daemon has ended in the middle"), "{said}");
    assert!(said.contains("the same command goes on"), "{said}");
    daemon.start().unwrap();
    let told = json_of(&daemon, 0, &["export", text(&file)]);
    assert_eq!(told["entries"], ENTRIES);
    assert!(told["resumed"].as_u64().unwrap() > 5, "{told}");
    assert!(fs::read(&file).unwrap() == whole(&daemon));
}

#[test]
fn entries_behind_a_damaged_head_are_found_if_that_is_wanted() {
    let (from, to) = (full(), Daemon::new());
    let file = from.folder().join("archive");
    let mut bytes = whole(&from);
    // In the length and the digest of the first head, and in what it says.
    for (run, at) in [14, 20, 60].into_iter().enumerate() {
        bytes[at] ^= 1;
        fs::write(&file, &bytes).unwrap();
        bytes[at] ^= 1;
        let refused = ends(&to, 5, &["import", text(&file)]);
        assert!(refused.errors().contains("--salvage"), "{refused:?}");
        assert!(refused.text().starts_with("0 entries imported"), "{refused:?}");
        let ran = memo(&to, &["--format", "json", "import", "--salvage", text(&file)]);
        assert_eq!(ran.code, Some(5), "{ran:?}");
        let told = ran.json();
        let stored = if run == 0 { "imported" } else { "existing" };
        assert_eq!((&told[stored], &told["damaged"]), (&(ENTRIES - 1).into(), &1.into()));
    }
}

#[test]
fn an_import_into_a_store_that_is_too_small_says_so() {
    let from = full();
    let file = from.folder().join("archive");
    fs::write(&file, whole(&from)).unwrap();
    let config = format!("store_bytes_max = {}\n", BYTES * 10);
    let small = Setup::new().config(config).start();
    let ran = memo(&small, &["import", text(&file)]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.text().contains("evicted meanwhile"), "{ran:?}");
    assert!(ran.errors().contains("the store is too small"), "{ran:?}");
    let roomy = Setup::new().config(format!("store_bytes_max = {}\n", BYTES * 40)).start();
    let told = json_of(&roomy, 0, &["import", text(&file)]);
    assert_eq!((&told["imported"], &told["evicted"]), (&ENTRIES.into(), &0.into()));
}

#[test]
fn what_goes_to_standard_output_is_told_on_the_other_as_json_too() {
    let daemon = full();
    let ran = memo(&daemon, &["--format", "json", "export", "-"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told: serde_json::Value = serde_json::from_str(ran.errors()).expect("nothing but JSON");
    assert_eq!((&told["entries"], &told["left_out"]), (&ENTRIES.into(), &0.into()));
    assert!(ran.stdout.len() > BYTES, "the archive");
}

#[test]
fn what_nothing_matches_and_what_is_no_archive_is_said() {
    let daemon = Daemon::new();
    let archive = daemon.folder().join("nothing").display().to_string();
    let told = ends(&daemon, 0, &["export", &archive, "--project", "nope", "--scope"]);
    assert!(told.text().starts_with("no entry matched"), "{told:?}");
    let folder = daemon.folder().display().to_string();
    let told = ends(&daemon, 2, &["import", &folder]);
    assert!(told.errors().contains("directory"), "{told:?}");
}
