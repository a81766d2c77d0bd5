//! Semantics 3 and 4 through the macro: under which name memod knows a function.

use harness::{Daemon, Setup};
use memod_client as memod;

use super::keys::{key, of_memo};
use super::{HIT, MADE, statuses, to};

/// Two programs of one project, as it were, each with a function of the same name and signature.
mod halving {
    use memod_client as memod;

    #[memod::task(cache_version = "1", project = "p", domain = "d")]
    pub(super) fn change(n: i64) -> i64 {
        n / 2
    }
}

mod doubling {
    use memod_client as memod;

    #[memod::task(cache_version = "1", project = "p", domain = "d")]
    pub(super) fn change(n: i64) -> i64 {
        n * 2
    }
}

/// What the functions of this file are called.
fn here(path: &str) -> String {
    format!("integration.task_macro.names.{path}")
}

#[track_caller]
fn has_key_of(key: &str, task: &str) {
    let memo = Setup::new().prepare();
    let call = ["--cache-version", "1", "--input", "n:integer=8", "--output", "o0:integer"];
    assert_eq!(key, of_memo(&memo, &[&["--task", task], &call[..]].concat()), "{task}");
}

#[test]
fn s03_a_name_is_that_of_module_and_function() {
    let described = halving::change::describe(8).unwrap();
    assert_eq!(described.task, here("halving.change"));
    has_key_of(&key(Ok(described)), "integration.task_macro.names.halving.change");
}

#[test]
fn s04_functions_of_one_name_share_no_result() {
    let daemon = Daemon::new();
    for wanted in [MADE, HIT] {
        let halved = halving::change::memoize(&to(&daemon), 8);
        let doubled = doubling::change::memoize(&to(&daemon), 8);
        assert_eq!((statuses(&halved), statuses(&doubled)), (wanted, wanted));
        assert_eq!((halved.unwrap().outputs, doubled.unwrap().outputs), (4, 16));
    }
    assert_ne!(key(halving::change::describe(8)), key(doubling::change::describe(8)));
}

mod r#async {
    pub(super) mod inner {
        use memod_client as memod;

        #[memod::task(cache_version = "1", project = "p", domain = "d")]
        pub(in super::super) fn r#match(n: i64) -> i64 {
            n
        }
    }
}

#[test]
fn s03_raw_identifiers_are_what_they_spell() {
    let described = r#async::inner::r#match::describe(8).unwrap();
    assert_eq!(described.task, here("async.inner.match"));
    has_key_of(&key(Ok(described)), "integration.task_macro.names.async.inner.match");
}

/// A task stands where it is declared, wherever the macro that writes it stands, and whatever else
/// there goes by the names in what is generated.
mod declared_elsewhere {
    macro_rules! identity {
        ($name:ident) => {
            #[memod_client::task(cache_version = "1", enabled = false)]
            pub(super) fn $name(n: i64) -> i64 {
                n
            }
        };
    }
    pub(super) use identity;
}

mod in_the_way {
    #![expect(unused_macros, reason = "it is what must not be found")]

    mod core {}
    macro_rules! module_path {
        () => {
            "elsewhere"
        };
    }

    super::declared_elsewhere::identity!(written);
}

#[test]
fn s03_a_name_is_made_where_the_task_is_declared() {
    assert_eq!(in_the_way::written::describe(8).unwrap().task, here("in_the_way.written"));
    assert_eq!(in_the_way::written(8), 8);
}

#[memod::task(cache_version = "1", name = "as it is")]
fn given(n: i64) -> i64 {
    n
}

#[test]
fn s03_a_name_that_is_given_stays_as_it_is() {
    assert_eq!(given::describe(8).unwrap().task, "as it is");
}
