//! The greeting: the first frame each way, whose layout never changes.
//!
//! **Invariants.** A greeting decodes in every version of the protocol, so that a client and a
//! daemon of different versions part with a clear error instead of garbage.

use crate::error::{ErrorCode, WireError};
use crate::limits;
use crate::wire::{Decode, Encode};

/// The first eight bytes of every greeting.
pub const MAGIC: [u8; 8] = *b"memod\r\n\x1a";

/// The versions of the protocol that this build speaks, newest first.
pub const VERSIONS: &[u16] = &[1];

/// Capability: descriptors may come with frames.
pub const DESCRIPTORS: u64 = 1;

/// Capability: puts whose outputs are uploaded may be announced.
pub const ANNOUNCE: u64 = 2;

/// Capability: many lookups may come in one frame.
pub const BATCHES: u64 = 4;

/// Capability: leases may be listed, and upkeep stands in the log under its own name.
pub const OVERSIGHT: u64 = 8;

/// The capabilities of this build.
pub const CAPABILITIES: u64 = DESCRIPTORS | ANNOUNCE | BATCHES | OVERSIGHT;

/// What the client says first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// Versions of the protocol that the client speaks, newest first.
    pub versions: Vec<u16>,
    /// One bit per optional ability.
    pub capabilities: u64,
    /// The client's program and version, for the log.
    pub client: String,
}

impl Hello {
    /// The greeting of a client of this build that uses no capability.
    pub fn new(client: impl Into<String>) -> Self {
        Self { magic: MAGIC, versions: VERSIONS.to_vec(), capabilities: 0, client: client.into() }
    }

    /// The same of one that has these capabilities.
    #[must_use]
    pub fn with_capabilities(self, capabilities: u64) -> Self {
        Self { capabilities, ..self }
    }
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Welcome {
    /// The two agree.
    Agreed(Agreement),
    /// They do not; the connection ends.
    Refused {
        /// [`MAGIC`].
        magic: [u8; 8],
        /// Versions of the protocol that the daemon speaks, newest first.
        versions: Vec<u16>,
        /// Why.
        error: WireError,
    },
}

/// On what client and daemon agree.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Agreement {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// The version of the protocol for the rest of the connection.
    pub version: u16,
    /// The abilities that both have.
    pub capabilities: u64,
    /// The daemon's bounds.
    pub limits: PeerLimits,
    /// The daemon's program and version, for messages.
    pub server: String,
}

/// The bounds that a client has to keep; all others are constants of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PeerLimits {
    /// See [`limits::FRAME_BYTES_MAX`].
    pub frame_bytes_max: u32,
    /// See [`limits::INLINE_BYTES_MAX`].
    pub inline_bytes_max: u64,
    /// See [`limits::CHUNK_BYTES`].
    pub chunk_bytes: u32,
    /// See [`limits::BLOB_BYTES_MAX`].
    pub blob_bytes_max: u64,
    /// See [`limits::REQUESTS_IN_FLIGHT_MAX`].
    pub requests_in_flight_max: u32,
    /// See [`limits::UPLOADS_OPEN_MAX`].
    pub uploads_open_max: u32,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            inline_bytes_max: limits::INLINE_BYTES_MAX,
            chunk_bytes: limits::CHUNK_BYTES,
            blob_bytes_max: limits::BLOB_BYTES_MAX,
            requests_in_flight_max: limits::REQUESTS_IN_FLIGHT_MAX,
            uploads_open_max: limits::UPLOADS_OPEN_MAX,
        }
    }
}

/// The daemon's answer to a greeting: the newest version that both speak.
///
/// # Errors
/// If there is none, or the greeting is not one. The error names both sides' versions.
pub fn agree(hello: &Hello, server: &str) -> Result<Agreement, WireError> {
    if hello.magic != MAGIC || hello.versions.len() > limits::VERSIONS_MAX {
        return Err(WireError::new(ErrorCode::Malformed, "the greeting is not memod's"));
    }
    let common = VERSIONS.iter().find(|version| hello.versions.contains(version));
    let Some(version) = common else {
        return Err(WireError::new(
            ErrorCode::VersionMismatch,
            format!(
                "the client speaks versions {:?} of the protocol, the daemon ({server}) \
                 {VERSIONS:?}",
                hello.versions
            ),
        )
        .with_hint("install the same release of memod on both sides, then restart the daemon"));
    };
    Ok(Agreement {
        magic: MAGIC,
        version: *version,
        capabilities: hello.capabilities & CAPABILITIES,
        limits: PeerLimits::default(),
        server: server.to_owned(),
    })
}
