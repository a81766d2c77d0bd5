//! What systemd is told: each step, and signs of life for as long as there is progress.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use harness::{Daemon, PATIENCE, Raw, Setup, call, eventually, wait};
use memod_protocol::{PutOutcome, Request};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, mkfifo};

use crate::torture;

/// The time within which systemd wants a sign of life, in these tests.
const TIMEOUT: Duration = Duration::from_secs(1);

fn watched() -> Setup {
    Setup::new().notified().variable("WATCHDOG_USEC", TIMEOUT.as_micros().to_string())
}

#[track_caller]
fn assert_gives_signs(daemon: &Daemon) {
    for _ in 0..3 {
        assert_eq!(daemon.told(PATIENCE).as_deref(), Some("WATCHDOG=1"));
    }
}

fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000
}

#[test]
fn each_step_is_told_and_nothing_else() {
    let mut daemon = Setup::new().notified().config("max_age = \"1h\"\n").start();
    for config in ["max_age = \"2h\"\n", "max_age = \"soon\"\n"] {
        daemon.set_config(config.to_owned());
        // Writes the file.
        let _ = daemon.command();
        let before = monotonic_usec();
        daemon.signal(Signal::SIGHUP);
        let told = daemon.told(PATIENCE).expect("it says that it reads its configuration");
        let since = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let since: i64 = since.and_then(|text| text.parse().ok()).expect(&told);
        assert!((before..=monotonic_usec()).contains(&since), "{told}");
        let told = daemon.told(PATIENCE).expect("it says that it has done so");
        assert!(told.starts_with("READY=1"), "{told}");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.told(PATIENCE).as_deref(), Some("STOPPING=1"));
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_daemon_at_work_gives_signs_of_life_even_if_it_takes_no_more_connections() {
    let daemon = watched().config("connections_max = 2\n").start();
    assert_gives_signs(&daemon);
    let taken = [daemon.connect(), daemon.connect()];
    // The third is waited for to have room, and then to greet.
    let waiting = Raw::connect(&daemon.socket());
    assert_gives_signs(&daemon);
    drop((taken, waiting));
}

#[test]
fn a_writer_that_hangs_ends_the_signs_of_life() {
    let daemon = watched()
        .program(torture::program())
        .variable("MEMOD_FAILPOINT", "before-write:1:hang")
        .start();
    assert_gives_signs(&daemon);
    let stored = call("hangs");
    let (put, payload) = stored.put(&[("o0", b"x")]);
    let mut raw = daemon.connect();
    raw.send(Request::Put(Box::new(put)), payload);
    // One sign may be on its way; after that there is none for as long as systemd would wait.
    let signs = std::iter::from_fn(|| daemon.told(2 * TIMEOUT)).take(1000).count();
    assert!(signs < 1000, "signs of life go on");
    assert!(daemon.connect().ping(), "all the rest of it is alive");
}

#[test]
fn a_hang_up_before_the_daemon_is_ready_does_not_end_it() {
    let daemon = Setup::new().prepare();
    let config = daemon.folder().join("slow.toml");
    mkfifo(&config, Mode::S_IRWXU).unwrap();
    let log = daemon.folder().join("log");
    let mut command = daemon.command();
    command.env("MEMOD_CONFIG", &config).stderr(File::create(&log).unwrap());
    let mut started = command.spawn().unwrap();
    // Opened as soon as the daemon reads it, which then waits for the rest.
    let mut writer = File::options().write(true).open(&config).unwrap();
    let pid = Pid::from_raw(started.id().cast_signed());
    kill(pid, Signal::SIGHUP).unwrap();
    writer.write_all(b"max_age = \"1h\"\n").unwrap();
    drop(writer);
    eventually("it is ready", || daemon.log().contains("is ready"));
    // The signal is heeded now that it serves: it reads the configuration again.
    std::fs::write(&config, "max_age = \"2h\"\n").unwrap();
    eventually("it has changed", || daemon.log().contains("max_age"));
    assert!(daemon.connect().ping());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(wait(&mut started).and_then(|status| status.code()), Some(0), "{}", daemon.log());
}

#[test]
fn a_watchdog_starts_a_daemon_again_whose_writer_hangs() {
    let mut daemon = watched()
        .program(torture::program())
        .variable("MEMOD_FAILPOINT", "before-write:2:hang")
        .start();
    let (stored, hangs) = (call("stored"), call("hangs"));
    assert_eq!(daemon.connect().put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
    let (put, payload) = hangs.put(&[("o0", b"x")]);
    daemon.connect().send(Request::Put(Box::new(put)), payload);
    // What systemd does with `WatchdogSec=` and `Restart=`: as long as there are signs, it waits.
    while daemon.told(2 * TIMEOUT).is_some() {}
    daemon.set_variable("MEMOD_FAILPOINT", None);
    daemon.kill();
    daemon.start().unwrap();
    assert_gives_signs(&daemon);
    let mut raw = daemon.connect();
    assert!(raw.lookup(&stored).is_ok(), "what was acknowledged is there");
    assert_eq!(raw.put(hangs.put(&[("o0", b"x")])), PutOutcome::Populated);
}
