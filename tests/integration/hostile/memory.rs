//! Small requests that could unfold into much memory.

use bytes::Bytes;
use harness::{Daemon, Random, call};
use memod_protocol::limits::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};
use memod_protocol::{Key, Literal, PutOutcome, Request, Response, Selector};

use crate::bystander::{Bystander, assert_bounded};

/// The encoding of as many of these as fit into one frame, behind the opening of their container.
fn as_many_as_fit(opening: &[u8], element: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut content = opening.to_vec();
    let mut count = 0_u64;
    loop {
        let next = element(usize::try_from(count).unwrap());
        if content.len() + next.len() > PAYLOAD_BYTES_MAX as usize {
            break;
        }
        content.extend_from_slice(&next);
        count += 1;
    }
    // A container opens with its tag, then the number of its members.
    content[1..9].copy_from_slice(&count.to_le_bytes());
    content
}

#[test]
fn values_of_millions_of_tiny_elements_do_not_unfold_in_memory() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let opening = |literal: Literal, of: &str| literal.to_blob(&of.parse().unwrap()).unwrap();
    let list = opening(Literal::List(Vec::new()), "list<none>");
    let map = opening(Literal::Map([].into()), "map<none>");
    let none = opening(Literal::None, "none").to_vec();
    let named = |number: usize| {
        let name = format!("{number:06x}");
        [&(name.len() as u64).to_le_bytes(), name.as_bytes(), &none].concat()
    };
    let lists = as_many_as_fit(&list, |_| none.clone());
    let lists_of_lists = as_many_as_fit(&list, |_| list.to_vec());
    let maps = as_many_as_fit(&map, named);
    for (literal_type, content) in
        [("list<none>", lists), ("list<list<none>>", lists_of_lists), ("map<none>", maps)]
    {
        // Eight at a time: what one needs in passing counts eight times.
        let mut peers: Vec<_> = (0..8).map(|_| daemon.connect()).collect();
        for (number, raw) in peers.iter_mut().enumerate() {
            let unfolding = call("unfolding").version(&number.to_string());
            let (put, payload) = unfolding.output("o0", literal_type).put(&[("o0", &content)]);
            raw.send(Request::Put(Box::new(put)), payload);
        }
        for raw in &mut peers {
            let reply = raw.read_reply().expect("an answer");
            assert!(
                matches!(reply.response, Response::Put(PutOutcome::Populated)),
                "{literal_type}: {:?}",
                reply.response
            );
        }
    }
    bystander.is_served();
    assert_bounded(&daemon);
}

#[test]
fn uploads_that_many_peers_leave_open_are_bounded_together() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let peers: Vec<_> = (0..40).map(|_| daemon.connect()).collect();
    let streams: Vec<_> = peers.iter().map(|raw| raw.stream().try_clone().unwrap()).collect();
    std::thread::scope(|scope| {
        for mut raw in peers {
            // Until the daemon takes no more of them, or the connection is closed below.
            scope.spawn(move || {
                let chunk = vec![b'u'; 1 << 20];
                (0..16).try_for_each(|upload| {
                    raw.try_send(Request::UploadData { upload }, &chunk).map(drop)
                })
            });
        }
        for _ in 0..3 {
            bystander.is_served();
        }
        for stream in streams {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    });
    bystander.noticed_nothing(&daemon);
}

#[test]
fn replies_that_many_peers_do_not_read_are_bounded_together() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let mut random = Random::seeded();
    let names: Vec<String> = (0..128).map(|number| format!("o{number:03}")).collect();
    // More than the daemon keeps in memory, in outputs that all travel within the reply's frame.
    let entries: Vec<_> = (0..70)
        .map(|number| {
            let entry = call("unread").bare().version(&number.to_string());
            names.iter().fold(entry, |entry, name| entry.output(name, "bytes"))
        })
        .collect();
    for entry in &entries {
        let contents: Vec<_> = names.iter().map(|_| random.bytes(16 * 1024)).collect();
        let outputs = names.iter().zip(&contents).map(|(name, content)| (&**name, &**content));
        assert_eq!(
            bystander.raw().put(entry.put(&outputs.collect::<Vec<_>>())),
            PutOutcome::Populated
        );
    }
    let deaf: Vec<_> = (0..16)
        .map(|_| {
            let mut raw = daemon.connect();
            for _ in 0..64 {
                raw.send(random.pick(&entries).lookup(), Bytes::new());
            }
            raw
        })
        .collect();
    for _ in 0..3 {
        bystander.is_served();
    }
    drop(deaf);
    bystander.is_served();
    assert_bounded(&daemon);
}

#[test]
fn counters_are_told_whatever_names_were_looked_up() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let tasks = 11_000;
    for batch in 0..tasks / 50 {
        for number in 0..50 {
            let task = format!("{:0width$}", batch * 50 + number, width = NAME_BYTES_MAX);
            raw.send(call(&task).scope(&"p".repeat(1024), &task).lookup(), Bytes::new());
        }
        for _ in 0..50 {
            let reply = raw.read_reply().expect("an answer");
            assert!(matches!(reply.response, Response::Miss(_)), "{:?}", reply.response);
        }
    }
    let stats = raw.stats();
    assert_eq!(stats.misses, tasks);
    assert!(!stats.by_task.is_empty());
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn thirty_thousand_keys_at_once_are_forgotten_in_bounded_steps() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let keys = |count: u32| {
        let key = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            Key::from_bytes(bytes)
        };
        Selector::Keys((0..count).map(key).collect())
    };
    for dry_run in [true, false] {
        assert_eq!(raw.invalidate(keys(30_000), dry_run), 0, "none of them is there");
    }
    drop(raw);
    bystander.noticed_nothing(&daemon);
}
