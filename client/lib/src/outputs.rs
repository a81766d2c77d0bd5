//! Outputs on their way out: what a caller gives, brought into the form in which it is sent.
//!
//! **Invariants.** Names and types are those that the call declares. What a reader or a file gives
//! is held in memory only up to [`INLINE_BYTES_MAX`] over all outputs; the rest is read while it
//! is sent.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use memod_protocol::limits::INLINE_BYTES_MAX;
use memod_protocol::{Digest, Interface, InvalidArgument, Literal, LiteralType};

use crate::content::{Content, HitOutput};
use crate::error::Error;
use crate::exchange::put::Offer;

/// An output of a run, to be stored.
#[derive(Debug)]
pub struct PutOutput {
    /// Its name.
    pub name: String,
    /// Its type, as the call declares it.
    pub literal_type: LiteralType,
    /// Where its bytes are.
    pub source: Source,
}

/// Where an output's bytes are.
pub enum Source {
    /// Here, in the form in which they are stored.
    Bytes(Bytes),
    /// In this value.
    Literal(Literal),
    /// To be read from here, to the end.
    Reader(Box<dyn Read + Send>),
    /// To be read from here, to the end, which is expected behind so many bytes.
    Sized(Box<dyn Read + Send>, u64),
    /// In this file.
    File(PathBuf),
}

impl Source {
    /// Whether to read it may take a while.
    #[cfg(feature = "tokio")]
    pub(crate) const fn may_block(&self) -> bool {
        matches!(self, Self::Reader(_) | Self::Sized(..) | Self::File(_))
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(formatter, "Bytes({} bytes)", bytes.len()),
            Self::Literal(literal) => write!(formatter, "Literal({literal:?})"),
            Self::Reader(_) => formatter.write_str("Reader"),
            Self::Sized(_, bytes) => write!(formatter, "Reader({bytes} bytes)"),
            Self::File(path) => write!(formatter, "File({})", path.display()),
        }
    }
}

/// An output in the form in which it is sent.
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) digest: Option<Digest>,
    pub(crate) body: Body,
}

/// The bytes of an output in the form in which they are sent.
pub(crate) enum Body {
    Memory(Bytes),
    Stream(Stream),
}

/// Bytes that are read while they are sent, behind the first few that have been read already.
pub(crate) struct Stream {
    head: Bytes,
    /// How many bytes there are, as far as is known: no less than have been read.
    expected_bytes: u64,
    rest: Box<dyn Read + Send>,
}

impl Stream {
    /// Fills the buffer as far as there are bytes; gives how many it got.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let from_head = self.head.len().min(buffer.len());
        let (front, back) = buffer.split_at_mut(from_head);
        front.copy_from_slice(&self.head.split_to(from_head));
        let mut filled = 0;
        while let Some(rest) = back.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.rest.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(from_head + filled)
    }
}

impl Prepared {
    /// What the put must know of it.
    pub(crate) fn offer(&self) -> Offer {
        let (bytes, expected_bytes) = match &self.body {
            Body::Memory(bytes) => (Some(bytes.len() as u64), bytes.len() as u64),
            Body::Stream(stream) => (None, stream.expected_bytes),
        };
        Offer { name: self.name.clone(), bytes, expected_bytes, digest: self.digest }
    }

    /// Whether it can be sent a second time.
    pub(crate) const fn is_repeatable(&self) -> bool {
        matches!(self.body, Body::Memory(_))
    }
}

/// Brings the outputs of a run into the form in which they are sent, in ascending order of names.
///
/// # Errors
/// If they are not those that the call declares, or one cannot be read.
pub(crate) fn prepare(
    interface: &Interface,
    mut outputs: Vec<PutOutput>,
) -> Result<Vec<Prepared>, Error> {
    outputs.sort_by(|a, b| a.name.cmp(&b.name));
    check(interface, outputs.iter().map(|o| (o.name.as_str(), &o.literal_type)))?;
    let mut budget = INLINE_BYTES_MAX;
    let prepare_one = |output: PutOutput| {
        let PutOutput { name, literal_type, source } = output;
        let body = match open(&name, &literal_type, source)? {
            Opened::Memory(bytes) => Body::Memory(bytes),
            Opened::Reader(reader, expected_bytes) => settle(reader, expected_bytes, &mut budget)
                .map_err(|error| unreadable(&name, error))?,
        };
        if let Body::Memory(bytes) = &body {
            check_bytes(&name, &literal_type, bytes)?;
        }
        Ok(Prepared { name, digest: None, body })
    };
    outputs.into_iter().map(prepare_one).collect()
}

/// Brings outputs that have been read already into the form in which they are sent.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_read(
    interface: &Interface,
    outputs: &[HitOutput],
) -> Result<Vec<Prepared>, Error> {
    let mut outputs: Vec<_> = outputs.iter().collect();
    outputs.sort_by(|a, b| a.name.cmp(&b.name));
    check(interface, outputs.iter().map(|o| (o.name.as_str(), &o.literal_type)))?;
    let mut budget = INLINE_BYTES_MAX;
    let prepare_one = |output: &HitOutput| {
        let body = match &output.content {
            Content::Memory(bytes) => Body::Memory(bytes.clone()),
            Content::File(file) => file
                .try_clone()
                .and_then(|file| {
                    let expected_bytes = file.metadata()?.len();
                    settle(Box::new(FromStart { file, offset: 0 }), expected_bytes, &mut budget)
                })
                .map_err(|error| unreadable(&output.name, error))?,
        };
        if let Body::Memory(bytes) = &body {
            check_bytes(&output.name, &output.literal_type, bytes)?;
        }
        Ok(Prepared { name: output.name.clone(), digest: Some(output.digest), body })
    };
    outputs.into_iter().map(prepare_one).collect()
}

/// What a source is read from.
pub(crate) enum Opened {
    Memory(Bytes),
    /// With how many bytes are expected from it; 0 if that is not known.
    Reader(Box<dyn Read + Send>, u64),
}

/// Opens a source.
///
/// # Errors
/// If a value is not of the type, or a file cannot be opened.
pub(crate) fn open(
    name: &str,
    literal_type: &LiteralType,
    source: Source,
) -> Result<Opened, Error> {
    Ok(match source {
        Source::Bytes(bytes) => Opened::Memory(bytes),
        Source::Literal(literal) => {
            let blob = literal.to_blob(literal_type);
            Opened::Memory(blob.map_err(|error| invalid(name, error.problem))?)
        }
        Source::Reader(reader) => Opened::Reader(reader, 0),
        Source::Sized(reader, bytes) => Opened::Reader(reader, bytes),
        Source::File(path) => {
            let file = File::open(&path).map_err(|source| Error::Local {
                what: format!("output `{name}`: cannot open {}", path.display()),
                source,
            })?;
            let bytes = file.metadata().map_or(0, |metadata| metadata.len());
            Opened::Reader(Box::new(file), bytes)
        }
    })
}

/// The error for a source that cannot be read.
pub(crate) fn unreadable(name: &str, source: io::Error) -> Error {
    Error::Local { what: format!("output `{name}` cannot be read"), source }
}

fn invalid(name: &str, problem: impl Into<String>) -> Error {
    let short: String = name.chars().take(64).collect();
    InvalidArgument::new(format!("output `{}`", short.escape_debug()), problem).into()
}

/// Reads up to the budget; what ends within it is held in memory.
fn settle(
    mut reader: Box<dyn Read + Send>,
    expected_bytes: u64,
    budget: &mut u64,
) -> io::Result<Body> {
    let mut head = Vec::new();
    // One byte more than there is room for tells whether the end has been reached.
    reader.by_ref().take(*budget + 1).read_to_end(&mut head)?;
    let read = head.len() as u64;
    if read <= *budget {
        *budget -= read;
        return Ok(Body::Memory(head.into()));
    }
    *budget = 0;
    let expected_bytes = expected_bytes.max(read);
    Ok(Body::Stream(Stream { head: head.into(), expected_bytes, rest: reader }))
}

/// Checks that exactly the declared outputs are there; both sides are in order of names.
fn check<'a>(
    interface: &Interface,
    outputs: impl Iterator<Item = (&'a str, &'a LiteralType)>,
) -> Result<(), Error> {
    let declared = &interface.outputs;
    let mut previous: Option<&str> = None;
    let mut count = 0;
    for (name, literal_type) in outputs {
        if previous == Some(name) {
            return Err(invalid(name, "is given twice"));
        }
        match declared.get(name) {
            None => return Err(invalid(name, "is not declared in the interface")),
            Some(wanted) if wanted != literal_type => {
                return Err(invalid(name, format!("is {literal_type}, {wanted} is declared")));
            }
            Some(_) => {}
        }
        previous = Some(name);
        count += 1;
        if let Some(missing) = declared.keys().nth(count - 1).filter(|next| next.as_str() < name) {
            return Err(invalid(missing, "is declared, but not given"));
        }
    }
    match declared.keys().nth(count) {
        Some(missing) => Err(invalid(missing, "is declared, but not given")),
        None => Ok(()),
    }
}

/// Checks that the bytes can be read back as a value of the type.
fn check_bytes(name: &str, literal_type: &LiteralType, bytes: &Bytes) -> Result<(), Error> {
    let anything =
        matches!(literal_type, LiteralType::Bytes | LiteralType::File | LiteralType::Opaque(_));
    if anything {
        return Ok(());
    }
    if *literal_type == LiteralType::String {
        return match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(invalid(name, "of type string is not UTF-8")),
        };
    }
    match Literal::from_blob(literal_type, bytes) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(invalid(name, format!("holds no value of type {literal_type}: {}", error.problem)))
        }
    }
}

/// Reads a file from its beginning without moving its offset, which others share.
struct FromStart {
    file: File,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use memod_protocol::Call;

    use super::*;
    use crate::testing::call_with_outputs;

    fn bytes(name: &str, content: &'static [u8]) -> PutOutput {
        PutOutput {
            name: name.into(),
            literal_type: LiteralType::Bytes,
            source: Source::Bytes(Bytes::from_static(content)),
        }
    }

    fn problem(call: &Call, outputs: Vec<PutOutput>) -> String {
        match prepare(&call.interface, outputs) {
            Err(error @ Error::Invalid(_)) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it was taken"),
        }
    }

    #[test]
    fn outputs_must_be_exactly_those_declared() {
        let call = call_with_outputs(&["a", "b"], &LiteralType::Bytes);
        let sorted = prepare(&call.interface, vec![bytes("b", b"2"), bytes("a", b"1")]).unwrap();
        assert_eq!(sorted.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(problem(&call, vec![]), "output `a`: is declared, but not given");
        assert_eq!(problem(&call, vec![bytes("b", b"")]), "output `a`: is declared, but not given");
        assert_eq!(problem(&call, vec![bytes("a", b"")]), "output `b`: is declared, but not given");
        assert_eq!(
            problem(&call, vec![bytes("a", b""), bytes("b", b""), bytes("c", b"")]),
            "output `c`: is not declared in the interface"
        );
        assert_eq!(
            problem(&call, vec![bytes("a", b""), bytes("a", b"")]),
            "output `a`: is given twice"
        );
        let integer = PutOutput { literal_type: LiteralType::Integer, ..bytes("b", b"") };
        assert_eq!(
            problem(&call, vec![bytes("a", b""), integer]),
            "output `b`: is integer, bytes is declared"
        );
    }

    #[test]
    fn bytes_that_are_no_value_of_the_type_are_refused() {
        let call = call_with_outputs(&["a"], &LiteralType::Integer);
        let wrong = PutOutput { literal_type: LiteralType::Integer, ..bytes("a", b"no") };
        assert!(problem(&call, vec![wrong]).contains("no value of type integer"));
        let wrong = PutOutput {
            literal_type: LiteralType::Integer,
            source: Source::Literal(Literal::String("no".into())),
            name: "a".into(),
        };
        assert!(problem(&call, vec![wrong]).contains("is not of type integer"));
        let call = call_with_outputs(&["a"], &LiteralType::String);
        let wrong = PutOutput { literal_type: LiteralType::String, ..bytes("a", b"\xff") };
        assert!(problem(&call, vec![wrong]).contains("not UTF-8"));
    }

    #[test]
    fn a_reader_is_held_in_memory_exactly_up_to_the_budget() {
        let most = usize::try_from(INLINE_BYTES_MAX).unwrap();
        for (length, in_memory) in [(0, true), (most, true), (most + 1, false)] {
            let content: Vec<u8> = (0..=255).cycle().take(length).collect();
            let mut budget = INLINE_BYTES_MAX;
            match settle(Box::new(io::Cursor::new(content.clone())), 0, &mut budget).unwrap() {
                Body::Memory(bytes) => {
                    assert!(in_memory, "{length}");
                    assert_eq!(bytes, content);
                    assert_eq!(budget, INLINE_BYTES_MAX - length as u64);
                }
                Body::Stream(mut stream) => {
                    assert!(!in_memory, "{length}");
                    assert_eq!(budget, 0);
                    let mut read = Vec::new();
                    let mut piece = vec![0; 700_001];
                    loop {
                        let got = stream.fill(&mut piece).unwrap();
                        read.extend_from_slice(piece.get(..got).unwrap());
                        if got < piece.len() {
                            break;
                        }
                    }
                    assert!(read == content);
                }
            }
        }
        let mut none_left = 0;
        let empty = settle(Box::new(io::empty()), 0, &mut none_left).unwrap();
        assert!(matches!(empty, Body::Memory(_)));
    }
}
