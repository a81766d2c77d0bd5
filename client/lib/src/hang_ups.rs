//! Daemons that hang up on a request before they have said a word: one that is killed does so, and
//! whoever holds its socket starts another, which can be asked instead.
//!
//! **Invariants.** A request is asked again only if asking twice does no harm, and a few times at
//! the most: it may be what the daemons die of.

use crate::error::Error;

/// So often a daemon may hang up on one request.
const HANG_UPS_MAX: u32 = 3;

/// How often a daemon has hung up on a request.
#[derive(Debug, Default)]
pub(crate) struct HangUps(u32);

impl HangUps {
    /// Whether to ask again on a fresh connection. `unseen`: nothing has been received, and asking
    /// twice does no harm.
    pub(crate) fn goes_on<T>(&mut self, outcome: &Result<T, Error>, unseen: bool) -> bool {
        let hung_up = outcome.as_ref().is_err_and(Error::is_hang_up);
        self.0 += u32::from(hung_up);
        hung_up && unseen && self.0 <= HANG_UPS_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::connect::io_error;

    #[test]
    fn a_few_hang_ups_are_borne_with_and_other_errors_are_not() {
        let error = |kind: io::ErrorKind| Err::<(), _>(io_error(Path::new("s"), kind.into()));
        let hung_up = || error(io::ErrorKind::ConnectionReset);
        let mut hang_ups = HangUps::default();
        assert!(!hang_ups.goes_on(&Ok(()), true));
        assert!(!hang_ups.goes_on(&error(io::ErrorKind::PermissionDenied), true));
        let again: Vec<bool> = (0..5).map(|_| hang_ups.goes_on(&hung_up(), true)).collect();
        assert_eq!(again, [true, true, true, false, false]);
        assert!(!HangUps::default().goes_on(&hung_up(), false), "it may have been done");
    }
}
