//! Semantics 33 through the macro, as far as only the running program can know it: such a task is
//! run without the cache, and says why. What the compiler can know is a compile error.

use harness::Daemon;
use memod_client as memod;
use memod_client::{File, TaskOptions};

use super::{FAILED, HIT, MADE, listen, statuses, to, told_of};

/// The task is run, and this is why it is not cached.
#[track_caller]
fn check<T, E: std::fmt::Debug>(
    task: &str,
    why: &str,
    call: impl Fn(&TaskOptions) -> Result<memod::Memoized<T>, E>,
) {
    listen();
    let daemon = Daemon::new();
    for _ in 0..2 {
        assert_eq!(statuses(&call(&to(&daemon))), FAILED);
        let told = told_of(task);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.contains(why), "{told:?}");
    }
}

fn blank() -> String {
    " \t".to_owned()
}

#[memod::task(cache_version = blank(), name = "unversioned")]
fn unversioned(n: i64) -> i64 {
    n
}

#[test]
fn s07_s33_a_version_that_turns_out_blank() {
    check("unversioned", "cache_version: must not be blank", |options| {
        unversioned::memoize(options, 1)
    });
    let described = unversioned::describe(1).unwrap_err();
    assert_eq!(described.field, "cache_version");
    let daemon = Daemon::new();
    let given = to(&daemon).cache_version("1");
    assert_eq!(statuses(&unversioned::memoize(&given, 1)), MADE, "a call may have one");
    assert_eq!(statuses(&unversioned::memoize(&given, 1)), HIT);
}

const LONG: &str = match std::str::from_utf8(&[b'v'; 1025]) {
    Ok(text) => text,
    Err(_) => panic!(),
};

#[memod::task(cache_version = LONG, name = "overlong")]
fn overlong(n: i64) -> i64 {
    n
}

#[test]
fn s21_a_version_that_is_too_long() {
    check("overlong", "cache_version: is 1025 bytes long", |options| overlong::memoize(options, 1));
}

#[derive(memod::Literal)]
struct Person {
    name: String,
    friends: Vec<Friend>,
}

#[derive(memod::Literal)]
struct Friend {
    since: i64,
    person: Box<Person>,
}

#[memod::task(cache_version = "1", name = "recursive")]
fn recursive(person: Person) -> i64 {
    let since =
        person.friends.iter().map(|friend| friend.since + i64::from(friend.person.name.is_empty()));
    since.sum::<i64>() + i64::from(person.name.is_empty())
}

#[test]
fn s33_a_type_that_contains_itself_by_way_of_another() {
    check("recursive", "Person contains itself", |options| {
        recursive::memoize(options, Person { name: "a".to_owned(), friends: Vec::new() })
    });
}

#[memod::task(cache_version = "1", name = "twice_optional")]
#[expect(clippy::option_option, reason = "that is what is wrong with it")]
fn twice_optional(n: Option<Option<i64>>) -> i64 {
    n.flatten().unwrap_or(0)
}

#[test]
fn s33_a_type_that_memod_does_not_allow() {
    check("twice_optional", "input `n`: optional of a type that admits none already", |options| {
        twice_optional::memoize(options, None)
    });
}

#[memod::task(cache_version = "1", name = "files_inside")]
fn files_inside(n: i64) -> Vec<File> {
    vec![File::with_content(n.to_string())]
}

#[test]
fn s33_a_file_inside_an_output() {
    check("files_inside", "output `o0`: is list<file>; only an output by itself", |options| {
        files_inside::memoize(options, 1)
    });
}

#[derive(memod::Literal)]
#[literal(untagged)]
enum Ambiguous {
    One(i64),
    Other(i32),
}

#[memod::task(cache_version = "1", name = "ambiguous")]
fn ambiguous(n: Ambiguous) -> i64 {
    match n {
        Ambiguous::One(n) => n,
        Ambiguous::Other(n) => i64::from(n),
    }
}

#[test]
fn s33_variants_that_cannot_be_told_apart() {
    check("ambiguous", "input `n`.Other: is integer, as another untagged variant is", |options| {
        ambiguous::memoize(options, Ambiguous::Other(1))
    });
    assert_eq!(ambiguous::describe(Ambiguous::One(1)).unwrap_err().field, "input `n`.Other");
}

#[derive(memod::Literal)]
struct Square {
    side: f64,
}

#[derive(memod::Literal)]
struct Circle {
    side: Option<f64>,
}

#[derive(memod::Literal)]
#[literal(untagged)]
enum Alike {
    Square(Square),
    Circle(Circle),
}

#[memod::task(cache_version = "1", name = "alike")]
fn alike(shape: Alike) -> String {
    match shape {
        Alike::Square(Square { side }) => format!("square {side}"),
        Alike::Circle(Circle { side }) => format!("circle {side:?}"),
    }
}

/// The one with a value was stored as the other is, and had its key.
#[test]
fn s10_variants_of_which_some_values_are_stored_alike() {
    check("alike", "input `shape`.Circle: is struct{side:optional<float>}, which", |options| {
        alike::memoize(options, Alike::Circle(Circle { side: Some(1.0) }))
    });
    assert_eq!(
        alike::describe(Alike::Square(Square { side: 1.0 })).unwrap_err().field,
        "input `shape`.Circle"
    );
}

mod one {
    use memod_client as memod;

    #[memod::task(cache_version = "1", name = "same_name")]
    pub(super) fn same_name(n: i64) -> i64 {
        n
    }
}

mod other {
    use memod_client as memod;

    #[memod::task(cache_version = "1", name = "same_name")]
    pub(super) fn same_name(n: i64) -> i64 {
        -n
    }
}

/// Two functions that memod could not tell apart would get each other's results.
#[test]
fn s33_a_second_function_of_the_same_name_is_not_cached() {
    listen();
    let daemon = Daemon::new();
    assert_eq!(one::same_name::with(&to(&daemon), 1), 1);
    assert_eq!(other::same_name::with(&to(&daemon), 1), -1);
    let told = told_of("same_name");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].1.contains("is declared at") && told[0].1.contains("declared::one:"),
        "{told:?}"
    );
    assert_eq!(statuses(&one::same_name::memoize(&to(&daemon), 1)), HIT, "the first stays");
}
