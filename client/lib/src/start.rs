//! Starts the user's own daemon: exactly one, however many ask for it at once.
//!
//! **Invariants.** Who holds the lock beside the socket looks again before it starts anything. The
//! directories belong to the user and nobody else can write to them. The daemon inherits neither
//! standard streams nor the sockets that a service manager gave to this process, and signals
//! meant for this process's group do not reach it.
//!
//! **Does not** stop a daemon: it ends by itself when it has been idle for a while.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::address::{Address, Environment, Origin};
use crate::connect::{self, Patience};
use crate::connection::{Bounds, Connection};
use crate::error::Error;
use crate::pause::Pause;

/// How long starting may take in all, with waiting for others who are at it.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a daemon that listens may take to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);
/// After how long without a client the daemon ends.
const IDLE_EXIT: &str = "15m";
/// Daemons that may end at once before it is given up: one that is on its way out holds the store
/// a moment longer than the socket.
const ATTEMPTS_MAX: u32 = 3;
/// A log beyond this is begun anew.
const LOG_BYTES_MAX: u64 = 1024 * 1024;
/// What is read of the log to say why a daemon ended.
const LOG_TAIL_BYTES: u64 = 4096;
/// Lines of the log that are shown.
const LOG_LINES_SHOWN: usize = 5;
/// Variables by which a service manager speaks to this process and not to its children.
const NOT_INHERITED: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Daemons that this process has started, kept so that those that end can be reaped.
static STARTED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Sees to it that the user's own daemon runs; gives its socket.
///
/// # Errors
/// If there is no program, its directories are not safe, or it does not come up within 10 s. The
/// error shows the end of the daemon's log.
pub fn own_daemon() -> Result<PathBuf, Error> {
    own_daemon_in(&Environment::of_process(), concat!("memod-client ", env!("CARGO_PKG_VERSION")))
}

/// The program that [`own_daemon`] would run.
///
/// # Errors
/// If there is none.
pub fn daemon_program() -> Result<PathBuf, Error> {
    program(&Environment::of_process())
}

/// As [`own_daemon`], in a given environment.
pub(crate) fn own_daemon_in(environment: &Environment, client: &str) -> Result<PathBuf, Error> {
    let socket = environment.own().path;
    let data = environment.own_data();
    connect::address(&socket)?;
    let directory = socket.parent().expect("a socket's path has a file name");
    private_directory(directory)?;
    private_directory(&data)?;
    let until = Instant::now() + START_TIMEOUT;
    let _lock = lock(&directory.join("start.lock"), until)?;
    let place = Place { socket: &socket, data: &data, client };
    let mut attempts = 0;
    let mut pause = Pause::default();
    while Instant::now() < until {
        match place.probe()? {
            Probe::Alive => return Ok(socket),
            Probe::Leaving => pause.wait(),
            Probe::Absent => {
                attempts += 1;
                match place.run(environment, until)? {
                    Started::Answers => return Ok(socket),
                    Started::Ended(problem) if attempts == ATTEMPTS_MAX => {
                        return Err(Error::Start { problem });
                    }
                    Started::Ended(_) => pause.wait(),
                }
            }
        }
    }
    Err(Error::Start {
        problem: format!(
            "none answered at {} within {START_TIMEOUT:?}; look at {}",
            socket.display(),
            place.log().display()
        ),
    })
}

/// Where the daemon is to be, and who wants it.
struct Place<'a> {
    socket: &'a Path,
    data: &'a Path,
    client: &'a str,
}

/// Who is at the socket.
enum Probe {
    Alive,
    Leaving,
    Absent,
}

/// What became of a daemon that was started.
enum Started {
    Answers,
    Ended(String),
}

impl Place<'_> {
    fn log(&self) -> PathBuf {
        self.data.join("memod.log")
    }

    /// Greets whoever listens.
    fn probe(&self) -> Result<Probe, Error> {
        let bounds = Bounds {
            deadline: GREETING_TIMEOUT,
            stall: GREETING_TIMEOUT,
            silence: GREETING_TIMEOUT,
        };
        let patience = Patience::within(GREETING_TIMEOUT);
        let own = Address { path: self.socket.to_owned(), origin: Origin::Own };
        match Connection::open(&own, self.client, bounds, patience) {
            Ok(_) => Ok(Probe::Alive),
            Err(Error::NoDaemon { .. }) => Ok(Probe::Absent),
            Err(error) if error.is_leaving() => Ok(Probe::Leaving),
            Err(error) => Err(error),
        }
    }

    /// How the daemon is run.
    fn command(&self, program: &Path, log: File) -> Command {
        let mut command = Command::new(program);
        command.arg("serve").arg("--socket").arg(self.socket).arg("--data").arg(self.data);
        // A cache that a client wants must come up.
        command.args(["--idle-exit", IDLE_EXIT, "--on-damage", "set_aside"]);
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        for variable in NOT_INHERITED {
            command.env_remove(variable);
        }
        command
    }

    /// Starts a daemon and waits until it answers or ends.
    fn run(&self, environment: &Environment, until: Instant) -> Result<Started, Error> {
        let program = program(environment)?;
        let cannot =
            |what: &str, error: &io::Error| Error::Start { problem: format!("{what}: {error}") };
        let log = open_log(&self.log())
            .map_err(|error| cannot(&format!("cannot open {}", self.log().display()), &error))?;
        let log_begin = log.metadata().map_or(0, |metadata| metadata.len());
        let child = self
            .command(&program, log)
            .spawn()
            .map_err(|error| cannot(&format!("cannot run {}", program.display()), &error))?;
        let mut child = Some(child);
        let mut pause = Pause::default();
        let outcome = loop {
            let ended = child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            match self.probe() {
                Ok(Probe::Alive) => break Started::Answers,
                // It may listen before it is ready to greet; only the end of all patience counts.
                Ok(_) | Err(Error::Timeout { .. }) => {}
                Err(error) => {
                    reap_later(child);
                    return Err(error);
                }
            }
            if let Some(status) = ended {
                child = None;
                break Started::Ended(format!(
                    "{} ended with {status}{}",
                    program.display(),
                    tail(&self.log(), log_begin)
                ));
            }
            if Instant::now() >= until {
                break Started::Ended(format!(
                    "{} does not answer{}",
                    program.display(),
                    tail(&self.log(), log_begin)
                ));
            }
            pause.wait();
        };
        reap_later(child);
        Ok(outcome)
    }
}

/// Keeps a running daemon's handle, and lets go of those that have ended.
fn reap_later(child: Option<Child>) {
    // After a fork the lock may be held for ever; a daemon that is not reaped does no harm.
    if let Ok(mut started) = STARTED.try_lock() {
        started.extend(child);
        started.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

/// The daemon's program: `$MEMOD_DAEMON`, else beside this program, else on `$PATH`.
fn program(environment: &Environment) -> Result<PathBuf, Error> {
    let absent = |problem: String| Err(Error::Start { problem });
    if let Some(given) = &environment.daemon {
        return match std::path::absolute(given) {
            Ok(path) if is_program(&path) => Ok(path),
            _ => absent(format!("$MEMOD_DAEMON is {}, which is no program", given.display())),
        };
    }
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("memod")));
    let on_path = environment.path.iter().flat_map(std::env::split_paths);
    let on_path = on_path.filter(|directory| directory.is_absolute()).map(|d| d.join("memod"));
    match beside.into_iter().chain(on_path).find(|path| is_program(path)) {
        Some(path) => Ok(path),
        None => absent(
            "there is no `memod` beside this program or on $PATH; install it, or name it with \
             $MEMOD_DAEMON"
                .into(),
        ),
    }
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Makes a directory for the user alone, or checks the one that is there.
fn private_directory(path: &Path) -> Result<(), Error> {
    let not_ours = |problem: String| Error::NotOurs { path: path.to_owned(), problem };
    let failed = |error: io::Error| not_ours(format!("it cannot be made or looked at: {error}"));
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let ours = nix::unistd::geteuid().as_raw();
    // A link that somebody else made could lead to any directory of ours.
    let link = std::fs::symlink_metadata(path).map_err(failed)?;
    let directory = std::fs::metadata(path).map_err(failed)?;
    for uid in [link.uid(), directory.uid()] {
        if uid != ours {
            return Err(not_ours(format!("it belongs to user {uid}, not {ours}; remove it")));
        }
    }
    if directory.mode() & 0o022 != 0 {
        return Err(not_ours(format!(
            "others can write to it (mode {:o}); run `chmod go-w` on it",
            directory.mode() & 0o7777
        )));
    }
    Ok(())
}

/// Takes the lock that makes starting one at a time.
fn lock(path: &Path, until: Instant) -> Result<Flock<File>, Error> {
    let failed = |problem: String| Error::Start {
        problem: format!("cannot lock {}: {problem}", path.display()),
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(|error| failed(error.to_string()))?;
    let mut pause = Pause::default();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EAGAIN | Errno::EINTR)) if Instant::now() < until => file = back,
            Err((_, Errno::EAGAIN)) => {
                return Err(failed(format!(
                    "others have been starting a daemon for {START_TIMEOUT:?}"
                )));
            }
            Err((_, errno)) => return Err(failed(errno.to_string())),
        }
        pause.wait();
    }
}

/// The daemon's log, to be appended to.
fn open_log(path: &Path) -> io::Result<File> {
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    if log.metadata()?.len() > LOG_BYTES_MAX {
        log.set_len(0)?;
    }
    Ok(log)
}

/// The last lines that were written to the log since it had this length.
fn tail(path: &Path, begin: u64) -> String {
    let read = || -> io::Result<String> {
        let mut log = File::open(path)?;
        let from = begin.max(log.metadata()?.len().saturating_sub(LOG_TAIL_BYTES));
        log.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        log.take(LOG_TAIL_BYTES).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default();
    if shown.is_empty() {
        return format!("; its log {} says nothing", path.display());
    }
    format!("; its log {} ends:\n{}", path.display(), shown.join("\n"))
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
