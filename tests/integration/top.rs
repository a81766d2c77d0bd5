//! `memo top`: one frame where there is no terminal; on one, until it is told to end, after which
//! the terminal is as it was.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Daemon, call, eventually, run, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, getuid};

/// Begins what is shown, and ends it.
const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

fn daemon_with_a_hit() -> Daemon {
    let daemon = Daemon::new();
    let stored = call("shown");
    let mut raw = daemon.connect();
    raw.put(stored.put(&[("o0", b"x")]));
    raw.lookup(&stored).expect("a hit");
    daemon
}

/// `memo top` on a terminal, which `script` makes.
struct View {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    shown: String,
}

impl View {
    fn of(daemon: &Daemon) -> Self {
        let memo = daemon.memo();
        let program = memo.get_program().display();
        let (before, after) = (daemon.folder().join("before"), daemon.folder().join("after"));
        let line = format!(
            "stty cols 80 rows 24; stty -g >{}; {program} top --interval 50ms; code=$?; \
             stty -g >{}; exit $code",
            before.display(),
            after.display()
        );
        let mut command = Command::new("script");
        command.args(["-q", "-e", "-c", &line, "/dev/null"]);
        for (name, value) in memo.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("`script` is a part of every Debian");
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut view = Self { child, keys, screen, shown: String::new() };
        view.wait_for("TASK");
        view
    }

    /// Waits until this is shown, from here on.
    fn wait_for(&mut self, text: &str) {
        let from = self.shown.len();
        while !self.shown.get(from..).is_some_and(|new| new.contains(text)) {
            self.read(text);
        }
    }

    /// Waits until a whole frame is as it should be, from here on.
    fn wait_for_frame(&mut self, what: &str, is_so: impl Fn(&str) -> bool) {
        let from = self.shown.len();
        loop {
            let new = self.shown.get(from..).unwrap_or_default();
            // Before the first and behind the last begins there is no whole one.
            let whole = new.split("\u{1b}[H").skip(1).collect::<Vec<_>>();
            if whole.split_last().is_some_and(|(_, whole)| whole.iter().any(|of| is_so(of))) {
                return;
            }
            self.read(what);
        }
    }

    fn read(&mut self, awaited: &str) {
        let mut bytes = [0; 4096];
        let count = self.screen.read(&mut bytes).unwrap();
        assert!(count > 0, "it ended without `{awaited}`: {}", self.shown);
        self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }

    fn types(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// The process that shows it.
    fn pid(&self) -> Pid {
        let mut found = None;
        eventually("memo runs", || {
            found = descendant(self.child.id(), "memo");
            found.is_some()
        });
        Pid::from_raw(found.unwrap().cast_signed())
    }

    /// It ends well, and the terminal is as it was.
    #[track_caller]
    fn ends(mut self, daemon: &Daemon) {
        let mut rest = String::new();
        self.screen.read_to_string(&mut rest).unwrap();
        self.shown.push_str(&rest);
        assert_eq!(wait(&mut self.child).expect("it ends").code(), Some(0), "{}", self.shown);
        assert_eq!(self.shown.matches(ENTER).count(), 1, "{}", self.shown);
        assert!(self.shown.trim_end().ends_with(LEAVE), "{:?}", self.shown);
        let read = |name| fs::read_to_string(daemon.folder().join(name)).unwrap();
        assert_eq!(read("before"), read("after"));
    }
}

/// The process of this name that this one started, itself or through others.
fn descendant(pid: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let child: u32 = child.parse().ok()?;
        let is_it = fs::read_to_string(format!("/proc/{child}/comm")).ok()?.trim_end() == name;
        if is_it { Some(child) } else { descendant(child, name) }
    })
}

#[test]
fn without_a_terminal_one_frame_is_printed() {
    let daemon = daemon_with_a_hit();
    let ran = run(daemon.memo().arg("top"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = ran.text();
    for part in ["hit rate", "lookups", "p99", "evicted", "flytesnacks/development shown"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let ran = run(daemon.memo().args(["top", "--format", "json"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn it_ends_by_a_key_and_leaves_the_terminal_as_it_was() {
    let daemon = daemon_with_a_hit();
    for key in [b"q", b"\x03"] {
        let mut view = View::of(&daemon);
        // Other keys mean nothing.
        view.types(b"x\x1b[A");
        view.wait_for("hit rate");
        view.types(key);
        view.ends(&daemon);
    }
}

#[test]
fn it_ends_by_a_signal_and_leaves_the_terminal_as_it_was() {
    let daemon = daemon_with_a_hit();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let view = View::of(&daemon);
        kill(view.pid(), signal).unwrap();
        view.ends(&daemon);
    }
}

#[test]
fn it_shows_what_changes_and_waits_for_a_daemon_that_is_gone() {
    let mut daemon = daemon_with_a_hit();
    let mut view = View::of(&daemon);
    assert!(daemon.connect().lookup(&call("later")).is_err());
    view.wait_for("flytesnacks/development later");
    let owner = ["--owner", "by hand"];
    let of = ["--task", "leased", "--cache-version", "1", "--output", "o:string"];
    let lease = |words: &[&str]| {
        let done = run(daemon.memo().arg("lease").args(words).args(owner).args(of));
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    lease(&["acquire", "--heartbeat", "1h"]);
    let name = User::from_uid(getuid()).unwrap().map_or_else(String::new, |user| user.name);
    view.wait_for(&format!("leased to  `by hand` of {name} for "));
    view.wait_for(" 0 waiting: default/development leased");
    let mut raw = daemon.connect();
    let leased = call("leased").scope("default", "development").version("1").bare();
    raw.waits(leased.output("o", "string").claim());
    view.wait_for(" 1 waiting: default/development leased");
    // Its holder gives it back, and the next has it, until its connection ends.
    lease(&["release"]);
    view.wait_for(&format!(" {} of {name} for ", std::process::id()));
    drop(raw);
    view.wait_for_frame("without leases", |frame| !frame.contains("leased to"));
    daemon.kill();
    view.wait_for("no answer");
    daemon.start().unwrap();
    view.wait_for("\u{1b}[Hmemod ");
    // Half a daemon: it accepts, and does not answer. A key ends the view nevertheless.
    daemon.freeze();
    view.types(b"q");
    view.ends(&daemon);
    daemon.signal(Signal::SIGCONT);
}

#[test]
fn it_goes_on_at_once_when_a_daemon_answers_again() {
    let daemon = daemon_with_a_hit();
    let mut view = View::of(&daemon);
    daemon.freeze();
    // So often that a client would leave the daemon alone for half a minute.
    for _ in 0..4 {
        view.wait_for("no answer");
    }
    daemon.signal(Signal::SIGCONT);
    let began = Instant::now();
    view.wait_for_frame("an answer", |frame| frame.starts_with("memod "));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    view.types(b"q");
    view.ends(&daemon);
}

#[test]
fn without_a_daemon_it_says_so() {
    let mut daemon = Daemon::new();
    daemon.stop();
    assert_eq!(run(daemon.memo().arg("top")).code, Some(3));
}
