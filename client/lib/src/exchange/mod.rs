//! The exchanges: which frames are sent, and what each frame that comes back means.
//!
//! **Invariants.** Pure: bytes in, bytes and decisions out. Both clients, the blocking and the
//! async one, are drivers of what stands here, so the protocol is written once. Every number that
//! a daemon sends is checked before it is used.
//!
//! **Does not** do I/O or read the clock.

pub(crate) mod ask;
pub(crate) mod board;
pub(crate) mod claim;
pub(crate) mod hit;
pub(crate) mod look_many;
pub(crate) mod put;
pub(crate) mod put_many;
pub(crate) mod upkeep;

use memod_protocol::frame::{FrameError, PREFIX_BYTES, Prefix};
use memod_protocol::handshake::{Agreement, CAPABILITIES, Hello, MAGIC, VERSIONS, Welcome};
use memod_protocol::wire::{self, Encode};
use memod_protocol::{
    ErrorCode, InvalidArgument, Request, RequestHeader, Response, ResponseHeader, WireError,
};

use crate::error::Error;

/// What precedes the payload on the wire: prefix and header of a frame.
fn head<T: Encode>(message: &T, payload_bytes: usize) -> Result<Vec<u8>, FrameError> {
    let header = wire::encode(message);
    let prefix = Prefix::of(header.len(), payload_bytes)?;
    let mut head = Vec::with_capacity(PREFIX_BYTES + header.len());
    head.extend_from_slice(&prefix.to_bytes());
    head.extend_from_slice(&header);
    Ok(head)
}

/// The greeting's frame.
pub(crate) fn hello(program: &str) -> Vec<u8> {
    // A program's name comes from the outside and must not make the greeting too long.
    let program: String = program.chars().take(200).collect();
    let hello = Hello::new(program).with_capabilities(CAPABILITIES);
    head(&hello, 0).expect("a greeting fits into a frame")
}

/// What the daemon's answer to the greeting means.
pub(crate) fn welcome(header: &[u8], payload_bytes: usize) -> Result<Agreement, Error> {
    let stranger = || Error::Protocol("its greeting is not memod's".into());
    if payload_bytes != 0 {
        return Err(stranger());
    }
    match wire::decode::<Welcome>(header).map_err(|_| stranger())? {
        Welcome::Agreed(agreement) => {
            if agreement.magic != MAGIC
                || !VERSIONS.contains(&agreement.version)
                || agreement.limits.chunk_bytes == 0
            {
                return Err(stranger());
            }
            Ok(agreement)
        }
        Welcome::Refused { magic, .. } if magic != MAGIC => Err(stranger()),
        Welcome::Refused { error, .. } if error.code == ErrorCode::VersionMismatch => {
            Err(Error::Version(error))
        }
        Welcome::Refused { error, .. } => Err(Error::Daemon(error)),
    }
}

/// A request's prefix and header.
pub(crate) fn request(id: u64, request: Request, payload_bytes: usize) -> Result<Vec<u8>, Error> {
    head(&RequestHeader { id, request }, payload_bytes)
        .map_err(|error| InvalidArgument::new("request", error.to_string()).into())
}

/// The answer to the request of that number; an error that the daemon sent is an error here.
pub(crate) fn response(id: u64, header: &[u8]) -> Result<Response, Error> {
    let ResponseHeader { id: answered, response } = wire::decode(header)?;
    match response {
        Response::Error(error) if answered == id || answered == 0 => Err(Error::Daemon(error)),
        _ if answered != id => {
            Err(Error::Protocol(format!("it answered request {answered}, {id} was asked")))
        }
        response => Ok(response),
    }
}

/// Whether this is the answer to the ping of that number.
pub(crate) fn is_pong(id: u64, header: &[u8]) -> bool {
    matches!(response(id, header), Ok(Response::Pong))
}

/// The header of a frame that must have no payload.
pub(crate) fn bare((header, payload_bytes): (Vec<u8>, usize)) -> Result<Vec<u8>, Error> {
    if payload_bytes == 0 {
        return Ok(header);
    }
    Err(Error::Protocol(format!("{payload_bytes} bytes that belong to nothing")))
}

/// The request, if it may be asked.
///
/// # Errors
/// If the daemon does not know it.
pub(crate) fn agreed(request: Request, agreement: &Agreement) -> Result<Request, Error> {
    if request.capabilities() & !agreement.capabilities == 0 {
        return Ok(request);
    }
    let text = format!("the daemon is too old to be asked that: it is {}", agreement.server);
    let error = WireError::new(ErrorCode::VersionMismatch, text);
    Err(Error::Daemon(error.with_hint("restart it with this release")))
}

/// The error for an answer that does not belong to the question.
fn unexpected(asked: &str, response: &Response) -> Error {
    let answer = match response {
        Response::Hit(_) => "a hit",
        Response::Miss(_) => "a miss",
        Response::Put(_) => "a put's outcome",
        Response::Uploaded { .. } => "an upload's outcome",
        Response::Chunk { .. } => "a chunk",
        Response::Shown(_) => "an entry",
        Response::Listed { .. } => "a listing",
        Response::Progress { .. } => "progress",
        Response::Invalidated { .. } => "an invalidation's outcome",
        Response::Stats(_) => "counters",
        Response::Status(_) => "its status",
        Response::Pong => "a pong",
        Response::Error(_) => "an error",
        Response::Leased(_) => "a lease",
        Response::Pending(_) => "that somebody else holds the lease",
        Response::Reservation(_) => "a reservation",
        Response::Released { .. } => "a release",
        Response::Explained(_) => "an explanation",
        Response::Logged(_) => "its request log",
        Response::Savings(_) => "its counters by scope",
        Response::Budgets(_) => "its budgets",
        Response::Verified(_) => "a verification's outcome",
        Response::Collected(_) => "a collection's outcome",
        Response::Board(_) => "a board",
        Response::Awaited => "that it awaits a put",
        Response::Metrics(_) => "its metrics",
        Response::LookedUp(_) => "what many lookups came to",
        Response::Leases(_) => "a list of leases",
    };
    Error::Protocol(format!("it answered {asked} with {answer}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use memod_protocol::{LogQuery, Verb, handshake};

    use super::*;

    fn agreement() -> Agreement {
        handshake::agree(&Hello::new("test"), "memod test").unwrap()
    }

    #[test]
    fn an_older_daemon_is_not_asked_what_it_does_not_know() {
        let able = Agreement { capabilities: CAPABILITIES, ..agreement() };
        let verify = LogQuery { verb: Some(Verb::Verify), ..LogQuery::default() };
        for request in [Request::Leases, Request::Log(Box::new(verify))] {
            assert_eq!(agreed(request.clone(), &able).unwrap(), request);
            let error = agreed(request, &agreement()).unwrap_err();
            assert_eq!(error.name(), "version_mismatch");
            assert!(error.to_string().contains("it is memod test"), "{error}");
        }
        assert!(agreed(Request::Stats, &agreement()).is_ok());
    }

    #[test]
    fn a_welcome_is_taken_only_from_memod() {
        let encoded = |welcome: &Welcome| wire::encode(welcome);
        let good = agreement();
        assert_eq!(welcome(&encoded(&Welcome::Agreed(good.clone())), 0).unwrap(), good);
        let mut wrong = vec![
            Welcome::Agreed(Agreement { magic: [0; 8], ..good.clone() }),
            Welcome::Agreed(Agreement { version: 99, ..good.clone() }),
        ];
        let mut limits = good.limits;
        limits.chunk_bytes = 0;
        wrong.push(Welcome::Agreed(Agreement { limits, ..good.clone() }));
        for stranger in &wrong {
            assert!(matches!(welcome(&encoded(stranger), 0), Err(Error::Protocol(_))));
        }
        assert!(matches!(welcome(b"HTTP/1.1 400", 0), Err(Error::Protocol(_))));
        assert!(matches!(welcome(&encoded(&Welcome::Agreed(good)), 1), Err(Error::Protocol(_))));
    }

    #[test]
    fn a_refusal_for_the_version_is_told_apart() {
        let refused = |code| Welcome::Refused {
            magic: MAGIC,
            versions: vec![7],
            error: WireError::new(code, "no"),
        };
        let answer = |code| welcome(&wire::encode(&refused(code)), 0);
        assert!(matches!(answer(ErrorCode::VersionMismatch), Err(Error::Version(_))));
        assert!(matches!(answer(ErrorCode::ShuttingDown), Err(Error::Daemon(_))));
    }

    #[test]
    fn an_answer_must_belong_to_the_question() {
        let encoded = |id, response| wire::encode(&ResponseHeader { id, response });
        assert_eq!(response(3, &encoded(3, Response::Pong)).unwrap(), Response::Pong);
        assert!(matches!(response(3, &encoded(4, Response::Pong)), Err(Error::Protocol(_))));
        let error = || Response::Error(WireError::new(ErrorCode::Busy, "later"));
        for id in [0, 3] {
            assert!(matches!(response(3, &encoded(id, error())), Err(Error::Daemon(_))));
        }
        assert!(matches!(response(3, &encoded(4, error())), Err(Error::Protocol(_))));
        assert!(matches!(response(3, &[]), Err(Error::Protocol(_))));
    }

    #[test]
    fn a_request_over_the_limits_is_the_callers_fault() {
        let keys = vec![memod_protocol::Key::from_bytes([0; 32]); 40_000];
        let selector = memod_protocol::Selector::Keys(keys);
        let asked = request(1, Request::Invalidate { selector, dry_run: true }, 0);
        assert!(matches!(asked, Err(Error::Invalid(_))));
    }
}
