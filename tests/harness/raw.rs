//! A connection without a client library: every byte is the test's.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::Bytes;
use memod_descriptors::{Inbox, SealedFile};
use memod_protocol::frame::{PREFIX_BYTES, Prefix};
use memod_protocol::handshake::{CAPABILITIES, DESCRIPTORS, Hello, Welcome};
use memod_protocol::{
    Delivery, Digest, EntryRow, ErrorCode, Filter, Frame, Hit, Miss, Put, PutOutcome, Request,
    RequestHeader, Response, ResponseHeader, WireError, wire,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::calls::CallBuilder;

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: UnixStream,
    inbox: Inbox,
    next_id: u64,
}

/// The receiving side: what a plain read would drop is kept.
struct Receiving<'a> {
    stream: &'a UnixStream,
    inbox: &'a mut Inbox,
}

impl Read for Receiving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut wanted = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
            if poll(&mut wanted, PollTimeout::from(60_000_u16))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match memod_descriptors::receive(self.stream, buffer, self.inbox) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}

/// A reply with its payload.
#[derive(Debug)]
pub struct RawReply {
    /// The request it belongs to.
    pub id: u64,
    /// The message.
    pub response: Response,
    /// The payload.
    pub payload: Bytes,
}

impl Raw {
    /// Connects without a greeting.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).expect("the daemon listens"))
    }

    /// A connection by this socket, without a greeting.
    #[must_use]
    pub fn over(stream: UnixStream) -> Self {
        Self { stream, inbox: Inbox::default(), next_id: 1 }
    }

    /// Connects and greets.
    ///
    /// # Panics
    /// If the daemon does not agree.
    #[must_use]
    pub fn greeted(socket: &Path) -> Self {
        let mut raw = Self::connect(socket);
        raw.greet();
        raw.is_welcome();
        raw
    }

    /// Connects and greets as a client with these capabilities.
    ///
    /// # Panics
    /// If the daemon does not agree.
    #[must_use]
    pub fn capable(socket: &Path, capabilities: u64) -> Self {
        let mut raw = Self::connect(socket);
        raw.greet_with(capabilities);
        raw.is_welcome();
        raw
    }

    /// Connects and greets a daemon that may be killed meanwhile.
    ///
    /// # Errors
    /// If it does not answer.
    ///
    /// # Panics
    /// Never: a greeting fits into a frame.
    pub fn try_greeted(socket: &Path) -> io::Result<Self> {
        let mut raw = Self::over(UnixStream::connect(socket)?);
        let hello = Frame::bare(&Hello::new("memod-tests")).expect("fits");
        raw.send_bytes(&hello.head())?;
        let mut prefix = [0; PREFIX_BYTES];
        raw.receiving().read_exact(&mut prefix)?;
        let prefix = Prefix::parse(prefix).map_err(io::Error::other)?;
        raw.receiving().read_exact(&mut vec![0; prefix.body_bytes()])?;
        Ok(raw)
    }

    /// Sends the greeting of a client that takes no descriptors.
    ///
    /// # Panics
    /// If the daemon has ended the connection.
    pub fn greet(&mut self) {
        self.greet_with(CAPABILITIES & !DESCRIPTORS);
    }

    /// Sends the greeting of a client with these capabilities.
    ///
    /// # Panics
    /// If the daemon has ended the connection.
    pub fn greet_with(&mut self, capabilities: u64) {
        let hello = Hello::new("memod-tests").with_capabilities(capabilities);
        self.send_frame(&Frame::bare(&hello).expect("fits"));
    }

    /// Reads the answer to a greeting.
    ///
    /// # Panics
    /// If the daemon does not agree.
    pub fn is_welcome(&mut self) {
        let frame = self.read_frame().expect("a welcome");
        match wire::decode(&frame.header).expect("a welcome") {
            Welcome::Agreed(_) => {}
            Welcome::Refused { error, .. } => panic!("refused: {error}"),
        }
    }

    /// Reads the answer to a greeting, which must be that the daemon does not agree.
    ///
    /// # Panics
    /// If it does.
    pub fn is_refused(&mut self) -> WireError {
        let frame = self.read_frame().expect("a word on why");
        match wire::decode(&frame.header).expect("a welcome") {
            Welcome::Agreed(_) => panic!("the daemon agrees"),
            Welcome::Refused { error, .. } => error,
        }
    }

    fn receiving(&mut self) -> Receiving<'_> {
        Receiving { stream: &self.stream, inbox: &mut self.inbox }
    }

    /// The descriptors that came with the frame that was read last.
    ///
    /// # Panics
    /// If it did not have so many.
    pub fn descriptors(&mut self, announced: usize) -> Vec<OwnedFd> {
        self.inbox.take(announced, 0).expect("a frame has as many as its message says")
    }

    /// The socket itself.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Writes raw bytes.
    ///
    /// # Errors
    /// If the daemon has ended the connection.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes raw bytes that fit into the socket's buffer, and descriptors with the first of them.
    ///
    /// # Errors
    /// If the daemon has ended the connection.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn send_descriptors(
        &mut self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let sent = memod_descriptors::send(&self.stream, &[IoSlice::new(bytes)], descriptors)?;
        assert_eq!(sent, bytes.len(), "they do not fit");
        Ok(())
    }

    /// Writes a frame.
    ///
    /// # Panics
    /// If the daemon has ended the connection.
    pub fn send_frame(&mut self, frame: &Frame) {
        self.send_bytes(&frame.head()).expect("sent");
        for piece in &frame.payload {
            self.send_bytes(piece).expect("sent");
        }
    }

    /// Says that nothing more will be sent; replies can still be read.
    pub fn end_sending(&self) {
        // It fails only if the daemon has ended the connection already.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Sends a request and waits for its first reply that is not about its progress, with a daemon
    /// that may be killed meanwhile.
    ///
    /// # Errors
    /// If the connection ends before the whole reply has come.
    ///
    /// # Panics
    /// If what comes is no reply to the request.
    pub fn try_ask(&mut self, request: Request, payload: &[u8]) -> io::Result<RawReply> {
        let id = self.try_send(request, payload)?;
        loop {
            let reply = self.try_read_reply()?;
            assert_eq!(reply.id, id, "a reply to another request: {:?}", reply.response);
            if !matches!(reply.response, Response::Progress { .. }) {
                return Ok(reply);
            }
        }
    }

    /// Reads the next reply, of a daemon that may be killed meanwhile.
    ///
    /// # Errors
    /// If the connection ends before the whole reply has come.
    ///
    /// # Panics
    /// If what comes is no reply.
    pub fn try_read_reply(&mut self) -> io::Result<RawReply> {
        let mut prefix = [0; PREFIX_BYTES];
        self.receiving().read_exact(&mut prefix)?;
        let prefix = Prefix::parse(prefix).expect("a frame");
        let mut body = vec![0; prefix.body_bytes()];
        self.receiving().read_exact(&mut body)?;
        let frame = Frame::from_body(prefix, body.into());
        let ResponseHeader { id, response } = wire::decode(&frame.header).expect("a reply");
        Ok(RawReply { id, response, payload: frame.into_payload() })
    }

    /// Sends a request, to a daemon that may be killed meanwhile; gives its number.
    ///
    /// # Errors
    /// If the daemon has ended the connection.
    ///
    /// # Panics
    /// If it does not fit into a frame.
    pub fn try_send(&mut self, request: Request, payload: &[u8]) -> io::Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let payload = vec![Bytes::copy_from_slice(payload)];
        let frame = Frame::new(&RequestHeader { id, request }, payload).expect("fits");
        self.send_bytes(&frame.head())?;
        frame.payload.iter().try_for_each(|piece| self.stream.write_all(piece))?;
        Ok(id)
    }

    /// Reads a frame; none at the end of the stream.
    ///
    /// # Panics
    /// If what comes is no frame, or nothing comes for a minute.
    pub fn read_frame(&mut self) -> Option<Frame> {
        let mut prefix = [0; PREFIX_BYTES];
        let mut filled = 0;
        while filled < PREFIX_BYTES {
            match self.receiving().read(&mut prefix[filled..]) {
                Ok(0) if filled == 0 => return None,
                Ok(0) => panic!("the stream ended in the middle of a frame"),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("cannot read: {error}"),
            }
        }
        let prefix = Prefix::parse(prefix).expect("a frame");
        let mut body = vec![0; prefix.body_bytes()];
        self.receiving().read_exact(&mut body).expect("a whole frame");
        Some(Frame::from_body(prefix, body.into()))
    }

    /// Reads the next reply; none at the end of the stream.
    ///
    /// # Panics
    /// If what comes is no reply.
    pub fn read_reply(&mut self) -> Option<RawReply> {
        let frame = self.read_frame()?;
        let ResponseHeader { id, response } = wire::decode(&frame.header).expect("a reply");
        Some(RawReply { id, response, payload: frame.into_payload() })
    }

    /// Sends a request without waiting; gives its number.
    ///
    /// # Panics
    /// If it does not fit into a frame, or cannot be sent.
    #[expect(clippy::needless_pass_by_value, reason = "tests pass what they have just made")]
    pub fn send(&mut self, request: Request, payload: Bytes) -> u64 {
        self.try_send(request, &payload).expect("sent")
    }

    /// Sends a request and waits for its first reply.
    ///
    /// # Panics
    /// If the daemon ends the connection instead.
    pub fn ask(&mut self, request: Request, payload: Bytes) -> RawReply {
        let id = self.send(request, payload);
        let reply = self.read_reply().expect("a reply");
        assert_eq!(reply.id, id, "a reply to another request: {:?}", reply.response);
        reply
    }

    /// Sends a request that must fail; gives the error.
    ///
    /// # Panics
    /// If it does not.
    pub fn ask_error(&mut self, request: Request, payload: Bytes) -> WireError {
        match self.ask(request, payload).response {
            Response::Error(error) => error,
            other => panic!("an error was due, not {other:?}"),
        }
    }

    /// Looks a call up; a hit comes with the whole content of each output.
    ///
    /// # Errors
    /// The miss.
    ///
    /// # Panics
    /// If the answer is neither.
    pub fn lookup(&mut self, call: &CallBuilder) -> Result<(Hit, Vec<Bytes>), Miss> {
        let reply = self.ask(call.lookup(), Bytes::new());
        match reply.response {
            Response::Hit(hit) => {
                let contents = self.contents(&hit, reply.payload);
                Ok((*hit, contents))
            }
            Response::Miss(miss) => Err(miss),
            other => panic!("neither hit nor miss: {other:?}"),
        }
    }

    /// Collects the outputs of a hit, inline and streamed, and checks their digests.
    ///
    /// # Panics
    /// If anything is not as the hit says.
    pub fn contents(&mut self, hit: &Hit, payload: Bytes) -> Vec<Bytes> {
        self.try_contents(hit, payload).expect("all outputs come")
    }

    /// As [`Raw::contents`], of a daemon that may end meanwhile.
    ///
    /// # Errors
    /// If the connection ends before all outputs have come, or the daemon says that it ends.
    ///
    /// # Panics
    /// If anything is not as the hit says.
    pub fn try_contents(&mut self, hit: &Hit, mut payload: Bytes) -> io::Result<Vec<Bytes>> {
        let sealed = hit.outputs.iter().filter(|output| output.delivery == Delivery::Sealed);
        let mut sealed = self.descriptors(sealed.count()).into_iter();
        let mut contents = Vec::new();
        for (index, output) in hit.outputs.iter().enumerate() {
            let bytes = usize::try_from(output.bytes).expect("fits into memory");
            let content = match output.delivery {
                Delivery::Inline => payload.split_to(bytes),
                Delivery::Stream => {
                    let mut content = Vec::new();
                    while content.len() < bytes {
                        let reply = self.try_read_reply()?;
                        let (output, offset) = match reply.response {
                            Response::Chunk { output, offset } => (output, offset),
                            Response::Error(error) if error.code == ErrorCode::ShuttingDown => {
                                return Err(io::Error::other(error));
                            }
                            other => panic!("a chunk was due, not {other:?}"),
                        };
                        assert_eq!((output as usize, offset), (index, content.len() as u64));
                        content.extend_from_slice(&reply.payload);
                    }
                    content.into()
                }
                Delivery::Sealed => {
                    let file = SealedFile::check(sealed.next().expect("one each"), output.bytes);
                    let mapping = file.expect("it is sealed").map().expect("it can be mapped");
                    Bytes::copy_from_slice(mapping.as_ref())
                }
                Delivery::Withheld => panic!("a hit withholds nothing"),
            };
            assert_eq!(content.len(), bytes);
            assert_eq!(Digest::of(&content), output.digest, "the wrong bytes were served");
            contents.push(content);
        }
        assert!(payload.is_empty(), "bytes are left over behind the inline outputs");
        Ok(contents)
    }

    /// Stores a run; the answer must be an outcome.
    ///
    /// # Panics
    /// If it is an error.
    pub fn put(&mut self, (put, payload): (Put, Bytes)) -> PutOutcome {
        match self.ask(Request::Put(Box::new(put)), payload).response {
            Response::Put(outcome) => outcome,
            other => panic!("a put's outcome was due, not {other:?}"),
        }
    }

    /// Stores a run; the answer must be an error.
    ///
    /// # Panics
    /// If it is not.
    pub fn put_error(&mut self, (put, payload): (Put, Bytes)) -> WireError {
        self.ask_error(Request::Put(Box::new(put)), payload)
    }

    /// Whether the daemon answers on this connection.
    pub fn ping(&mut self) -> bool {
        matches!(self.ask(Request::Ping, Bytes::new()).response, Response::Pong)
    }

    /// Every entry that is stored.
    ///
    /// # Panics
    /// If the daemon answers otherwise.
    pub fn list(&mut self) -> Vec<EntryRow> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let limit = memod_protocol::limits::LIST_ROWS_MAX;
            let request = Request::List { filter: Filter::default(), limit, cursor };
            match self.ask(request, Bytes::new()).response {
                Response::Listed { rows, cursor: None } => {
                    all.extend(rows);
                    return all;
                }
                Response::Listed { rows, cursor: more } => {
                    all.extend(rows);
                    cursor = more;
                }
                other => panic!("a listing was due, not {other:?}"),
            }
        }
    }
}
