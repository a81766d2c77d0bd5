//! A daemon that has to bear faults of its disk, and what it has acknowledged.

use std::path::Path;
use std::thread;
use std::time::Duration;

use harness::{Daemon, Random, Raw, Setup, call, eventually};
use memod_protocol::{Request, Response, WireError};

use super::history::collect;

/// Content that stands in its row, and content in chunks.
pub(super) const SMALL: usize = 3000;
pub(super) const LARGE: usize = 100_000;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// A daemon and its entries.
pub(super) struct Patient {
    pub(super) daemon: Daemon,
    /// Number and length of what was acknowledged.
    stored: Vec<(u64, usize)>,
    next: u64,
}

fn content(number: u64, bytes: usize) -> Vec<u8> {
    Random::new(number).bytes(bytes)
}

impl Patient {
    /// A daemon with some entries, in files and in the log.
    pub(super) fn new(setup: Setup) -> Self {
        Self::of(setup.start())
    }

    /// The same, with its store in this folder.
    pub(super) fn on(setup: Setup, data: &Path) -> Self {
        let mut daemon = setup.prepare();
        daemon.store_in(data);
        daemon.start().expect("it gets ready");
        Self::of(daemon)
    }

    fn of(daemon: Daemon) -> Self {
        let mut patient = Self { daemon, stored: Vec::new(), next: 0 };
        for _ in 0..3 {
            patient.put(SMALL).expect("stored");
            patient.put(LARGE).expect("stored");
        }
        collect(&patient.daemon.socket(), 1);
        patient.put(SMALL).expect("stored");
        patient
    }

    /// Stores something new.
    pub(super) fn put(&mut self, bytes: usize) -> Result<(), WireError> {
        self.try_put(bytes).expect("the daemon answers")
    }

    fn try_put(&mut self, bytes: usize) -> std::io::Result<Result<(), WireError>> {
        let number = self.next;
        self.next += 1;
        let one = call(&format!("number {number}")).bare().output("o0", "bytes");
        let (put, payload) = one.put(&[("o0", &content(number, bytes))]);
        let mut raw = Raw::try_greeted(&self.daemon.socket())?;
        match raw.try_ask(Request::Put(Box::new(put)), &payload)?.response {
            Response::Put(_) => {
                self.stored.push((number, bytes));
                Ok(Ok(()))
            }
            Response::Error(error) => Ok(Err(error)),
            other => panic!("a put was answered by {other:?}"),
        }
    }

    /// Stores, and flushes and compacts, until that fails; gives the error.
    pub(super) fn fails(&mut self, bytes: usize) -> String {
        let mut error = None;
        eventually("a put fails", || {
            error = self.put(bytes).err();
            if error.is_none() {
                collect(&self.daemon.socket(), 1);
            }
            error.is_some()
        });
        error.expect("it has failed").to_string()
    }

    /// Whether all that was acknowledged is there, byte for byte.
    pub(super) fn serves(&self) {
        let mut raw = self.daemon.connect();
        for (number, bytes) in &self.stored {
            let one = call(&format!("number {number}")).bare().output("o0", "bytes");
            let (_, contents) = raw.lookup(&one).unwrap_or_else(|miss| {
                panic!("number {number} of {} is gone: {miss:?}", self.stored.len())
            });
            assert!(contents[0] == content(*number, *bytes), "wrong bytes were served");
        }
    }

    /// Waits until something can be stored. The daemon may start itself anew meanwhile.
    pub(super) fn recovers(&mut self) {
        let pid = self.daemon.pid();
        eventually("puts work again", || {
            // tidy: sleeps because nobody is told, and asking all the time would hold it up.
            thread::sleep(PAUSE);
            matches!(self.try_put(SMALL), Ok(Ok(()))) && matches!(self.try_put(LARGE), Ok(Ok(())))
        });
        assert_eq!(self.daemon.pid(), pid);
        self.serves();
    }

    /// Ends the daemon and starts it again: nothing is lost.
    pub(super) fn lasts(&mut self) {
        assert!(self.daemon.stop().success(), "{}", self.daemon.log());
        self.daemon.start().expect("it starts again");
        self.serves();
        self.put(LARGE).expect("stored");
        self.daemon.kill();
        self.daemon.start().expect("it starts after a kill");
        self.serves();
    }
}
