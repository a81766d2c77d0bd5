//! What was chosen by measuring, so that it can be measured again: `make bench`, part `packing`.

/// How rows and content are packed into files. The default is what a store has; a database that was
/// written with another can be read all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// How many bytes of rows a block has before it is compressed, at least.
    pub block_bytes: usize,
    /// Of blocks of rows.
    pub checksum: Checksum,
    /// Of rows that are more than hashes.
    pub rows: Compression,
    /// Of content beside its rows.
    pub content: Compression,
}

/// A checksum of `RocksDB`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// CRC32C, for which processors have instructions.
    Crc32c,
    /// XXH3.
    Xxh3,
}

/// A compression of `RocksDB`'s, at its own level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Nothing is compressed.
    None,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Default for Packing {
    fn default() -> Self {
        Self {
            block_bytes: 4096,
            checksum: Checksum::Crc32c,
            rows: Compression::Lz4,
            content: Compression::Lz4,
        }
    }
}
