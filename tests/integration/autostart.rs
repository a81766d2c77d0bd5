//! The user's own daemon: started by whoever needs it first, once, and gone when nobody does.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Ran, binary, eventually, output, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown};
use tempfile::TempDir;

/// How long a command that cannot have a daemon may take: starting one is given up after 10 s.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// A user's directories, in which no daemon runs yet. Daemons that were started in them are killed
/// in the end.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        let system = Path::new("/run/memod/memod.sock");
        assert!(
            !system.exists(),
            "a daemon of the system is here, so none of one's own is started"
        );
        Self { folder: tempfile::Builder::new().prefix("home-").tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("runtime/memod/memod.sock")
    }

    fn memo(&self, arguments: &[&str]) -> Command {
        let mut memo = Command::new(binary("memo"));
        for name in
            ["MEMOD_SOCKET", "MEMOD_NO_START", "MEMOD_DAEMON", "MEMOD_PROJECT", "MEMOD_DOMAIN"]
        {
            memo.env_remove(name);
        }
        memo.env("HOME", self.folder.path()).env("XDG_RUNTIME_DIR", self.path("runtime"));
        memo.env("XDG_CACHE_HOME", self.path("cache")).current_dir(self.folder.path());
        memo.args(arguments).stdin(Stdio::null());
        memo
    }

    /// `memo -v run` of a command that says this.
    fn echo(&self, word: &str) -> Command {
        self.memo(&["-v", "run", "--cache-version", "1", "--", "echo", word])
    }

    /// The daemons that run in these directories.
    fn daemons(&self) -> Vec<u32> {
        let ours = self.folder.path().as_os_str().as_bytes().to_owned();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap() {
            let path = entry.unwrap().path();
            let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
                continue;
            };
            // A process may end while it is looked at.
            let arguments = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let mut arguments = arguments.split(|byte| *byte == 0);
            let is_daemon = arguments.any(|argument| argument == b"serve");
            if is_daemon && arguments.any(|argument| argument.starts_with(&ours)) {
                found.push(pid);
            }
        }
        found
    }

    /// The one daemon that runs here.
    #[track_caller]
    fn daemon(&self) -> u32 {
        let daemons = self.daemons();
        assert_eq!(daemons.len(), 1, "{daemons:?}");
        daemons[0]
    }

    /// A program that does what `memod` does, but notes that it was started, and ends after being
    /// idle for this long.
    fn noting_daemon(&self, idle: &str) -> PathBuf {
        let script = format!(
            "#!/bin/sh\necho start >> '{}'\n\
             for argument; do shift; [ \"$argument\" = 15m ] && argument={idle}; \
             set -- \"$@\" \"$argument\"; done\nexec '{}' \"$@\"\n",
            self.path("starts").display(),
            binary("memod").display()
        );
        let path = self.path("noting-memod");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn starts(&self) -> usize {
        std::fs::read_to_string(self.path("starts")).unwrap_or_default().lines().count()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for pid in self.daemons() {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("cache/memod/memod.log"));
            eprintln!("--- the daemons' log ---\n{}", log.unwrap_or_default());
        }
    }
}

#[track_caller]
fn assert_echoed(ran: &Ran, word: &str, status: &str) {
    assert_eq!((ran.code, ran.text()), (Some(0), format!("{word}\n").as_str()), "{ran:?}");
    let line = ran.errors();
    assert!(line.starts_with(&format!("memo: {status} ")), "{ran:?}");
    assert_eq!(line.lines().count(), 1, "no warning: {ran:?}");
}

#[test]
fn thirty_at_once_start_exactly_one_daemon() {
    let home = Home::new();
    let daemon = home.noting_daemon("15m");
    for status in ["MISS", "HIT"] {
        let spawn = |number: usize| {
            let mut echo = home.echo(&number.to_string());
            echo.env("MEMOD_DAEMON", &daemon).stdout(Stdio::piped()).stderr(Stdio::piped());
            echo.spawn().unwrap()
        };
        let children: Vec<_> = (0..30).map(spawn).collect();
        for (number, child) in children.into_iter().enumerate() {
            assert_echoed(&output(child).into(), &number.to_string(), status);
        }
    }
    assert_eq!(home.starts(), 1);
    let pid = home.daemon();
    let seen: BTreeSet<u64> = (0..3)
        .map(|_| run(&mut home.memo(&["--format", "json", "status"])).json())
        .map(|status| status["pid"].as_u64().unwrap())
        .collect();
    assert_eq!(seen, BTreeSet::from([u64::from(pid)]));
    let counted = run(&mut home.memo(&["--format", "json", "stats"])).json();
    assert_eq!((counted["hits"].as_u64(), counted["puts"].as_u64()), (Some(30), Some(30)));
}

#[test]
fn the_daemon_is_the_users_own() {
    let home = Home::new();
    assert_echoed(&run(&mut home.echo("hello")), "hello", "MISS");
    let pid = home.daemon();
    let status = run(&mut home.memo(&["--format", "json", "status"])).json();
    assert_eq!(status["socket"].as_str().map(Path::new), Some(home.socket().as_path()));
    assert_eq!(status["data"].as_str().map(Path::new), Some(home.path("cache/memod").as_path()));
    let mode = |path: &str| std::fs::metadata(home.path(path)).unwrap().permissions().mode();
    assert_eq!(mode("runtime/memod") & 0o777, 0o700);
    assert_eq!(mode("cache/memod") & 0o777, 0o700);
    assert_eq!(mode("runtime/memod/memod.sock") & 0o777, 0o600);
    let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(arguments.contains("--idle-exit\u{0}15m\u{0}"), "{arguments:?}");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let group = fields.split_whitespace().nth(2).unwrap();
    assert_eq!(group, pid.to_string(), "the signals of our terminal do not reach it");
}

#[test]
fn the_daemon_ends_by_itself_and_is_started_again() {
    let home = Home::new();
    let daemon = home.noting_daemon("200ms");
    for (status, starts) in [("MISS", 1), ("HIT", 2)] {
        let ran = run(home.echo("kept").env("MEMOD_DAEMON", &daemon));
        assert_echoed(&ran, "kept", status);
        assert_eq!(home.starts(), starts);
        eventually("the daemon has ended", || home.daemons().is_empty());
        assert!(!home.socket().exists(), "it takes its socket with it");
    }
}

#[test]
fn a_daemon_that_was_killed_is_replaced() {
    let home = Home::new();
    assert_echoed(&run(&mut home.echo("kept")), "kept", "MISS");
    let first = home.daemon();
    kill(Pid::from_raw(first.cast_signed()), Signal::SIGKILL).unwrap();
    eventually("it is gone", || home.daemons().is_empty());
    assert!(home.socket().exists(), "it left its socket behind");
    assert_echoed(&run(&mut home.echo("kept")), "kept", "HIT");
    assert_ne!(home.daemon(), first);
}

#[test]
fn without_a_runtime_directory_the_socket_is_beside_the_data() {
    let home = Home::new();
    let ran = run(home.echo("hello").env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CACHE_HOME"));
    assert_echoed(&ran, "hello", "MISS");
    assert!(home.path(".cache/memod/run/memod.sock").exists());
    home.daemon();
}

#[test]
fn a_named_socket_without_a_daemon_is_told_and_hints_do_not_go_in_a_circle() {
    let home = Home::new();
    let named = home.path("named.sock").display().to_string();
    let warning = format!(
        "memo: warning: no daemon answers at {named}; using your own at {}",
        home.socket().display()
    );
    for status in ["MISS", "HIT"] {
        let ran = run(home.echo("hello").env("MEMOD_SOCKET", &named));
        assert_eq!((ran.code, ran.text()), (Some(0), "hello\n"), "{ran:?}");
        let lines: Vec<&str> = ran.errors().lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, warning.as_str()), "{ran:?}");
        assert!(lines[1].starts_with(&format!("memo: {status} ")), "{ran:?}");
    }
    let over = ["--socket", &named, "run", "--overwrite", "--cache-version", "1", "--", "true"];
    assert_eq!(run(&mut home.memo(&over)).errors().trim_end(), warning, "also if it only stores");
    let quiet = run(&mut home.memo(&[&["-q"], &over[..]].concat()));
    assert_eq!((quiet.code, quiet.errors()), (Some(0), ""));
    let own = home.socket().display().to_string();
    assert_echoed(&run(home.echo("hello").env("MEMOD_SOCKET", own)), "hello", "HIT");
    for command in ["ls", "status"] {
        let ran = run(home.memo(&[command]).env("MEMOD_SOCKET", &named));
        assert_eq!(ran.code, Some(3), "{ran:?}");
        let hint = format!("hint: start it with `memod --socket {named}`");
        assert_eq!(ran.errors().lines().last(), Some(hint.as_str()), "{ran:?}");
    }
}

/// Runs a command that gets no daemon: it runs all the same, and one line says why.
#[track_caller]
fn check_none(home: &Home, mut echo: Command, named: &[&str]) {
    let begun = Instant::now();
    let ran = run(&mut echo);
    assert!(begun.elapsed() < DELAY_MAX, "{:?}", begun.elapsed());
    assert_eq!((ran.code, ran.text()), (Some(0), "hello\n"), "{ran:?}");
    let warnings: Vec<&str> =
        ran.errors().lines().filter(|line| line.starts_with("memo: warning: ")).collect();
    assert_eq!(warnings.len(), 1, "{ran:?}");
    for name in named {
        assert!(ran.errors().contains(name), "{name} is not named: {ran:?}");
    }
    assert_eq!(home.daemons(), Vec::<u32>::new());
}

#[test]
fn nothing_is_started_where_it_is_not_wanted() {
    let home = Home::new();
    let flagged = home.memo(&["--no-start", "run", "--cache-version", "1", "--", "echo", "hello"]);
    check_none(&home, flagged, &["no daemon"]);
    let mut by_variable = home.echo("hello");
    by_variable.env("MEMOD_NO_START", "1");
    check_none(&home, by_variable, &["no daemon"]);
    for arguments in [
        &["ls"][..],
        &["stats"],
        &["status"],
        &["lookup", "--task", "t", "--cache-version", "1"],
        &["put", "--task", "t", "--cache-version", "1"],
    ] {
        let ran = run(&mut home.memo(arguments));
        assert_eq!(ran.code, Some(3), "{arguments:?}: {ran:?}");
        assert_eq!(home.daemons(), Vec::<u32>::new(), "{arguments:?} only ask");
    }
    let status = run(&mut home.memo(&["status"]));
    assert!(status.errors().contains(&home.socket().display().to_string()), "{status:?}");
    let error = run(&mut home.memo(&["--format", "json", "status"])).json_error();
    assert_eq!(error["code"].as_str(), Some("no_daemon"));
}

#[test]
fn directories_that_others_control_are_refused() {
    for (place, directory) in [("runtime/memod", "runtime/memod"), ("cache/memod", "cache/memod")] {
        let home = Home::new();
        std::fs::create_dir_all(home.path(place)).unwrap();
        std::fs::set_permissions(home.path(place), Permissions::from_mode(0o777)).unwrap();
        let path = home.path(directory).display().to_string();
        check_none(&home, home.echo("hello"), &[&path, "others can write to it", "chmod go-w"]);
        std::fs::set_permissions(home.path(place), Permissions::from_mode(0o755)).unwrap();
        assert_echoed(&run(&mut home.echo("hello")), "hello", "MISS");
    }
    if !Uid::effective().is_root() {
        eprintln!("only root can make a directory of another user: that part is not tested");
        return;
    }
    for place in ["runtime/memod", "cache/memod"] {
        let home = Home::new();
        std::fs::create_dir_all(home.path(place)).unwrap();
        chown(&home.path(place), Some(Uid::from_raw(12_345)), Some(Gid::from_raw(12_345))).unwrap();
        let path = home.path(place).display().to_string();
        check_none(&home, home.echo("hello"), &[&path, "belongs to user 12345"]);
        assert_eq!(std::fs::metadata(home.path(place)).unwrap().uid(), 12_345, "it is left alone");
    }
    // A link of another user's, though it leads to a directory of ours.
    let home = Home::new();
    std::fs::create_dir_all(home.path("runtime")).unwrap();
    std::fs::create_dir_all(home.path("ours")).unwrap();
    let link = home.path("runtime/memod");
    std::os::unix::fs::symlink(home.path("ours"), &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(12_345), Some(12_345)).unwrap();
    check_none(&home, home.echo("hello"), &["belongs to user 12345"]);
}

#[test]
fn a_daemon_that_cannot_start_keeps_no_command_from_running() {
    let home = Home::new();
    let with = |daemon: &str| {
        let mut echo = home.echo("hello");
        echo.env("MEMOD_DAEMON", daemon);
        echo
    };
    check_none(&home, with("/bin/false"), &["cannot start a daemon", "/bin/false"]);
    check_none(&home, with("/none/memod"), &["$MEMOD_DAEMON is /none/memod"]);

    let mut bad_cache = home.echo("hello");
    std::fs::write(home.path("file"), "not a directory").unwrap();
    let file = home.path("file").display().to_string();
    bad_cache.env("XDG_CACHE_HOME", home.path("file"));
    check_none(&home, bad_cache, &[&file]);

    let mut long = home.echo("hello");
    long.env("XDG_RUNTIME_DIR", home.path(&"x".repeat(120)));
    check_none(&home, long, &["107"]);
}

#[test]
fn what_is_no_socket_of_ours_is_not_used() {
    let home = Home::new();
    std::fs::create_dir_all(home.path("runtime/memod")).unwrap();
    std::fs::set_permissions(home.path("runtime/memod"), Permissions::from_mode(0o700)).unwrap();
    std::fs::write(home.socket(), "a file").unwrap();
    let path = home.socket().display().to_string();
    check_none(&home, home.echo("hello"), &[&path]);
    assert_eq!(std::fs::read(home.socket()).unwrap(), b"a file", "it is left alone");
}
