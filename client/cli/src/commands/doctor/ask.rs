//! Asks other programs, and does not wait for them for ever.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// No program is waited for longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// No answer that is worth reading is longer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What a program writes to standard output.
///
/// # Errors
/// If it cannot be started, or has not closed its output in time; it is killed then.
pub(super) fn output(command: &mut Command, patience: Duration) -> io::Result<String> {
    // In a group of its own, so that what it has started ends with it.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    let read = read(&mut child, patience);
    if read.is_err() {
        let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    }
    child.wait()?;
    read
}

fn read(child: &mut Child, patience: Duration) -> io::Result<String> {
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("its output is not piped"))?;
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new().name("memo-doctor".into()).spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
        // Nobody waits for it any more if it comes too late.
        let _ = sender.send(read.map(|_| bytes));
    })?;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {patience:?}"));
    let bytes = receiver.recv_timeout(patience).map_err(late)??;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_answer_is_read() {
        let told = output(&mut shell("echo memod 1; echo wrong >&2"), PATIENCE);
        assert_eq!(told.expect("it answers"), "memod 1");
        assert!(output(&mut Command::new("/nowhere/memod"), PATIENCE).is_err());
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        // The first hangs itself, the second leaves somebody behind who holds its output.
        for script in ["exec sleep 1000", "sleep 1000 & exit 0"] {
            let begun = Instant::now();
            let error = output(&mut shell(script), Duration::from_millis(50));
            assert_eq!(error.expect_err("no answer").kind(), io::ErrorKind::TimedOut);
            assert!(begun.elapsed() < Duration::from_secs(500), "it was killed");
        }
    }
}
