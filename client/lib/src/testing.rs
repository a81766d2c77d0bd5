//! A small fake daemon and calls for this crate's tests.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::frame::{Frame, PREFIX_BYTES, Prefix};
use memod_protocol::handshake::{self, Hello, Welcome};
use memod_protocol::wire::{self, Encode};
use memod_protocol::{
    Call, Delivery, Digest, Hit, Holder, Interface, Leased, LiteralType, Miss, MissReason, Output,
    Pending, Provenance, PutOutcome, Request, RequestHeader, Response, ResponseHeader, RunClaim,
    Scope,
};

use crate::address::Environment;
use crate::builder::Builder;
use crate::client::Client;

/// A call with these outputs, all of one type, and no inputs.
pub(crate) fn call_with_outputs(names: &[&str], literal_type: &LiteralType) -> Call {
    let outputs = names.iter().map(|name| ((*name).to_owned(), literal_type.clone())).collect();
    Call {
        scope: Scope::new("project", "development"),
        task: "task".into(),
        cache_version: "1.0".into(),
        interface: Interface { inputs: BTreeMap::new(), outputs },
        inputs: BTreeMap::new(),
        ignored: BTreeSet::new(),
    }
}

/// Provenance in which nothing is known.
pub(crate) fn provenance() -> Provenance {
    Provenance {
        writer_uid: 1000,
        writer_pid: None,
        program: None,
        host: None,
        created_at_ms: 1,
        run: RunClaim { compute_ns: Some(5_000_000_000), ..RunClaim::default() },
    }
}

/// A hit of this call with these contents, each with the way it travels.
pub(crate) fn hit(call: &Call, contents: &[(&str, &[u8], Delivery)]) -> Response {
    let output = |(name, bytes, delivery): &(&str, &[u8], Delivery)| Output {
        name: (*name).into(),
        literal_type: call.interface.outputs.get(*name).map_or("bytes".into(), ToString::to_string),
        digest: Digest::of(bytes),
        bytes: bytes.len() as u64,
        delivery: *delivery,
    };
    Response::Hit(Box::new(Hit {
        key: call.key().unwrap(),
        age_ms: 1500,
        outputs: contents.iter().map(output).collect(),
        provenance: provenance(),
    }))
}

/// A miss of this call.
pub(crate) fn miss(call: &Call, reason: MissReason) -> Miss {
    Miss { key: call.key().unwrap(), reason, at_ms: None, by_uid: None, detail: None }
}

/// Somebody who holds a lease.
pub(crate) fn holder() -> Holder {
    let program = Some("make".to_owned());
    Holder { name: None, uid: 7, pid: Some(8), program, held_ms: 9, expires_in_ms: None }
}

/// The lease of this call.
pub(crate) fn leased(call: &Call) -> Response {
    let miss = miss(call, MissReason::NeverSeen);
    Response::Leased(Box::new(Leased { miss, holder: holder() }))
}

/// That somebody else holds it.
pub(crate) fn pending(call: &Call, waiting: bool) -> Response {
    let (key, holder) = (call.key().unwrap(), holder());
    Response::Pending(Box::new(Pending { key, holder, waiting }))
}

/// One connection as the fake daemon has it.
pub(crate) struct Peer {
    pub(crate) socket: UnixStream,
    /// What the fake daemon is able to do.
    pub(crate) capabilities: u64,
}

impl Peer {
    /// One that has no capability.
    pub(crate) const fn new(socket: UnixStream) -> Self {
        Self { socket, capabilities: 0 }
    }

    /// The next frame, or nothing at the end.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut prefix = [0; PREFIX_BYTES];
        self.socket.read_exact(&mut prefix).ok()?;
        let prefix = Prefix::parse(prefix).unwrap();
        let mut body = vec![0; prefix.body_bytes()];
        self.socket.read_exact(&mut body).ok()?;
        Some(Frame::from_body(prefix, body.into()))
    }

    /// Sends a frame; whether the client is there does not matter.
    pub(crate) fn send<T: Encode>(&mut self, message: &T, payload: &[u8]) {
        let frame = Frame::new(message, vec![Bytes::copy_from_slice(payload)]).unwrap();
        let _ = self.socket.write_all(&frame.head());
        let _ = self.socket.write_all(payload);
    }

    /// Greets.
    pub(crate) fn greet(&mut self) -> Option<Hello> {
        let hello: Hello = wire::decode(&self.frame()?.header).unwrap();
        let mut agreement = handshake::agree(&hello, "fake daemon").unwrap();
        agreement.capabilities &= self.capabilities;
        self.send(&Welcome::Agreed(agreement), &[]);
        Some(hello)
    }

    /// The next request with its number and payload, or nothing at the end.
    pub(crate) fn request(&mut self) -> Option<(u64, Request, Bytes)> {
        let frame = self.frame()?;
        let RequestHeader { id, request } = wire::decode(&frame.header).unwrap();
        Some((id, request, frame.into_payload()))
    }

    /// Answers.
    pub(crate) fn respond(&mut self, id: u64, response: Response, payload: &[u8]) {
        self.send(&ResponseHeader { id, response }, payload);
    }

    /// Answers with descriptors.
    pub(crate) fn respond_with(
        &mut self,
        id: u64,
        response: Response,
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) {
        let frame =
            Frame::new(&ResponseHeader { id, response }, vec![Bytes::copy_from_slice(payload)]);
        let whole = [frame.unwrap().head().as_ref(), payload].concat();
        let _ = memod_descriptors::send(&self.socket, &[IoSlice::new(&whole)], descriptors);
    }

    /// The number of the claim that comes next.
    pub(crate) fn claimed(&mut self) -> u64 {
        let (id, request, _) = self.request().unwrap();
        assert!(matches!(request, Request::Claim(_)), "{request:?}");
        id
    }

    /// Answers pings until something else comes, or the end.
    pub(crate) fn but_pings(&mut self) -> Option<(u64, Request, Bytes)> {
        loop {
            match self.request()? {
                (id, Request::Ping, _) => self.respond(id, Response::Pong, b""),
                other => return Some(other),
            }
        }
    }

    /// Takes a put of any size; gives how many bytes it had.
    pub(crate) fn take_put(&mut self, outcome: PutOutcome) -> Option<usize> {
        let mut uploaded = Vec::new();
        loop {
            let (id, request, payload) = self.request()?;
            match request {
                Request::Announce(_) => self.respond(id, Response::Awaited, b""),
                Request::UploadData { .. } => uploaded.extend_from_slice(&payload),
                Request::UploadEnd { .. } => {
                    let (digest, bytes) = (Digest::of(&uploaded), uploaded.len() as u64);
                    self.respond(id, Response::Uploaded { digest, bytes }, b"");
                }
                Request::Put(_) => {
                    self.respond(id, Response::Put(outcome), b"");
                    return Some(uploaded.len() + payload.len());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads until the client is gone.
    pub(crate) fn until_end(&mut self) {
        let _ = self.socket.read_to_end(&mut Vec::new());
    }
}

/// A fake daemon: each connection is served by a thread that runs the given function.
pub(crate) struct FakeDaemon {
    directory: tempfile::TempDir,
    connections: Arc<AtomicUsize>,
}

impl FakeDaemon {
    /// Listens, and serves each connection as told, without greeting.
    pub(crate) fn raw(serve: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let daemon = Self { directory, connections };
        daemon.listen(serve);
        daemon
    }

    /// Listens, greets, and serves each connection as told.
    pub(crate) fn new(serve: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::raw(move |mut peer| {
            if peer.greet().is_some() {
                serve(&mut peer);
            }
        })
    }

    /// Greets, and answers every request as told, with a payload.
    pub(crate) fn answering(
        answer: impl Fn(Request, Bytes) -> Option<(Response, Vec<u8>)> + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |peer| {
            while let Some((id, request, payload)) = peer.request() {
                if let Some((response, payload)) = answer(request, payload) {
                    peer.respond(id, response, &payload);
                }
            }
        })
    }

    fn listen(&self, serve: impl Fn(Peer) + Send + Sync + 'static) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let connections = Arc::clone(&self.connections);
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(socket) = socket else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(Peer::new(socket)));
            }
        });
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("memod.sock")
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// A builder of clients of it.
    pub(crate) fn builder(&self) -> Builder {
        builder(&self.socket())
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        self.builder().build()
    }
}

/// What a daemon tells of its connections.
pub(crate) struct Told(Receiver<&'static str>);

impl Told {
    /// Nothing else is told before this.
    pub(crate) fn expect(&self, what: &str) {
        assert_eq!(self.0.recv_timeout(Duration::from_secs(20)).unwrap(), what);
    }

    /// Nothing has been told.
    pub(crate) fn expect_nothing(&self) {
        assert!(self.0.try_recv().is_err());
    }
}

/// A daemon that serves each connection with its number, from one on, and tells what it likes.
pub(crate) fn telling(
    serve: impl Fn(usize, &mut Peer, &dyn Fn(&'static str)) + Send + Sync + 'static,
) -> (FakeDaemon, Told) {
    let (tell, told) = sync_channel(16);
    let state: Mutex<(usize, SyncSender<&'static str>)> = Mutex::new((0, tell));
    let daemon = FakeDaemon::new(move |peer| {
        let (number, tell) = {
            let mut state = state.lock().unwrap();
            state.0 += 1;
            (state.0, state.1.clone())
        };
        serve(number, peer, &|what| tell.send(what).unwrap());
    });
    (daemon, Told(told))
}

/// A daemon that gives the lease of a call, is gone when the put comes, and takes it once it is
/// back.
pub(crate) fn forgetting(call: Call) -> (FakeDaemon, Told) {
    telling(move |number, peer, tell| {
        if number == 1 {
            let id = peer.claimed();
            peer.respond(id, leased(&call), b"");
            peer.request();
        } else {
            peer.take_put(PutOutcome::Populated).unwrap();
            tell("put");
        }
    })
}

/// A builder of clients of this socket, untouched by the environment.
pub(crate) fn builder(socket: &Path) -> Builder {
    Client::builder().environment(Environment::default()).socket(socket).board(false)
}
