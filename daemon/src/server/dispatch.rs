//! From a request to the service's function for it.
//!
//! **Invariants.** What can be answered from memory is answered in place; everything else becomes
//! [`Work`] for a task of its own. Uploads stay in the order in which they arrive. A reply that may
//! be large has its share of the memory before it is read.

use std::sync::Arc;

use bytes::Bytes;
use memod_protocol::limits::{CHUNK_BYTES, HEADER_BYTES_MAX, INLINE_BYTES_MAX};
use memod_protocol::{
    Digest, ErrorCode, InvalidArgument, OutputSource, Put, Request, Response, Selector, WireError,
};

use super::budget::{Budget, Share};
use super::peer::Peer;
use super::replies::{Replies, ReplyShare};
use super::uploads::Uploads;
use crate::service::{GatheredPut, OutputContent, Reply, Service};

/// What a hit holds in memory at the most, besides what it streams.
const HIT_BYTES_MAX: usize = 2 * CHUNK_BYTES as usize;
const _: () = assert!(HIT_BYTES_MAX as u64 == INLINE_BYTES_MAX);

/// A request's number and payload.
#[derive(Debug)]
pub(crate) struct Job {
    /// The number that its replies carry.
    pub(crate) id: u64,
    /// The payload's share of the budget.
    pub(crate) share: Option<Share>,
    /// The payload.
    pub(crate) payload: Bytes,
}

/// What a request needs next.
pub(crate) enum Step {
    /// Nothing: here is the reply, and its share of the memory if it may be large.
    Reply(Box<Reply>, Option<ReplyShare>),
    /// A task of its own.
    Later(Work),
    /// The connection's uploads.
    Upload(UploadStep),
    /// The connection's uploads, then a task of its own.
    Put(Box<Put>),
}

/// What is done in a task of its own.
pub(crate) enum Work {
    /// Only to be sent.
    Send(Box<Reply>, Option<ReplyShare>),
    /// To be read from disk.
    Lookup(Box<memod_protocol::Lookup>),
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
}

/// Answers what can be answered without waiting.
pub(crate) fn at_once(
    service: &Arc<Service>,
    peer: &Peer,
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
        Request::Ping => Step::Reply(Box::new(Response::Pong.into()), None),
        Request::UploadData { upload } => Step::Upload(UploadStep::Data(upload)),
        Request::UploadEnd { upload, digest } => Step::Upload(UploadStep::End(upload, digest)),
        Request::UploadAbort { upload } => Step::Upload(UploadStep::Abort(upload)),
        Request::Put(put) => Step::Put(put),
        other => Step::Later(Work::Other(other)),
    }
}

/// Does an upload's next step; gives the answer if it is one that is answered.
///
/// # Errors
/// If the peer goes on and on with uploads that were refused; its connection ends.
pub(crate) async fn upload(
    service: &Service,
    uploads: &mut Uploads,
    step: UploadStep,
    job: Job,
    budget: &Budget,
) -> Result<Option<Response>, WireError> {
    match step {
        UploadStep::Data(number) => {
            uploads.data(service, number, job.payload, budget).await?;
            Ok(None)
        }
        UploadStep::Abort(number) => {
            uploads.abort(number);
            Ok(None)
        }
        UploadStep::End(number, digest) => {
            let ended = uploads.end(service, number, digest).await;
            Ok(Some(ended.unwrap_or_else(Response::Error)))
        }
    }
}

/// Puts each output of a put together with its bytes.
///
/// # Errors
/// If the inline lengths and the payload's differ, or an upload is not complete.
pub(crate) fn gather(
    uploads: &mut Uploads,
    put: Put,
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
    if inline.is_empty() { Ok(GatheredPut { put, contents }) } else { Err(wrong()) }
}

/// Does what needs time; gives the reply and its share of the memory, or nothing if only reading
/// was asked for and nobody is there any more to read the reply.
pub(crate) async fn later(
    service: &Arc<Service>,
    peer: &Peer,
    work: Work,
    id: u64,
    replies: &Replies,
) -> Option<(Reply, Option<ReplyShare>)> {
    let share = match &work {
        Work::Lookup(_) | Work::Other(Request::Read { .. }) => {
            Some(replies.share(HIT_BYTES_MAX).await)
        }
        Work::Other(Request::List { .. } | Request::Show { .. } | Request::Stats) => {
            Some(replies.share(HEADER_BYTES_MAX as usize).await)
        }
        Work::Send(..) | Work::Put(_) | Work::Other(_) => None,
    };
    if share.is_some() && replies.is_broken() {
        return None;
    }
    let outcome = match work {
        Work::Send(reply, share) => return Some((*reply, share)),
        Work::Lookup(lookup) => return Some((service.lookup(peer, &lookup).await, share)),
        Work::Put(gathered) => service.put(peer, *gathered).await.map(Reply::from),
        Work::Other(request) => other(service, peer, request, id, replies).await,
    };
    Some((outcome.unwrap_or_else(|error| Response::Error(error).into()), share))
}

async fn other(
    service: &Arc<Service>,
    peer: &Peer,
    request: Request,
    id: u64,
    replies: &Replies,
) -> Result<Reply, WireError> {
    match request {
        Request::Show { key } => service.show(peer, key).await,
        Request::Read { key, output } => service.read(peer, key, &output).await,
        Request::List { filter, limit, cursor } => service.list(peer, filter, limit, cursor).await,
        Request::Invalidate { selector, dry_run } => {
            invalidate(service, peer, selector, dry_run, id, replies).await
        }
        Request::Stats => Ok(service.stats()),
        Request::Status => Ok(service.status()),
        Request::Lookup(_)
        | Request::Put(_)
        | Request::UploadData { .. }
        | Request::UploadEnd { .. }
        | Request::UploadAbort { .. }
        | Request::Ping => unreachable!("handled by at_once"),
        Request::Claim(_)
        | Request::Reserve(_)
        | Request::Release(_)
        | Request::Why(_)
        | Request::Log(_)
        | Request::Savings => Err(WireError::new(ErrorCode::Internal, "being written")),
    }
}

/// Invalidates step by step, telling the peer how far it has come.
async fn invalidate(
    service: &Arc<Service>,
    peer: &Peer,
    selector: Selector,
    dry_run: bool,
    id: u64,
    replies: &Replies,
) -> Result<Reply, WireError> {
    let mut work = service.invalidation(peer, selector, dry_run)?;
    while work.step().await? {
        let progress = Response::Progress { done: work.matched() };
        if replies.send(id, progress, Vec::new()).await.is_err() {
            // Who asked is gone; what was asked for is still done.
            tracing::debug!("an invalidation goes on without its client");
        }
    }
    Ok(Response::Invalidated { matched: work.matched() }.into())
}
