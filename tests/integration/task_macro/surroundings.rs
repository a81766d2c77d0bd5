//! Generated code does not depend on what surrounds it: on names that hide those of the standard
//! library, on the names of arguments, or on the name under which the library is known.

#![allow(clippy::unused_async, reason = "what is tested is what the macro awaits")]

use harness::Daemon;

use super::{HIT, MADE, statuses, to};

/// The library, as another crate would re-export it.
mod prelude {
    pub(super) mod cache {
        pub(in super::super) use memod_client::*;
    }
}

/// Nothing of the standard library has its usual name here.
mod bare {
    #![no_implicit_prelude]
    #![allow(dead_code, reason = "these are here to be in the way")]

    use super::prelude::cache;

    pub(super) struct Result;
    pub(super) struct Option;
    pub(super) struct Vec;
    pub(super) struct String;
    pub(super) struct Ok;
    pub(super) struct Some;
    mod std {}
    mod core {}
    mod memod_client {}

    #[derive(cache::Literal)]
    #[literal(crate = cache, outputs)]
    pub(super) struct Both {
        pub(super) name: ::std::string::String,
        pub(super) shape: Shape,
    }

    #[derive(cache::Literal)]
    #[literal(crate = cache)]
    pub(super) enum Shape {
        Dot,
        Box { width: i64, literal: i64 },
        Pair(i64, i64),
        One(i64),
    }

    #[derive(cache::Literal)]
    #[literal(crate = cache, untagged)]
    pub(super) enum Either {
        Left(i64),
        Right(f64),
    }

    #[derive(cache::Literal)]
    #[literal(crate = cache)]
    pub(super) struct Made<T> {
        pub(super) made: T,
        pub(super) fields: ::std::option::Option<T>,
    }

    #[cache::task(crate = cache, cache_version = "1")]
    #[expect(clippy::too_many_arguments, reason = "each name is in the way")]
    pub(super) fn arguments(
        options: i64,
        inputs: i64,
        asked: i64,
        memoized: &str,
        r#fn: i64,
        outputs: Either,
        mut error: i64,
        made: Made<i64>,
    ) -> Both {
        error += match outputs {
            Either::Left(left) => left,
            Either::Right(_) => 0,
        };
        let width = options + inputs + asked + error + r#fn;
        let literal = match made.fields {
            ::std::option::Option::Some(fields) => fields,
            ::std::option::Option::None => made.made,
        };
        let name = ::std::borrow::ToOwned::to_owned(memoized);
        Both { name, shape: Shape::Box { width, literal } }
    }

    #[cache::task(crate = cache, cache_version = "1", name = "bare_async")]
    pub(super) async fn asynchronous(options: i64, asked: i64) -> ::std::result::Result<Shape, ()> {
        match options {
            0 => ::std::result::Result::Ok(Shape::Dot),
            1 => ::std::result::Result::Ok(Shape::One(asked)),
            2 => ::std::result::Result::Ok(Shape::Pair(asked, options)),
            _ => ::std::result::Result::Err(()),
        }
    }
}

#[test]
fn names_are_in_nobodys_way() {
    let daemon = Daemon::new();
    let call = || {
        let made = bare::Made { made: 7, fields: None };
        let either = bare::Either::Left(100);
        bare::arguments::memoize(&to(&daemon), 1, 2, 3, "name", 4, either, 10, made)
    };
    for statuses_wanted in [MADE, HIT] {
        let report = call();
        assert_eq!(statuses(&report), statuses_wanted);
        let bare::Both { name, shape } = report.unwrap().outputs;
        assert_eq!(name, "name");
        assert!(matches!(shape, bare::Shape::Box { width: 120, literal: 7 }));
    }
}

#[tokio::test]
async fn names_are_in_nobodys_way_in_async_tasks() {
    let daemon = Daemon::new();
    let client = memod_client::Client::builder().socket(daemon.socket()).build_async();
    let options = memod_client::TaskOptions::new().async_client(client);
    for statuses_wanted in [MADE, HIT] {
        for number in 0..3 {
            let report = bare::asynchronous::memoize(&options, number, 5).await;
            assert_eq!(statuses(&report), statuses_wanted);
            let fits = match report.unwrap().outputs {
                bare::Shape::Dot => number == 0,
                bare::Shape::One(5) => number == 1,
                bare::Shape::Pair(5, 2) => number == 2,
                _ => false,
            };
            assert!(fits, "{number}");
        }
    }
    assert!(bare::asynchronous::with(&options, 3, 0).await.is_err());
}

/// A task may be declared by another macro, inside a function, and call itself.
#[test]
fn tasks_are_declared_anywhere() {
    macro_rules! summing {
        ($name:ident, $argument:ident) => {
            #[memod_client::task(cache_version = "1", enabled = false)]
            fn $name($argument: u32) -> u32 {
                let options = $argument;
                if options == 0 { 0 } else { options + $name($argument - 1) }
            }
        };
    }
    summing!(sum, options);
    summing!(total, n);
    assert_eq!((sum(4), total(5)), (10, 15));
}
