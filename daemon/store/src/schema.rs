//! The columns of the database and how their keys are made.
//!
//! **Invariants.** Numbers in keys are big-endian, so that they sort. Each text of a `tasks` key
//! stands behind its length, so that a prefix of whole texts selects exactly what has those texts.

use std::fmt;

use memod_protocol::{Digest, Filter, Key, Scope};

/// The format that this crate writes, and the newest that it reads. Format 1 had no `near`, no
/// `heat`, nobody who paid for a blob, and no usage of scopes and users. Up to format 2 the
/// interface and the inputs of an entry stood in `tasks` only.
pub(crate) const FORMAT: u32 = 3;

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Meta,
    Entries,
    Tasks,
    Blobs,
    Chunks,
    Refs,
    Graves,
    Near,
    Heat,
}

impl Column {
    pub(crate) const ALL: [Self; 9] = [
        Self::Meta,
        Self::Entries,
        Self::Tasks,
        Self::Blobs,
        Self::Chunks,
        Self::Refs,
        Self::Graves,
        Self::Near,
        Self::Heat,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Entries => "entries",
            Self::Tasks => "tasks",
            Self::Blobs => "blobs",
            Self::Chunks => "chunks",
            Self::Refs => "refs",
            Self::Graves => "graves",
            Self::Near => "near",
            Self::Heat => "heat",
        }
    }

    /// How long the beginning of a key is by which its rows belong together, if they are looked
    /// for by that.
    pub(crate) const fn prefix_bytes(self) -> Option<usize> {
        match self {
            Self::Refs => Some(32),
            _ => None,
        }
    }
}

/// `meta`: the format, a `u32` little-endian.
pub(crate) const META_FORMAT: &[u8] = b"format";
/// `meta`: the store's identity, text.
pub(crate) const META_ID: &[u8] = b"id";
/// `meta`: the counters.
pub(crate) const META_COUNTERS: &[u8] = b"counters";
/// `meta`: no storage id from this on has been used; a `u64` little-endian.
pub(crate) const META_NEXT_STORAGE: &[u8] = b"next_storage";
/// `meta`: the beginning of the names of loose rows.
pub(crate) const META_LOOSE: &[u8] = b"loose/";

/// `meta`: how often a column has been written anew, a `u32` little-endian: which of its families
/// is the one. Absent if it never was.
pub(crate) fn family_key(column: Column) -> Vec<u8> {
    [b"family/".as_slice(), column.name().as_bytes()].concat()
}

/// `meta`: there if an entry that could not be read was removed, so that what is counted is in
/// doubt; it is counted anew when the store is opened.
pub(crate) const META_DOUBT: &[u8] = b"doubt";
/// `meta`: what has been learned of how soon entries are used again.
pub(crate) const META_REUSE: &[u8] = b"reuse";
/// `meta`: the beginning of the names of rows of usage.
pub(crate) const META_USAGE: &[u8] = b"usage/";
const META_USAGE_SCOPE: &[u8] = b"usage/scope/";
const META_USAGE_USER: &[u8] = b"usage/user/";

/// Who is charged for what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Account {
    /// A scope, for all entries in it.
    Scope(Scope),
    /// A user, for all entries that this user wrote.
    User(u32),
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(Scope { project, domain }) => {
                write!(formatter, "scope {}/{}", project.escape_debug(), domain.escape_debug())
            }
            Self::User(uid) => write!(formatter, "user {uid}"),
        }
    }
}

/// `meta`: the row of what is charged to an account.
pub(crate) fn usage_key(account: &Account) -> Vec<u8> {
    match account {
        Account::Scope(scope) => [META_USAGE_SCOPE, &scope_prefix(scope)].concat(),
        Account::User(uid) => [META_USAGE_USER, &uid.to_be_bytes()].concat(),
    }
}

/// The account that a row of usage belongs to.
pub(crate) fn parse_usage_key(key: &[u8]) -> Option<Account> {
    if let Some(uid) = key.strip_prefix(META_USAGE_USER) {
        return Some(Account::User(u32::from_be_bytes(uid.try_into().ok()?)));
    }
    let mut rest = key.strip_prefix(META_USAGE_SCOPE)?;
    let (project, domain) = (take_text(&mut rest)?, take_text(&mut rest)?);
    rest.is_empty().then_some(Account::Scope(Scope { project, domain }))
}

/// `meta`: the row of a storage that no blob owns.
pub(crate) fn loose_key(storage: u64) -> Vec<u8> {
    [META_LOOSE, &storage.to_be_bytes()].concat()
}

/// The storage that a loose row names.
pub(crate) fn loose_storage(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(META_LOOSE)?.try_into().ok()?))
}

/// `meta`: the row of a note of the service.
pub(crate) fn note_key(name: &str) -> Vec<u8> {
    [b"note/".as_slice(), name.as_bytes()].concat()
}

/// `chunks`: the row of a chunk.
pub(crate) fn chunk_key(storage: u64, index: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&storage.to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

/// `refs`: the row that says that an entry refers to a blob.
pub(crate) fn ref_key(digest: &Digest, key: &Key) -> [u8; 64] {
    let mut row = [0; 64];
    row[..32].copy_from_slice(digest.as_bytes());
    row[32..].copy_from_slice(key.as_bytes());
    row
}

/// Blob and entry of a row of `refs`.
pub(crate) fn parse_ref_key(row: &[u8]) -> Option<(Digest, Key)> {
    let (digest, key) = row.split_at_checked(32)?;
    Some((Digest::from_bytes(digest.try_into().ok()?), Key::from_bytes(key.try_into().ok()?)))
}

/// `tasks`: the row of an entry.
pub(crate) fn task_key(
    scope: &Scope,
    task: &str,
    cache_version: &str,
    signature: &Digest,
    key: &Key,
) -> Vec<u8> {
    let mut row = group_prefix(scope, task, cache_version, signature);
    row.extend_from_slice(key.as_bytes());
    row
}

/// `tasks`: what the rows of all entries begin with that differ in nothing but their inputs.
pub(crate) fn group_prefix(
    scope: &Scope,
    task: &str,
    cache_version: &str,
    signature: &Digest,
) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(64 + 128);
    for text in [&scope.project, &scope.domain, task, cache_version] {
        push_text(&mut prefix, text);
    }
    prefix.extend_from_slice(signature.as_bytes());
    prefix
}

/// Group and key of a row of `tasks`.
pub(crate) fn split_task_key(row: &[u8]) -> Option<(&[u8], Key)> {
    let (group, key) = row.split_last_chunk::<32>()?;
    Some((group, Key::from_bytes(*key)))
}

fn push_text(row: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("names are checked to be at most 1024 bytes");
    row.extend_from_slice(&length.to_be_bytes());
    row.extend_from_slice(text.as_bytes());
}

fn take_text(row: &mut &[u8]) -> Option<String> {
    let (length, rest) = row.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *row = rest;
    String::from_utf8(text.to_vec()).ok()
}

/// `tasks`: what the rows of all entries of a scope begin with.
pub(crate) fn scope_prefix(scope: &Scope) -> Vec<u8> {
    let mut prefix = Vec::new();
    push_text(&mut prefix, &scope.project);
    push_text(&mut prefix, &scope.domain);
    prefix
}

/// `tasks`: what the rows of all entries of a task begin with.
pub(crate) fn scope_task_prefix(scope: &Scope, task: &str) -> Vec<u8> {
    let mut prefix = scope_prefix(scope);
    push_text(&mut prefix, task);
    prefix
}

/// The longest prefix of `tasks` keys that everything the filter selects has.
pub(crate) fn task_prefix(filter: &Filter) -> Vec<u8> {
    let Some(scope) = &filter.scope else { return Vec::new() };
    let mut prefix = scope_prefix(scope);
    let Some(task) = &filter.task else { return prefix };
    push_text(&mut prefix, task);
    if let Some(cache_version) = &filter.cache_version {
        push_text(&mut prefix, cache_version);
    }
    prefix
}

/// What a `tasks` key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskKey {
    pub(crate) scope: Scope,
    pub(crate) task: String,
    pub(crate) cache_version: String,
    pub(crate) signature: Digest,
    pub(crate) key: Key,
}

impl TaskKey {
    pub(crate) fn parse(mut row: &[u8]) -> Option<Self> {
        let mut text = || take_text(&mut row);
        let (project, domain, task, cache_version) = (text()?, text()?, text()?, text()?);
        let (signature, key) = row.split_at_checked(32)?;
        let signature = Digest::from_bytes(signature.try_into().ok()?);
        let key = Key::from_bytes(key.try_into().ok()?);
        Some(Self { scope: Scope { project, domain }, task, cache_version, signature, key })
    }
}

/// The first key behind all that begin with this prefix; none if there is no such key.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(project: &str, domain: &str, task: &str, version: &str) -> Vec<u8> {
        let (signature, key) = (Digest::of(b"signature"), Key::from_bytes([7; 32]));
        task_key(&Scope::new(project, domain), task, version, &signature, &key)
    }

    #[test]
    fn task_keys_read_back() {
        let parsed = TaskKey::parse(&row("p", "d", "t", "1.0")).unwrap();
        assert_eq!(parsed.scope, Scope::new("p", "d"));
        assert_eq!((parsed.task.as_str(), parsed.cache_version.as_str()), ("t", "1.0"));
        assert_eq!(parsed.key, Key::from_bytes([7; 32]));
        assert_eq!(parsed.signature, Digest::of(b"signature"));
        let whole = row("p", "d", "t", "1.0");
        for length in 0..whole.len() {
            assert_eq!(TaskKey::parse(&whole[..length]), None, "cut to {length} bytes");
        }
    }

    #[test]
    fn a_prefix_selects_whole_texts_only() {
        let filter = Filter {
            scope: Some(Scope::new("a", "b")),
            task: Some("t1".to_owned()),
            ..Filter::default()
        };
        let prefix = task_prefix(&filter);
        assert!(row("a", "b", "t1", "2").starts_with(&prefix));
        assert!(!row("a", "b", "t", "12").starts_with(&prefix));
        assert!(!row("a", "b", "t12", "").starts_with(&prefix));
        assert!(!row("ab", "", "t1", "2").starts_with(&prefix));
    }

    #[test]
    fn the_end_of_a_prefix_is_behind_it() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255, 255]), None);
        assert_eq!(prefix_end(b""), None);
    }

    #[test]
    fn accounts_read_back() {
        for account in [
            Account::Scope(Scope::new("p", "d")),
            Account::Scope(Scope::new("", "scope/")),
            Account::User(0),
            Account::User(u32::MAX),
        ] {
            let key = usage_key(&account);
            assert!(key.starts_with(META_USAGE));
            assert_eq!(parse_usage_key(&key), Some(account));
            assert_eq!(parse_usage_key(&key[..key.len() - 1]), None);
        }
        let apart = [("a", "bc"), ("ab", "c")];
        let [one, other] = apart.map(|(p, d)| usage_key(&Account::Scope(Scope::new(p, d))));
        assert_ne!(one, other);
    }

    #[test]
    fn loose_rows_and_references_read_back() {
        assert_eq!(loose_storage(&loose_key(77)), Some(77));
        assert_eq!(loose_storage(b"loose/x"), None);
        let (digest, key) = (Digest::of(b"x"), Key::from_bytes([3; 32]));
        assert_eq!(parse_ref_key(&ref_key(&digest, &key)), Some((digest, key)));
    }
}
