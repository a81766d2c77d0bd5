//! From a request to the service's function for it.
//!
//! **Invariants.** What can be answered from memory is answered in place; everything else becomes
//! [`Work`] for a task of its own. Uploads stay in the order in which they arrive. A reply that may
//! be large has its share of the memory before it is read.

use std::sync::Arc;

use bytes::Bytes;
use memod_protocol::limits::{CHUNK_BYTES, HEADER_BYTES_MAX, INLINE_BYTES_MAX};
use memod_protocol::{
    Announcement, BoardHits, Digest, ErrorCode, Import, InvalidArgument, LogQuery, NewOutput,
    OutputSource, Provenance, Put, Request, Response, Selector, WireError,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::budget::{Budgets, Share};
use super::frames::Descriptors;
use super::peer::Peer;
use super::replies::{Replies, ReplyShare};
use super::uploads::Uploads;
use super::users::Place;
use crate::service::{
    Asker, Batch, Begun, Claimed, Entered, GatheredPut, Lessee, OutputContent, Reply, Service,
};

/// What a hit holds in memory at the most, besides what it streams.
const HIT_BYTES_MAX: usize = 2 * CHUNK_BYTES as usize;
const _: () = assert!(HIT_BYTES_MAX as u64 == INLINE_BYTES_MAX);

/// What the answers to many lookups hold in memory at the most.
const BATCH_BYTES_MAX: usize = HIT_BYTES_MAX + HEADER_BYTES_MAX as usize;

/// Requests of one connection that may wait for leases at a time.
pub(crate) const WAITS_MAX: usize = 16_384;

/// A request's number and payload.
#[derive(Debug)]
pub(crate) struct Job {
    /// The number that its replies carry.
    pub(crate) id: u64,
    /// The payload's share of the budget.
    pub(crate) share: Option<Share>,
    /// The payload.
    pub(crate) payload: Bytes,
    /// The descriptors that came with it.
    pub(crate) descriptors: Descriptors,
}

/// What a request needs next.
pub(crate) enum Step {
    /// Nothing: here is the reply, and its share of the memory if it may be large.
    Reply(Box<Reply>, Option<ReplyShare>),
    /// A task of its own.
    Later(Work),
    /// The connection's uploads.
    Upload(UploadStep),
    /// To be counted before the next request, without an answer.
    Hits(Box<BoardHits>),
    /// The connection's uploads, then a task of its own. With a provenance, the run is another's.
    Put(Box<Put>, Option<Box<Provenance>>),
    /// The service, then the connection's uploads.
    Announce(Box<Announcement>),
}

/// What is done in a task of its own.
pub(crate) enum Work {
    /// Only to be sent.
    Send(Box<Reply>, Option<ReplyShare>),
    /// To be read from disk.
    Lookup(Box<memod_protocol::Lookup>),
    /// The same for those of many that are left.
    LookupMany(Box<Batch>),
    /// To be looked up again, and to wait for if somebody else computes it.
    Claim(Box<Asker>),
    /// To be told what its place in the queue came to.
    Entered(Box<Entered>),
    /// To be stored.
    Put(Box<GatheredPut>),
    /// Anything else.
    Other(Request),
}

/// What happens to an upload.
pub(crate) enum UploadStep {
    Data(u32),
    End(u32, Option<Digest>),
    Abort(u32),
    File(u32, Option<Digest>),
}

/// Answers what can be answered without waiting.
pub(crate) fn at_once(
    service: &Arc<Service>,
    peer: &Arc<Peer>,
    lessee: &Arc<Lessee>,
    request: Request,
    replies: &Replies,
) -> Step {
    match request {
        Request::Lookup(lookup) => {
            let share = replies.try_share(HIT_BYTES_MAX);
            let reply = share.as_ref().and_then(|_| service.lookup_in_memory(peer, &lookup));
            match reply {
                Some(reply) => Step::Reply(Box::new(reply), share),
                None => Step::Later(Work::Lookup(Box::new(lookup))),
            }
        }
        Request::LookupMany(lookups) => many_at_once(service, peer, lookups, replies),
        Request::Claim(claim) => claim_at_once(service, Asker::new(peer, lessee, claim), replies),
        Request::Await(claim) => {
            let asker = Asker::new(peer, lessee, claim).map(Asker::only_to_look);
            claim_at_once(service, asker, replies)
        }
        Request::Ping => Step::Reply(Box::new(Response::Pong.into()), None),
        Request::UploadData { upload } => Step::Upload(UploadStep::Data(upload)),
        Request::UploadEnd { upload, digest } => Step::Upload(UploadStep::End(upload, digest)),
        Request::UploadFile { upload, digest } => Step::Upload(UploadStep::File(upload, digest)),
        Request::UploadAbort { upload } => Step::Upload(UploadStep::Abort(upload)),
        Request::Put(put) => Step::Put(put, None),
        Request::Announce(announced) => Step::Announce(announced),
        Request::Import(import) => {
            let Import { put, provenance } = *import;
            Step::Put(Box::new(put), Some(Box::new(provenance)))
        }
        Request::Board { scope } => {
            let board = service.board(peer, &scope);
            let reply = board.unwrap_or_else(|error| Response::Error(error).into());
            Step::Reply(Box::new(reply), None)
        }
        Request::BoardHits(hits) => Step::Hits(hits),
        other => Step::Later(Work::Other(other)),
    }
}

/// Answers many lookups, if all of them can be.
fn many_at_once(
    service: &Service,
    peer: &Peer,
    lookups: Vec<memod_protocol::Lookup>,
    replies: &Replies,
) -> Step {
    let mut batch = match Batch::new(lookups) {
        Ok(batch) => Box::new(batch),
        Err(error) => return Step::Reply(Box::new(Response::Error(error).into()), None),
    };
    let share = replies.try_share(BATCH_BYTES_MAX);
    if share.is_some() && service.look_up_many_in_memory(peer, &mut batch) {
        return Step::Reply(Box::new(batch.into_reply()), share);
    }
    Step::Later(Work::LookupMany(batch))
}

/// Answers a claim, or gives it its place in the queue: claims that are sent one behind the other
/// stand there one behind the other.
fn claim_at_once(service: &Service, asker: Result<Asker, WireError>, replies: &Replies) -> Step {
    let asker = match asker {
        Ok(asker) => asker,
        Err(error) => return Step::Reply(Box::new(Response::Error(error).into()), None),
    };
    let Some(share) = replies.try_share(HIT_BYTES_MAX) else {
        return Step::Later(Work::Claim(Box::new(asker)));
    };
    match service.claim_in_memory(asker) {
        Begun::Answer(reply) => Step::Reply(reply, Some(share)),
        Begun::Entered(entered) => Step::Later(Work::Entered(entered)),
        Begun::Unknown(asker) => Step::Later(Work::Claim(asker)),
    }
}

/// Does an upload's next step; gives the answer if it is one that is answered.
///
/// # Errors
/// If the peer goes on and on with uploads that were refused; its connection ends.
pub(crate) async fn upload(
    (service, peer): (&Service, &Peer),
    uploads: &mut Uploads,
    step: UploadStep,
    job: Job,
    budgets: &Budgets,
) -> Result<Option<Response>, WireError> {
    match step {
        UploadStep::Data(number) => {
            uploads.data((service, peer), number, job.payload, budgets).await?;
            Ok(None)
        }
        UploadStep::Abort(number) => {
            uploads.abort(number);
            Ok(None)
        }
        UploadStep::End(number, digest) => {
            let ended = uploads.end((service, peer), number, digest).await;
            Ok(Some(ended.unwrap_or_else(Response::Error)))
        }
        UploadStep::File(number, digest) => {
            let stored =
                uploads.file((service, peer), number, digest, job.descriptors, budgets).await;
            Ok(Some(stored.unwrap_or_else(Response::Error)))
        }
    }
}

/// Answers what would come of a put, and keeps what was promised to its uploads.
pub(crate) async fn announce(
    service: &Arc<Service>,
    peer: &Peer,
    uploads: &mut Uploads,
    announced: Announcement,
) -> Reply {
    let number = |output: &NewOutput| match output.source {
        OutputSource::Upload(number) => Some(number),
        OutputSource::Inline => None,
    };
    let numbers = announced.put.outputs.iter().filter_map(number).collect();
    match service.announce(peer, announced).await {
        Ok((reply, promise)) => {
            uploads.promise(numbers, promise);
            reply
        }
        Err(error) => Response::Error(error).into(),
    }
}

/// Puts each output of a put together with its bytes.
///
/// # Errors
/// If the inline lengths and the payload's differ, or an upload is not complete.
pub(crate) fn gather(
    uploads: &mut Uploads,
    put: Put,
    imported: Option<Box<Provenance>>,
    payload: &Bytes,
) -> Result<GatheredPut, WireError> {
    let mut inline = payload.clone();
    let wrong = || {
        WireError::from(InvalidArgument::new(
            "outputs",
            format!(
                "the inline outputs' lengths do not add up to the {} bytes sent",
                payload.len()
            ),
        ))
    };
    let mut contents = Vec::with_capacity(put.outputs.len());
    for output in &put.outputs {
        contents.push(match output.source {
            OutputSource::Inline => {
                let bytes = usize::try_from(output.bytes).map_err(|_| wrong())?;
                if bytes > inline.len() {
                    return Err(wrong());
                }
                OutputContent::Inline(inline.split_to(bytes))
            }
            OutputSource::Upload(number) => OutputContent::Uploaded(uploads.take(number)?),
        });
    }
    if inline.is_empty() { Ok(GatheredPut { put, imported, contents }) } else { Err(wrong()) }
}

/// The connection, and the memory, for which a request is done.
pub(crate) struct Desk<'a> {
    pub(crate) service: &'a Arc<Service>,
    pub(crate) peer: &'a Arc<Peer>,
    pub(crate) lessee: &'a Arc<Lessee>,
    pub(crate) replies: &'a Replies,
    /// The places of those requests of the connection that wait for leases.
    pub(crate) waits: &'a Arc<Semaphore>,
    /// Whether the connection is at its end, and nothing is worth waiting for any more.
    pub(crate) ended: &'a CancellationToken,
    /// The request's number.
    pub(crate) id: u64,
    /// What was agreed on.
    pub(crate) capabilities: u64,
}

/// What has been done of a request.
pub(crate) struct Done {
    pub(crate) reply: Reply,
    /// The reply's share of the memory, if it may be large.
    pub(crate) share: Option<ReplyShare>,
    /// Its place among the requests in flight, until the reply has been sent.
    pub(crate) place: Held,
}

/// A request's place: among those of its connection, and of its user if it needs more than to be
/// sent.
#[derive(Debug)]
pub(crate) struct Held {
    _connection: OwnedSemaphorePermit,
    _user: Option<Place>,
}

impl Held {
    /// These places.
    pub(crate) fn new(connection: OwnedSemaphorePermit, user: Option<Place>) -> Self {
        Self { _connection: connection, _user: user }
    }
}

/// Does what needs time; gives the reply and its share of the memory, or nothing if only reading
/// was asked for and nobody is there any more to read the reply. `place` is its place among the
/// requests in flight.
pub(crate) async fn later(desk: &Desk<'_>, work: Work, place: Held) -> Option<Done> {
    let Desk { service, peer, replies, .. } = desk;
    let share = match &work {
        Work::Lookup(_) | Work::Other(Request::Read { .. }) => {
            Some(replies.share(HIT_BYTES_MAX).await)
        }
        Work::LookupMany(_) => Some(replies.share(BATCH_BYTES_MAX).await),
        Work::Other(
            Request::List { .. }
            | Request::Show { .. }
            | Request::Stats
            | Request::Savings
            | Request::Leases
            | Request::Budgets
            | Request::Metrics
            | Request::Why(_),
        ) => Some(replies.share(HEADER_BYTES_MAX as usize).await),
        Work::Send(..) | Work::Claim(_) | Work::Entered(_) | Work::Put(_) | Work::Other(_) => None,
    };
    if share.is_some() && replies.is_broken() {
        return None;
    }
    let outcome = match work {
        Work::Send(reply, share) => return Some(Done { reply: *reply, share, place }),
        Work::Lookup(lookup) => Ok(service.lookup(peer, &lookup).await),
        Work::LookupMany(batch) => service.look_up_many(peer, *batch).await,
        Work::Claim(asker) => return wait(desk, Claiming::Asks(asker), place).await,
        Work::Entered(entered) => return wait(desk, Claiming::Entered(entered), place).await,
        Work::Put(gathered) => service.put(peer, *gathered).await,
        Work::Other(request) => other(desk, request).await,
    };
    let reply = outcome.unwrap_or_else(|error| Response::Error(error).into());
    let share = match reply.response {
        // It may have waited long for its rows, and must not keep others waiting meanwhile.
        Response::Logged(_) => Some(replies.share(HEADER_BYTES_MAX as usize).await),
        _ => share,
    };
    Some(Done { reply, share, place })
}

/// A claim that is not answered yet.
enum Claiming {
    Asks(Box<Asker>),
    Entered(Box<Entered>),
}

/// Answers a claim. While it waits it holds no memory for its reply, and a place among those that
/// wait instead of one among the requests in flight, so that its connection serves others.
async fn wait(desk: &Desk<'_>, claiming: Claiming, mut place: Held) -> Option<Done> {
    let Desk { service, replies, waits, id, .. } = desk;
    let mut told = false;
    let mut share = replies.share(HIT_BYTES_MAX).await;
    let mut claimed = match claiming {
        Claiming::Asks(asker) => service.claim(*asker).await,
        Claiming::Entered(entered) => service.entered(*entered).await,
    };
    loop {
        let (pending, waiting) = match claimed {
            Claimed::Answer(reply) => {
                return Some(Done { reply: *reply, share: Some(share), place });
            }
            Claimed::Waits(pending, waiting) => (pending, waiting),
        };
        drop(share);
        if !told {
            told = true;
            let Ok(wait) = Arc::clone(waits).try_acquire_owned() else {
                let error = WireError::new(ErrorCode::Busy, "too many requests here wait already")
                    .with_hint("use another connection");
                return Some(Done { reply: Response::Error(error).into(), share: None, place });
            };
            place = Held::new(wait, None);
            replies.send(*id, Response::Pending(pending), Vec::new()).await.ok()?;
        }
        let woken = service.woken(*waiting).await;
        share = replies.share(HIT_BYTES_MAX).await;
        claimed = service.resume(woken).await;
    }
}

/// Answers from the log. Who waits for its next row does so for as long as the connection is there.
async fn log(desk: &Desk<'_>, query: LogQuery) -> Reply {
    let Desk { service, peer, ended, capabilities, .. } = desk;
    let at_once = LogQuery { wait_ms: 0, ..query.clone() };
    let mut page = tokio::select! {
        page = service.log(peer, query) => page,
        () = ended.cancelled() => service.log(peer, at_once).await,
    };
    for row in &mut page.rows {
        row.verb = row.verb.told_with(*capabilities);
    }
    Response::Logged(page).into()
}

async fn other(desk: &Desk<'_>, request: Request) -> Result<Reply, WireError> {
    let Desk { service, peer, lessee, .. } = desk;
    match request {
        Request::Show { key } => service.show(peer, key).await,
        Request::Read { key, output } => service.read(peer, key, &output).await,
        Request::List { filter, limit, cursor } => service.list(peer, filter, limit, cursor).await,
        Request::Invalidate { selector, dry_run } => invalidate(desk, selector, dry_run).await,
        Request::Stats => Ok(service.stats(peer)),
        Request::Savings => Ok(service.savings(peer)),
        Request::Leases => service.list_leases(peer).await,
        Request::Status => Ok(service.status(peer)),
        Request::Reserve(reserve) => service.reserve(peer, lessee, &reserve),
        Request::Release(release) => service.release(peer, lessee, &release),
        Request::Why(why) => service.explain(peer, *why).await,
        Request::Log(query) => Ok(log(desk, *query).await),
        Request::Verify { repair } => verify(desk, repair).await,
        Request::Budgets => service.budgets(peer).await,
        Request::Metrics => service.metrics(peer).await,
        Request::Collect => collect(desk).await,
        Request::Lookup(_)
        | Request::LookupMany(_)
        | Request::Claim(_)
        | Request::Await(_)
        | Request::Put(_)
        | Request::Import(_)
        | Request::Announce(_)
        | Request::UploadData { .. }
        | Request::UploadEnd { .. }
        | Request::UploadFile { .. }
        | Request::UploadAbort { .. }
        | Request::Board { .. }
        | Request::BoardHits(_)
        | Request::Ping => unreachable!("handled by at_once"),
    }
}

/// Invalidates step by step, telling the peer how far it has come.
async fn invalidate(
    desk: &Desk<'_>,
    selector: Selector,
    dry_run: bool,
) -> Result<Reply, WireError> {
    let mut work = desk.service.invalidation(desk.peer, selector, dry_run)?;
    while work.step().await? {
        let progress = Response::Progress { done: work.matched() };
        if desk.replies.send(desk.id, progress, Vec::new()).await.is_err() {
            // Who asked is gone; what was asked for is still done.
            tracing::debug!("an invalidation goes on without its client");
        }
    }
    work.tell();
    Ok(Response::Invalidated { matched: work.matched() }.into())
}

/// Makes room and gives it back to the file system, telling the peer in between.
async fn collect(desk: &Desk<'_>) -> Result<Reply, WireError> {
    let work = desk.service.collection(desk.peer)?;
    let evicted = work.evict().await?;
    let progress = Response::Progress { done: evicted };
    if desk.replies.send(desk.id, progress, Vec::new()).await.is_err() {
        tracing::debug!("a collection goes on without its client");
    }
    work.collect(evicted).await
}

/// Verifies step by step, telling the peer how far it has come.
async fn verify(desk: &Desk<'_>, repair: bool) -> Result<Reply, WireError> {
    let mut work = desk.service.verification(desk.peer, repair)?;
    while work.step().await? {
        let progress = Response::Progress { done: work.done() };
        if desk.replies.send(desk.id, progress, Vec::new()).await.is_err() {
            tracing::debug!("a verification ends with its client");
            break;
        }
    }
    Ok(work.reply())
}
