//! The sentences of `memo why` (semantics 35).

use std::time::Duration;

use memod_protocol::{Difference, DifferenceKind, Miss, MissReason};

use crate::output::units;

/// How long ago an instant is: `3 h ago`. One to come, by a clock that was set back, is now.
pub(super) fn ago(at_ms: u64, now_ms: u64) -> String {
    format!("{} ago", units::rough(Duration::from_millis(now_ms.saturating_sub(at_ms))))
}

/// Why there is no hit.
pub(super) fn miss(miss: &Miss, now_ms: u64) -> String {
    let when = miss.at_ms.map(|at_ms| format!(" {}", ago(at_ms, now_ms))).unwrap_or_default();
    let sentence = match miss.reason {
        MissReason::NeverSeen => "no run of this call is remembered".to_owned(),
        MissReason::Evicted => format!("evicted{when} to make room"),
        MissReason::Expired => format!("expired{when}"),
        MissReason::Invalidated => match miss.by_uid {
            Some(uid) => format!("invalidated{when} by user {uid}"),
            None => format!("invalidated{when}"),
        },
        MissReason::Corrupt => format!("found damaged{when}"),
        MissReason::BlobMissing => format!("found without an output's bytes{when}"),
        // Which right is missing, or whose entries are not served, stands in the detail.
        MissReason::Forbidden => "this may not be served".to_owned(),
        MissReason::Disabled => "the cache is disabled for this call".to_owned(),
    };
    match &miss.detail {
        Some(detail) => format!("{sentence}: {detail}"),
        None => sentence,
    }
}

/// What an entry differs in; with the digests of inputs if that is wanted.
pub(super) fn difference(of: &Difference, with_digests: bool) -> String {
    let (here, stored) = (of.here.as_deref(), of.stored.as_deref());
    match of.what {
        DifferenceKind::Input => input(of.name.as_deref(), here, stored, with_digests),
        DifferenceKind::CacheVersion => {
            format!("cache version {}, stored under {}", known(here), known(stored))
        }
        DifferenceKind::Signature => signature(of.name.as_deref(), here, stored),
        DifferenceKind::Scope => {
            format!("project and domain {}, stored under {}", known(here), known(stored))
        }
    }
}

fn input(
    name: Option<&str>,
    here: Option<&str>,
    stored: Option<&str>,
    with_digests: bool,
) -> String {
    let name = known(name);
    match (here, stored) {
        (Some(here), Some(stored)) if with_digests => {
            format!("input `{name}` differs, is {here}, stored {stored}")
        }
        (Some(_), None) => format!("input `{name}` counts, stored without it"),
        (None, Some(_)) => format!("input `{name}` does not count, stored with it"),
        _ => format!("input `{name}` differs"),
    }
}

/// The name says already whether it is an input or an output.
fn signature(name: Option<&str>, here: Option<&str>, stored: Option<&str>) -> String {
    let name = name.unwrap_or("the signature");
    match (here, stored) {
        (Some(here), Some(stored)) => format!("{name} was {stored}, is {here}"),
        (Some(here), None) => format!("{name} was not declared, is {here}"),
        (None, Some(stored)) => format!("{name} was {stored}, is not declared"),
        (None, None) => format!("{name} differs"),
    }
}

fn known(text: Option<&str>) -> &str {
    text.unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use memod_protocol::Key;

    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn missed(reason: MissReason, seconds_ago: Option<u64>, by_uid: Option<u32>) -> String {
        let at_ms = seconds_ago.map(|seconds| NOW_MS - seconds * 1000);
        let key = Key::from_bytes([0; 32]);
        miss(&Miss { key, reason, at_ms, by_uid, detail: None }, NOW_MS)
    }

    fn differs(
        what: DifferenceKind,
        name: Option<&str>,
        here: Option<&str>,
        stored: Option<&str>,
    ) -> Difference {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Difference { what, name: owned(name), here: owned(here), stored: owned(stored) }
    }

    #[test]
    fn semantics_35_misses() {
        assert_eq!(
            missed(MissReason::Evicted, Some(3 * 3600 + 59), None),
            "evicted 3 h ago to make room"
        );
        assert_eq!(
            missed(MissReason::Invalidated, Some(300), Some(1000)),
            "invalidated 5 min ago by user 1000"
        );
        assert_eq!(missed(MissReason::Invalidated, None, None), "invalidated");
        assert_eq!(missed(MissReason::NeverSeen, None, None), "no run of this call is remembered");
        assert_eq!(missed(MissReason::Expired, Some(86_400), None), "expired 1 day ago");
        assert_eq!(missed(MissReason::Corrupt, Some(1), None), "found damaged 1 s ago");
    }

    #[test]
    fn what_the_daemon_adds_stands_behind() {
        let expired = Miss {
            key: Key::from_bytes([0; 32]),
            reason: MissReason::Expired,
            at_ms: Some(NOW_MS),
            by_uid: None,
            detail: Some("9 ms old, 5 ms are allowed".into()),
        };
        assert_eq!(miss(&expired, NOW_MS), "expired 0 s ago: 9 ms old, 5 ms are allowed");
    }

    #[test]
    fn semantics_35_differences() {
        let (a, b) = (Some("a1"), Some("b2"));
        for (of, sentence) in [
            (differs(DifferenceKind::Input, Some("threshold"), a, b), "input `threshold` differs"),
            (
                differs(DifferenceKind::Input, Some("x"), a, None),
                "input `x` counts, stored without it",
            ),
            (
                differs(DifferenceKind::Input, Some("x"), None, b),
                "input `x` does not count, stored with it",
            ),
            (
                differs(DifferenceKind::CacheVersion, None, Some("1.1"), Some("1.0")),
                "cache version 1.1, stored under 1.0",
            ),
            (
                differs(
                    DifferenceKind::Signature,
                    Some("output `o0`"),
                    Some("string"),
                    Some("integer"),
                ),
                "output `o0` was integer, is string",
            ),
            (
                differs(DifferenceKind::Signature, Some("input `y`"), Some("string"), None),
                "input `y` was not declared, is string",
            ),
            (
                differs(DifferenceKind::Signature, Some("input `y`"), None, Some("string")),
                "input `y` was string, is not declared",
            ),
            (
                differs(DifferenceKind::Scope, None, Some("p/d"), Some("p/e")),
                "project and domain p/d, stored under p/e",
            ),
        ] {
            assert_eq!(difference(&of, false), sentence);
        }
    }

    #[test]
    fn digests_are_told_to_those_who_want_to_know_more() {
        let of = differs(DifferenceKind::Input, Some("x"), Some("a1"), Some("b2"));
        assert_eq!(difference(&of, true), "input `x` differs, is a1, stored b2");
    }

    #[test]
    fn what_is_to_come_is_now() {
        assert_eq!(ago(NOW_MS + 5000, NOW_MS), "0 s ago");
    }
}
