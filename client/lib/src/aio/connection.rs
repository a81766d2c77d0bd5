//! One connection of the async client: drives the exchanges over a [`Wire`].
//!
//! **Invariants.** As [`crate::connection`]; besides, a connection is used only on the runtime on
//! which it was opened.

mod many;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use bytes::Bytes;
use memod_protocol::PutOutcome;
use memod_protocol::handshake::{Agreement, PeerLimits};
use tokio::runtime::{Handle, Id};

use super::hop::hop;
use super::wire::{Taker, Wire};
use crate::address::{Address, Origin};
use crate::claiming::Claiming;
use crate::connect::{Patience, sink_error};
use crate::connection::{Bounds, ClaimOutcome, Vigil, check_ours};
use crate::error::Error;
use crate::exchange::ask::{Ask, Ping};
use crate::exchange::claim::{Answer, answer};
use crate::exchange::hit::{First, Step, Transfer, Wanted, first};
use crate::exchange::put::{PutExchange, announced, outcome};
use crate::exchange::put_many::inline;
use crate::exchange::{self};
use crate::options::{ClaimFound, Found, LookupOptions};
use crate::outputs::{Body, Prepared, unreadable};
use crate::sealed::{file, mapped};

/// A connection on which both sides have agreed.
#[derive(Debug)]
pub(super) struct Connection {
    address: Address,
    wire: Wire,
    agreement: Agreement,
    bounds: Bounds,
    runtime: Id,
    last_id: u64,
    settled: bool,
    /// The number of a ping whose answer is still to come.
    pong_due: Option<u64>,
}

impl Connection {
    /// Connects and greets.
    pub(super) async fn open(
        address: &Address,
        program: &str,
        bounds: Bounds,
        patience: Patience,
    ) -> Result<Self, Error> {
        let mut wire = Wire::open(&address.path, patience).await?;
        if address.origin == Origin::Own {
            check_ours(&address.path, wire.peer_uid()?)?;
        }
        let sent = wire.send(&exchange::hello(program), &[], &[], patience).await;
        // Who refuses may say so and leave before it is greeted; what it has said can be read.
        let hang_up = match sent {
            Err(error) if !error.is_hang_up() => return Err(error),
            sent => sent.err(),
        };
        let welcome = wire.header(patience).await;
        let (header, payload_bytes) = welcome.map_err(|error| hang_up.unwrap_or(error))?;
        let agreement = exchange::welcome(&header, payload_bytes)?;
        let (address, runtime) = (address.clone(), Handle::current().id());
        let (last_id, settled, pong_due) = (0, true, None);
        Ok(Self { address, wire, agreement, bounds, runtime, last_id, settled, pong_due })
    }

    /// Whether it may be used for another request.
    pub(super) fn is_usable(&self) -> bool {
        self.is_settled() && self.runtime == Handle::current().id() && self.wire.is_quiet()
    }

    /// Whether its last exchange came to its proper end.
    pub(super) const fn is_settled(&self) -> bool {
        self.settled && self.pong_due.is_none()
    }

    /// Whether nothing has come since its last request began.
    pub(super) const fn has_heard_nothing(&self) -> bool {
        !self.wire.has_received()
    }

    /// Whether a request that failed here may simply never have been seen.
    pub(super) fn was_stale(&self, error: &Error) -> bool {
        error.is_hang_up() && self.has_heard_nothing()
    }

    /// Where it leads.
    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// The daemon's bounds.
    pub(super) const fn limits(&self) -> PeerLimits {
        self.agreement.limits
    }

    /// Asks, and reads answers until there is the last one.
    pub(super) async fn ask<A: Ask + Send>(
        &mut self,
        ask: &mut A,
        patience: Patience,
    ) -> Result<A::Answer, Error> {
        let request = exchange::agreed(ask.request(), &self.agreement)?;
        let id = self.begin();
        let mut patience =
            if ask.is_long() { Patience::Stall(self.bounds.stall) } else { patience };
        patience = patience.and(ask.waits());
        self.send(&exchange::request(id, request, 0)?, &[], patience).await?;
        loop {
            let header = self.bare_header(patience).await?;
            if let Some(answer) = ask.answer(exchange::response(id, &header)?)? {
                self.settled = true;
                return Ok(answer);
            }
            patience = Patience::Stall(self.bounds.stall);
        }
    }

    /// Looks up, or reads one output; what there is goes to the taker.
    pub(super) async fn fetch(
        &mut self,
        wanted: Wanted<'_>,
        options: &LookupOptions,
        taker: &mut Taker<'_>,
        patience: Patience,
    ) -> Result<Found, Error> {
        let id = self.begin();
        self.send(&exchange::request(id, wanted.request(options), 0)?, &[], patience).await?;
        let expected = wanted.expect();
        let (header, payload_bytes) = self.wire.header(patience).await?;
        match first(id, expected, &header, payload_bytes)? {
            First::Miss { miss, settled } => {
                self.settled = settled;
                Ok(Found::Miss(miss))
            }
            First::Hit(transfer) => self.take(*transfer, taker).await,
        }
    }

    async fn take(
        &mut self,
        mut transfer: Transfer,
        taker: &mut Taker<'_>,
    ) -> Result<Found, Error> {
        let patience = Patience::Stall(self.bounds.stall);
        let mut files = self.wire.descriptors(transfer.descriptors())?.into_iter();
        loop {
            match transfer.step() {
                Step::Begin(index) => {
                    taker.begin(transfer.output(index), index).map_err(sink_error)?;
                }
                Step::Map(index) => {
                    let file = files.next().expect("as many came as the transfer counts");
                    let bytes = mapped(file, transfer.output(index).bytes)?;
                    taker.whole(bytes).map_err(sink_error)?;
                }
                Step::Move(bytes) => self.wire.payload(bytes, patience, taker).await?,
                Step::Receive => {
                    let (header, payload_bytes) = self.frame(patience).await?;
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

    /// Claims; as the blocking one.
    pub(super) async fn claim(
        &mut self,
        claim: &mut Claiming<'_>,
        taker: &mut Taker<'_>,
        patience: Patience,
    ) -> Result<ClaimOutcome, Error> {
        let (id, exchange) = (self.begin(), claim.exchange());
        let waited = claim.waited(Instant::now());
        self.send(&exchange::request(id, exchange.request(waited), 0)?, &[], patience).await?;
        let expected = exchange.expect();
        let mut frame = self.frame(patience).await?;
        let mut vigil = None;
        loop {
            let answer = answer(id, expected, &frame.0, frame.1)?;
            claim.answered();
            let found = match answer {
                Answer::Waiting(pending) => {
                    claim.waits(&self.address, Instant::now());
                    let vigil = *vigil.get_or_insert_with(|| {
                        taker.waiting(&pending);
                        Vigil::begin(exchange.wait(waited), self.bounds)
                    });
                    frame = self.watch(vigil).await?;
                    continue;
                }
                Answer::Found(First::Hit(transfer)) => self.take(*transfer, taker).await?.into(),
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

    /// Waits for the next frame of a claim that waits; as the blocking one.
    async fn watch(&mut self, vigil: Vigil) -> Result<(Vec<u8>, usize), Error> {
        loop {
            let heard = Instant::now();
            let late = |error: Error| error.unheard_since(heard);
            if !self.wire.is_readable(vigil.quiet()).await? {
                if let Some(bound) = vigil.over() {
                    return Err(self.wire.late("answer", bound));
                }
                self.ping().await.map_err(late)?;
            }
            let patience = Patience::within(self.bounds.deadline);
            let frame = self.wire.header(patience).await.map_err(late)?;
            if !self.takes_pong(&frame) {
                return Ok(frame);
            }
        }
    }

    /// Sends a ping, unless the answer to one is still to come.
    async fn ping(&mut self) -> Result<(), Error> {
        if self.pong_due.is_none() {
            self.last_id += 1;
            self.pong_due = Some(self.last_id);
            let ping = exchange::request(self.last_id, Ping.request(), 0)?;
            self.send(&ping, &[], Patience::within(self.bounds.deadline)).await?;
        }
        Ok(())
    }

    /// A connection that has been held for a while, if it is still there.
    pub(super) async fn if_alive(&mut self, patience: Patience) -> Option<&mut Self> {
        if self.runtime != Handle::current().id() {
            return None;
        }
        while self.pong_due.is_some() {
            let frame = self.wire.header(patience).await.ok()?;
            if !self.takes_pong(&frame) {
                return None;
            }
        }
        self.is_usable().then_some(self)
    }

    /// Another hold of its socket, as a process has that was forked.
    #[cfg(test)]
    pub(super) fn copy(&self) -> std::os::fd::OwnedFd {
        self.wire.copy()
    }

    /// Ends the connection for whoever else may hold a copy of it.
    pub(super) fn shut_down(&self) {
        self.wire.shut_down();
    }

    /// Stores a run's outputs. Streams are used up by it.
    pub(super) async fn put(
        &mut self,
        mut put: PutExchange,
        outputs: &mut [Prepared],
        patience: Patience,
    ) -> Result<PutOutcome, Error> {
        if let Some(outcome) = self.announce(&put).await? {
            return Ok(outcome);
        }
        let uploads = put.uploads();
        for index in &uploads {
            let output = outputs.get_mut(*index).expect("the plan is for these outputs");
            self.upload(&mut put, *index, output).await?;
        }
        let id = self.begin();
        let inline = inline(&put, outputs);
        let inline: Vec<&[u8]> = inline.iter().map(Bytes::as_ref).collect();
        let patience =
            if uploads.is_empty() { patience } else { Patience::Stall(self.bounds.stall) };
        self.send(&put.request(id)?, &inline, patience).await?;
        let header = self.bare_header(patience).await?;
        let outcome = outcome(id, &header)?;
        self.settled = true;
        Ok(outcome)
    }

    /// Tells of a put with uploads; gives its outcome if there is to be none.
    async fn announce(&mut self, put: &PutExchange) -> Result<Option<PutOutcome>, Error> {
        if !put.is_announced(&self.agreement) {
            return Ok(None);
        }
        let patience = Patience::Stall(self.bounds.stall);
        let id = self.begin();
        let head = put.announce(id)?;
        self.send(&head, &[], patience).await?;
        let header = self.bare_header(patience).await?;
        let outcome = announced(id, &header)?;
        self.settled = outcome.is_some();
        Ok(outcome)
    }

    async fn upload(
        &mut self,
        put: &mut PutExchange,
        index: usize,
        output: &mut Prepared,
    ) -> Result<(), Error> {
        let patience = Patience::Stall(self.bounds.stall);
        if let Body::Memory(bytes) = &output.body {
            let (agreement, bytes) = (self.agreement.clone(), bytes.clone());
            // To copy so much takes a while.
            if let Some(file) = hop(move || file(&agreement, &bytes)).await? {
                let id = self.begin();
                let head = put.upload_file(id, index, file.bytes())?;
                self.send_with(&head, &[], &[file.as_fd()], patience).await?;
                let header = self.bare_header(patience).await?;
                return put.uploaded(id, index, file.bytes(), &header);
            }
        }
        let sent = match &mut output.body {
            Body::Memory(bytes) => {
                // Stays where it is, since the put may have to be done again.
                let mut sent: u64 = 0;
                for piece in bytes.chunks(put.chunk_bytes()) {
                    self.upload_piece(put, index, &mut sent, piece).await?;
                }
                sent
            }
            body @ Body::Stream(_) => {
                let stream = std::mem::replace(body, Body::Memory(Bytes::new()));
                self.upload_stream(put, index, stream, &output.name).await?
            }
        };
        let id = self.begin();
        self.send(&put.upload_end(id, index)?, &[], patience).await?;
        let header = self.bare_header(patience).await?;
        put.uploaded(id, index, sent, &header)
    }

    async fn upload_stream(
        &mut self,
        put: &PutExchange,
        index: usize,
        mut body: Body,
        name: &str,
    ) -> Result<u64, Error> {
        let mut sent = 0;
        let mut buffer = vec![0; put.chunk_bytes()];
        loop {
            let (back, filled_buffer, filled) = hop(move || {
                let filled = match &mut body {
                    Body::Stream(stream) => stream.fill(&mut buffer),
                    Body::Memory(_) => Ok(0),
                };
                (body, buffer, filled)
            })
            .await?;
            (body, buffer) = (back, filled_buffer);
            let filled = filled.map_err(|error| unreadable(name, error))?;
            let piece = buffer.get(..filled).unwrap_or_default();
            if piece.is_empty() {
                return Ok(sent);
            }
            self.upload_piece(put, index, &mut sent, piece).await?;
        }
    }

    async fn upload_piece(
        &mut self,
        put: &PutExchange,
        index: usize,
        sent: &mut u64,
        piece: &[u8],
    ) -> Result<(), Error> {
        let id = self.begin();
        let head = put.upload_data(id, index, *sent, piece.len())?;
        self.send(&head, &[piece], Patience::Stall(self.bounds.stall)).await?;
        *sent += piece.len() as u64;
        Ok(())
    }

    fn begin(&mut self) -> u64 {
        self.settled = false;
        self.wire.begin();
        self.last_id += 1;
        self.last_id
    }

    /// Sends; if the daemon has hung up, finds out whether it said why.
    async fn send(
        &mut self,
        head: &[u8],
        payload: &[&[u8]],
        patience: Patience,
    ) -> Result<(), Error> {
        self.send_with(head, payload, &[], patience).await
    }

    /// The same with descriptors.
    async fn send_with(
        &mut self,
        head: &[u8],
        payload: &[&[u8]],
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Error> {
        let error = match self.wire.send(head, payload, descriptors, patience).await {
            Err(error) if error.is_hang_up() => error,
            other => return other,
        };
        match self.bare_header(patience).await {
            Ok(header) => match exchange::response(self.last_id, &header) {
                Err(said @ Error::Daemon(_)) => Err(said),
                _ => Err(error),
            },
            Err(_) => Err(error),
        }
    }

    async fn bare_header(&mut self, patience: Patience) -> Result<Vec<u8>, Error> {
        exchange::bare(self.frame(patience).await?)
    }

    /// The next frame's header and the length of its payload, but for a pong that is still due.
    async fn frame(&mut self, patience: Patience) -> Result<(Vec<u8>, usize), Error> {
        loop {
            let frame = self.wire.header(patience).await?;
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
