//! How much may be stored: the configured bounds.

use std::collections::HashMap;

use memod_protocol::Scope;

use crate::policy::PolicyKind;

/// How much may be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Most bytes of the store, content and rows; none: without limit.
    pub store_bytes_max: Option<u64>,
    /// Eviction begins above this many bytes; none: nine tenths of the most.
    pub store_bytes_high: Option<u64>,
    /// And goes on to this many; none: eight tenths of the most.
    pub store_bytes_low: Option<u64>,
    /// While the file system has less free space than this, nothing is stored; 0: whatever it has.
    pub disk_reserve_bytes: u64,
    /// Most bytes of each scope that is not named below.
    pub scope_bytes_max: Option<u64>,
    /// Most bytes of some scopes.
    pub scopes: HashMap<Scope, u64>,
    /// Most bytes that each user who is not named below may have written.
    pub user_bytes_max: Option<u64>,
    /// Most bytes that some users may have written.
    pub users: HashMap<u32, u64>,
    /// By what it is decided which entries are evicted.
    pub policy: PolicyKind,
}

impl Budgets {
    /// Eviction begins above this many bytes.
    #[must_use]
    pub fn high(&self) -> Option<u64> {
        let max = self.store_bytes_max;
        match self.store_bytes_high {
            Some(high) => Some(max.map_or(high, |max| high.min(max))),
            None => max.map(|max| max - max / 10),
        }
    }

    /// Eviction goes on to this many bytes.
    #[must_use]
    pub fn low(&self) -> Option<u64> {
        let high = self.high()?;
        let default = || self.store_bytes_max.map_or(high - high / 9, |max| max - max / 5);
        Some(self.store_bytes_low.unwrap_or_else(default).min(high))
    }

    /// Most bytes of one entry: as many as eviction leaves, so that it does not go with everything
    /// else the next time that the store is full; half as many as begin it, if that is more.
    #[must_use]
    pub fn entry_bytes_max(&self) -> Option<u64> {
        Some(self.low()?.max(self.high()? / 2))
    }

    /// Whether there is a bound for any scope or user.
    #[must_use]
    pub fn bounds_accounts(&self) -> bool {
        let bounds_all = self.scope_bytes_max.is_some() || self.user_bytes_max.is_some();
        bounds_all || !self.scopes.is_empty() || !self.users.is_empty()
    }

    /// Most bytes of a scope.
    #[must_use]
    pub fn of_scope(&self, scope: &Scope) -> Option<u64> {
        self.scopes.get(scope).copied().or(self.scope_bytes_max)
    }

    /// Most bytes that a user may have written.
    #[must_use]
    pub fn of_user(&self, uid: u32) -> Option<u64> {
        self.users.get(&uid).copied().or(self.user_bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_lie_below_the_limit() {
        let marks = |max, high, low| {
            let budgets = Budgets {
                store_bytes_max: max,
                store_bytes_high: high,
                store_bytes_low: low,
                ..Budgets::default()
            };
            (budgets.high(), budgets.low())
        };
        assert_eq!(marks(None, None, None), (None, None));
        assert_eq!(marks(None, None, Some(5)), (None, None));
        assert_eq!(marks(Some(1000), None, None), (Some(900), Some(800)));
        assert_eq!(marks(Some(1000), Some(2000), None), (Some(1000), Some(800)));
        assert_eq!(marks(Some(1000), Some(500), None), (Some(500), Some(500)));
        assert_eq!(marks(Some(1000), Some(500), Some(300)), (Some(500), Some(300)));
        assert_eq!(marks(None, Some(900), None), (Some(900), Some(800)));
        assert_eq!(marks(Some(u64::MAX), None, None).0, Some(u64::MAX - u64::MAX / 10));
        assert_eq!(marks(Some(0), None, None), (Some(0), Some(0)));
    }

    #[test]
    fn an_entry_is_no_larger_than_what_eviction_leaves() {
        let most = |max, low| {
            let budgets =
                Budgets { store_bytes_max: max, store_bytes_low: low, ..Budgets::default() };
            budgets.entry_bytes_max()
        };
        assert_eq!(most(None, None), None);
        assert_eq!(most(Some(1000), None), Some(800));
        assert_eq!(most(Some(1000), Some(600)), Some(600));
        assert_eq!(most(Some(1000), Some(0)), Some(450));
    }

    #[test]
    fn a_name_goes_before_the_rest() {
        let scope = Scope::new("p", "d");
        let budgets = Budgets {
            scope_bytes_max: Some(10),
            scopes: [(scope.clone(), 20)].into(),
            user_bytes_max: None,
            users: [(7, 30)].into(),
            ..Budgets::default()
        };
        assert_eq!(budgets.of_scope(&scope), Some(20));
        assert_eq!(budgets.of_scope(&Scope::new("p", "e")), Some(10));
        assert_eq!((budgets.of_user(7), budgets.of_user(8)), (Some(30), None));
    }
}
