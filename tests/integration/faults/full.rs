//! A small file system of its own that really fills up, and that really becomes read-only.
//!
//! It is mounted in a namespace that lives as long as the test's keeper, so nothing is left behind
//! however the test ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use harness::{Setup, call, eventually, run};
use memod_protocol::{PutOutcome, Request, Response};
use nix::fcntl::posix_fallocate;

use super::history::collect;
use super::patient::{LARGE, Patient, SMALL};
use crate::semantics_lookup::noise;

const MIB: u64 = 1 << 20;

/// A mounted file system.
struct Small {
    keeper: Child,
    /// Its end ends the keeper.
    _life: ChildStdin,
    folder: tempfile::TempDir,
    user: bool,
}

impl Small {
    /// Mounts one of this size. None, and loudly so, where that is not allowed.
    fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o size={bytes} memod \"$0\" && mkdir \"$0/data\" && echo mounted && \
             read end"
        );
        let mut refusals = Vec::new();
        for (user, flags) in [(false, vec!["-m"]), (true, vec!["-r", "-m"])] {
            let mut unshare = Command::new("unshare");
            unshare.args(flags).args(["sh", "-c", &script]).arg(folder.path());
            unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut keeper = match unshare.spawn() {
                Ok(keeper) => keeper,
                Err(error) => {
                    refusals.push(error.to_string());
                    continue;
                }
            };
            let life = keeper.stdin.take().unwrap();
            let mut said = String::new();
            BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
            if said == "mounted\n" {
                return Some(Self { keeper, _life: life, folder, user });
            }
            drop(life);
            let refusal = keeper.wait_with_output().unwrap().stderr;
            refusals.push(String::from_utf8_lossy(&refusal).into_owned());
        }
        eprintln!("NOT TESTED: no file system can be mounted here: {refusals:?}");
        None
    }

    /// The words that start something in its namespace.
    fn within(&self) -> Vec<String> {
        let pid = self.keeper.id().to_string();
        let user: &[&str] = if self.user { &["-U", "--preserve-credentials"] } else { &[] };
        let words = [&["nsenter", "-t", &pid, "-m"], user, &["--"]].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    /// Where it is seen from here.
    fn path(&self) -> PathBuf {
        let inside = self.folder.path().strip_prefix("/").unwrap();
        Path::new("/proc").join(self.keeper.id().to_string()).join("root").join(inside)
    }

    fn free_bytes(&self) -> u64 {
        let said = nix::sys::statvfs::statvfs(&self.path()).unwrap();
        said.blocks_available() * said.fragment_size()
    }

    /// Takes room until this much is left.
    fn leave(&self, bytes: u64) {
        let ballast = fs::File::create(self.path().join("ballast")).unwrap();
        // The daemon may take room meanwhile.
        eventually("the room is taken", || {
            let taken = i64::try_from(self.free_bytes().saturating_sub(bytes)).unwrap();
            posix_fallocate(&ballast, 0, taken).is_ok()
        });
    }

    /// Gives the room back.
    fn give_back(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }

    fn mounts(&self, script: &str) {
        let words = self.within();
        let mut shell = Command::new(&words[0]);
        shell.args(&words[1..]).args(["sh", "-c", script]);
        let ran = run(shell.arg(self.folder.path()));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    /// Makes it read-only for all that is opened from now on. The kernel refuses that for a whole
    /// file system of which files are open for writing, but not for another way to it.
    fn make_read_only(&self) {
        self.mounts("mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\"");
    }

    fn make_writable(&self) {
        self.mounts("umount -l \"$0\"");
    }

    /// A daemon on it.
    fn patient(&self, config: &str) -> Patient {
        let setup = Setup::new().within(self.within()).config(format!("log = \"warn\"\n{config}"));
        Patient::on(setup, &self.folder.path().join("data"))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

#[test]
fn puts_until_the_disk_is_really_full_are_refused_and_work_again_when_there_is_room() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let mut patient = small.patient("disk_reserve_bytes = 0\n");
    // In the middle of a flush, of a compaction or of a put: the less room there is, the sooner.
    for left in [20 * MIB, MIB] {
        small.leave(left);
        let said = patient.fails(10 * LARGE);
        assert!(said.contains("the disk is full") && said.contains("make room"), "{said}");
        patient.serves();
        small.give_back();
        patient.recovers();
    }
    patient.lasts();
}

/// What it needs to go on is little more than what it has in memory, however long its log is.
#[test]
fn a_disk_on_which_little_is_free_again_is_enough_to_go_on() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let mut patient = small.patient("disk_reserve_bytes = 0\n");
    while small.free_bytes() > 26 * MIB {
        patient.put(18 * LARGE).expect("stored");
    }
    small.leave(200 * 1024);
    let said = patient.fails(10 * LARGE);
    assert!(said.contains("the disk is full"), "{said}");
    small.give_back();
    assert!(small.free_bytes() < 28 * MIB, "{}", small.free_bytes());
    patient.recovers();
    patient.lasts();
}

#[test]
fn below_its_reserve_a_daemon_refuses_puts_and_says_how_much_is_free() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let reserve = 40 * MIB;
    let mut patient = small.patient(&format!("disk_reserve_bytes = {reserve}\n"));
    small.leave(30 * MIB);
    let said = patient.fails(SMALL);
    for part in ["free bytes left", &format!("{reserve} are kept in reserve")] {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    patient.serves();
    assert!(small.free_bytes() > 20 * MIB, "what is kept in reserve stays free");
    small.give_back();
    patient.recovers();
    patient.lasts();
}

/// Whose disk is small, and who configures nothing: the store makes room before it has filled the
/// disk itself, with what it has in memory and its log too.
#[test]
fn a_daemon_that_nobody_configured_does_not_fill_a_small_disk() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let mut patient = small.patient("");
    let mut raw = patient.daemon.connect();
    for number in 0..30 {
        let one = call(&format!("large {number}")).bare().output("o0", "bytes");
        eventually("there is room for it", || {
            let (put, payload) = one.put(&[("o0", &noise(number, 19 * LARGE))]);
            match raw.ask(Request::Put(Box::new(put)), payload).response {
                Response::Put(_) => true,
                Response::Error(error) => {
                    assert!(error.message.contains("are kept in reserve"), "{error}");
                    false
                }
                other => panic!("{other:?}"),
            }
        });
    }
    assert!(raw.stats().evicted_entries > 0, "it was too much for this disk");
    patient.daemon.kill();
    patient.daemon.start().expect("there is room to start");
    let small = call("small").put(&[("o0", b"x")]);
    assert_eq!(patient.daemon.connect().put(small), PutOutcome::Populated);
}

#[test]
fn a_collection_on_a_full_disk_harms_nothing() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let mut patient = small.patient("disk_reserve_bytes = 0\n");
    for _ in 0..20 {
        patient.put(10 * LARGE).expect("stored");
    }
    small.leave(256 * 1024);
    collect(&patient.daemon.socket(), 1);
    patient.serves();
    small.give_back();
    patient.recovers();
    patient.lasts();
}

#[test]
fn a_file_system_that_becomes_read_only_is_borne() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let mut patient = small.patient("");
    small.make_read_only();
    let said = patient.fails(SMALL);
    assert!(said.contains("Read-only file system"), "{said}");
    patient.serves();
    assert!(patient.daemon.log().contains("nothing can be stored"), "{}", patient.daemon.log());
    small.make_writable();
    patient.recovers();
    // Nor does it start on one.
    patient.daemon.kill();
    small.make_read_only();
    let (code, said) = patient.daemon.refused();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("Read-only file system") && said.contains("on a writable"), "{said}");
    small.make_writable();
    patient.daemon.start().expect("it starts again");
    patient.serves();
}
