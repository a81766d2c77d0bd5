//! One connection of the blocking client: drives the exchanges over a [`Wire`].
//!
//! **Invariants.** A connection is settled exactly if its last exchange came to its proper end;
//! only then may it be used again. A pong that is still to come is no answer to anything else.

mod many;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use memod_protocol::handshake::{Agreement, DESCRIPTORS, PeerLimits};
use memod_protocol::{BoardOffer, Leased, PutOutcome};

use crate::address::{Address, Origin};
use crate::claiming::Claiming;
use crate::connect::{Patience, Wire, sink_error};
use crate::error::Error;
use crate::exchange;
use crate::exchange::ask::{Ask, Ping};
use crate::exchange::board::AskBoard;
use crate::exchange::claim::{Answer, answer};
use crate::exchange::hit::{First, Step, Transfer, Wanted, first};
use crate::exchange::put::{PutExchange, announced, outcome};
use crate::exchange::put_many::inline;
use crate::options::{ClaimFound, ClaimOptions, Found, LookupOptions, OutputSink, Wait};
use crate::outputs::{Body, Prepared, unreadable};
use crate::sealed::{file, mapped};

/// How long the daemon may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Until the first frame of an answer.
    pub(crate) deadline: Duration,
    /// Between two signs of life of a stream.
    pub(crate) stall: Duration,
    /// Between two signs of life while a claim waits.
    pub(crate) silence: Duration,
}

/// What a claim came to, with the lease as the daemon gave it, and whether another computed.
#[derive(Debug)]
pub(crate) struct ClaimOutcome {
    pub(crate) found: ClaimFound<Box<Leased>>,
    pub(crate) waited: bool,
}

impl ClaimOutcome {
    /// Whether the connection holds the lease now: no named owner does.
    pub(crate) const fn holds(&self, options: &ClaimOptions) -> bool {
        matches!(self.found, ClaimFound::Leased(_)) && options.owner.is_none()
    }
}

/// The bounds of a wait for somebody else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vigil {
    /// When it ends, unless it has no end.
    end: Option<Patience>,
    silence: Duration,
}

impl Vigil {
    /// The daemon ends the wait; if it does not, the client does, a deadline later.
    pub(crate) fn begin(wait: Wait, bounds: Bounds) -> Self {
        let end = wait.bound().map(|bound| bound.saturating_add(bounds.deadline));
        Self { end: end.map(Patience::within), silence: bounds.silence }
    }

    /// For how long nothing need be heard now.
    pub(crate) fn quiet(self) -> Patience {
        let left = self.end.map_or(self.silence, |end| end.left().unwrap_or_default());
        Patience::within(left.min(self.silence))
    }

    /// The bound that was met, if it was.
    pub(crate) fn over(self) -> Option<Patience> {
        self.end.filter(|end| end.left().is_none())
    }
}

/// A connection on which both sides have agreed.
#[derive(Debug)]
pub(crate) struct Connection {
    address: Address,
    wire: Wire,
    agreement: Agreement,
    bounds: Bounds,
    last_id: u64,
    settled: bool,
    /// The number of a ping whose answer is still to come.
    pong_due: Option<u64>,
}

impl Connection {
    /// Connects and greets.
    ///
    /// # Errors
    /// If nobody answers in time, or not as memod does. In the user's own place, also if the socket
    /// is served by another user.
    pub(crate) fn open(
        address: &Address,
        program: &str,
        bounds: Bounds,
        patience: Patience,
    ) -> Result<Self, Error> {
        let mut wire = Wire::open(&address.path, patience)?;
        if address.origin == Origin::Own {
            check_ours(&address.path, wire.peer_uid()?)?;
        }
        let agreement = wire.greet(program, patience)?;
        let (address, last_id, settled, pong_due) = (address.clone(), 0, true, None);
        Ok(Self { address, wire, agreement, bounds, last_id, settled, pong_due })
    }

    /// Whether it may be used for another request.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_settled() && self.wire.is_quiet()
    }

    /// Whether its last exchange came to its proper end.
    pub(crate) const fn is_settled(&self) -> bool {
        self.settled && self.pong_due.is_none()
    }

    /// Whether nothing has come since its last request began.
    pub(crate) const fn has_heard_nothing(&self) -> bool {
        !self.wire.has_received()
    }

    /// Whether a request that failed here may simply never have been seen: the peer hung up
    /// before it had said a word.
    pub(crate) fn was_stale(&self, error: &Error) -> bool {
        error.is_hang_up() && self.has_heard_nothing()
    }

    /// The daemon's bounds.
    pub(crate) const fn limits(&self) -> PeerLimits {
        self.agreement.limits
    }

    /// Asks, and reads answers until there is the last one.
    pub(crate) fn ask<A: Ask>(
        &mut self,
        ask: &mut A,
        patience: Patience,
    ) -> Result<A::Answer, Error> {
        let request = exchange::agreed(ask.request(), &self.agreement)?;
        let id = self.begin();
        let mut patience =
            if ask.is_long() { Patience::Stall(self.bounds.stall) } else { patience };
        patience = patience.and(ask.waits());
        self.send(&exchange::request(id, request, 0)?, &[], patience)?;
        loop {
            let header = self.bare_header(patience)?;
            if let Some(answer) = ask.answer(exchange::response(id, &header)?)? {
                self.settled = true;
                return Ok(answer);
            }
            patience = Patience::Stall(self.bounds.stall);
        }
    }

    /// Looks up, or reads one output; what there is goes into the sink.
    pub(crate) fn fetch(
        &mut self,
        wanted: Wanted<'_>,
        options: &LookupOptions,
        sink: &mut dyn OutputSink,
        patience: Patience,
    ) -> Result<Found, Error> {
        let id = self.begin();
        self.send(&exchange::request(id, wanted.request(options), 0)?, &[], patience)?;
        let expected = wanted.expect();
        let (header, payload_bytes) = self.wire.header(patience)?;
        match first(id, expected, &header, payload_bytes)? {
            First::Miss { miss, settled } => {
                self.settled = settled;
                Ok(Found::Miss(miss))
            }
            First::Hit(transfer) => self.take(*transfer, sink),
        }
    }

    fn take(&mut self, mut transfer: Transfer, sink: &mut dyn OutputSink) -> Result<Found, Error> {
        let patience = Patience::Stall(self.bounds.stall);
        let mut files = self.wire.descriptors(transfer.descriptors())?.into_iter();
        loop {
            match transfer.step() {
                Step::Begin(index) => {
                    sink.begin(transfer.output(index), index).map_err(sink_error)?;
                }
                Step::Map(index) => {
                    let file = files.next().expect("as many came as the transfer counts");
                    let bytes = mapped(file, transfer.output(index).bytes)?;
                    sink.whole(bytes).map_err(sink_error)?;
                }
                Step::Move(bytes) => self.wire.payload(bytes, patience, |data| sink.data(data))?,
                Step::Receive => {
                    let (header, payload_bytes) = self.frame(patience)?;
                    if let Some(miss) = transfer.chunk(&header, payload_bytes)? {
                        self.settled = true;
                        return Ok(Found::Miss(miss));
                    }
                }
                Step::Done => break,
            }
        }
        self.settled = true;
        Ok(Found::Hit(transfer.into_summary()))
    }

    /// Claims; what there is goes into the sink. With the lease, the connection holds it until an
    /// entry is put or the connection ends.
    pub(crate) fn claim(
        &mut self,
        claim: &mut Claiming<'_>,
        sink: &mut dyn OutputSink,
        patience: Patience,
    ) -> Result<ClaimOutcome, Error> {
        let (id, exchange) = (self.begin(), claim.exchange());
        let waited = claim.waited(Instant::now());
        self.send(&exchange::request(id, exchange.request(waited), 0)?, &[], patience)?;
        let expected = exchange.expect();
        let mut frame = self.frame(patience)?;
        let mut vigil = None;
        loop {
            let answer = answer(id, expected, &frame.0, frame.1)?;
            claim.answered();
            let found = match answer {
                Answer::Waiting(pending) => {
                    claim.waits(&self.address, Instant::now());
                    let vigil = *vigil.get_or_insert_with(|| {
                        sink.waiting(&pending);
                        Vigil::begin(exchange.wait(waited), self.bounds)
                    });
                    frame = self.watch(vigil)?;
                    continue;
                }
                Answer::Found(First::Hit(transfer)) => self.take(*transfer, sink)?.into(),
                Answer::Found(First::Miss { miss, settled }) => {
                    self.settled = settled;
                    ClaimFound::Miss(miss)
                }
                Answer::Leased(leased) => {
                    self.settled = true;
                    ClaimFound::Leased(leased)
                }
                Answer::Pending(pending) => {
                    self.settled = true;
                    ClaimFound::Pending(*pending)
                }
            };
            return Ok(ClaimOutcome { found, waited: claim.has_waited() });
        }
    }

    /// Waits for the next frame of a claim that waits. A daemon of which nothing is heard for a
    /// while is pinged, so that one that hangs is not waited for.
    fn watch(&mut self, vigil: Vigil) -> Result<(Vec<u8>, usize), Error> {
        loop {
            let heard = Instant::now();
            let late = |error: Error| error.unheard_since(heard);
            if !self.wire.is_readable(vigil.quiet())? {
                if let Some(bound) = vigil.over() {
                    return Err(self.wire.late("answer", bound));
                }
                self.ping().map_err(late)?;
            }
            let patience = Patience::within(self.bounds.deadline);
            let frame = self.wire.header(patience).map_err(late)?;
            if !self.takes_pong(&frame) {
                return Ok(frame);
            }
        }
    }

    /// Sends a ping, unless the answer to one is still to come.
    fn ping(&mut self) -> Result<(), Error> {
        if self.pong_due.is_none() {
            self.last_id += 1;
            self.pong_due = Some(self.last_id);
            let ping = exchange::request(self.last_id, Ping.request(), 0)?;
            self.send(&ping, &[], Patience::within(self.bounds.deadline))?;
        }
        Ok(())
    }

    /// A connection that has been held for a while, if it is still there; takes the pong that may
    /// have come late.
    pub(crate) fn if_alive(&mut self, patience: Patience) -> Option<&mut Self> {
        while self.pong_due.is_some() {
            let frame = self.wire.header(patience).ok()?;
            if !self.takes_pong(&frame) {
                return None;
            }
        }
        self.is_usable().then_some(self)
    }

    /// Another hold of its socket.
    pub(crate) fn copy(&self) -> Result<UnixStream, Error> {
        self.wire.copy()
    }

    /// Whether descriptors may come with frames.
    pub(crate) const fn passes_descriptors(&self) -> bool {
        self.agreement.capabilities & DESCRIPTORS != 0
    }

    /// Where it leads.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for a board.
    pub(crate) fn ask_board(
        &mut self,
        ask: &mut AskBoard<'_>,
        patience: Patience,
    ) -> Result<Option<(BoardOffer, OwnedFd)>, Error> {
        let id = self.begin();
        self.send(&exchange::request(id, ask.request(), 0)?, &[], patience)?;
        let header = self.bare_header(patience)?;
        let offer = ask.answer(exchange::response(id, &header)?)?.flatten();
        let mut descriptors = self.wire.descriptors(usize::from(offer.is_some()))?;
        self.settled = true;
        Ok(offer.zip(descriptors.pop()))
    }

    /// Ends the connection for whoever else may hold a copy of it.
    pub(crate) fn shut_down(&self) {
        self.wire.shut_down();
    }

    /// Stores a run's outputs. Streams are used up by it.
    pub(crate) fn put(
        &mut self,
        mut put: PutExchange,
        outputs: &mut [Prepared],
        patience: Patience,
    ) -> Result<PutOutcome, Error> {
        if let Some(outcome) = self.announce(&put)? {
            return Ok(outcome);
        }
        let uploads = put.uploads();
        for index in &uploads {
            let output = outputs.get_mut(*index).expect("the plan is for these outputs");
            self.upload(&mut put, *index, output)?;
        }
        let id = self.begin();
        let inline = inline(&put, outputs);
        let inline: Vec<&[u8]> = inline.iter().map(AsRef::as_ref).collect();
        let patience =
            if uploads.is_empty() { patience } else { Patience::Stall(self.bounds.stall) };
        self.send(&put.request(id)?, &inline, patience)?;
        let header = self.bare_header(patience)?;
        let outcome = outcome(id, &header)?;
        self.settled = true;
        Ok(outcome)
    }

    /// Tells of a put with uploads; gives its outcome if there is to be none.
    fn announce(&mut self, put: &PutExchange) -> Result<Option<PutOutcome>, Error> {
        if !put.is_announced(&self.agreement) {
            return Ok(None);
        }
        let patience = Patience::Stall(self.bounds.stall);
        let id = self.begin();
        let head = put.announce(id)?;
        self.send(&head, &[], patience)?;
        let header = self.bare_header(patience)?;
        let outcome = announced(id, &header)?;
        self.settled = outcome.is_some();
        Ok(outcome)
    }

    fn upload(
        &mut self,
        put: &mut PutExchange,
        index: usize,
        output: &mut Prepared,
    ) -> Result<(), Error> {
        let patience = Patience::Stall(self.bounds.stall);
        if let Body::Memory(bytes) = &output.body
            && let Some(file) = file(&self.agreement, bytes)
        {
            let id = self.begin();
            let head = put.upload_file(id, index, file.bytes())?;
            self.send_with(&head, &[], &[file.as_fd()], patience)?;
            let header = self.bare_header(patience)?;
            return put.uploaded(id, index, file.bytes(), &header);
        }
        let id = self.begin();
        let mut sent: u64 = 0;
        match &mut output.body {
            Body::Memory(bytes) => {
                for piece in bytes.chunks(put.chunk_bytes()) {
                    let head = put.upload_data(id, index, sent, piece.len())?;
                    self.send(&head, &[piece], patience)?;
                    sent += piece.len() as u64;
                }
            }
            Body::Stream(stream) => {
                let mut buffer = vec![0; put.chunk_bytes()];
                loop {
                    let filled = stream.fill(&mut buffer);
                    let filled = filled.map_err(|error| unreadable(&output.name, error))?;
                    let piece = buffer.get(..filled).unwrap_or_default();
                    if piece.is_empty() {
                        break;
                    }
                    let head = put.upload_data(id, index, sent, piece.len())?;
                    self.send(&head, &[piece], patience)?;
                    sent += piece.len() as u64;
                }
            }
        }
        let id = self.begin();
        self.send(&put.upload_end(id, index)?, &[], patience)?;
        let header = self.bare_header(patience)?;
        put.uploaded(id, index, sent, &header)
    }

    /// The number of a new request.
    fn begin(&mut self) -> u64 {
        self.settled = false;
        self.wire.begin();
        self.last_id += 1;
        self.last_id
    }

    /// Sends; if the daemon has hung up, finds out whether it said why.
    fn send(&mut self, head: &[u8], payload: &[&[u8]], patience: Patience) -> Result<(), Error> {
        self.send_with(head, payload, &[], patience)
    }

    /// The same with descriptors.
    fn send_with(
        &mut self,
        head: &[u8],
        payload: &[&[u8]],
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Error> {
        let error = match self.wire.send(head, payload, descriptors, patience) {
            Err(error) if error.is_hang_up() => error,
            other => return other,
        };
        // The connection has ended, so this does not wait.
        match self.bare_header(patience) {
            Ok(header) => match exchange::response(self.last_id, &header) {
                Err(said @ Error::Daemon(_)) => Err(said),
                _ => Err(error),
            },
            Err(_) => Err(error),
        }
    }

    /// The header of a frame that must have no payload.
    fn bare_header(&mut self, patience: Patience) -> Result<Vec<u8>, Error> {
        exchange::bare(self.frame(patience)?)
    }

    /// The next frame's header and the length of its payload, but for a pong that is still due.
    fn frame(&mut self, patience: Patience) -> Result<(Vec<u8>, usize), Error> {
        loop {
            let frame = self.wire.header(patience)?;
            if !self.takes_pong(&frame) {
                return Ok(frame);
            }
        }
    }

    fn takes_pong(&mut self, (header, payload_bytes): &(Vec<u8>, usize)) -> bool {
        let is_it = |id: &mut u64| *payload_bytes == 0 && exchange::is_pong(*id, header);
        self.pong_due.take_if(is_it).is_some()
    }
}

/// Refuses a socket in the user's own place that somebody else serves.
pub(crate) fn check_ours(path: &Path, uid: u32) -> Result<(), Error> {
    let ours = nix::unistd::geteuid().as_raw();
    if uid == ours {
        return Ok(());
    }
    Err(Error::NotOurs {
        path: path.to_owned(),
        problem: format!(
            "user {uid} listens there, not {ours}; remove it, or name it with $MEMOD_SOCKET"
        ),
    })
}
