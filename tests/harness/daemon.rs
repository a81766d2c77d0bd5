//! A daemon process of a test's own.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::faults::Faults;
use crate::patience::{self, PATIENCE};
use crate::raw::Raw;

/// The path of one of the workspace's programs, built beside the running test.
///
/// # Panics
/// If it has not been built: `make test` builds it, and so does `cargo build --workspace`.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    built(name)
}

/// The path of something that was built beside the running test.
pub(crate) fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the running test has a path");
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = beside.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built: run `cargo build --workspace` first"))
}

/// How a daemon is to be started.
#[derive(Debug, Default)]
pub struct Setup {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    config: Option<String>,
    descriptors_max: Option<u32>,
    program: Option<PathBuf>,
    /// What the command begins with.
    within: Vec<String>,
    faults: bool,
    notified: bool,
    inherited: Option<OwnedFd>,
}

impl Setup {
    /// As users start it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a further argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With this configuration file.
    #[must_use]
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config = Some(toml.into());
        self
    }

    /// With no more open files than this.
    #[must_use]
    pub fn descriptors_max(mut self, most: u32) -> Self {
        self.descriptors_max = Some(most);
        self
    }

    /// That program instead of `memod`.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Started by these words, such as those of `nsenter`.
    #[must_use]
    pub fn within(mut self, words: impl IntoIterator<Item = String>) -> Self {
        self.within.extend(words);
        self
    }

    /// On a disk whose faults the test decides: see [`Faults`].
    #[must_use]
    pub fn faults(mut self) -> Self {
        self.faults = true;
        self
    }

    /// Heard as systemd hears it: see [`Daemon::told`]. It waits once too much goes unheard.
    #[must_use]
    pub fn notified(mut self) -> Self {
        self.notified = true;
        self
    }

    /// With this descriptor, as systemd hands over a socket; each start has it.
    #[must_use]
    pub fn inherits(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.inherited = Some(descriptor.into());
        self
    }

    /// Starts it in a new temporary directory.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn start(self) -> Daemon {
        let mut daemon = self.prepare();
        daemon.start().expect("the daemon gets ready");
        daemon
    }

    /// Makes the temporary directory and does not start anything yet.
    ///
    /// # Panics
    /// If the directory cannot be made.
    #[must_use]
    pub fn prepare(self) -> Daemon {
        let folder = tempfile::Builder::new().prefix("memod-").tempdir().expect("a folder");
        let socket = folder.path().join("memod.sock");
        let faults = self.faults.then(|| Faults::new(folder.path()));
        let data = faults.as_ref().map_or(folder.path(), Faults::root).join("data");
        Daemon { folder, socket, data, setup: self, faults, child: None, notify: None }
    }
}

/// A daemon with its temporary directory.
#[derive(Debug)]
pub struct Daemon {
    folder: TempDir,
    socket: PathBuf,
    data: PathBuf,
    setup: Setup,
    faults: Option<Faults>,
    child: Option<Child>,
    notify: Option<UnixDatagram>,
}

impl Daemon {
    /// A daemon as users start it.
    #[must_use]
    pub fn new() -> Self {
        Setup::new().start()
    }

    /// Its temporary directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Its store.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Lets it listen on another path.
    pub fn listen_on(&mut self, socket: &Path) {
        socket.clone_into(&mut self.socket);
    }

    /// Lets it store in another directory.
    pub fn store_in(&mut self, data: &Path) {
        data.clone_into(&mut self.data);
    }

    /// Sets a variable in its environment from the next start on, or takes it away.
    pub fn set_variable(&mut self, name: &str, value: Option<String>) {
        self.setup.environment.retain(|(given, _)| given != name);
        self.setup.environment.extend(value.map(|value| (name.to_owned(), value)));
    }

    /// Gives it this configuration file from the next start on.
    pub fn set_config(&mut self, toml: String) {
        self.setup.config = Some(toml);
    }

    /// The faults of its disk.
    ///
    /// # Panics
    /// If it was not set up with any.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        self.faults.as_ref().expect("it was set up with faults")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// What it tells systemd next, if it does so within this time.
    ///
    /// # Panics
    /// If it was not set up to be heard.
    #[must_use]
    pub fn told(&self, within: Duration) -> Option<String> {
        let notify = self.notify.as_ref().expect("it was set up to be heard");
        notify.set_read_timeout(Some(within)).expect("a timeout");
        let mut message = [0; 512];
        let bytes = notify.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..bytes]).trim_end().to_owned())
    }

    /// Its process.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// The command that starts it.
    ///
    /// # Panics
    /// If its configuration cannot be written.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut words: Vec<OsString> = self.setup.within.iter().map(OsString::from).collect();
        if let Some(most) = self.setup.descriptors_max {
            let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
            words.extend(["sh", "-c", &script].map(OsString::from));
        }
        if self.setup.inherited.is_some() {
            let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; \
                          exec \"$0\" \"$@\"";
            words.extend(["sh", "-c", script].map(OsString::from));
        }
        words.push(self.setup.program.clone().unwrap_or_else(|| binary("memod")).into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.arg("--socket").arg(&self.socket).arg("--data").arg(&self.data);
        if let Some(toml) = &self.setup.config {
            let file = self.folder().join("memod.toml");
            std::fs::write(&file, toml).expect("the configuration is written");
            command.arg("--config").arg(file);
        }
        // Nobody's own configuration counts here.
        command.env("MEMOD_CONFIG", "").env_remove("MEMOD_LOG");
        command.args(&self.setup.arguments);
        command.envs(self.setup.environment.iter().map(|(name, value)| (name, value)));
        if let Some(faults) = &self.faults {
            command.envs(faults.variables());
        }
        match &self.setup.inherited {
            Some(descriptor) => command.stdin(descriptor.try_clone().expect("a descriptor more")),
            None => command.stdin(Stdio::null()),
        };
        command
    }

    /// Starts it again on the same store.
    ///
    /// # Errors
    /// If it ends or stays silent instead of getting ready; with what it logged.
    pub fn start(&mut self) -> anyhow::Result<()> {
        match self.start_or_end()? {
            None => Ok(()),
            Some(status) => bail!("memod ended, {status}:\n{}", self.log()),
        }
    }

    /// Starts it again on the same store; gives how it ended if it did not get ready.
    ///
    /// # Errors
    /// If it cannot be started, or stays silent; with what it logged.
    pub fn start_or_end(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let (mut child, ready) = self.spawn()?;
        ready.set_read_timeout(Some(Duration::from_millis(50)))?;
        let deadline = Instant::now() + PATIENCE;
        while !says_ready(&ready) {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                bail!("memod did not get ready:\n{}", self.log());
            }
        }
        self.child = Some(child);
        self.notify = self.setup.notified.then_some(ready);
        Ok(None)
    }

    /// Starts it and kills it with SIGKILL this much later, or when it is ready if that is sooner.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_and_kill(&self, after: Duration) {
        let (mut child, ready) = self.spawn().expect("memod can be started");
        ready.set_read_timeout(Some(after)).expect("a timeout");
        let _ = says_ready(&ready);
        child.kill().expect("killed");
        child.wait().expect("waited for");
    }

    /// Starts the process; gives it and the socket on which it will say READY.
    fn spawn(&self) -> anyhow::Result<(Child, UnixDatagram)> {
        let notify = self.folder().join("notify.sock");
        let _ = std::fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).context("cannot bind the READY socket")?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder().join("log"))?;
        let child = self
            .command()
            .env("NOTIFY_SOCKET", &notify)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start memod")?;
        Ok((child, ready))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it does not run.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the daemon can be signalled");
    }

    /// Makes it hang, as one that waits for a dead disk does, and waits until it does. SIGCONT
    /// ends that.
    ///
    /// # Panics
    /// If it does not run.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let pid = Pid::from_raw(self.pid().cast_signed());
        // The signal takes effect later; the kernel tells when the last thread stands still.
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("it is our child");
        assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        child.kill().expect("killed");
        child.wait().expect("waited for");
    }

    /// Asks it to end by SIGTERM and waits until it has.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs");
        match patience::wait(&mut child) {
            Some(status) => status,
            None => panic!("memod did not end:\n{}", self.log()),
        }
    }

    /// Starts it where it must refuse to; gives its exit code and what it said.
    ///
    /// # Panics
    /// If it does not end by itself.
    #[must_use]
    pub fn refused(&self) -> (i32, String) {
        Self::run_to_end(&mut self.command())
    }

    /// Runs a command of memod that ends by itself; gives its exit code and what it said.
    ///
    /// # Panics
    /// If it does not end by itself.
    #[must_use]
    pub fn run_to_end(command: &mut Command) -> (i32, String) {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let output = patience::output(child.expect("memod can be started"));
        let said = [output.stdout, output.stderr].concat();
        let code = output.status.code().expect("it ended by itself");
        (code, String::from_utf8(said).expect("it says text"))
    }

    /// A connection that has greeted.
    ///
    /// # Panics
    /// If the daemon does not agree.
    #[must_use]
    pub fn connect(&self) -> Raw {
        Raw::greeted(&self.socket())
    }

    /// A `memo` command that speaks to this daemon and to no other.
    #[must_use]
    pub fn memo(&self) -> Command {
        let mut command = Command::new(binary("memo"));
        command.env("MEMOD_SOCKET", self.socket()).env("MEMOD_NO_START", "1");
        for name in ["MEMOD_PROJECT", "MEMOD_DOMAIN", "MEMOD_MODE", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command.env("XDG_CACHE_HOME", self.folder().join("cache")).stdin(Stdio::null());
        command
    }
}

impl Default for Daemon {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let mut log = String::new();
            if let Ok(mut file) = std::fs::File::open(self.folder().join("log")) {
                let _ = file.read_to_string(&mut log);
            }
            eprintln!("--- the daemon's log ---\n{log}");
        }
    }
}

fn says_ready(ready: &UnixDatagram) -> bool {
    let mut message = [0; 512];
    ready.recv(&mut message).is_ok_and(|bytes| message[..bytes].starts_with(b"READY=1"))
}
