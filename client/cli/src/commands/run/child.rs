//! Runs the command: what it writes passes through at once and is kept aside.
//!
//! **Invariants.** The command sees what it would see without us: our standard input, the signals
//! that are meant for it, and, when our reader goes away, a broken pipe.

use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tempfile::SpooledTempFile;

use super::replay::SPOOL_MEMORY_BYTES;
use super::signals::Watch;
use super::{tether, write};
use crate::args::Screen;
use crate::exit::{self, Failure};

/// How a command ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// How long it took.
    pub(super) took: Duration,
    /// Its exit code, as a shell says it.
    pub(super) code: u8,
}

/// A command that has ended, and what it wrote.
pub(super) struct Ran {
    /// How it ended.
    pub(super) ended: Ended,
    /// What it wrote to its standard output.
    pub(super) stdout: Kept,
    /// What it wrote to its standard error.
    pub(super) stderr: Kept,
}

/// What a command wrote to a stream.
pub(super) enum Kept {
    /// All of it.
    Whole(SpooledTempFile),
    /// Whoever read our output has gone away.
    ReaderGone,
    /// Our own stream took no more.
    Unwritable(io::Error),
    /// It could not be kept.
    Lost(io::Error),
}

/// Runs the command to its end, and keeps what it writes, also what comes after that from others
/// who have its output open. `on_end` hears of its end before these are waited for.
///
/// # Errors
/// If it cannot be started, or succeeds though we cannot write what it writes.
pub(super) fn run(
    command: &[OsString],
    screen: Screen,
    on_end: impl FnOnce(Ended),
) -> Result<Ran, Failure> {
    // Before the threads begin, which are not to get the command's signals.
    let watch = watched(screen);
    let keepers = keep();
    if let Err(error) = &keepers {
        screen.warn(&format!("the command's output cannot be kept: {error}"));
    }
    let streams = keepers.as_ref().map(|[stdout, stderr]| {
        let streams =
            [(&stdout.writer, libc::STDOUT_FILENO), (&stderr.writer, libc::STDERR_FILENO)];
        streams.map(|(writer, number)| (writer.as_fd(), number))
    });
    let streams = streams.as_ref().map(<[_; 2]>::as_slice).unwrap_or_default();
    let ended = to_end(command, streams, watch)?;
    on_end(ended);
    let (stdout, stderr) = match keepers {
        Ok(keepers) => keepers.map(Keeper::into_thread).map(joined).into(),
        Err(error) => (Kept::Lost(error), Kept::ReaderGone),
    };
    match (ended.code, stdout, stderr) {
        (exit::DONE, Kept::Unwritable(error), _) | (exit::DONE, _, Kept::Unwritable(error)) => {
            Err(error.into())
        }
        (_, stdout, stderr) => Ok(Ran { ended, stdout, stderr }),
    }
}

/// Runs the command to its end with our own output, of which nothing is kept.
///
/// # Errors
/// If it cannot be started.
pub(super) fn run_unkept(command: &[OsString], screen: Screen) -> Result<Ended, Failure> {
    to_end(command, &[], watched(screen))
}

fn watched(screen: Screen) -> Option<Watch> {
    let watch = Watch::begin();
    if let Err(error) = &watch {
        screen.warn(&format!("signals will not reach the command: {error}"));
    }
    watch.ok()
}

fn to_end(
    command: &[OsString],
    files: &[(BorrowedFd<'_>, RawFd)],
    watch: Option<Watch>,
) -> Result<Ended, Failure> {
    let began = Instant::now();
    let started = match &watch {
        Some(watch) => watch.start(|| tether::spawn(command, files, watch.original())),
        None => tether::spawn(command, files, SigSet::empty()),
    };
    let child = started.map_err(|error| not_started(command, &error))?;
    let ended = wait_without_reaping(child);
    let took = began.elapsed();
    drop(watch);
    let status = ended.and_then(|()| Ok(waitpid(child, None)?)).map_err(|error| {
        Failure::new(exit::FAILED, "io", format!("cannot wait for the command: {error}"))
    })?;
    Ok(Ended { took, code: exit_code(status) })
}

/// The exit code, as a shell says it.
fn exit_code(status: WaitStatus) -> u8 {
    let code = match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => i32::from(exit::SIGNALLED) + signal as i32,
        _ => i32::from(u8::MAX),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// A thread that passes on a stream of the command, and the end of the pipe that is the command's.
struct Keeper {
    thread: JoinHandle<Kept>,
    writer: PipeWriter,
}

impl Keeper {
    /// The thread alone: as long as we hold the other end open, it sees no end.
    fn into_thread(self) -> JoinHandle<Kept> {
        self.thread
    }
}

/// Makes two pipes for the command's streams, each with a thread at our end.
fn keep() -> io::Result<[Keeper; 2]> {
    let keeper = |name: &str, ours: BorrowedFd<'_>| {
        let (reader, writer) = io::pipe()?;
        let ours = write::unbuffered(ours)?;
        let thread = thread::Builder::new().name(format!("memo-{name}"));
        io::Result::Ok(Keeper { thread: thread.spawn(move || pass_on(reader, &ours))?, writer })
    };
    Ok([keeper("stdout", io::stdout().as_fd())?, keeper("stderr", io::stderr().as_fd())?])
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
            // Gives the room back, which others may need more.
            kept = SpooledTempFile::new(0);
        }
        match write::write_all(to, bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Kept::ReaderGone,
            Err(error) => return Kept::Unwritable(error),
        }
    }
    lost.map_or(Kept::Whole(kept), Kept::Lost)
}

fn joined(keeper: JoinHandle<Kept>) -> Kept {
    keeper.join().unwrap_or_else(|_| Kept::Lost(io::Error::other("its thread has panicked")))
}

/// Waits for the end, but leaves the process's number taken.
fn wait_without_reaping(child: Pid) -> io::Result<()> {
    loop {
        match waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
}

/// As shells say it: 127 if there is no such command, 126 if it cannot be run.
fn not_started(command: &[OsString], error: &io::Error) -> Failure {
    let program = command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
    if error.kind() == ErrorKind::NotFound {
        return Failure::new(exit::NOT_FOUND, "command_not_found", format!("{program}: {error}"));
    }
    Failure::new(exit::NOT_EXECUTABLE, "command_not_executable", format!("{program}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        let pid = Pid::from_raw(1);
        assert_eq!(exit_code(WaitStatus::Exited(pid, 0)), 0);
        assert_eq!(exit_code(WaitStatus::Exited(pid, 255)), 255);
        assert_eq!(exit_code(WaitStatus::Signaled(pid, Signal::SIGTERM, false)), 143);
    }

    #[test]
    fn what_passes_is_kept_whole() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let to = tempfile::tempfile().expect("a file");
        let bytes = [1, 2, 3, 4, 5, 6, 7].repeat(500_000);
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
        let code = |kind: ErrorKind| not_started(&["x".into()], &kind.into()).exit;
        assert_eq!(code(ErrorKind::NotFound), 127);
        assert_eq!(code(ErrorKind::PermissionDenied), 126);
    }
}
