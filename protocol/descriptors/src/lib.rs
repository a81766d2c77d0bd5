//! File descriptors that travel with memod's frames, and the sealed memory files that they are of:
//! what daemon and client do alike with them, and with the paths of their files.
//!
//! **Invariants.** Every descriptor that the kernel hands over is owned at once, close-on-exec, and
//! so closed again whatever becomes of its frame. How many are held is bounded.
//!
//! **Does not** know what a message means: who decodes it says how many belong to it.

mod control;
mod inbox;
mod mapping;
mod memory;
mod passing;
mod route;

pub use inbox::{DescriptorError, Inbox};
pub use mapping::Mapping;
pub use memory::{ForeignFile, MemoryError, MemoryFile, SealedFile};
pub use passing::{receive, send};
pub use route::{Step, route};

/// Longest path of a Unix socket, in bytes: `sun_path` less its terminator.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
