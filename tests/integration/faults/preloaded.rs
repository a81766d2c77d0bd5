//! The library that makes calls fail is really there: what all other modules rely on.

use harness::{Setup, call};
use memod_protocol::PutOutcome;

#[test]
fn every_change_of_the_disk_is_seen_and_calls_fail_by_plan() {
    let mut daemon = Setup::new().faults().argument("--durability=power").start();
    let mut raw = daemon.connect();
    let faults = daemon.faults();
    let before = faults.journal_bytes();
    assert!(before > 0, "the database was made");
    assert_eq!(raw.put(call("seen").put(&[("o0", b"is in the log")])), PutOutcome::Populated);
    let journal = faults.journal();
    let new = String::from_utf8_lossy(&journal[usize::try_from(before).unwrap()..]).into_owned();
    assert!(new.contains("is in the log"), "the write: {new}");
    assert!(new.lines().any(|line| line.contains(" sync ") && line.ends_with(" done")), "{new}");

    assert_eq!(faults.told(), [""; 0], "no call has failed, and no mapping can write");
    faults.plan(&["fail write *.log ENOSPC times=1"]);
    assert!(raw.put_error(call("full").put(&[("o0", b"x")])).message.contains("disk is full"));
    assert_eq!(faults.struck(), 1);
    assert!(faults.told()[0].starts_with("fail write ENOSPC data/rocksdb/"), "{:?}", faults.told());
    assert!(daemon.stop().success());
}
