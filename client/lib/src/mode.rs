//! Whether a client reads, writes, both or neither (semantics 23).

/// What a client, or one call, does with the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Reads and writes.
    #[default]
    Enabled,
    /// Neither reads nor writes.
    Disabled,
    /// Reads, but does not write.
    ReadOnly,
    /// Does not read; what it writes replaces what is there.
    Overwrite,
}

impl Mode {
    /// Whether lookups are made.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Enabled | Self::ReadOnly)
    }

    /// Whether runs are stored.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Enabled | Self::Overwrite)
    }
}
