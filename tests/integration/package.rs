//! The Debian package: it is installed below a root of its own, its daemon is started by its socket
//! from the installed files, and it is removed again.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{Raw, binary, call, eventually, run};
use memod_protocol::PutOutcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

/// Runs it; it must succeed. Gives what it says.
#[track_caller]
fn done(command: &mut Command) -> String {
    let ran = run(command);
    assert_eq!(ran.code, Some(0), "{command:?}: {}\n{}", ran.text(), ran.errors());
    ran.text().to_owned()
}

/// The package of the programs beside this test.
fn package(out: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/deb");
    let target = binary("memod").ancestors().nth(2).expect("a target folder").to_owned();
    let mut command = Command::new("bash");
    command.arg(script).env("PROFILE", "debug").env("COMPRESSION", "none").env("OUT", out);
    let said = done(command.env("CARGO_TARGET_DIR", target));
    PathBuf::from(said.trim_end())
}

/// A root below which packages are installed.
struct Root {
    folder: TempDir,
}

impl Root {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("memod-").tempdir().unwrap();
        for part in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "run"] {
            fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        fs::write(folder.path().join("var/lib/dpkg/status"), "").unwrap();
        Self { folder }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    fn dpkg(&self) -> Command {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", self.folder.path().display()));
        // There is nothing else below that root, no shell and none of the dependencies.
        command.args(["--force-script-chrootless", "--force-depends"]);
        command
    }

    /// The command that the installed unit starts, below this root.
    fn started_by_unit(&self) -> Vec<String> {
        let unit = fs::read_to_string(self.at("/usr/lib/systemd/system/memod.service")).unwrap();
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let words = line.split_whitespace().filter(|word| *word != "$MEMOD_OPTIONS");
        let mut words: Vec<String> = words.map(str::to_owned).collect();
        words[0] = self.at(&words[0]).display().to_string();
        words
    }

    /// Has the sockets wait for their first client.
    fn activated(&self, socket: &Path, metrics: &str) -> Activated {
        let mut command = Command::new("systemd-socket-activate");
        command.arg("--listen").arg(socket).args(["--listen", metrics]);
        command.arg("--fdname=memod.socket:metrics").args(self.started_by_unit());
        command.arg("--config").arg(self.at("/etc/memod/memod.toml"));
        command.arg("--data").arg(self.at("/var/lib/memod"));
        let log = fs::File::create(self.at("/log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("systemd is installed, as `.ci/setup test` does");
        eventually("both sockets listen", || {
            let said = fs::read_to_string(self.at("/log")).unwrap_or_default();
            said.matches("Listening on").count() == 2
        });
        Activated(child)
    }
}

/// What waits for a client, and then is the daemon.
struct Activated(Child);

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_package_is_installed_serves_and_is_removed() {
    if !Uid::effective().is_root() {
        eprintln!("NOT TESTED: only root can install a package");
        return;
    }
    let root = Root::new();
    let package = package(&root.at("/packages"));
    done(root.dpkg().arg("--install").arg(&package));
    let users = fs::read_to_string(root.at("/etc/passwd")).unwrap();
    assert!(users.lines().any(|line| line.starts_with("memod:")), "{users}");
    assert!(root.at("/run/memod").is_dir(), "the socket has a directory");
    for path in ["memod.socket", "memod.service", "memod-metrics.socket"] {
        assert!(root.at("/usr/lib/systemd/system").join(path).is_file(), "{path}");
    }
    for path in [
        "/usr/share/man/man1/memo.1.gz",
        "/usr/share/bash-completion/completions/memo",
        "/usr/lib/systemd/user/memod.service",
        "/usr/share/doc/memod/copyright",
    ] {
        assert!(root.at(path).is_file(), "{path}");
    }
    let config = root.at("/etc/memod/memod.toml");
    let mut check = Command::new(root.at("/usr/bin/memod"));
    done(check.arg("check-config").arg(&config));

    serves(&root);

    // What somebody has changed in the configuration stays when the package is removed.
    fs::write(&config, "max_age = \"1h\"\n").unwrap();
    done(root.dpkg().args(["--remove", "memod"]));
    assert!(!root.at("/usr/bin/memod").exists());
    assert!(config.is_file() && root.at("/var/lib/memod").is_dir());
    done(root.dpkg().args(["--purge", "memod"]));
    assert!(!config.exists() && !root.at("/var/lib/memod").exists());
}

/// The first client starts the daemon, and the next daemon has what it stored.
fn serves(root: &Root) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let socket = root.at("/run/memod/memod.sock");
    let stored = call("installed");
    let mut activated = root.activated(&socket, &free);
    let mut first = Raw::greeted(&socket);
    assert_eq!(first.put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
    let mut memo = Command::new(root.at("/usr/bin/memo"));
    let status = done(memo.args(["status", "--no-start"]).env("MEMOD_SOCKET", &socket));
    assert!(status.contains("version"), "{status}");
    let mut page = String::new();
    let mut metrics = TcpStream::connect(&free).unwrap();
    metrics.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    metrics.read_to_string(&mut page).unwrap();
    assert!(page.contains("\nmemod_entries 1\n"), "{page}");
    assert!(!page.contains("flytesnacks"), "names are told to whoever connects");
    kill(Pid::from_raw(activated.0.id().cast_signed()), Signal::SIGTERM).unwrap();
    let ended = harness::wait(&mut activated.0).expect("it ends");
    let log = fs::read_to_string(root.at("/log")).unwrap();
    assert_eq!(ended.code(), Some(0), "{log}");
    fs::remove_file(&socket).expect("the socket was not the daemon's to remove");
    let again = root.activated(&socket, &free);
    assert!(Raw::greeted(&socket).lookup(&stored).is_ok(), "it is kept");
    drop(again);
}
