//! Tests of passing, over the kernel's own sockets.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use memod_protocol::limits::DESCRIPTORS_MAX;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::*;

fn file(text: &str) -> File {
    let flags = nix::sys::memfd::MFdFlags::empty();
    let mut file = File::from(nix::sys::memfd::memfd_create("test", flags).unwrap());
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

fn text(descriptor: OwnedFd) -> String {
    let mut text = String::new();
    File::from(descriptor).read_to_string(&mut text).unwrap();
    text
}

fn send_all(socket: &UnixStream, bytes: &[u8], files: &[&File]) {
    let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    assert_eq!(send(socket, &[IoSlice::new(bytes)], &files).unwrap(), bytes.len());
}

/// How many descriptors of this file the process has.
fn holds(file: &File) -> usize {
    let identity = |of: &std::fs::Metadata| (of.dev(), of.ino());
    let wanted = identity(&file.metadata().unwrap());
    let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    // Another test may have closed one meanwhile.
    open.filter_map(|path| std::fs::metadata(path).ok())
        .map(|of| identity(&of))
        .filter(|found| *found == wanted)
        .count()
}

#[test]
fn descriptors_come_with_the_first_byte_of_their_frame() {
    let (here, there) = UnixStream::pair().unwrap();
    let (mut inbox, mut buffer) = (Inbox::default(), [0; 64]);
    send_all(&here, b"none", &[]);
    send_all(&here, b"two", &[&file("a"), &file("b")]);
    send_all(&here, b"one", &[&file("c")]);
    send_all(&here, b"none", &[]);
    let mut unread = Vec::new();
    for (frame, wanted) in [("none", ""), ("two", "ab"), ("one", "c"), ("none", "")] {
        while unread.len() < frame.len() {
            let bytes = receive(&there, &mut buffer, &mut inbox).unwrap();
            unread.extend_from_slice(buffer.get(..bytes).unwrap());
        }
        assert_eq!(unread.drain(..frame.len()).collect::<Vec<_>>(), frame.as_bytes());
        let taken = inbox.take(wanted.len(), unread.len()).unwrap();
        for descriptor in &taken {
            let flags = FdFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFD).unwrap());
            assert!(flags.contains(FdFlag::FD_CLOEXEC));
        }
        assert_eq!(taken.into_iter().map(text).collect::<String>(), wanted);
    }
    let nothing = receive(&there, &mut buffer, &mut inbox).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    drop(here);
    assert_eq!(receive(&there, &mut buffer, &mut inbox).unwrap(), 0);
}

#[test]
fn a_frame_that_is_read_byte_by_byte_keeps_its_descriptors() {
    let (here, there) = UnixStream::pair().unwrap();
    let (mut inbox, mut buffer) = (Inbox::default(), [0; 1]);
    send_all(&here, b"whole", &[&file("a")]);
    for _ in 0..5 {
        assert_eq!(receive(&there, &mut buffer, &mut inbox).unwrap(), 1);
    }
    assert_eq!(inbox.take(1, 0).unwrap().len(), 1);
}

#[test]
fn more_than_there_is_room_for_are_all_closed() {
    let (here, there) = UnixStream::pair().unwrap();
    let (mut inbox, mut buffer) = (Inbox::default(), [0; 8]);
    let file = file("a");
    for count in [DESCRIPTORS_MAX + 1, 253] {
        send_all(&here, b"x", &vec![&file; count]);
        let error = receive(&there, &mut buffer, &mut inbox).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(inbox.is_empty());
        assert_eq!(holds(&file), 1, "{count} were sent");
    }
    send_all(&here, b"x", &[&file; DESCRIPTORS_MAX]);
    receive(&there, &mut buffer, &mut inbox).unwrap();
    assert_eq!(holds(&file), 1 + DESCRIPTORS_MAX);
    drop(inbox);
    assert_eq!(holds(&file), 1);
}
