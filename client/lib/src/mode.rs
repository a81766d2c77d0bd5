//! Whether a client reads, writes, both or neither (semantics 23).

use std::str::FromStr;

use memod_protocol::InvalidArgument;

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
    /// The mode that does this.
    pub(crate) const fn of(reads: bool, writes: bool) -> Self {
        match (reads, writes) {
            (true, true) => Self::Enabled,
            (true, false) => Self::ReadOnly,
            (false, true) => Self::Overwrite,
            (false, false) => Self::Disabled,
        }
    }

    /// What both allow.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self::of(self.reads() && other.reads(), self.writes() && other.writes())
    }

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

impl FromStr for Mode {
    type Err = InvalidArgument;

    /// The mode of this name: `enabled`, `disabled`, `read-only` or `overwrite`.
    fn from_str(name: &str) -> Result<Self, InvalidArgument> {
        match name {
            "enabled" => Ok(Self::Enabled),
            "disabled" => Ok(Self::Disabled),
            "read-only" => Ok(Self::ReadOnly),
            "overwrite" => Ok(Self::Overwrite),
            other => {
                let problem = format!(
                    "is `{}`; it can be enabled, disabled, read-only or overwrite",
                    other.escape_debug()
                );
                Err(InvalidArgument::new("mode", problem))
            }
        }
    }
}
