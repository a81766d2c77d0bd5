//! What may sit at a socket in place of a memod that works.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use memod_protocol::frame::{PREFIX_BYTES, Prefix};
use memod_protocol::handshake::{Agreement, Hello, MAGIC, PeerLimits, VERSIONS, Welcome};
use memod_protocol::wire::{self, Encode};
use memod_protocol::{
    ErrorCode, Frame, Request, RequestHeader, Response, ResponseHeader, WireError,
};
use tempfile::TempDir;

/// A socket with something behind it that is not memod. It ends when it is dropped.
#[derive(Debug)]
pub struct Fake {
    folder: TempDir,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

/// What a fake says to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This, with a payload.
    Say(Response, Bytes),
    /// Nothing.
    Nothing,
    /// Nothing, and it hangs up.
    Leave,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Say(response, Bytes::new())
    }
}

#[derive(Debug, Default)]
struct State {
    ending: AtomicBool,
    accepted: AtomicUsize,
    streams: Mutex<Vec<UnixStream>>,
}

impl Fake {
    /// Serves each connection by this, in a thread of its own.
    ///
    /// # Panics
    /// If the socket cannot be made.
    pub fn new(serve: impl Fn(&UnixStream) + Send + Sync + 'static) -> Self {
        let folder = tempfile::Builder::new().prefix("fake-").tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("fake.sock")).expect("a socket");
        let state = Arc::new(State::default());
        let (shared, serve) = (Arc::clone(&state), Arc::new(serve));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                if shared.ending.load(Ordering::SeqCst) {
                    return;
                }
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let ours = stream.try_clone().expect("a descriptor");
                shared.streams.lock().expect("not poisoned").push(ours);
                let serve = Arc::clone(&serve);
                thread::spawn(move || {
                    serve(&stream);
                    // The copy that is kept for the end would hold the connection open.
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { folder, state, accepting: Some(accepting) }
    }

    /// Accepts, reads, and never says a word.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        })
    }

    /// Says this to everybody, whatever they say.
    #[must_use]
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |mut stream| {
            let _ = stream.write_all(&bytes);
            let _ = stream.read_to_end(&mut Vec::new());
        })
    }

    /// Speaks another version of the protocol.
    #[must_use]
    pub fn of_another_version() -> Self {
        Self::new(|stream| {
            let _ = read_frame(stream);
            let versions = vec![u16::MAX];
            let error = WireError::new(ErrorCode::VersionMismatch, "nothing in common")
                .with_hint("install the same release on both sides");
            let _ = write(stream, &Welcome::Refused { magic: MAGIC, versions, error }, Vec::new());
        })
    }

    /// Greets as memod does, and answers each request by this.
    ///
    /// # Panics
    /// If a client sends what is no request.
    pub fn answering(answer: impl Fn(Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::able(0, answer)
    }

    /// The same, with these capabilities.
    ///
    /// # Panics
    /// If a client sends what is no request.
    pub fn able(
        capabilities: u64,
        answer: impl Fn(Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |stream| {
            let Some(hello) = read_frame(stream) else { return };
            let Ok(Hello { .. }) = wire::decode(&hello.header) else { return };
            let agreement = Agreement {
                magic: MAGIC,
                version: VERSIONS[0],
                capabilities,
                limits: PeerLimits::default(),
                server: "fake".to_owned(),
            };
            let mut written = write(stream, &Welcome::Agreed(agreement), Vec::new());
            while let (Ok(()), Some(frame)) = (&written, read_frame(stream)) {
                let RequestHeader { id, request } =
                    wire::decode(&frame.header).expect("clients send requests");
                match answer(request) {
                    Answer::Say(response, payload) => {
                        written = write(stream, &ResponseHeader { id, response }, vec![payload]);
                    }
                    Answer::Nothing => {}
                    Answer::Leave => return,
                }
            }
        })
    }

    /// Greets as memod does, and answers each request with this error.
    #[must_use]
    pub fn refusing(code: ErrorCode) -> Self {
        Self::answering(move |request| match request {
            Request::UploadData { .. } | Request::UploadAbort { .. } => Answer::Nothing,
            _ => Response::Error(WireError::new(code, "no")).into(),
        })
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("fake.sock")
    }

    /// The directory of its socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.state.ending.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = UnixStream::connect(self.socket());
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.state.streams.lock().expect("not poisoned").iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn read_frame(mut stream: &UnixStream) -> Option<Frame> {
    let mut prefix = [0; PREFIX_BYTES];
    stream.read_exact(&mut prefix).ok()?;
    let prefix = Prefix::parse(prefix).ok()?;
    let mut body = vec![0; prefix.body_bytes()];
    stream.read_exact(&mut body).ok()?;
    Some(Frame::from_body(prefix, body.into()))
}

fn write<T: Encode>(
    mut stream: &UnixStream,
    message: &T,
    payload: Vec<Bytes>,
) -> std::io::Result<()> {
    let frame = Frame::new(message, payload).expect("it fits into a frame");
    stream.write_all(&frame.head())?;
    frame.payload.iter().try_for_each(|piece| stream.write_all(piece))
}
