//! The settings of how much may be stored.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::path::Path;

use memod_protocol::Scope;
use memod_store::policy::PolicyKind;
use memod_store::{Budgets, FileSystem};
use toml::Value;

use crate::config::bytes as bytes_of;

/// Where nothing is said, a store may take one part in so many of its file system.
const FILE_SYSTEM_SHARE: u64 = 10;
/// But no less than this, of a file system that has twice as much; of a smaller one, half.
const STORE_BYTES_LEAST: u64 = 1 << 30;
/// Where nothing is said, so much space stays free: one part in so many, within these bounds, of a
/// very small file system a quarter.
const RESERVE_SHARE: u64 = 20;
const RESERVE_BYTES_LEAST: u64 = 32 << 20;
const RESERVE_BYTES_MOST: u64 = 256 << 20;

/// How much may be stored, as it is written: 0 is no limit, and what is absent follows from the
/// file system or from the rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct BudgetSettings {
    /// Most bytes of the store.
    pub(crate) store_bytes_max: Option<u64>,
    /// Eviction begins above this many bytes.
    pub(crate) store_bytes_high: Option<u64>,
    /// And goes on to this many.
    pub(crate) store_bytes_low: Option<u64>,
    /// Below this much free space nothing is stored.
    pub(crate) disk_reserve_bytes: Option<u64>,
    /// Most bytes of a scope that is not named.
    pub(crate) scope_bytes_max: u64,
    /// Most bytes of scopes by project and domain.
    pub(crate) scope_bytes: BTreeMap<(String, String), u64>,
    /// Most bytes of a user who is not named.
    pub(crate) user_bytes_max: u64,
    /// Most bytes of users.
    pub(crate) user_bytes: BTreeMap<u32, u64>,
    /// By what it is decided which entries are evicted.
    pub(crate) eviction: PolicyKind,
}

impl BudgetSettings {
    /// What they come to for a store in this folder.
    pub(crate) fn resolve(&self, data: &Path) -> Budgets {
        let disk = FileSystem::under(data).map_or(0, |of| of.total_bytes);
        let auto = || (disk / FILE_SYSTEM_SHARE).max(STORE_BYTES_LEAST.min(disk / 2));
        let reserve = || {
            let share = (disk / RESERVE_SHARE).min(RESERVE_BYTES_MOST);
            share.max(RESERVE_BYTES_LEAST.min(disk / 4))
        };
        let limit = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
        let named = |bytes: u64| if bytes > 0 { bytes } else { u64::MAX };
        let scopes = self.scope_bytes.iter();
        let scopes = scopes.map(|((project, domain), bytes)| {
            (Scope::new(project.clone(), domain.clone()), named(*bytes))
        });
        let users: HashMap<u32, u64> =
            self.user_bytes.iter().map(|(uid, bytes)| (*uid, named(*bytes))).collect();
        Budgets {
            store_bytes_max: limit(self.store_bytes_max.unwrap_or_else(auto)),
            store_bytes_high: self.store_bytes_high.and_then(limit),
            store_bytes_low: self.store_bytes_low.and_then(limit),
            disk_reserve_bytes: self.disk_reserve_bytes.unwrap_or_else(reserve),
            scope_bytes_max: limit(self.scope_bytes_max),
            scopes: scopes.collect(),
            user_bytes_max: limit(self.user_bytes_max),
            users,
            policy: self.eviction,
        }
    }

    /// What contradicts itself in it, each with the setting at fault.
    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let set = |bytes: &u64| *bytes > 0;
        let marks = [
            ("store_bytes_low", self.store_bytes_low),
            ("store_bytes_high", self.store_bytes_high),
            ("store_bytes_max", self.store_bytes_max),
        ];
        let given: Vec<(&'static str, u64)> = marks
            .into_iter()
            .filter_map(|(name, bytes)| bytes.filter(set).map(|bytes| (name, bytes)))
            .collect();
        let pairs = given.iter().zip(given.iter().skip(1));
        let mut problems: Vec<(&'static str, String)> = pairs
            .filter(|((_, low), (_, high))| low > high)
            .map(|((low, _), (high, _))| (*low, format!("{low} must not be above {high}")))
            .collect();
        let Some(all) = self.store_bytes_max.filter(set) else { return problems };
        let scopes = self.scope_bytes.iter().map(|((project, domain), bytes)| {
            let name = format!("scope_bytes of {project}/{domain}").escape_debug().to_string();
            ("scope_bytes", name, *bytes)
        });
        let users = self.user_bytes.iter();
        let users =
            users.map(|(uid, bytes)| ("user_bytes", format!("user_bytes of {uid}"), *bytes));
        let defaults = [
            ("scope_bytes_max", "scope_bytes_max".to_owned(), self.scope_bytes_max),
            ("user_bytes_max", "user_bytes_max".to_owned(), self.user_bytes_max),
        ];
        for (setting, name, bytes) in scopes.chain(users).chain(defaults) {
            if bytes > all {
                problems.push((setting, format!("{name} must not be above store_bytes_max")));
            }
        }
        problems
    }

    /// Name and value of every setting.
    pub(crate) fn rows(&self) -> [(&'static str, String); 9] {
        let or = |bytes: Option<u64>, text: &str| {
            bytes.map_or_else(|| text.to_owned(), |bytes| bytes.to_string())
        };
        let scopes = self.scope_bytes.iter();
        let scopes =
            scopes.map(|((project, domain), bytes)| (format!("{project}/{domain}"), bytes));
        [
            ("store_bytes_max", or(self.store_bytes_max, "a tenth of the file system")),
            ("store_bytes_high", or(self.store_bytes_high, "nine tenths of store_bytes_max")),
            ("store_bytes_low", or(self.store_bytes_low, "eight tenths of store_bytes_max")),
            ("disk_reserve_bytes", or(self.disk_reserve_bytes, "up to 256 MiB")),
            ("scope_bytes_max", self.scope_bytes_max.to_string()),
            ("scope_bytes", list(scopes)),
            ("user_bytes_max", self.user_bytes_max.to_string()),
            ("user_bytes", list(self.user_bytes.iter())),
            ("eviction", self.eviction.to_string()),
        ]
    }
}

fn list<N: Display, V: Display>(rows: impl Iterator<Item = (N, V)>) -> String {
    rows.map(|(name, bytes)| format!("{name}={bytes}")).collect::<Vec<_>>().join(" ")
}

fn entries(value: &Value) -> Result<&toml::Table, String> {
    value.as_table().ok_or_else(|| format!("a table is wanted, not {}", value.type_str()))
}

/// What was read, if all of it was good; else the mistakes, a line each.
pub(crate) fn if_good<T>(read: T, mistakes: &[String]) -> Result<T, String> {
    if mistakes.is_empty() { Ok(read) } else { Err(mistakes.join("\n")) }
}

/// Bytes by project and domain: `{ project = { domain = 1000 } }`.
pub(crate) fn parse_scopes(value: &Value) -> Result<BTreeMap<(String, String), u64>, String> {
    let (mut scopes, mut mistakes) = (BTreeMap::new(), Vec::new());
    for (project, domains) in entries(value)? {
        let shown = project.escape_debug();
        let domains = match entries(domains) {
            Ok(domains) => domains,
            Err(error) => {
                mistakes.push(format!("{shown}: {error}"));
                continue;
            }
        };
        for (domain, bytes) in domains {
            match bytes_of(bytes) {
                Ok(bytes) => drop(scopes.insert((project.clone(), domain.clone()), bytes)),
                Err(error) => {
                    mistakes.push(format!("{shown}.{}: {error}", domain.escape_debug()));
                }
            }
        }
    }
    if_good(scopes, &mistakes)
}

/// Bytes by user: `{ 1000 = 5000 }`.
pub(crate) fn parse_users(value: &Value) -> Result<BTreeMap<u32, u64>, String> {
    let (mut users, mut mistakes) = (BTreeMap::new(), Vec::new());
    for (uid, bytes) in entries(value)? {
        let shown = uid.escape_debug();
        let user = uid.parse::<u32>();
        if user.is_err() {
            mistakes.push(format!("{shown}: the number of a user is wanted"));
        }
        match (user, bytes_of(bytes)) {
            (Ok(user), Ok(bytes)) => drop(users.insert(user, bytes)),
            (_, Err(error)) => mistakes.push(format!("{shown}: {error}")),
            (Err(_), Ok(_)) => {}
        }
    }
    if_good(users, &mistakes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Value {
        Value::Table(toml::from_str(text).expect("TOML"))
    }

    #[test]
    fn what_is_not_said_follows_from_the_file_system() {
        let budgets = BudgetSettings::default().resolve(Path::new("/tmp/of/a/store"));
        let disk = FileSystem::under(Path::new("/tmp")).expect("a file system");
        assert_eq!(budgets.store_bytes_max, Some((disk.total_bytes / 10).max(1 << 30)));
        assert_eq!(budgets.disk_reserve_bytes, (disk.total_bytes / 20).min(256 << 20));
        let none = (budgets.scope_bytes_max, budgets.user_bytes_max, budgets.of_user(0));
        assert_eq!(none, (None, None, None));
        assert_eq!(budgets.policy, PolicyKind::Cost);
    }

    #[test]
    fn zero_is_no_limit() {
        let settings = BudgetSettings {
            store_bytes_max: Some(0),
            disk_reserve_bytes: Some(0),
            scope_bytes_max: 7,
            scope_bytes: parse_scopes(&table("a = { b = 0, c = 5 }")).expect("scopes"),
            user_bytes: parse_users(&table("7 = 9")).expect("users"),
            ..BudgetSettings::default()
        };
        let budgets = settings.resolve(Path::new("/tmp"));
        assert_eq!((budgets.store_bytes_max, budgets.disk_reserve_bytes), (None, 0));
        let of = |domain| budgets.of_scope(&Scope::new("a", domain));
        assert_eq!((of("b"), of("c"), of("d")), (Some(u64::MAX), Some(5), Some(7)));
        assert_eq!((budgets.of_user(7), budgets.of_user(8)), (Some(9), None));
    }

    #[test]
    fn marks_out_of_order_are_a_mistake() {
        let of = |low, high, max| {
            BudgetSettings {
                store_bytes_low: low,
                store_bytes_high: high,
                store_bytes_max: max,
                ..BudgetSettings::default()
            }
            .problems()
        };
        assert_eq!(of(None, None, None), []);
        assert_eq!(of(Some(1), Some(2), Some(3)), []);
        assert_eq!(of(Some(5), None, Some(0)), []);
        let problem = |name, above: &str| [(name, format!("{name} must not be above {above}"))];
        assert_eq!(of(Some(3), Some(2), None), problem("store_bytes_low", "store_bytes_high"));
        assert_eq!(of(Some(4), None, Some(3)), problem("store_bytes_low", "store_bytes_max"));
        assert_eq!(of(None, Some(4), Some(3)), problem("store_bytes_high", "store_bytes_max"));
    }

    #[test]
    fn mistakes_in_tables_are_named() {
        assert_eq!(
            parse_users(&table("x = 1")).expect_err("x"),
            "x: the number of a user is wanted"
        );
        assert_eq!(
            parse_users(&table("1 = -1")).expect_err("-1"),
            "1: a number of bytes or a size such as \"10 GiB\" is wanted"
        );
        let problem = parse_scopes(&table("a = 1")).expect_err("a");
        assert_eq!(problem, "a: a table is wanted, not integer");
        let problem = parse_scopes(&table("a = { b = \"1 X\" }")).expect_err("b");
        assert!(problem.starts_with("a.b: a number of bytes or a size"), "{problem}");
    }
}
