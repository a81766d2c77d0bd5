//! Runs the command: what it writes passes through at once and is kept aside.
//!
//! **Invariants.** The command sees what it would see without us: our standard input, the signals
//! that are meant for it, and, when our reader goes away, a broken pipe.

use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tempfile::SpooledTempFile;

use super::replay::SPOOL_MEMORY_BYTES;
use super::signals::Signals;
use super::write;
use crate::args::Screen;
use crate::exit::{self, Failure};

/// A command that has ended.
pub(super) struct Ran {
    /// How long it took.
    pub(super) took: Duration,
    /// What it wrote to its standard output.
    pub(super) stdout: Kept,
    /// What it wrote to its standard error.
    pub(super) stderr: Kept,
    status: ExitStatus,
}

/// What a command wrote to a stream.
pub(super) enum Kept {
    /// All of it.
    Whole(SpooledTempFile),
    /// Whoever read our output has gone away.
    ReaderGone,
    /// It could not be kept.
    Lost(io::Error),
}

impl Ran {
    /// The exit code, as a shell says it.
    pub(super) fn exit_code(&self) -> u8 {
        exit_code(self.status)
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let signalled = || status.signal().map(|number| i32::from(exit::SIGNALLED) + number);
    let code = status.code().or_else(signalled);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Runs the command to its end.
///
/// # Errors
/// If it cannot be started.
pub(super) fn run(command: &[OsString], signals: &Signals, screen: Screen) -> Result<Ran, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("there is no command"));
    };
    let mut ready = Command::new(program);
    ready.args(arguments);
    let keepers = match keep(&mut ready) {
        Ok(keepers) => Ok(keepers),
        Err(error) => {
            screen.warn(&format!("the command's output cannot be kept: {error}"));
            ready = Command::new(program);
            ready.args(arguments);
            Err(error)
        }
    };
    let began = Instant::now();
    let mut child = signals
        .start(|| ready.spawn(), pid)
        .map_err(|error| not_started(&program.to_string_lossy(), &error))?;
    // The other ends of the pipes: while they are open here, the keepers see no end.
    drop(ready);
    let ended = wait_without_reaping(pid(&child));
    let took = began.elapsed();
    signals.ended();
    let (stdout, stderr) = match keepers {
        Ok([stdout, stderr]) => (joined(stdout), joined(stderr)),
        Err(error) => (Kept::Lost(error), Kept::Lost(io::Error::other("see above"))),
    };
    let status = ended.and_then(|()| child.wait());
    let status = status.map_err(|error| {
        Failure::new(exit::FAILED, "io", format!("cannot wait for the command: {error}"))
    })?;
    Ok(Ran { took, stdout, stderr, status })
}

type Keeper = JoinHandle<Kept>;

/// Gives the command two pipes for its streams, each with a thread at the other end.
fn keep(command: &mut Command) -> io::Result<[Keeper; 2]> {
    let keeper = |name: &str, ours: BorrowedFd<'_>| {
        let (reader, writer) = io::pipe()?;
        let ours = write::unbuffered(ours)?;
        let thread = thread::Builder::new().name(format!("memo-{name}"));
        io::Result::Ok((thread.spawn(move || pass_on(reader, &ours))?, writer))
    };
    let (stdout, stdout_writer) = keeper("stdout", io::stdout().as_fd())?;
    let (stderr, stderr_writer) = keeper("stderr", io::stderr().as_fd())?;
    command.stdout(stdout_writer).stderr(stderr_writer);
    Ok([stdout, stderr])
}

/// Passes on what comes, at once, and keeps it. Hangs up when our own reader has.
fn pass_on(mut from: PipeReader, to: &std::fs::File) -> Kept {
    let mut kept = SpooledTempFile::new(SPOOL_MEMORY_BYTES);
    let mut lost = None;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Kept::Lost(error),
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        if lost.is_none()
            && let Err(error) = kept.write_all(bytes)
        {
            lost = Some(error);
            kept = SpooledTempFile::new(0);
        }
        match write::write_all(to, bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Kept::ReaderGone,
            Err(error) => return Kept::Lost(error),
        }
    }
    lost.map_or(Kept::Whole(kept), Kept::Lost)
}

fn joined(keeper: Keeper) -> Kept {
    keeper.join().unwrap_or_else(|_| Kept::Lost(io::Error::other("its thread has panicked")))
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("the kernel gives it as an i32"))
}

/// Waits for the end, but leaves the process's number taken.
fn wait_without_reaping(child: Pid) -> io::Result<()> {
    loop {
        match waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(nix::Error::EINTR) => {}
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
}

/// As shells say it: 127 if there is no such command, 126 if it cannot be run.
fn not_started(program: &str, error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::NotFound {
        return Failure::new(exit::NOT_FOUND, "command_not_found", format!("{program}: {error}"));
    }
    Failure::new(exit::NOT_EXECUTABLE, "command_not_executable", format!("{program}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(255 << 8)), 255);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }

    #[test]
    fn what_passes_is_kept_whole() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let to = tempfile::tempfile().expect("a file");
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        let sent = bytes.clone();
        let sender = thread::spawn(move || writer.write_all(&sent));
        let Kept::Whole(mut kept) = pass_on(reader, &to) else { panic!("it was not kept") };
        sender.join().expect("no panic").expect("all sent");
        kept.rewind().expect("a spool can");
        let mut again = Vec::new();
        kept.read_to_end(&mut again).expect("readable");
        assert!(again == bytes);
        assert_eq!(to.metadata().expect("it is open").len(), bytes.len() as u64);
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_writer() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let (ours, to) = io::pipe().expect("a pipe");
        drop(ours);
        let to = write::unbuffered(to.as_fd()).expect("a handle");
        writer.write_all(b"x").expect("the pipe is empty");
        assert!(matches!(pass_on(reader, &to), Kept::ReaderGone));
        let error = writer.write_all(b"y").expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_cannot_be_started_is_told_apart() {
        let not_found = not_started("x", &ErrorKind::NotFound.into());
        assert_eq!(not_found.exit, 127);
        let denied = not_started("x", &ErrorKind::PermissionDenied.into());
        assert_eq!(denied.exit, 126);
    }
}
