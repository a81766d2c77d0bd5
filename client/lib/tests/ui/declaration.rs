//! Semantics 33: what is wrong with a declaration is said at once, where it stands.

use memod_client::task;

#[task]
fn without_version(n: i64) -> i64 {
    n
}

#[task(serialize, ignore(n))]
fn without_caching(n: i64) -> i64 {
    n
}

#[task(cache_version = " ", ignore(verbos))]
fn blank(n: i64, verbose: bool) -> i64 {
    n + i64::from(verbose)
}

#[task(cache_version = "1", ignore(verbos, n, n))]
fn misspelt(n: i64, verbose: bool) -> i64 {
    n + i64::from(verbose)
}

struct Counter;

impl Counter {
    #[task(cache_version = "1")]
    fn method(&self, (a, b): (i64, i64)) -> i64 {
        a + b
    }
}

#[task(cache_version = "1")]
struct NotAFunction;

fn main() {
    // The functions are still there, so that these are no errors as well.
    without_version(without_caching(blank(misspelt(1, true), true)));
}
