//! One connection: greeting, then requests until either side ends it.
//!
//! **Invariants.** At most `REQUESTS_IN_FLIGHT_MAX` requests are at work; the peer is not read
//! further until one is done, or until its user has a place for one more. Whoever sends without
//! end lets others have their turn now and then (see [`super::turns`]). Bytes that are no message
//! end the connection with an error that says so. When the daemon stops, requests that have begun
//! are answered.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memod_protocol::handshake::{self, Agreement, DESCRIPTORS, Hello, MAGIC, VERSIONS, Welcome};
use memod_protocol::limits::REQUESTS_IN_FLIGHT_MAX;
use memod_protocol::{ErrorCode, Frame, Request, RequestHeader, Response, WireError, wire};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use tracing::field::display;

use super::budget::{Pressure, Share, TransferError};
use super::dispatch::{self, Desk, Done, Held, Job, Work};
use super::frames::{FrameReader, ReadError, Received};
use super::peer::Peer;
use super::replies::{Replies, ReplyShare};
use super::stream::PeerStream;
use super::turns::Meter;
use super::uploads::Uploads;
use super::users::{Place, User};
use crate::service::{Account, Allowance, Lessee, Reply, Service, within_threads};

/// How long a peer may take to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection at work.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: FrameReader,
    replies: Arc<Replies>,
    service: Arc<Service>,
    peer: Arc<Peer>,
    /// For the log.
    number: u64,
    user: Arc<User>,
    _place: Place,
    lessee: Arc<Lessee>,
    uploads: Uploads,
    allowance: Allowance,
    in_flight: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    jobs: TaskTracker,
    stop: CancellationToken,
    /// Nothing more will be read: the peer has left, or the daemon stops.
    ended: CancellationToken,
    /// What was agreed on.
    capabilities: u64,
    meter: Arc<Meter>,
}

/// Why a connection ended other than by its peer's wish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// What was read was no good.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A reply could not be written.
    #[error(transparent)]
    Write(#[from] TransferError),
    /// The peer does not keep to the rules.
    #[error(transparent)]
    Refused(WireError),
    /// The greeting failed.
    #[error("no agreement: {0}")]
    Greeting(WireError),
    /// A frame held no request.
    #[error(transparent)]
    Malformed(#[from] wire::DecodeError),
}

impl Connection {
    /// Prepares to serve an accepted socket.
    ///
    /// # Errors
    /// If the kernel takes no more sockets to listen to.
    pub(crate) fn new(
        (stream, peer, number): (UnixStream, Peer, u64),
        (user, place): (Arc<User>, Place),
        service: Arc<Service>,
        stall_timeout: Duration,
        stop: CancellationToken,
    ) -> std::io::Result<Self> {
        let stream = Arc::new(PeerStream::new(stream)?);
        let budgets = user.budgets();
        Ok(Self {
            reader: FrameReader::new(Arc::clone(&stream), budgets.clone(), stall_timeout),
            replies: Arc::new(Replies::new(stream, budgets.clone(), stall_timeout)),
            user,
            _place: place,
            lessee: service.connect(),
            service,
            peer: Arc::new(peer),
            number,
            uploads: Uploads::default(),
            allowance: Allowance::begin(Instant::now()),
            in_flight: Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX as usize)),
            waits: Arc::new(Semaphore::new(dispatch::WAITS_MAX)),
            jobs: TaskTracker::new(),
            stop,
            ended: CancellationToken::new(),
            capabilities: 0,
            meter: Arc::default(),
        })
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Whether the peer takes descriptors.
    const fn takes_descriptors(&self) -> bool {
        self.capabilities & DESCRIPTORS != 0
    }

    /// What it does in its turn.
    pub(crate) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Serves the peer until it leaves, misbehaves, or the daemon stops.
    ///
    /// # Errors
    /// Why it ended, unless the peer just left.
    pub(crate) async fn run(mut self) -> Result<(), ConnectionError> {
        let outcome = self.serve().await;
        // First of all: others may wait for what it holds.
        self.service.disconnect(&self.lessee);
        self.ended.cancel();
        self.jobs.close();
        // What was asked before the end is answered before the end is told.
        self.jobs.wait().await;
        if let Some(error) = outcome.as_ref().err().and_then(told) {
            self.service.note_refusal(&self.peer, &error);
            // The peer may be gone, and then nobody wants to know.
            let _ = self.replies.send(0, Response::Error(error), Vec::new()).await;
        }
        outcome
    }

    async fn serve(&mut self) -> Result<(), ConnectionError> {
        let Some(agreement) = self.greet().await? else { return Ok(()) };
        self.capabilities = agreement.capabilities;
        let Peer { uid, pid, program, .. } = &*self.peer;
        let program = program.as_ref().map(|program| display(program.escape_debug()));
        tracing::debug!(version = agreement.version, uid, pid, program, "connected");
        // Made once, since every new one registers itself with a lock.
        let mut stopped = pin!(self.stop.clone().cancelled_owned());
        let user = Arc::clone(&self.user);
        let pressure = user.budgets().pressure();
        loop {
            self.meter.rest().await;
            if pressure.is_on() {
                self.uploads.give_up_slow();
            }
            let begun = tokio::select! {
                biased;
                begun = self.reader.begun() => begun?,
                () = &mut stopped => return Ok(()),
                () = self.uploads.slow(pressure), if !self.uploads.is_empty() => {
                    continue;
                }
            };
            if !begun {
                return Ok(());
            }
            let received = self.rest(pressure).await?;
            let RequestHeader { id, request } = wire::decode(&received.frame.header)?;
            if request.capabilities() & !agreement.capabilities != 0 {
                let text = "a request that needs a capability which was not agreed on";
                let error = WireError::new(ErrorCode::Malformed, text);
                return Err(ConnectionError::Refused(error));
            }
            let descriptors = self.reader.descriptors(request.descriptors())?;
            let payload = received.frame.into_payload();
            let job = Job { id, share: received.share, payload, descriptors };
            self.meter.count();
            self.handle(job, request).await?;
        }
    }

    /// Reads the rest of a frame. Meanwhile uploads that are slow are given up: the frame may wait
    /// for memory that others hold who wait for what these hold.
    async fn rest(&mut self, pressure: &Pressure) -> Result<Received, ReadError> {
        let mut rest = pin!(self.reader.rest());
        loop {
            tokio::select! {
                biased;
                received = &mut rest => return received,
                () = self.uploads.slow(pressure), if !self.uploads.is_empty() => {
                    self.uploads.give_up_slow();
                }
            }
        }
    }

    /// Handles one request: at once if it needs no disk and no thread, else in a task of its own.
    async fn handle(&mut self, job: Job, request: Request) -> Result<(), ConnectionError> {
        let id = job.id;
        if matches!(request, Request::Board { .. }) && !self.takes_descriptors() {
            return Ok(self.replies.send(id, Response::Board(None), Vec::new()).await?);
        }
        let account = Account::open(&request);
        // Held before any memory for the reply is, since those at work may wait for such memory.
        let place = Arc::clone(&self.in_flight).acquire_owned().await;
        let place = place.expect("the semaphore of a connection is never closed");
        let (service, peer, replies) = (&self.service, &self.peer, &self.replies);
        let work = match dispatch::at_once(service, peer, &self.lessee, request, replies) {
            dispatch::Step::Reply(reply, share) if reply.streams.is_empty() => {
                return Ok(answer(service, peer, replies, id, account, *reply, share).await?);
            }
            dispatch::Step::Reply(reply, share) => Work::Send(reply, share),
            dispatch::Step::Later(work) => work,
            dispatch::Step::Hits(hits) => {
                service.count_board_hits(peer, *hits, &mut self.allowance).await;
                return Ok(());
            }
            dispatch::Step::Upload(step) => {
                let (budgets, from) = (self.user.budgets(), (&**service, &**peer));
                let done = dispatch::upload(from, &mut self.uploads, step, job, budgets);
                if let Some(answer) = done.await.map_err(ConnectionError::Refused)? {
                    if let Response::Error(error) = &answer {
                        service.note_refusal(peer, error);
                    }
                    replies.send(id, answer, Vec::new()).await?;
                }
                return Ok(());
            }
            dispatch::Step::Announce(announced) => {
                let done = dispatch::announce(service, peer, &mut self.uploads, *announced);
                let reply = done.await;
                // The put that comes is what is written down.
                let account = account.filter(|_| !matches!(reply.response, Response::Awaited));
                return Ok(answer(service, peer, replies, id, account, reply, None).await?);
            }
            dispatch::Step::Put(put, imported) => {
                match dispatch::gather(&mut self.uploads, *put, imported, &job.payload) {
                    Ok(gathered) => Work::Put(Box::new(gathered)),
                    Err(error) => Work::Send(Box::new(Response::Error(error).into()), None),
                }
            }
        };
        // What is only to be sent holds its memory already, and must not wait for those who wait
        // for memory.
        let of_user = match work {
            Work::Send(..) => None,
            _ => match self.user.request().await {
                Ok(place) => Some(place),
                Err(error) => {
                    let reply = Response::Error(error).into();
                    return Ok(answer(service, peer, replies, id, account, reply, None).await?);
                }
            },
        };
        self.later(work, Held::new(place, of_user), (id, job.share), account);
        Ok(())
    }

    /// Handles what needs time, in a task of its own. `share`: of the memory, for the request.
    fn later(
        &self,
        work: Work,
        place: Held,
        (id, request_share): (u64, Option<Share>),
        account: Option<Account>,
    ) {
        let (service, peer) = (Arc::clone(&self.service), Arc::clone(&self.peer));
        let (replies, lessee) = (Arc::clone(&self.replies), Arc::clone(&self.lessee));
        let (waits, takes_descriptors) = (Arc::clone(&self.waits), self.takes_descriptors());
        let capabilities = self.capabilities;
        let ended = self.ended.clone();
        let verb = account.as_ref().map(|account| account.verb().name());
        let (connection, uid, pid) = (self.number, peer.uid, peer.pid);
        let span = tracing::info_span!("request", connection, uid, pid, id, verb);
        let begun = async move {
            let desk = Desk {
                service: &service,
                peer: &peer,
                lessee: &lessee,
                replies: &replies,
                waits: &waits,
                ended: &ended,
                id,
                capabilities,
            };
            let Some(done) = dispatch::later(&desk, work, place).await else { return };
            // The request's memory is not kept for as long as its peer takes to read the reply.
            drop(request_share);
            let Done { mut reply, mut share, place: _place } = done;
            if takes_descriptors && !reply.streams.is_empty() {
                // It may wait for a disk, and must not keep others waiting for memory meanwhile.
                share = share.filter(|_| !reply.payload.is_empty());
                reply = service.seal(reply).await;
            }
            let sent = answer(&service, &peer, &replies, id, account, reply, share).await;
            if let Err(error) = sent {
                tracing::debug!("a reply could not be sent: {error}");
            }
        };
        self.jobs.spawn(within_threads(self.user.threads(), begun.instrument(span)));
    }

    /// Exchanges greetings; nothing if the peer left without one.
    async fn greet(&mut self) -> Result<Option<Agreement>, ConnectionError> {
        let read = async {
            if !self.reader.begun().await? {
                return Ok::<_, ReadError>(None);
            }
            let frame = self.reader.rest().await?.frame;
            self.reader.descriptors(0)?;
            Ok(Some(frame))
        };
        let stop = self.stop.clone();
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(GREETING_TIMEOUT, read) => greeted,
            () = stop.cancelled() => return Ok(None),
        };
        let not_ours = |error: &dyn std::fmt::Display| {
            let text = format!("the greeting is not memod's: {error}");
            Err(WireError::new(ErrorCode::Malformed, text))
        };
        let server = concat!("memod ", env!("CARGO_PKG_VERSION"));
        let agreed = match greeted {
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(frame))) => match wire::decode::<Hello>(&frame.header) {
                Ok(hello) => handshake::agree(&hello, server),
                Err(error) => not_ours(&error),
            },
            Ok(Err(ReadError::Frame(error))) => not_ours(&error),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => Err(WireError::new(
                ErrorCode::Malformed,
                format!("no greeting came within {GREETING_TIMEOUT:?}"),
            )),
        };
        let welcome = match &agreed {
            Ok(agreement) => Welcome::Agreed(agreement.clone()),
            Err(error) => {
                Welcome::Refused { magic: MAGIC, versions: VERSIONS.to_vec(), error: error.clone() }
            }
        };
        let frame = Frame::bare(&welcome).expect("a welcome fits into a frame");
        self.replies.send_frame(&frame).await?;
        agreed.map(Some).map_err(ConnectionError::Greeting)
    }
}

/// Sends a reply, and has it written down.
async fn answer(
    service: &Service,
    peer: &Arc<Peer>,
    replies: &Replies,
    id: u64,
    mut account: Option<Account>,
    mut reply: Reply,
    share: Option<ReplyShare>,
) -> Result<(), TransferError> {
    if let Some(account) = &mut account {
        account.answered(&reply);
    }
    if let Response::Error(error) = &reply.response {
        service.note_refusal(peer, error);
    }
    let of_many = std::mem::take(&mut reply.accounts);
    let before_last = |void: bool| {
        for account in of_many {
            service.close_account(peer, account);
        }
        if let Some(mut account) = account {
            if void {
                account.voided();
            }
            service.close_account(peer, account);
        }
    };
    replies.send_reply(id, reply, share, before_last).await
}

/// What the peer is told about the end of its connection.
fn told(error: &ConnectionError) -> Option<WireError> {
    let malformed = |text: String| Some(WireError::new(ErrorCode::Malformed, text));
    match error {
        ConnectionError::Read(ReadError::Frame(error)) => malformed(error.to_string()),
        ConnectionError::Read(ReadError::Descriptors(error)) => malformed(error.to_string()),
        ConnectionError::Read(error @ ReadError::Crowded) => {
            Some(WireError::new(ErrorCode::Busy, error.to_string()).with_hint("try again later"))
        }
        ConnectionError::Read(ReadError::Transfer(TransferError::Io(_))) => None,
        ConnectionError::Read(ReadError::Transfer(error)) => malformed(error.to_string()),
        ConnectionError::Malformed(error) => malformed(error.to_string()),
        ConnectionError::Refused(error) => Some(error.clone()),
        ConnectionError::Read(_) | ConnectionError::Write(_) | ConnectionError::Greeting(_) => None,
    }
}
