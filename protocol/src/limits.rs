//! Every bound of the protocol, by name.
//!
//! **Invariants.** A number that comes from a peer is compared with one of these before it is used
//! in arithmetic, to reserve memory or to slice. Units stand last in each name.

/// Largest frame after its own length field: header length, header and payload.
pub const FRAME_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Largest bincode header inside a frame.
pub const HEADER_BYTES_MAX: u32 = 1024 * 1024;
/// Largest payload of one frame.
pub const PAYLOAD_BYTES_MAX: u32 = FRAME_BYTES_MAX - HEADER_BYTES_MAX - 4;
/// Outputs that together fit into this travel inside the frame that names them.
pub const INLINE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// What is larger travels in pieces of this size; also the unit in which blobs are stored and
/// verified. A power of two, so that a piece is a whole subtree of the BLAKE3 hash.
pub const CHUNK_BYTES: u32 = 1024 * 1024;
/// Largest single output.
pub const BLOB_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Longest project, domain, task, cache version, input, output, field or owner name.
pub const NAME_BYTES_MAX: usize = 1024;
/// Longest hash that a user may give in place of a value.
pub const USER_HASH_BYTES_MAX: usize = 1024;
/// Most inputs of a call.
pub const INPUTS_MAX: usize = 4096;
/// Most outputs of an entry.
pub const OUTPUTS_MAX: usize = 4096;
/// Deepest nesting of a value or of a type.
pub const NESTING_MAX: usize = 100;
/// Deepest nesting of lists and objects in JSON: a call around the deepest value, and some marks.
pub const JSON_NESTING_MAX: usize = 120;
/// Longest textual form of a type.
pub const TYPE_BYTES_MAX: usize = 16 * 1024;
/// Most versions that a greeting may offer.
pub const VERSIONS_MAX: usize = 64;
/// Most rows in one reply to a listing.
pub const LIST_ROWS_MAX: u32 = 1000;
/// Requests that one connection may have in flight; a peer is not read further until one is done.
pub const REQUESTS_IN_FLIGHT_MAX: u32 = 64;
/// Most rows in one page of the request log.
pub const LOG_ROWS_MAX: u32 = 1000;
/// Most leases in one list.
pub const LEASE_ROWS_MAX: usize = 100;
/// Most entries that an explanation tells of.
pub const NEAREST_MAX: u32 = 64;
/// Most lookups in one frame.
pub const LOOKUPS_MAX: usize = 256;
/// Most keys in one report of hits that were had by a board.
pub const BOARD_HITS_MAX: usize = 1024;
/// Uploads that one connection may have open.
pub const UPLOADS_OPEN_MAX: u32 = 16;
/// Most descriptors that may come with one frame.
pub const DESCRIPTORS_MAX: usize = 16;
