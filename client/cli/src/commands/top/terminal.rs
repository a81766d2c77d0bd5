//! The terminal while `memo top` has it.
//!
//! **Invariants.** However it ends, by a key, a signal or a panic, the terminal is as it was: the
//! guard that changed it gives it back when it is dropped. Signals are read, not handled.

use std::io::{self, Stdin, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::frame::Size;

/// Another screen, and no cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// The size of a terminal that does not tell.
const SIZE: Size = Size { columns: 80, rows: 24 };
/// Ctrl-C and Ctrl-D, which the terminal hands over as they are.
const END_KEYS: [u8; 4] = [b'q', b'Q', 3, 4];

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// There is something new to show.
    News,
    /// The window has another size.
    Resized,
    /// It is to end.
    End,
}

/// A terminal that is ours.
pub(super) struct Terminal {
    input: Stdin,
    signals: SignalFd,
    news: UnixStream,
    before: Termios,
}

impl Terminal {
    /// Takes the terminal. `news` becomes readable when there is something new to show.
    ///
    /// # Errors
    /// If it is none, or a limit does not allow it.
    pub(super) fn take(news: UnixStream, signals: SignalFd) -> io::Result<Self> {
        let input = io::stdin();
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.make_raw();
        news.set_nonblocking(true)?;
        tcsetattr(&input, OptionalActions::Flush, &raw)?;
        // From here on the terminal is given back, whatever happens.
        let terminal = Self { input, signals, news, before };
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        drop(out);
        Ok(terminal)
    }

    /// How much there is room for.
    pub(super) fn size() -> Size {
        let size = tcgetwinsize(io::stdout()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(SIZE, |size| Size {
            columns: usize::from(size.ws_col),
            rows: usize::from(size.ws_row),
        })
    }

    /// Shows these lines in place of those before.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) fn show(lines: &[String]) -> io::Result<()> {
        let mut text = String::from("\x1b[H");
        for (index, line) in lines.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "\r\n" });
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Waits for what happens next.
    ///
    /// # Errors
    /// If the terminal cannot be waited for.
    pub(super) fn next(&mut self) -> io::Result<Event> {
        loop {
            let mut fds = [
                PollFd::new(self.input.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.news.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            let ready = fds.map(|fd| fd.any().unwrap_or(true));
            let [typed, signalled, news] = ready;
            if signalled {
                match self.signals.read_signal()? {
                    Some(signal) if signal.ssi_signo == Signal::SIGWINCH as u32 => {
                        return Ok(Event::Resized);
                    }
                    Some(_) => return Ok(Event::End),
                    None => {}
                }
            }
            if typed {
                let mut keys = [0; 64];
                let count = nix::unistd::read(&self.input, &mut keys)?;
                let typed = keys.get(..count).unwrap_or_default();
                // A terminal that is gone has no keys any more.
                if typed.is_empty() || typed.iter().any(|key| END_KEYS.contains(key)) {
                    return Ok(Event::End);
                }
            }
            if news {
                let mut bytes = [0; 64];
                while nix::unistd::read(&self.news, &mut bytes).is_ok_and(|count| count > 0) {}
                return Ok(Event::News);
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // There is nobody to tell if the terminal is gone.
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
        let _ = tcsetattr(&self.input, OptionalActions::Flush, &self.before);
    }
}

/// Has the signals that end or resize us wait to be read; to be called before any thread begins.
///
/// # Errors
/// If a limit does not allow it.
pub(super) fn hold_signals() -> io::Result<SignalFd> {
    let held = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGWINCH];
    let held: SigSet = held.into_iter().collect();
    let signals = SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    held.thread_block()?;
    Ok(signals)
}
