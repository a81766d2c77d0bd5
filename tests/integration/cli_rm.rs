//! `memo rm`, semantics 24: what is forgotten, how many, and when a yes is wanted.

use harness::Daemon;
use serde_json::json;

use crate::memo::{ends, json_of, memo, square, stored};

/// Two entries of `a`, one of `b`, and one of `a` in another domain.
fn four_entries() -> Daemon {
    let daemon = Daemon::new();
    for (domain, task, version) in [
        ("development", "a", "1"),
        ("development", "a", "2"),
        ("development", "b", "1"),
        ("production", "a", "1"),
    ] {
        let put = ["put", "--task", task, "--cache-version", version, "--output", "o:string=x"];
        ends(&daemon, 0, &[&["--domain", domain][..], &put].concat());
    }
    daemon
}

#[test]
fn s24_rm_forgets_by_every_selector_and_says_how_many() {
    let own = nix::unistd::getuid().to_string();
    let cases: &[(&[&str], u64)] = &[
        (&["--task", "a"], 2),
        (&["--task", "a", "--cache-version", "2"], 1),
        (&["--task", "a", "--domain", "production"], 1),
        (&["--scope", "--yes"], 3),
        (&["--scope", "--domain", "production", "--yes"], 1),
        (&["--writer", &own], 4),
        (&["--writer", &own, "--task", "b"], 1),
        (&["--all", "--yes"], 4),
        (&["--all", "--task", "a", "--yes"], 3),
        (&["--all", "--task", "a", "--cache-version", "1", "--writer", &own, "--yes"], 2),
        (&["--all", "--writer", "12345", "--yes"], 0),
        (&["--all", "--older-than", "1h", "--yes"], 0),
        (&["--all", "--task", "stranger", "--yes"], 0),
        (&["--scope", "--task", "a", "--yes"], 2),
        (&["--older-than", "1h"], 0),
        (&["--task", "stranger"], 0),
        (&["--task", "a", "--cache-version", "3"], 0),
        (&["--scope", "--project", "stranger", "--yes"], 0),
        (&["--writer", "12345"], 0),
    ];
    for (flags, matched) in cases {
        let daemon = four_entries();
        let code = i32::from(*matched == 0);
        let dry = json_of(&daemon, code, &[&["rm", "--dry-run"][..], flags].concat());
        assert_eq!(dry, json!({"matched": matched}), "{flags:?}");
        assert_eq!(ends(&daemon, 0, &["ls"]).text().lines().count(), 4, "{flags:?} only counts");
        let agreed: &[&str] = if flags.contains(&"--yes") { &["rm"] } else { &["rm", "--yes"] };
        let text = ends(&daemon, code, &[agreed, flags].concat());
        let wanted = match matched {
            0 => {
                // And where it was looked.
                assert!(text.text().starts_with("nothing matched: there is no entry"), "{text:?}");
                text.text().to_owned()
            }
            1 => "1 entry removed\n".to_owned(),
            many => format!("{many} entries removed\n"),
        };
        assert_eq!(text.text(), wanted, "{flags:?}");
        let left = memo(&daemon, &["ls"]).text().lines().count() as u64;
        assert_eq!(left, 4 - matched, "{flags:?}");
        let again = json_of(&daemon, 1, &[agreed, flags].concat());
        assert_eq!(again, json!({"matched": 0}), "{flags:?}");
    }
}

/// `--all` would forget everything instead of what was meant, or be refused.
#[test]
fn s24_rm_that_finds_nothing_says_so_without_a_way_to_forget_more() {
    let daemon = four_entries();
    for (flags, goes_on) in [
        (&["--task", "stranger"][..], true),
        (&["--scope", "--domain", "staging", "--yes"], false),
        (&["--task", "a", "--project", "stranger"], false),
        (&["--all", "--task", "stranger", "--yes"], false),
    ] {
        let told = ends(&daemon, 1, &[&["rm"], flags].concat());
        assert_eq!(told.text().contains("--all"), goes_on, "{flags:?}: {told:?}");
    }
}

#[test]
fn s24_rm_forgets_by_age() {
    let daemon = four_entries();
    let mut raw = daemon.connect();
    harness::eventually("all are older than a millisecond", || {
        let rows = raw.list();
        rows.iter().all(|row| raw.show(row.key).is_ok_and(|shown| shown.age_ms > 1))
    });
    assert_eq!(json_of(&daemon, 0, &["rm", "--older-than", "1ms", "--yes"]), json!({"matched": 4}));
}

#[test]
fn s24_rm_forgets_by_key() {
    let daemon = Daemon::new();
    let key = stored(&daemon);
    let unknown = "0".repeat(64);
    assert_eq!(json_of(&daemon, 1, &["rm", &unknown]), json!({"matched": 0}));
    assert_eq!(json_of(&daemon, 0, &["rm", "-n", &unknown, &key]), json!({"matched": 1}));
    assert_eq!(json_of(&daemon, 0, &["rm", &unknown, &key]), json!({"matched": 1}));
    ends(&daemon, 1, &square("lookup", &["--output", "o0:integer"]));
}

#[test]
fn s24_rm_of_much_wants_a_yes() {
    let daemon = four_entries();
    let broad = [&["--all"][..], &["--scope"], &["--older-than", "0s"], &["--writer", "0"]];
    for flags in broad.map(|flags| [&["rm"], flags].concat()) {
        let flags = flags.as_slice();
        let refused = ends(&daemon, 2, flags);
        assert!(refused.errors().contains("--yes"), "{refused:?}");
    }
    for flags in [&["rm"][..], &["rm", "--yes"], &["rm", "--cache-version", "1"]] {
        ends(&daemon, 2, flags);
    }
    // Of all projects and domains, which is more than it was asked about.
    ends(&daemon, 2, &["rm", "--all", "--task", "a"]);
    ends(&daemon, 2, &["rm", "--all", "--scope", "--yes"]);
    assert_eq!(ends(&daemon, 0, &["ls"]).text().lines().count(), 4);
}
