//! Named owners of leases: what is refused before the daemon looks at any lease.

use memod_protocol::{NamedOwner, limits};

fn check(name: &str, heartbeat_ms: i64) -> Result<(), (String, String)> {
    NamedOwner { name: name.into(), heartbeat_ms }
        .check()
        .map_err(|error| (error.field, error.problem))
}

#[test]
fn s21_an_owner_without_a_name_is_refused() {
    let empty = ("owner".to_owned(), "must not be empty".to_owned());
    assert_eq!(check("", 1000), Err(empty.clone()));
    // The name is what is wrong first.
    assert_eq!(check("", 0), Err(empty));
    for blank in [" ", "\t", " \n\u{3000}"] {
        let blank = check(blank, 1000);
        assert_eq!(blank, Err(("owner".to_owned(), "must not be blank".to_owned())));
    }
    assert_eq!(check(" a ", 1000), Ok(()), "a name is taken as it is");
}

#[test]
fn s21_an_owner_with_too_long_a_name_is_refused() {
    let longest = "x".repeat(limits::NAME_BYTES_MAX);
    assert_eq!(check(&longest, 1000), Ok(()));
    let (field, problem) = check(&format!("{longest}x"), 1000).unwrap_err();
    assert_eq!(field, "owner");
    assert_eq!(problem, "is 1025 bytes long, 1024 are allowed");
    // It is bytes that count, not characters.
    let wide = "ö".repeat(limits::NAME_BYTES_MAX / 2);
    assert_eq!(check(&wide, 1000), Ok(()));
    assert_eq!(check(&format!("{wide}ö"), 1000).unwrap_err().0, "owner");
}

#[test]
fn s29_a_heartbeat_of_zero_or_less_is_refused() {
    for heartbeat_ms in [0, -1, -1000, i64::MIN] {
        let (field, problem) = check("nightly", heartbeat_ms).unwrap_err();
        assert_eq!(field, "heartbeat");
        assert_eq!(problem, format!("is {heartbeat_ms} ms, more than zero is wanted"));
    }
}

/// The daemon bounds what is more than its maximum; it is no error.
#[test]
fn s29_any_heartbeat_above_zero_is_taken() {
    for heartbeat_ms in [1, 10_000, i64::MAX] {
        assert_eq!(check("nightly", heartbeat_ms), Ok(()));
    }
}
