//! The grants in the configuration file.
//!
//! **Invariants.** What is wrong is told with the line of the name at fault, all of it at once. A
//! grant with a mistake gives nothing: the file is refused as a whole.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};
use toml::{Spanned, Value};

use super::fields::text;
use super::names::{self, meant};
use crate::grants::{Grant, Right, Rights, ScopeGlob};

/// Most grants of a file: each request may have to look at all.
pub(crate) const GRANTS_MAX: usize = 1000;

/// Most users, groups, rights or scopes of one of them.
const NAMED_MAX: usize = 1000;

/// The names in a grant.
const NAMES: [&str; 5] = ["users", "groups", "everyone", "rights", "scopes"];

type Table = BTreeMap<Spanned<String>, Spanned<Value>>;

/// What stands in the file under `grants`, with places.
#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    grants: Vec<Spanned<Table>>,
}

/// A mistake, and the byte of the file at which it is.
pub(super) type Mistake = (usize, String);

/// The grants of a file; what in it is no TOML is somebody else's to tell.
///
/// # Errors
/// Every mistake.
pub(super) fn parse(source: &str) -> Result<Vec<Grant>, Vec<Mistake>> {
    let (table, _) = DeTable::parse_recoverable(source);
    let file = File::deserialize(Deserializer::from(table)).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![(at, "grants: a list of tables is wanted: [[grants]]".to_owned())]
    })?;
    let mut mistakes = Vec::new();
    if let Some(beyond) = file.grants.get(GRANTS_MAX) {
        mistakes.push((beyond.span().start, format!("grants: at most {GRANTS_MAX} are allowed")));
    }
    let grants: Vec<Grant> =
        file.grants.iter().take(GRANTS_MAX).map(|table| grant(table, &mut mistakes)).collect();
    if mistakes.is_empty() { Ok(grants) } else { Err(mistakes) }
}

fn grant(table: &Spanned<Table>, mistakes: &mut Vec<Mistake>) -> Grant {
    let mut grant = Grant { scopes: vec![ScopeGlob::everything()], ..Grant::default() };
    let before = mistakes.len();
    for (name, value) in table.get_ref() {
        let at = name.span().start;
        let name = name.get_ref().as_str();
        let mut note = |problem: String| mistakes.push((at, format!("grants.{name}: {problem}")));
        match name {
            "users" => grant.users = list(value, names::user, &mut note),
            "groups" => grant.groups = list(value, names::group, &mut note),
            "rights" => {
                let rights = list(value, right, &mut note);
                grant.rights = rights.into_iter().fold(Rights::default(), Rights::with);
            }
            "scopes" => {
                let glob = |value: &Value| text(value).and_then(ScopeGlob::parse);
                grant.scopes = list(value, glob, &mut note);
            }
            "everyone" => match value.get_ref() {
                Value::Boolean(given) => grant.everyone = *given,
                other => note(format!("true or false is wanted, not {}", other.type_str())),
            },
            other => {
                let given = other.escape_debug();
                let hint = meant(other, &NAMES);
                mistakes.push((at, format!("grants: `{given}` is no setting{hint}")));
            }
        }
    }
    // What was said wrongly, or under a name that is none, was said.
    let told: Vec<&str> = mistakes.iter().skip(before).map(|(_, told)| told.as_str()).collect();
    let is_told = |names: &[&str]| {
        told.iter().any(|told| {
            let of = told.strip_prefix("grants.").and_then(|of| of.split_once(": "));
            of.is_none_or(|(name, _)| names.contains(&name))
        })
    };
    let who = grant.users.is_empty() && grant.groups.is_empty() && !grant.everyone;
    let missing = [
        (
            who && !is_told(&["users", "groups", "everyone"]),
            "this one is for nobody; name `users` or `groups`, or say `everyone = true`",
        ),
        (
            grant.rights.is_none() && !is_told(&["rights"]),
            "this one gives nothing; name `rights`: read, write, lease, administer",
        ),
        (
            grant.scopes.is_empty() && !is_told(&["scopes"]),
            "this one is for no scope; leave `scopes` out for all",
        ),
    ];
    let at = table.span().start;
    let missing = missing.iter().filter(|(is_missing, _)| *is_missing);
    mistakes.extend(missing.map(|(_, problem)| (at, format!("grants: {problem}"))));
    grant
}

fn right(value: &Value) -> Result<Right, String> {
    let name = text(value)?;
    let found = Right::ALL.into_iter().find(|right| right.name() == name);
    let known = Right::ALL.map(Right::name);
    found.ok_or_else(|| format!("`{}` is no right{}", name.escape_debug(), meant(name, &known)))
}

fn list<T>(
    value: &Spanned<Value>,
    parse: impl Fn(&Value) -> Result<T, String>,
    note: &mut impl FnMut(String),
) -> Vec<T> {
    let Some(items) = value.get_ref().as_array() else {
        note(format!("a list is wanted, not {}", value.get_ref().type_str()));
        return Vec::new();
    };
    if items.len() > NAMED_MAX {
        note(format!("at most {NAMED_MAX} are allowed, not {}", items.len()));
        return Vec::new();
    }
    let mut parsed = Vec::new();
    for item in items {
        match parse(item) {
            Ok(item) => parsed.push(item),
            Err(problem) => note(problem),
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_says_who_what_and_where() {
        let source = "[[grants]]\nusers = [1000, \"root\"]\nrights = [\"write\"]\n\
            scopes = [\"p/*\", \"*/d\"]\n[[grants]]\neveryone = true\nrights = [\"read\"]\n\
            [[grants]]\ngroups = [\"root\", 5000]\nrights = [\"administer\", \"lease\"]\n";
        let grants = parse(source).expect("good");
        let shown: Vec<String> = grants.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "user:1000,user:0 read,write in p/*,*/d",
                "everyone read in */*",
                "group:0,group:5000 read,write,lease,administer in */*",
            ]
        );
        assert_eq!(parse("socket = \"/a\"\n").expect("good"), []);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let source = "[[grants]]\nuser = [1]\nrights = [\"raed\", 3]\nscopes = [\"p\"]\n\
            [[grants]]\nusers = [65534]\neveryone = \"yes\"\n[[grants]]\nrights = \"read\"\n\
            [[grants]]\n[[grants]]\nusers = [1]\nrights = [\"read\"]\nscopes = []\n";
        let mistakes = parse(source).expect_err("mistakes");
        for wanted in [
            "grants: `user` is no setting; did you mean `users`?",
            "grants.rights: `raed` is no right; did you mean `read`?",
            "grants.rights: a string is wanted, not integer",
            "grants.scopes: `p` is no scope: PROJECT/DOMAIN is wanted",
            "grants.users: 65534 is whatever user",
            "grants.everyone: true or false is wanted, not string",
            "grants.rights: a list is wanted, not string",
            "grants: this one is for no scope",
        ] {
            let found = mistakes.iter().filter(|(_, message)| message.starts_with(wanted)).count();
            assert_eq!(found, 1, "`{wanted}` is not once in {mistakes:?}");
        }
        // Where something else is wrong, too.
        for wanted in ["grants: this one is for nobody", "grants: this one gives nothing"] {
            let found = mistakes.iter().filter(|(_, message)| message.starts_with(wanted)).count();
            assert_eq!(found, 2, "`{wanted}` is not twice in {mistakes:?}");
        }
        assert_eq!(mistakes.len(), 12, "{mistakes:?}");
        assert_eq!(parse("grants = 3\n").expect_err("no list").len(), 1);
    }

    #[test]
    fn grants_are_bounded() {
        let one = "[[grants]]\neveryone = true\nrights = [\"read\"]\n";
        assert_eq!(parse(&one.repeat(GRANTS_MAX)).expect("good").len(), GRANTS_MAX);
        let mistakes = parse(&one.repeat(GRANTS_MAX + 1)).expect_err("too many");
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        let with = |users: usize| format!("{one}users = [{}]\n", "1, ".repeat(users));
        assert_eq!(parse(&with(NAMED_MAX)).expect("good")[0].users.len(), NAMED_MAX);
        let mistakes = parse(&with(NAMED_MAX + 1)).expect_err("too many");
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].1.starts_with("grants.users: at most 1000"), "{mistakes:?}");
    }
}
