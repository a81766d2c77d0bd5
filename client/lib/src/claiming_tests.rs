//! Tests of the claim that outlasts a restart.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::io;
use std::path::PathBuf;

use memod_protocol::{Call, CallIdentity, ErrorCode, LiteralType, WireError};

use super::*;
use crate::address::Origin;
use crate::options::ClaimOptions;
use crate::testing::call_with_outputs;

const SEARCH: Duration = Duration::from_secs(2);
const INSTANT: Duration = Duration::from_nanos(1);

fn cut_off() -> Error {
    Error::Io { path: PathBuf::from("/s"), source: io::ErrorKind::UnexpectedEof.into() }
}

fn nobody() -> Error {
    Error::NoDaemon { path: PathBuf::from("/s"), source: io::ErrorKind::NotFound.into() }
}

fn daemon(code: ErrorCode) -> Error {
    Error::Daemon(WireError::new(code, "no"))
}

fn address() -> Address {
    Address { path: PathBuf::from("/s"), origin: Origin::System }
}

fn call() -> (Call, CallIdentity) {
    let call = call_with_outputs(&["a"], &LiteralType::Bytes);
    let identity = call.identity().unwrap();
    (call, identity)
}

/// Does something with a claim that nobody has answered.
fn with_claim(test: impl FnOnce(Claiming<'_>, Instant)) {
    let ((call, identity), options) = (call(), ClaimOptions::default());
    let exchange = ClaimExchange::new(&call, &identity, &options).unwrap();
    test(Claiming::new(exchange, SEARCH), Instant::now());
}

fn after(next: Result<Next, Error>) -> Duration {
    match next {
        Ok(Next::There { after, at }) if at == address() => after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_wait_is_begun_anew() {
    for error in [cut_off, nobody, || daemon(ErrorCode::ShuttingDown)] {
        with_claim(|mut claim, now| {
            assert!(claim.failed(error(), now).is_err(), "it was not told that it waits");
            claim.waits(&address(), now);
            claim.answered();
            assert!(claim.failed(error(), now).is_err(), "an answer has begun");
            claim.waits(&address(), now);
            assert_eq!(after(claim.failed(error(), now)), Duration::ZERO);
            claim.answered();
            assert!(claim.failed(error(), now).is_err(), "the new answer has begun");
        });
    }
}

#[test]
fn only_the_daemons_end_cuts_a_wait_off() {
    let late =
        || Error::Timeout { path: PathBuf::from("/s"), what: "answer", after: Duration::ZERO };
    for error in [late, || daemon(ErrorCode::Internal), || Error::Protocol(String::new())] {
        with_claim(|mut claim, now| {
            claim.waits(&address(), now);
            assert!(claim.failed(error(), now).is_err());
            claim.waits(&address(), now);
            claim.failed(cut_off(), now).unwrap();
            assert!(claim.failed(error(), now).is_err(), "nor is it looked for any longer");
        });
    }
}

#[test]
fn the_daemon_is_looked_for_where_it_was_and_at_last_anywhere() {
    with_claim(|mut claim, now| {
        claim.waits(&address(), now);
        assert_eq!(after(claim.failed(cut_off(), now)), Duration::ZERO);
        let mut pause = Pause::default();
        for error in [nobody(), cut_off(), daemon(ErrorCode::ShuttingDown), nobody()] {
            assert_eq!(after(claim.failed(error, now)), pause.next());
        }
        let almost = now + SEARCH.checked_sub(INSTANT).unwrap();
        assert_eq!(after(claim.failed(nobody(), almost)), pause.next());
        assert_eq!(claim.failed(nobody(), now + SEARCH).unwrap(), Next::Anywhere);
        assert!(matches!(claim.failed(nobody(), now + SEARCH), Err(Error::NoDaemon { .. })));
    });
}

#[test]
fn a_wait_is_cut_off_only_so_often() {
    with_claim(|mut claim, mut now| {
        for _ in 0..CUTS_MAX {
            claim.waits(&address(), now);
            after(claim.failed(cut_off(), now));
            // Each search has its own time.
            now += SEARCH.checked_sub(INSTANT).unwrap();
            after(claim.failed(nobody(), now));
        }
        claim.waits(&address(), now);
        assert!(claim.failed(cut_off(), now).is_err());
    });
}

#[test]
fn it_waits_from_when_it_was_first_told_so() {
    with_claim(|mut claim, now| {
        assert_eq!((claim.has_waited(), claim.waited(now + SEARCH)), (false, Duration::ZERO));
        claim.waits(&address(), now);
        claim.failed(cut_off(), now + SEARCH).unwrap();
        claim.waits(&address(), now + SEARCH);
        claim.answered();
        assert_eq!((claim.has_waited(), claim.waited(now + SEARCH * 2)), (true, SEARCH * 2));
    });
}
