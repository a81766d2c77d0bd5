//! Large outputs in sealed memory files: whole, shared, bounded, and changed by nobody.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Random, Raw, Setup, call, descriptors, eventually};
use memod_client::{Client, Content, Hit, Lookup, LookupOptions, PutOptions, PutOutput, Source};
use memod_protocol::handshake::DESCRIPTORS;
use memod_protocol::limits::UPLOADS_OPEN_MAX;
use memod_protocol::{Delivery, LiteralType, NewOutput, OutputSource, PutOutcome, Response};
use nix::sys::stat::fstat;
use nix::unistd::Uid;

use crate::client::to_daemon;

const MIB: usize = 1 << 20;

/// Stores a run with these outputs, each larger than fits into a frame with the others.
pub(crate) fn store(daemon: &Daemon, of: CallBuilder, contents: &[(&str, &[u8])]) -> CallBuilder {
    let mut raw = daemon.connect();
    let of = contents.iter().fold(of.bare(), |of, (name, _)| of.output(name, "bytes"));
    let (mut put, _) = of.put(&[]);
    for (number, (name, content)) in (0..).zip(contents) {
        put.outputs.push(NewOutput {
            name: (*name).to_owned(),
            bytes: content.len() as u64,
            digest: Some(raw.upload(number, content)),
            source: OutputSource::Upload(number),
        });
    }
    assert_eq!(raw.put((put, Bytes::new())), PutOutcome::Populated);
    of
}

fn hit(client: &Client, of: &CallBuilder) -> Hit {
    match client.lookup(&of.0, &LookupOptions::default()).unwrap() {
        Lookup::Hit(hit) => hit,
        Lookup::Miss(miss) => panic!("{miss:?}"),
    }
}

/// The inodes of the memory files that a process has open.
fn memory_files(pid: u32) -> BTreeSet<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let is_memory = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|of| of.to_string_lossy().starts_with("/memfd:memod ("))
    };
    let inode = |path: PathBuf| fs::metadata(path).ok().map(|of| of.ino());
    open.filter(is_memory).filter_map(inode).collect()
}

/// How many of these files this process has mapped.
fn mapped(files: &BTreeSet<u64>) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let inode = |line: &str| line.split_whitespace().nth(4).and_then(|inode| inode.parse().ok());
    let ours = |line: &&str| inode(line).is_some_and(|inode| files.contains(&inode));
    maps.lines().filter(|line| line.contains("/memfd:memod")).filter(ours).count()
}

/// The deliveries of a hit, and the descriptors that came with it.
fn deliveries(raw: &mut Raw, of: &CallBuilder) -> (Vec<Delivery>, Vec<OwnedFd>) {
    let reply = raw.ask(of.lookup(), Bytes::new());
    let Response::Hit(hit) = reply.response else { panic!("{:?}", reply.response) };
    let deliveries: Vec<Delivery> = hit.outputs.iter().map(|output| output.delivery).collect();
    let sealed = deliveries.iter().filter(|delivery| **delivery == Delivery::Sealed).count();
    (deliveries, raw.descriptors(sealed))
}

/// Waits until so many outputs of a call come in files. What is cold and takes long is streamed.
fn warm(daemon: &Daemon, of: &CallBuilder, wanted: usize) {
    eventually("the outputs come in files", || {
        let mut raw = Raw::capable(&daemon.socket(), DESCRIPTORS);
        let reply = raw.ask(of.lookup(), Bytes::new());
        let Response::Hit(hit) = reply.response else { panic!("{:?}", reply.response) };
        hit.outputs.iter().filter(|output| output.delivery == Delivery::Sealed).count() == wanted
    });
}

#[test]
fn a_large_hit_is_mapped_and_not_copied_and_unmapped_when_it_is_dropped() {
    let daemon = Daemon::new();
    let (large, larger) = (Random::new(1).bytes(3 * MIB + 5), Random::new(2).bytes(70 * MIB));
    let outputs: &[(&str, &[u8])] = &[("a", &large), ("b", b"small"), ("c", &larger)];
    let of = store(&daemon, call("mapped"), outputs);
    let client = to_daemon(&daemon);
    warm(&daemon, &of, 2);
    let files = memory_files(daemon.pid());
    assert_eq!(files.len(), 2);
    for _ in 0..3 {
        let hit = hit(&client, &of);
        for (output, (name, content)) in hit.outputs.iter().zip(outputs) {
            assert_eq!(output.name, *name);
            // Beyond what a client keeps in memory, and yet in memory.
            assert!(matches!(&output.content, Content::Memory(bytes) if bytes == content));
        }
        assert_eq!(mapped(&files), 2);
        let open = memory_files(std::process::id());
        assert!(open.is_disjoint(&files), "the mapping needs no descriptor");
    }
    assert_eq!(mapped(&files), 0);
    assert_eq!(memory_files(daemon.pid()), files, "the daemon keeps both for the next");
}

#[tokio::test]
async fn a_large_hit_is_mapped_in_a_runtime_too() {
    let daemon = Daemon::new();
    let large = Random::new(3).bytes(5 * MIB);
    let of = store(&daemon, call("async"), &[("o0", &large)]);
    warm(&daemon, &of, 1);
    let files = memory_files(daemon.pid());
    let client = Client::builder().socket(daemon.socket()).build_async();
    let Lookup::Hit(hit) = client.lookup(&of.0, &LookupOptions::default()).await.unwrap() else {
        panic!("it is stored");
    };
    assert!(matches!(&hit.outputs[0].content, Content::Memory(bytes) if *bytes == large));
    assert_eq!(mapped(&files), 1);
    drop(hit);
    assert_eq!(mapped(&files), 0);
}

#[test]
fn all_who_ask_at_once_share_one_file_that_none_can_change() {
    let mut daemon = Daemon::new();
    let large = Random::new(4).bytes(40 * MIB);
    let of = store(&daemon, call("shared"), &[("o0", &large)]);
    daemon.stop();
    daemon.start().unwrap();
    let socket = daemon.socket();
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let (socket, of) = (socket.clone(), of.clone());
            std::thread::spawn(move || deliveries(&mut Raw::capable(&socket, DESCRIPTORS), &of))
        })
        .collect();
    let answers: Vec<_> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
    // Who was answered before it was filled had a stream; from now on all have the file.
    warm(&daemon, &of, 1);
    assert_eq!(memory_files(daemon.pid()).len(), 1);
    let (last, files) = deliveries(&mut Raw::capable(&socket, DESCRIPTORS), &of);
    assert_eq!(last, [Delivery::Sealed]);
    let inode = |file: &OwnedFd| fstat(file).unwrap().st_ino;
    for (_, same) in &answers {
        assert!(same.iter().all(|file| inode(file) == inode(&files[0])));
    }
    let file = fs::File::from(files.into_iter().next().unwrap());
    let refused = |outcome: std::io::Result<()>| {
        assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    };
    refused(file.write_all_at(b"x", 0));
    refused(file.set_len(0));
    refused(file.set_len(41 << 20));
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let again = fs::OpenOptions::new().write(true).open(path).unwrap();
    refused(again.write_all_at(b"x", 0));
}

#[test]
fn the_files_that_are_kept_are_bounded_and_what_does_not_fit_is_streamed() {
    let config = format!("sealed_bytes = {}\n", 8 * MIB);
    let daemon = Setup::new().config(config).start();
    let contents: Vec<Vec<u8>> = (0..6).map(|seed| Random::new(seed).bytes(3 * MIB)).collect();
    let calls: Vec<_> = contents
        .iter()
        .enumerate()
        .map(|(n, content)| {
            store(&daemon, call("bounded").version(&n.to_string()), &[("o0", content)])
        })
        .collect();
    let client = to_daemon(&daemon);
    let mut held = Vec::new();
    for _ in 0..2 {
        for (of, content) in calls.iter().zip(&contents) {
            warm(&daemon, of, 1);
            let hit = hit(&client, of);
            assert!(matches!(&hit.outputs[0].content, Content::Memory(b) if b == content));
            held.push(hit);
            assert!(memory_files(daemon.pid()).len() <= 2);
        }
    }
    let content = Random::new(9).bytes(9 * MIB);
    let of = store(&daemon, call("too large"), &[("o0", &content)]);
    let mut raw = Raw::capable(&daemon.socket(), DESCRIPTORS);
    assert!(raw.lookup(&of).unwrap().1[0] == content);
    assert_eq!(memory_files(daemon.pid()).len(), 2);
    // What is no longer kept is whole for those who have it.
    assert!(held.iter().zip(contents.iter().cycle()).all(|(hit, content)| {
        matches!(&hit.outputs[0].content, Content::Memory(bytes) if bytes == content)
    }));
}

#[test]
fn without_room_for_files_or_the_ability_to_take_them_everything_is_streamed() {
    let content = Random::new(5).bytes(4 * MIB);
    for (config, capabilities) in [("sealed_bytes = 0\n", DESCRIPTORS), ("", 0)] {
        let daemon = Setup::new().config(config).start();
        let of = store(&daemon, call("streamed"), &[("o0", &content)]);
        let mut raw = Raw::capable(&daemon.socket(), capabilities);
        let (hit, contents) = raw.lookup(&of).unwrap();
        assert_eq!(hit.outputs[0].delivery, Delivery::Stream);
        assert!(contents[0] == content);
        assert!(memory_files(daemon.pid()).is_empty());
    }
}

#[test]
fn as_many_large_outputs_as_an_entry_may_have_come_with_one_frame() {
    let daemon = Daemon::new();
    let content = |n: usize| (format!("o{n:02}"), Random::new(n as u64).bytes(MIB + n));
    let contents: Vec<(String, Vec<u8>)> = (0..UPLOADS_OPEN_MAX as usize).map(content).collect();
    let named: Vec<(&str, &[u8])> =
        contents.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let of = store(&daemon, call("many"), &named);
    warm(&daemon, &of, named.len());
    let (_, came) = Raw::capable(&daemon.socket(), DESCRIPTORS).lookup(&of).unwrap();
    assert!(came.iter().zip(&named).all(|(came, (_, content))| came == content));
}

#[tokio::test]
async fn a_large_output_is_put_as_a_file_and_read_from_that_very_file() {
    let daemon = Daemon::new();
    let put = |name: &str| {
        let content = Bytes::from(Random::new(name.len() as u64).bytes(5 * MIB + 3));
        let (name, source) = ("o0".to_owned(), Source::Bytes(content.clone()));
        (content, vec![PutOutput { name, literal_type: LiteralType::Bytes, source }])
    };
    let options = PutOptions::default();
    let (one, other) =
        (call("blocking").output("o0", "bytes"), call("async").output("o0", "bytes"));
    let (first, outputs) = put("blocking");
    let client = to_daemon(&daemon);
    assert_eq!(client.put(&one.0, outputs, &options).unwrap(), PutOutcome::Populated);
    assert_eq!(memory_files(daemon.pid()).len(), 1, "it is there before anybody has asked");
    let (second, outputs) = put("async");
    let client = Client::builder().socket(daemon.socket()).build_async();
    assert_eq!(client.put(&other.0, outputs, &options).await.unwrap(), PutOutcome::Populated);
    assert_eq!(memory_files(daemon.pid()).len(), 2);
    for (of, content) in [(one, first), (other, second)] {
        let hit = hit(&to_daemon(&daemon), &of);
        assert!(matches!(&hit.outputs[0].content, Content::Memory(bytes) if *bytes == content));
        assert_eq!(mapped(&memory_files(daemon.pid())), 1);
    }
}

#[test]
fn peers_that_take_no_file_leave_none_open() {
    let daemon = Daemon::new();
    let content = Random::new(6).bytes(2 * MIB + 1);
    let of = store(&daemon, call("gone"), &[("o0", &content)]);
    warm(&daemon, &of, 1);
    let before = descriptors(daemon.pid());
    for _ in 0..200 {
        let mut raw = Raw::capable(&daemon.socket(), DESCRIPTORS);
        for _ in 0..5 {
            raw.send(of.lookup(), Bytes::new());
        }
    }
    eventually("all are gone", || descriptors(daemon.pid()) <= before);
}

/// The kernel counts the descriptors that are under way, by user, and takes no more than a process
/// of that user may open, unless the process may do everything.
#[test]
fn what_the_kernel_takes_no_descriptors_for_is_streamed() {
    if !Uid::effective().is_root() {
        eprintln!("only root is able to be denied what root may: this is not tested");
        return;
    }
    let words = ["setpriv", "--bounding-set=-sys_resource,-sys_admin"].map(str::to_owned);
    let daemon = Setup::new().within(words).descriptors_max(600).start();
    let content = |n: usize| (format!("o{n:02}"), Random::new(n as u64).bytes(MIB + n));
    let contents: Vec<(String, Vec<u8>)> = (0..UPLOADS_OPEN_MAX as usize).map(content).collect();
    let named: Vec<(&str, &[u8])> =
        contents.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let of = store(&daemon, call("crowded"), &named);
    warm(&daemon, &of, named.len());
    // Hits that nobody reads, until the kernel has had enough. What else root does at the same time
    // counts too, so that it may have enough for a moment only.
    let (mut idle, mut streamed) = (Vec::new(), 0);
    eventually("outputs are streamed", || {
        let mut silent = Raw::capable(&daemon.socket(), DESCRIPTORS);
        for _ in 0..60 {
            silent.send(of.lookup(), Bytes::new());
        }
        idle.push(silent);
        let mut raw = Raw::capable(&daemon.socket(), DESCRIPTORS);
        let (hit, came) = raw.lookup(&of).unwrap();
        assert!(came.iter().zip(&named).all(|(came, (_, content))| came == content));
        streamed = hit.outputs.iter().filter(|of| of.delivery == Delivery::Stream).count();
        streamed > 0
    });
    assert_eq!(streamed, named.len());
    drop(idle);
    warm(&daemon, &of, named.len());
}
