//! Starting and ending: where the daemon refuses to start and what it says, and how it leaves.

mod configuration;
mod data;
mod ending;
mod socket;

/// What a daemon that refused to start must have done.
#[track_caller]
fn assert_refused((code, said): (i32, String), wanted_code: i32, parts: &[&str]) {
    assert_eq!(code, wanted_code, "{said}");
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    for noise in ["panicked", "RUST_BACKTRACE", "Os {"] {
        assert!(!said.contains(noise), "that is not for people: {said}");
    }
}
