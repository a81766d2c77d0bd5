//! The keys of the rivals, which are given them ready made.

use std::io::Write;

/// A key in letters and digits, which every rival takes.
#[derive(Debug, Default)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    /// From now on that of this number.
    pub(crate) fn set(&mut self, group: &str, number: u64) {
        self.0.clear();
        write!(self.0, "{group}:{number:016x}").expect("a vector takes everything");
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
