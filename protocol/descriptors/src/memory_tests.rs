//! Tests of memory files: who can change what.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::os::unix::net::UnixStream;

use nix::fcntl::OFlag;

use super::*;

fn sealed(content: &[u8]) -> SealedFile {
    let file = MemoryFile::new(content.len() as u64).unwrap();
    file.write_at(content, 0).unwrap();
    file.seal().unwrap()
}

fn unsealed(seals: SealFlag, bytes: u64) -> OwnedFd {
    let file = MemoryFile::new(bytes).unwrap();
    fcntl(&file.0, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file.0.into()
}

#[test]
fn a_sealed_file_is_read_by_mapping_and_changed_by_nobody() {
    for length in [0, 1, 4095, 4096, 4097, 3 << 20] {
        let content: Vec<u8> = (0..=255).cycle().take(length).collect();
        let kept = MemoryFile::new(length as u64).unwrap();
        kept.write_at(&content, 0).unwrap();
        let (writer, reader) = (kept.0.try_clone().unwrap(), kept.0.try_clone().unwrap());
        drop(kept.seal().unwrap());
        let received = ForeignFile::new(reader.into()).unwrap();
        assert!(received.is_solid().unwrap());
        let received = received.into_sealed().unwrap();
        let mapping = received.map().unwrap();
        drop(received);
        assert!(mapping.as_ref() == content, "the mapping outlives the descriptor");
        let refused = |outcome: io::Result<()>| {
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        };
        refused(writer.write_all_at(b"x", 0));
        refused(writer.set_len(length as u64 + 1));
        if length > 0 {
            refused(writer.set_len(length as u64 - 1));
        }
        let more = FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW);
        assert_eq!(fcntl(&writer, more), Err(Errno::EPERM));
        assert!(mapping.as_ref() == content);
    }
}

#[test]
fn what_somebody_could_still_change_is_not_sealed() {
    let all = [SealFlag::F_SEAL_WRITE, SealFlag::F_SEAL_SHRINK, SealFlag::F_SEAL_GROW];
    for missing in all {
        let rest = unsealed(SEALS - missing, 5);
        assert!(matches!(SealedFile::check(rest, 5), Err(MemoryError::NotSealed)), "{missing:?}");
    }
    // Against writing in future only: who mapped it before goes on writing.
    let future = SealFlag::F_SEAL_FUTURE_WRITE | (SEALS - SealFlag::F_SEAL_WRITE);
    let future = unsealed(future, 5);
    assert!(matches!(SealedFile::check(future, 5), Err(MemoryError::NotSealed)));
    let descriptor = OwnedFd::from(sealed(b"four"));
    let length = SealedFile::check(descriptor, 5).unwrap_err();
    assert!(matches!(length, MemoryError::Length { actual: 4, wanted: 5 }));
}

#[test]
fn what_is_no_memory_file_is_refused() {
    let disk: OwnedFd = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap().into();
    let path = nix::fcntl::open("/tmp", OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
    for (what, descriptor) in [
        ("a directory", File::open("/tmp").unwrap().into()),
        ("a pipe", nix::unistd::pipe().unwrap().0),
        ("a socket", UnixStream::pair().unwrap().0.into()),
        ("/dev/zero", File::open("/dev/zero").unwrap().into()),
        ("a file on a disk", disk),
        ("a path", path),
    ] {
        let error = SealedFile::check(descriptor, 0).unwrap_err();
        assert!(matches!(error, MemoryError::NotMemory), "{what}: {error}");
    }
}

#[test]
fn holes_are_not_solid() {
    let file = MemoryFile::new(1 << 30).unwrap();
    file.write_at(b"x", 0).unwrap();
    let is_solid = |file: MemoryFile| ForeignFile::new(file.0.into()).unwrap().is_solid().unwrap();
    assert!(!is_solid(file));
    // As long as a file can be, or nearly.
    assert!(!is_solid(MemoryFile::new(1 << 62).unwrap()));
}

#[test]
fn an_unsealed_file_that_gets_shorter_is_an_error_and_no_signal() {
    let file = MemoryFile::new(8192).unwrap();
    let writer = file.0.try_clone().unwrap();
    let foreign = ForeignFile::new(file.0.into()).unwrap();
    let mut buffer = [1; 4096];
    foreign.read_at(&mut buffer, 4096).unwrap();
    writer.set_len(5000).unwrap();
    let error = foreign.read_at(&mut buffer, 4096).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(matches!(foreign.into_sealed(), Err(MemoryError::NotSealed)));
}
