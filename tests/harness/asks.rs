//! What a connection asks beside lookups and puts.

use std::io::Read;
use std::net::Shutdown;

use bytes::Bytes;
use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{Digest, EntryDetail, Key, Request, Response, Selector, Stats, WireError};

use crate::raw::Raw;

impl Raw {
    /// Forgets entries; gives how many. Steps of a long work are told and skipped.
    ///
    /// # Panics
    /// If the answer is an error.
    pub fn invalidate(&mut self, selector: Selector, dry_run: bool) -> u64 {
        let id = self.send(Request::Invalidate { selector, dry_run }, Bytes::new());
        let mut before = 0;
        loop {
            let reply = self.read_reply().expect("a reply");
            assert_eq!(reply.id, id, "a reply to another request: {:?}", reply.response);
            match reply.response {
                Response::Progress { done } if done >= before => before = done,
                Response::Invalidated { matched } => return matched,
                other => panic!("neither progress nor an end: {other:?}"),
            }
        }
    }

    /// The daemon's counters.
    ///
    /// # Panics
    /// If the answer is anything else.
    pub fn stats(&mut self) -> Stats {
        match self.ask(Request::Stats, Bytes::new()).response {
            Response::Stats(stats) => *stats,
            other => panic!("counters were due, not {other:?}"),
        }
    }

    /// Sends the content of an upload and ends it; gives its digest.
    ///
    /// # Panics
    /// If the daemon refuses it.
    pub fn upload(&mut self, upload: u32, content: &[u8]) -> Digest {
        for chunk in content.chunks(CHUNK_BYTES as usize) {
            self.send(Request::UploadData { upload }, Bytes::copy_from_slice(chunk));
        }
        let end = Request::UploadEnd { upload, digest: None };
        match self.ask(end, Bytes::new()).response {
            Response::Uploaded { digest, bytes } => {
                assert_eq!(bytes, content.len() as u64);
                digest
            }
            other => panic!("the end of an upload was due, not {other:?}"),
        }
    }

    /// Everything about an entry but its outputs' bytes.
    ///
    /// # Errors
    /// If there is no such entry.
    ///
    /// # Panics
    /// If the answer is something else.
    pub fn show(&mut self, key: Key) -> Result<EntryDetail, WireError> {
        match self.ask(Request::Show { key }, Bytes::new()).response {
            Response::Shown(detail) => Ok(*detail),
            Response::Error(error) => Err(error),
            other => panic!("an entry was due, not {other:?}"),
        }
    }

    /// Ends the connection and waits until the daemon has noticed.
    ///
    /// # Panics
    /// If it does not for a minute.
    pub fn hang_up(self) {
        self.stream().shutdown(Shutdown::Write).expect("the connection is open");
        let mut rest = Vec::new();
        // The daemon may have ended the connection by a reset: it has noticed then, too.
        let ended = self.stream().read_to_end(&mut rest);
        let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "the daemon keeps the connection");
    }
}
