//! Tests of outputs in sealed files: what a daemon sends is taken only if nobody can change it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixStream;

use memod_descriptors::MemoryFile;
use memod_protocol::{Call, Delivery, LiteralType, Request};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::*;
use crate::content::Content;
use crate::options::{Lookup, LookupOptions};
use crate::testing::{FakeDaemon, call_with_outputs, hit};

fn sealed(content: &[u8]) -> OwnedFd {
    let file = MemoryFile::new(content.len() as u64).unwrap();
    file.write_at(content, 0).unwrap();
    file.seal().unwrap().into()
}

fn unsealed(content: &[u8]) -> OwnedFd {
    let file = File::from(memfd_create("test", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.write_all_at(content, 0).unwrap();
    file.into()
}

fn call() -> Call {
    call_with_outputs(&["a", "b", "c"], &LiteralType::Bytes)
}

/// A daemon whose hit has these outputs, and these descriptors with its frame.
fn daemon(
    contents: &'static [(&'static str, &'static [u8], Delivery)],
    descriptors: impl Fn() -> Vec<OwnedFd> + Send + Sync + 'static,
) -> FakeDaemon {
    FakeDaemon::new(move |peer| {
        while let Some((id, request, _)) = peer.request() {
            assert!(matches!(request, Request::Lookup(_)));
            let inline = contents.iter().filter(|of| of.2 == Delivery::Inline);
            let payload: Vec<u8> = inline.flat_map(|of| of.1).copied().collect();
            let descriptors = descriptors();
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            peer.respond_with(id, hit(&call(), contents), &payload, &borrowed);
        }
    })
}

fn ask(daemon: &FakeDaemon) -> Result<Lookup, Error> {
    daemon.client().lookup(&call(), &LookupOptions::default())
}

#[cfg(feature = "tokio")]
fn ask_async(daemon: &FakeDaemon) -> Result<Lookup, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = daemon.builder().build_async();
    runtime.block_on(client.lookup(&call(), &LookupOptions::default()))
}

/// What each kind of client gets.
fn answers(daemon: &FakeDaemon) -> Vec<Result<Lookup, Error>> {
    vec![
        ask(daemon),
        #[cfg(feature = "tokio")]
        ask_async(daemon),
    ]
}

const OUTPUTS: &[(&str, &[u8], Delivery)] = &[
    ("a", b"in a file", Delivery::Sealed),
    ("b", b"inside the frame", Delivery::Inline),
    ("c", b"", Delivery::Sealed),
];

#[test]
fn outputs_in_files_are_mapped_each_from_its_own() {
    let daemon = daemon(OUTPUTS, || vec![sealed(b"in a file"), sealed(b"")]);
    for answer in answers(&daemon) {
        let Lookup::Hit(hit) = answer.unwrap() else { panic!("it is a hit") };
        for (output, (_, content, _)) in hit.outputs.iter().zip(OUTPUTS) {
            assert!(matches!(&output.content, Content::Memory(bytes) if bytes == content));
        }
    }
}

/// How many descriptors this process has of this file.
fn open(file: &OwnedFd) -> usize {
    let of = File::from(file.try_clone().unwrap()).metadata().unwrap();
    let all = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let found = all.filter_map(|path| std::fs::metadata(path).ok());
    found.filter(|found| (found.dev(), found.ino()) == (of.dev(), of.ino())).count()
}

#[test]
fn files_that_somebody_could_change_or_that_are_none_are_refused_and_closed() {
    type Make = fn() -> OwnedFd;
    let bad: [(&str, Make); 8] = [
        ("unsealed", || unsealed(b"in a file")),
        ("too short", || sealed(b"in a fil")),
        ("too long", || sealed(b"in a file.")),
        ("very long", || MemoryFile::new(1 << 62).unwrap().seal().unwrap().into()),
        ("a directory", || File::open("/tmp").unwrap().into()),
        ("a pipe", || nix::unistd::pipe().unwrap().0),
        ("a socket", || UnixStream::pair().unwrap().0.into()),
        ("/dev/zero", || File::open("/dev/zero").unwrap().into()),
    ];
    for (what, make) in bad {
        let file = make();
        let copy = file.try_clone().unwrap();
        let daemon = daemon(OUTPUTS, move || vec![file.try_clone().unwrap(), sealed(b"")]);
        let before = open(&copy);
        for answer in answers(&daemon) {
            assert!(matches!(answer, Err(Error::Protocol(_))), "{what}: {answer:?}");
        }
        if what != "/dev/zero" && what != "a directory" {
            // The daemon is of this process too, and may not have closed its own copy yet.
            while open(&copy) > before {
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn a_hit_has_exactly_as_many_files_as_it_says() {
    for count in [0, 1, 17, 253] {
        let daemon = daemon(OUTPUTS, move || (0..count).map(|_| sealed(b"in a file")).collect());
        for answer in answers(&daemon) {
            assert!(matches!(answer, Err(Error::Protocol(_))), "{count}: {answer:?}");
        }
    }
    // One more than announced is noticed at the latest before the connection is used again.
    let daemon = daemon(OUTPUTS, || vec![sealed(b"in a file"), sealed(b""), sealed(b"more")]);
    let client = daemon.client();
    for connections in 1..=2 {
        let answer = client.lookup(&call(), &LookupOptions::default());
        assert!(matches!(answer, Ok(Lookup::Hit(_)) | Err(Error::Protocol(_))), "{answer:?}");
        assert_eq!(daemon.connections(), connections);
    }
}
