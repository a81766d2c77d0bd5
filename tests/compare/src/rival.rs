//! What every rival can do: store a value under a key, and say whether a key has it.

use anyhow::{Result, bail};

/// What a stored value has to survive before the put is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// At most the death of the process.
    Process,
    /// A cut of the power.
    Power,
}

/// Where a rival's clients connect to.
pub(crate) trait Place: Sync {
    /// A new client.
    fn connect(&self) -> Result<Box<dyn Rival>>;

    /// Does now what would otherwise happen some time after values were stored.
    fn settle(&self) -> Result<()> {
        Ok(())
    }
}

/// Is shown what stands under a number.
pub(crate) type Show<'a> = &'a mut dyn FnMut(u64, Option<&[u8]>) -> Result<()>;

/// One client.
pub(crate) trait Rival: Send {
    /// The key that is meant from now on.
    fn aim(&mut self, group: &str, number: u64);

    /// Stores a value that was not there.
    fn put(&mut self, content: &[u8]) -> Result<()>;

    /// Looks the key up, and reads what is found.
    fn get(&mut self, expected: &[u8]) -> Result<Found>;

    /// Looks many keys of a group up at once, and shows what was found under each number.
    fn get_many(&mut self, _group: &str, _numbers: &[u64], _show: Show<'_>) -> Result<()> {
        bail!("this rival is not asked for many values at once")
    }
}

/// What a lookup found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The expected bytes.
    Hit,
    /// Nothing.
    Miss,
    /// Other bytes.
    Wrong,
}

impl Found {
    /// Compares a value with what was expected.
    pub(crate) fn compare(found: Option<&[u8]>, expected: &[u8]) -> Self {
        match found {
            None => Self::Miss,
            Some(found) if found == expected => Self::Hit,
            Some(_) => Self::Wrong,
        }
    }

    /// Whether that is what was due.
    pub(crate) fn guard(self, due: Self) -> Result<()> {
        match (self, due) {
            (found, due) if found == due => Ok(()),
            (Self::Wrong, _) => bail!("wrong bytes"),
            (Self::Miss, _) => bail!("a miss where a hit was due"),
            (Self::Hit, _) => bail!("a hit where a miss was due"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Found;

    #[test]
    fn a_guard_trips_at_whatever_was_not_due() {
        let all = [Found::Hit, Found::Miss, Found::Wrong];
        for found in all {
            for due in [Found::Hit, Found::Miss] {
                assert_eq!(found.guard(due).is_ok(), found == due);
            }
        }
    }

    #[test]
    fn one_wrong_byte_and_one_too_few_are_wrong() {
        assert_eq!(Found::compare(None, b"value"), Found::Miss);
        assert_eq!(Found::compare(Some(b"value"), b"value"), Found::Hit);
        assert_eq!(Found::compare(Some(b"valuE"), b"value"), Found::Wrong);
        assert_eq!(Found::compare(Some(b"valu"), b"value"), Found::Wrong);
    }
}
