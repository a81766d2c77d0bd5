//! Lists of whatever lengths, with outputs of whatever sizes (semantics 14 and 15).

use harness::{Daemon, Random};
use memod_client::{Call, Client};

use super::{asking, found, look, numbered, run};

/// Sizes of which few, some or hundreds fit into a frame; the last are too large for one.
const SIZES: [usize; 9] = [0, 16, 900, 8_000, 12_000, 13_001, 14_000, 16_001, 18_000];
/// Calls of each size.
const EACH: usize = 60;

fn content(number: usize) -> Vec<u8> {
    let size = SIZES[number / EACH];
    let mut content = format!("{number} ").repeat(size / 2).into_bytes();
    content.truncate(size);
    content
}

fn prepared(task: &str) -> (Daemon, Client, Vec<Call>) {
    let daemon = Daemon::new();
    let (client, calls) = (asking(&daemon), numbered(task, EACH * SIZES.len()));
    let contents: Vec<_> = (0..calls.len()).map(content).collect();
    let runs = calls.iter().zip(&contents).map(|(call, content)| run(call, content));
    assert!(client.put_many(runs.collect()).iter().all(Result::is_ok));
    (daemon, client, calls)
}

/// Looks up these of the calls in one list.
#[track_caller]
fn check(name: &str, client: &Client, calls: &[Call], wanted: &[usize]) {
    let list: Vec<_> = wanted.iter().map(|number| calls[*number].clone()).collect();
    for (place, (number, outcome)) in wanted.iter().zip(look(client, &list)).enumerate() {
        let bytes = found(&outcome).unwrap_or_else(|| panic!("{name}: {place} is a hit"));
        assert_eq!(bytes, content(*number), "{name}: place {place}, call {number}");
    }
}

#[test]
fn s15_a_list_of_any_length_with_outputs_of_any_one_size_is_answered() {
    let (_daemon, client, calls) = prepared("one_size");
    let mut asked = 0;
    for (of, size) in SIZES.iter().enumerate() {
        for length in [1, 255, 256, 257, 1000, 2000] {
            let wanted: Vec<_> = (0..length).map(|place| of * EACH + place % EACH).collect();
            check(&format!("{length} of {size} bytes"), &client, &calls, &wanted);
            asked += length as u64;
            assert_eq!(client.stats().unwrap().hits, asked, "{length} of {size}: each counts once");
        }
    }
}

#[test]
fn s15_a_list_of_any_length_with_outputs_of_many_sizes_is_answered() {
    let (_daemon, client, calls) = prepared("many_sizes");
    let (mut random, mut asked) = (Random::new(15), 0);
    for round in 0..40 {
        // Of all sizes or of a few, and in runs of one size, so that frames differ from the next.
        let kinds = 1 + random.below(SIZES.len());
        let (length, longest) = (1 + random.below(1500), 1 + random.below(400));
        let mut wanted = Vec::new();
        while wanted.len() < length {
            let of = SIZES.len() - 1 - random.below(kinds);
            let run = (1 + random.below(longest)).min(length - wanted.len());
            wanted.extend((0..run).map(|_| of * EACH + random.below(EACH)));
        }
        check(&format!("round {round}"), &client, &calls, &wanted);
        asked += length as u64;
        assert_eq!(client.stats().unwrap().hits, asked, "round {round}: each counts once");
    }
}
