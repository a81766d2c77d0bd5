//! Grants: which users and groups may do what in which scopes.
//!
//! **Invariants.** What no grant gives is not given. A right includes `read` always, because each
//! tells what is there: a put, a lease and an invalidation all answer by what they find.
//!
//! **Does not** ask the system who a user is: names have become numbers when a grant is made.

use std::fmt;

use memod_protocol::Scope;

/// The number that the kernel gives for a user or group that the daemon's user namespace does not
/// know; it may be anybody, and so is nobody.
pub(crate) const OVERFLOW_ID: u32 = 65_534;

/// One thing that may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// To look up, list, show, explain and wait.
    Read,
    /// To put.
    Write,
    /// To take leases and give them back.
    Lease,
    /// To forget entries and import them; and, in all scopes, to verify, collect and see the log.
    Administer,
}

impl Right {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Lease, Self::Administer];

    /// The name in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Lease => "lease",
            Self::Administer => "administer",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Lease => 4,
            Self::Administer => 8,
        }
    }
}

/// A set of rights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rights(u8);

impl Rights {
    /// Everything.
    pub(crate) const ALL: Self = Self(15);
    /// To use the cache: all but to administer it.
    pub(crate) const USE: Self = Self(7);

    /// These and this one, with what it includes: `administer` all, any other `read`.
    pub(crate) const fn with(self, right: Right) -> Self {
        match right {
            Right::Administer => Self::ALL,
            other => Self(self.0 | other.bit() | Right::Read.bit()),
        }
    }

    /// These and those.
    pub(crate) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether this one is among them.
    pub(crate) const fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Whether there is none.
    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Right::ALL.into_iter().filter(|right| self.has(*right)).map(Right::name);
        formatter.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

/// Scopes, by a pattern of the project and one of the domain: `*` is any text, `?` one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScopeGlob {
    project: String,
    domain: String,
}

impl ScopeGlob {
    /// Every scope.
    pub(crate) fn everything() -> Self {
        Self { project: "*".to_owned(), domain: "*".to_owned() }
    }

    /// The pattern `PROJECT/DOMAIN`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{}` {why}", text.escape_debug()));
        let Some((project, domain)) = text.rsplit_once('/') else {
            return wrong("is no scope: PROJECT/DOMAIN is wanted, `*` for any");
        };
        if project.is_empty() || domain.is_empty() {
            return wrong("matches nothing: neither project nor domain is ever empty");
        }
        Ok(Self { project: project.to_owned(), domain: domain.to_owned() })
    }

    /// Whether the scope is one of them.
    pub(crate) fn matches(&self, scope: &Scope) -> bool {
        matches(&self.project, &scope.project) && matches(&self.domain, &scope.domain)
    }

    /// Whether every scope is one of them.
    pub(crate) fn is_everything(&self) -> bool {
        self.project == "*" && self.domain == "*"
    }
}

impl fmt::Display for ScopeGlob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.project, self.domain)
    }
}

/// Whether a text is of a pattern. The work is bounded by the product of their lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on if what follows the last `*` does not fit: that star takes one more.
    let mut again = None;
    loop {
        let rest_of_text = text.clone();
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                again = Some((pattern.clone(), rest_of_text.clone()));
                text = rest_of_text;
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(given)) if wanted == given => {}
            (None, None) => return true,
            _ => {
                let Some((after_star, mut from)) = again.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (after_star.clone(), from.clone());
                again = Some((after_star, from));
            }
        }
    }
}

/// Who somebody is, as far as grants are concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    /// The user.
    pub(crate) uid: u32,
    /// All groups, in ascending order.
    pub(crate) groups: &'a [u32],
}

/// What some may do somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// These users.
    pub(crate) users: Vec<u32>,
    /// Who is in one of these groups.
    pub(crate) groups: Vec<u32>,
    /// Whoever can reach the socket.
    pub(crate) everyone: bool,
    /// What.
    pub(crate) rights: Rights,
    /// Where.
    pub(crate) scopes: Vec<ScopeGlob>,
}

impl Grant {
    /// Whether somebody is among those to whom this is granted.
    pub(crate) fn includes(&self, who: Identity<'_>) -> bool {
        self.everyone
            || (who.uid != OVERFLOW_ID && self.users.contains(&who.uid))
            || self
                .groups
                .iter()
                .any(|group| *group != OVERFLOW_ID && who.groups.binary_search(group).is_ok())
    }

    /// Whether a scope is among those for which this is granted.
    pub(crate) fn covers(&self, scope: &Scope) -> bool {
        self.scopes.iter().any(|glob| glob.matches(scope))
    }

    /// Whether this is granted for all scopes, also those that are not there yet.
    pub(crate) fn covers_everything(&self) -> bool {
        self.scopes.iter().any(ScopeGlob::is_everything)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = |kind: &str, ids: &[u32]| {
            ids.iter().map(|id| format!("{kind}:{id}")).collect::<Vec<_>>()
        };
        let mut who = [ids("user", &self.users), ids("group", &self.groups)].concat();
        who.extend(self.everyone.then(|| "everyone".to_owned()));
        let scopes: Vec<String> = self.scopes.iter().map(ToString::to_string).collect();
        write!(formatter, "{} {} in {}", who.join(","), self.rights, scopes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_texts() {
        for (pattern, text, wanted) in [
            ("", "", true),
            ("*", "", true),
            ("*", "a/b", true),
            ("?", "", false),
            ("?", "ä", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "banana", true),
            ("*an*a", "banana", true),
            ("b*n", "banana", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "abcd", false),
            ("**x", "x", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends_soon() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!matches(&pattern, &"a".repeat(1024)));
    }

    #[test]
    fn project_and_domain_are_matched_apart() {
        let glob = |text| ScopeGlob::parse(text).expect("a pattern");
        assert!(glob("p/d").matches(&Scope::new("p", "d")));
        assert!(glob("p/*").matches(&Scope::new("p", "d/e")));
        // No name of a project lets its owner into another's.
        assert!(!glob("p/*").matches(&Scope::new("p/x", "d")));
        assert!(glob("a/b/c").matches(&Scope::new("a/b", "c")));
        assert!(!glob("a/b/c").matches(&Scope::new("a", "b/c")));
        for wrong in ["", "p", "p/", "/d", "/"] {
            ScopeGlob::parse(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn a_right_includes_reading_and_administering_all() {
        let of = |rights: &[Right]| rights.iter().fold(Rights::default(), |of, one| of.with(*one));
        assert!(of(&[]).is_none());
        assert_eq!(of(&[Right::Lease]).to_string(), "read,lease");
        assert_eq!(of(&[Right::Write, Right::Lease]), Rights::USE);
        assert_eq!(of(&[Right::Administer]), Rights::ALL);
        assert!(!of(&[Right::Read]).has(Right::Write));
    }

    #[test]
    fn nobody_is_nobody() {
        let grant = Grant { users: vec![7, 65_534], groups: vec![9, 65_534], ..Grant::default() };
        let who = |uid, groups| grant.includes(Identity { uid, groups });
        assert!(who(7, &[]) && who(8, &[3, 9, 11]));
        assert!(!who(8, &[]) && !who(65_534, &[65_534]));
        assert!(
            Grant { everyone: true, ..grant.clone() }
                .includes(Identity { uid: 65_534, groups: &[] })
        );
    }

    #[test]
    fn a_group_is_found_among_very_many() {
        let many: Vec<u32> = (0..65_536).map(|number| number * 2).collect();
        let grant = Grant { groups: vec![100_000], ..Grant::default() };
        assert!(grant.includes(Identity { uid: 1, groups: &many }));
        let grant = Grant { groups: vec![100_001], ..Grant::default() };
        assert!(!grant.includes(Identity { uid: 1, groups: &many }));
    }
}
