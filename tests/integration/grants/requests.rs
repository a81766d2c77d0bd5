//! Every request of the protocol, byte by byte, by a process of another user (issue 6): what
//! somebody has stored, asked for or computes is neither touched nor told, nor that there is any.
//!
//! **Invariants.** Each request has a test of its name here; one that is added without it fails.

mod changes;
mod leases;
mod reads;
mod reports;
mod uploads;

use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{CallBuilder, Raw};
use memod_protocol::{ErrorCode, Key, PutOutcome, Request, Response, WireError};

use super::house::{ALICE, BOB, GRANTS, House, STRANGER};

/// What Alice stores, and the digest of which everybody may know.
const SECRET: &[u8] = b"what only alice computed";

/// Alice's daemon, with an entry of hers, and two who were not let in.
struct Two {
    house: House,
    alice: Raw,
    /// He may write, elsewhere.
    bob: Raw,
    /// May nothing at all.
    stranger: Raw,
    there: CallBuilder,
    absent: CallBuilder,
}

fn task(name: &str) -> CallBuilder {
    harness::call(name).scope("alpha", "development")
}

/// The same call where Bob may write.
fn elsewhere(name: &str) -> CallBuilder {
    harness::call(name).scope("beta", "development")
}

impl Two {
    /// Only root can be other users.
    fn meet() -> Option<Self> {
        let house = House::new(GRANTS)?;
        let (there, absent) = (task("there"), task("absent"));
        let mut alice = house.connect(ALICE);
        assert_eq!(alice.put(there.put(&[("o0", SECRET)])), PutOutcome::Populated);
        let (bob, stranger) = (house.connect(BOB), house.connect(STRANGER));
        Some(Self { house, alice, bob, stranger, there, absent })
    }

    /// Bob and the stranger ask about an entry that is there and about one that is not: they are
    /// told the same, which is returned.
    #[track_caller]
    fn same(&mut self, ask: impl Fn(&CallBuilder) -> (Request, Bytes)) -> [Response; 2] {
        [&mut self.bob, &mut self.stranger].map(|raw| {
            let mut told = [&self.there, &self.absent].map(|call| {
                let (request, payload) = ask(call);
                let response = raw.ask(request, payload).response;
                (without(&response, key(call)), response)
            });
            assert_eq!(told[0].0, told[1].0, "what is there is told apart from what is not");
            std::mem::replace(&mut told[0].1, Response::Pong)
        })
    }

    /// As [`Self::same`]; each is told that it may not, and by the same words.
    #[track_caller]
    fn forbidden(&mut self, what: &str, ask: impl Fn(&CallBuilder) -> (Request, Bytes)) {
        for (told, uid) in self.same(ask).into_iter().zip([BOB, STRANGER]) {
            is_forbidden(told, uid, what);
        }
    }

    /// Alice's entry is as it was, nobody else's has come, and nobody holds a lease or waits.
    #[track_caller]
    fn nothing_has_changed(&mut self) {
        let (hit, contents) = self.alice.lookup(&self.there).expect("it is still there");
        assert_eq!((hit.provenance.writer_uid, &contents[0][..]), (ALICE, SECRET));
        self.alice.lookup(&self.absent).expect_err("nobody has stored it");
        let stats = self.house.daemon.connect().stats();
        assert_eq!((stats.entries, stats.leases, stats.waiters), (1, 0, 0), "{stats:?}");
    }
}

fn key(call: &CallBuilder) -> Key {
    call.0.key().unwrap()
}

/// What was told, without the key that was asked for.
fn without(response: &Response, key: Key) -> String {
    format!("{response:?}").replace(&key.to_string(), "KEY")
}

#[track_caller]
fn is_forbidden(told: Response, uid: u32, what: &str) {
    let Response::Error(WireError { code, message, .. }) = told else {
        panic!("user {uid} was told {told:?}")
    };
    assert_eq!((code, message), (ErrorCode::Forbidden, format!("user {uid} may not {what}")));
}

/// How long one answer takes.
fn timed(raw: &mut Raw, request: Request) -> (Response, Duration) {
    let began = Instant::now();
    let response = raw.ask(request, Bytes::new()).response;
    (response, began.elapsed())
}

/// The names of the requests, as the protocol declares them.
fn declared() -> Vec<String> {
    let source = include_str!("../../../protocol/src/request.rs");
    let (_, behind) = source.split_once("pub enum Request {\n").expect("it is declared there");
    let (body, _) = behind.split_once("\n}\n").expect("it ends");
    let at_margin = |line: &&str| line.starts_with("    ") && !line.starts_with("     ");
    let names = body.lines().filter(at_margin).filter_map(|line| {
        let name: String = line.trim().chars().take_while(char::is_ascii_alphanumeric).collect();
        Some(name).filter(|name| !name.is_empty())
    });
    names.collect()
}

/// `UploadEnd` is `upload_end`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[test]
fn every_request_has_a_test_of_another_user() {
    let tests = [
        include_str!("requests/changes.rs"),
        include_str!("requests/leases.rs"),
        include_str!("requests/reads.rs"),
        include_str!("requests/reports.rs"),
        include_str!("requests/uploads.rs"),
    ]
    .concat();
    let declared = declared();
    assert!(declared.len() >= 28, "{declared:?}");
    assert_eq!((snake("UploadEnd").as_str(), snake("Ping").as_str()), ("upload_end", "ping"));
    for name in declared {
        let test = format!("#[test]\nfn {}_", snake(&name));
        let asks = format!("Request::{name}");
        assert!(tests.contains(&test), "no test of another user begins with `{}_`", snake(&name));
        assert!(tests.contains(&asks), "no test of another user asks `{asks}`");
    }
}
