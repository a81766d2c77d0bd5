//! Ties the command's life to ours: if we are killed, it is too.
//!
//! The kernel sends a process a signal when its parent dies, but only if the process itself has
//! asked for it. So we start our own program a second time, which asks and then becomes the
//! command.
//!
//! **Invariants.** The command is started whether or not it can be tied. What it comes to when it
//! cannot be run is what it would come to without this.
//!
//! **Does not** reach what the command starts in turn, nor a command that takes on another's rights
//! as it starts: the kernel ends the tie there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, close, getppid};

use super::spawn::spawn as start;
use crate::exit;

/// This program, whatever has become of the file it was started from.
const OURSELVES: &str = "/proc/self/exe";
/// What the second of us is called with.
const WORD: &str = "__tethered";
/// How an error is told: its number.
const REPORT_BYTES: u64 = size_of::<i32>() as u64;

/// Starts the command as [`start`] does, to be killed when this thread ends: to be called by the
/// one that ends last.
///
/// # Errors
/// If it cannot be started: not found, not executable.
pub(super) fn spawn(
    command: &[OsString],
    files: &[(BorrowedFd<'_>, RawFd)],
    mask: SigSet,
) -> io::Result<Pid> {
    // Without /proc, or with a line that is just short enough, it starts without a tie.
    tied(command, files, mask).unwrap_or_else(|_| start(command, files, mask))
}

/// Starts the second of us, and waits until it has become the command. The outer error is that
/// there is no second of us.
fn tied(
    command: &[OsString],
    files: &[(BorrowedFd<'_>, RawFd)],
    mask: SigSet,
) -> io::Result<io::Result<Pid>> {
    let (reader, writer) = io::pipe()?;
    // Its number is free in the second of us, since we hold it here and do not hand it down.
    let place = writer.try_clone()?;
    let number = place.as_raw_fd();
    let ours = [OURSELVES.into(), WORD.into(), std::process::id().to_string().into()];
    let line: Vec<OsString> = ours
        .into_iter()
        .chain([number.to_string().into()])
        .chain(command.iter().cloned())
        .collect();
    let files: Vec<_> = files.iter().copied().chain([(writer.as_fd(), number)]).collect();
    let child = start(&line, &files, mask)?;
    drop((writer, place));
    let mut report = Vec::new();
    // It ends, empty, when the command takes over.
    let _ = reader.take(REPORT_BYTES).read_to_end(&mut report);
    let Ok(number) = report.try_into().map(i32::from_ne_bytes) else { return Ok(Ok(child)) };
    // It is on its way out.
    let _ = waitpid(child, None);
    Ok(Err(io::Error::from_raw_os_error(number)))
}

/// Becomes the command if this is the second of us; gives the exit code of one that could not.
pub(crate) fn become_command() -> Option<u8> {
    let mut line = std::env::args_os().skip(1);
    if line.next()? != WORD {
        return None;
    }
    let number = |text: OsString| text.to_str()?.parse::<i32>().ok();
    let parent = Pid::from_raw(line.next().and_then(number)?);
    let report = line.next().and_then(number).filter(|number| *number > 2)?;
    let command: Vec<OsString> = line.collect();
    let (program, arguments) = command.split_first()?;
    Some(end_as(program, arguments, parent, report))
}

fn end_as(program: &OsStr, arguments: &[OsString], parent: Pid, report: RawFd) -> u8 {
    // If that cannot be had, the command runs as it would without us.
    let _ = set_pdeathsig(Signal::SIGKILL);
    if getppid() != parent {
        // It has died before the signal was asked for.
        return exit::FAILED;
    }
    // Opened anew it is ours alone, and closed when the command takes over.
    let opened = File::options().write(true).open(format!("/proc/self/fd/{report}"));
    let _ = close(report);
    let error = Command::new(program).args(arguments).exec();
    let number = error.raw_os_error().unwrap_or(Errno::EINVAL as i32);
    // If nobody hears it, the exit code has to do.
    let _ = opened.and_then(|mut report| report.write_all(&number.to_ne_bytes()));
    if error.kind() == io::ErrorKind::NotFound { exit::NOT_FOUND } else { exit::NOT_EXECUTABLE }
}
