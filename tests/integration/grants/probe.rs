//! Content that somebody guesses: to put it does not tell whether another has stored it (issue 6).

use std::fs;

use bytes::Bytes;
use harness::call as one;
use memod_protocol::{LogQuery, Outcome, PutOutcome, Request, Response, Verb};

use super::house::{BOB, GRANTS, House, call};
use crate::semantics_lookup::noise;

/// How often each is tried.
const PAIRS: u64 = 64;

/// A file of bytes that are not stored, and that BOB may read; gives the output that it makes.
fn file(house: &House, seed: u64, bytes: usize) -> (Vec<u8>, String) {
    let content = noise(seed, bytes);
    let path = house.daemon.folder().join(format!("content{seed}"));
    fs::write(&path, &content).unwrap();
    (content, format!("o0:bytes=@{}", path.display()))
}

/// The same, stored by root where BOB may not read.
fn stored(house: &House, seed: u64, bytes: usize) -> String {
    let (content, output) = file(house, seed, bytes);
    let put = one(&format!("known{seed}")).output("o0", "bytes").put(&[("o0", &content)]);
    assert_eq!(house.daemon.connect().put(put), PutOutcome::Populated);
    output
}

/// How long the daemon took for each of BOB's puts so far, in microseconds, in their order.
fn took_us(house: &House) -> Vec<u64> {
    let query =
        LogQuery { uid: Some(BOB), verb: Some(Verb::Put), limit: 1000, ..LogQuery::default() };
    let rows = house.daemon.connect().log(query).rows;
    assert!(rows.iter().all(|row| row.outcome == Outcome::Populated), "{rows:?}");
    rows.iter().map(|row| row.took_us).collect()
}

fn median(of: impl Iterator<Item = u64>) -> u64 {
    let mut sorted: Vec<u64> = of.collect();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// Content that somebody else has stored and content that nobody has are put in pairs, one behind
/// the other, either first in turn. How long each takes is what the daemon says itself in the log,
/// which BOB may read, so that no process's start blurs it.
///
/// Noise is judged by sign: if the two do not differ, it is a coin's toss which of a pair takes
/// longer, however loud the machine is. Of 64 tosses four standard deviations are 16 to either
/// side, which a fair coin exceeds once in 15,000; a difference of half of the noise between two
/// puts is seen.
fn assert_alike(bytes: usize) {
    let Some(house) = House::new(GRANTS) else { return };
    for pair in 0..PAIRS {
        let known = stored(&house, 2 * pair, bytes);
        let (_, unknown) = file(&house, 2 * pair + 1, bytes);
        let mut both = [known, unknown];
        if pair % 2 == 1 {
            both.reverse();
        }
        for (index, output) in both.iter().enumerate() {
            house.ends(0, BOB, "beta", &call("put", &format!("t{pair}.{index}"), output));
        }
    }
    let took = took_us(&house);
    // Later than it takes to find what is there: so small a difference no 64 tosses would show.
    assert!(took.iter().all(|took| *took >= 2000), "{took:?}");
    let pairs: Vec<(u64, u64)> = (0..)
        .zip(took.chunks_exact(2))
        .map(|(pair, took)| if pair % 2 == 0 { (took[0], took[1]) } else { (took[1], took[0]) })
        .collect();
    assert_eq!(pairs.len() as u64, PAIRS);
    let told = (median(pairs.iter().map(|of| of.0)), median(pairs.iter().map(|of| of.1)));
    let quicker = pairs.iter().filter(|(known, unknown)| known < unknown).count();
    let slower = pairs.iter().filter(|(known, unknown)| known > unknown).count();
    // One standard deviation of the difference is the root of the number of tosses.
    assert!(
        quicker.abs_diff(slower).pow(2) <= 4 * 4 * (quicker + slower),
        "{bytes} bytes: what is known was quicker {quicker} times and slower {slower} times, \
         medians {told:?} us"
    );
}

#[test]
fn small_content_that_is_known_takes_as_long_as_any_other() {
    assert_alike(4096);
}

#[test]
fn content_of_a_chunk_that_is_known_takes_as_long_as_any_other() {
    assert_alike(900_000);
}

#[test]
fn budgets_charge_what_is_known_as_any_other() {
    let Some(house) = House::new(GRANTS) else { return };
    let budgets = || -> Vec<u64> {
        let told = house.json(0, BOB, "beta", &["stats"]);
        let rows = told["eviction"]["budgets"].as_array().unwrap().clone();
        assert!(rows.iter().all(|row| row["of"] != "store"), "{rows:?}");
        rows.iter().map(|row| row["bytes"].as_u64().unwrap()).collect()
    };
    let mut before = vec![0, 0];
    for output in [stored(&house, 1, 50_000), file(&house, 2, 50_000).1] {
        house.ends(0, BOB, "beta", &call("put", &output[output.len() - 3..], &output));
        let after = budgets();
        assert_eq!(after.len(), 2, "of himself and of his scope");
        for (after, before) in after.iter().zip(&before) {
            // Content and rows; a process's number takes a byte or five.
            assert!((50_300..50_600).contains(&(after - before)), "{before} {after}");
        }
        before = after;
    }
}

/// What a put of both outputs by this user is refused with, for its size.
fn refused(house: &House, uid: u32, output: &str, more: &str) -> String {
    let more = more.replace("o0", "o1");
    let put = [&call("put", "t", output)[..], &["--output", &more]].concat();
    let error = house.ends(4, uid, "beta", &put).json_error();
    assert_eq!(error["code"], "over_budget", "{error}");
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_refusal_for_want_of_room_tells_neither_what_is_known_nor_what_there_is() {
    let config = "store_bytes_max = \"1 MB\"\nuser_bytes = { 0 = 0 }\n\
        scope_bytes = { flytesnacks = { development = 0 } }\n";
    let Some(house) = House::new(&format!("{config}{}", GRANTS.replace("1 GiB", "100 kB"))) else {
        return;
    };
    let (_, more) = file(&house, 1, 40_000);
    let known = stored(&house, 2, 70_000);
    let (_, unknown) = file(&house, 3, 70_000);
    let told = refused(&house, BOB, &known, &more);
    assert_eq!(told, refused(&house, BOB, &unknown, &more));
    let wanted = "project beta, domain development may hold 100000 bytes: there is no \
        room for 11";
    assert!(told.starts_with(wanted), "{told}");
    // An entry that is too large for any store of this size is refused as such.
    let (_, more) = file(&house, 4, 600_000);
    let known = stored(&house, 5, 600_000);
    let (_, unknown) = file(&house, 6, 600_000);
    let told = refused(&house, BOB, &known, &more);
    assert_eq!(told, refused(&house, BOB, &unknown, &more));
    assert!(told.starts_with("the entry needs 120"), "{told}");
}

#[test]
fn who_may_not_read_all_is_not_told_how_full_the_store_is() {
    let config = format!("store_bytes_max = \"8 MB\"\n{}", GRANTS.replace("1 GiB", "8 MB"));
    let Some(house) = House::new(&config) else { return };
    // Six pieces of an upload of root's stay, whatever goes.
    let mut root = house.daemon.connect();
    for seed in 0..6 {
        root.send(Request::UploadData { upload: 1 }, noise(seed, 1 << 20).into());
    }
    let end = Request::UploadEnd { upload: 1, digest: None };
    let ended = root.ask(end, Bytes::new()).response;
    assert!(matches!(ended, Response::Uploaded { .. }), "{ended:?}");
    let (_, more) = file(&house, 14, 900_000);
    let known = stored(&house, 15, 1_000_000);
    let (_, unknown) = file(&house, 16, 1_000_000);
    let told = refused(&house, BOB, &known, &more);
    assert_eq!(told, refused(&house, BOB, &unknown, &more));
    assert!(told.starts_with("the store is full: there is no room for 190"), "{told}");
    let told = refused(&house, 0, &unknown, &more);
    assert!(told.starts_with("the store may hold 8000000 bytes and holds "), "{told}");
}
