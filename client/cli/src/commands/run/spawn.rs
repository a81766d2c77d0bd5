//! Starts a program with the signal mask that we were started with.
//!
//! The standard library's `Command` hands down the mask of the thread that spawns, which here
//! holds signals back; `posix_spawn` takes another.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

/// Starts the command, found by `$PATH`, in this process's environment. Of the files that are ours
/// alone it gets those that are given, each under a number.
///
/// # Errors
/// If it cannot be started: not found, not executable.
pub(super) fn spawn(
    command: &[OsString],
    files: &[(BorrowedFd<'_>, RawFd)],
    mask: SigSet,
) -> io::Result<Pid> {
    let arguments = command.iter().map(|argument| CString::new(argument.as_bytes()));
    let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
    let Some(program) = arguments.first() else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let variables = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        CString::new(name.into_vec())
    });
    let variables = variables.collect::<Result<Vec<_>, _>>()?;
    let mut actions = PosixSpawnFileActions::init()?;
    for (from, to) in files {
        actions.add_dup2(from.as_raw_fd(), *to)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    let mut default = SigSet::empty();
    // Rust's runtime ignores it in our process; commands expect it to end them.
    default.add(Signal::SIGPIPE);
    attributes.set_sigdefault(&default)?;
    attributes.set_sigmask(&mask)?;
    let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
    attributes.set_flags(flags)?;
    Ok(posix_spawnp(program, &actions, &attributes, &arguments, &variables)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    fn output_of(command: &[&str], mask: SigSet) -> (WaitStatus, String) {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let streams = [(writer.as_fd(), 1), (writer.as_fd(), 2)];
        let child = spawn(&command, &streams, mask).expect("it can be started");
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("it is text");
        (waitpid(child, None).expect("it is ours"), text)
    }

    #[test]
    fn both_streams_and_the_exit_code_arrive() {
        let command = ["sh", "-c", "echo \"$1\"; echo err >&2; exit 3", "sh", "a b"];
        let (status, text) = output_of(&command, SigSet::empty());
        assert!(matches!(status, WaitStatus::Exited(_, 3)), "{status:?}");
        assert_eq!(text, "a b\nerr\n");
    }

    #[test]
    fn the_mask_is_the_one_that_is_given_and_broken_pipes_end_it() {
        let command = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGUSR1);
        let (_, text) = output_of(&command, mask);
        assert!(text.contains("SigBlk:\t0000000000000200"), "{text}");
        let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
        let ignored = ignored.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        assert_eq!(ignored.map(|bits| bits & (1 << 12)), Some(0), "SIGPIPE is ignored: {text}");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let directory = tempfile::tempdir().expect("a directory");
        let command = [directory.path().join("absent").into_os_string()];
        let error = spawn(&command, &[], SigSet::empty()).expect_err("it is not there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
