//! Two calls that the tests of the Python package make from every client, here by `#[task]`.
//!
//! `memod-same-call FILE` makes both, the second with the file, and prints what came of them as a
//! line of JSON.
//!
//! The tasks have the names that flytekit gives them there, and no other.
//!
//! **Invariants.** What is computed here says so, so that whoever reads it knows who did.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use memod_client as memod;
use memod_client::{Call, File, InvalidArgument, Memoized, TaskOptions};
use serde_json::{Value, json};

/// Who computed what is computed here.
const MADE_BY: &str = "rust";

#[memod::task(name = "test_same_call.describe", cache_version = "1.0.0", ignore(verbose))]
#[expect(clippy::too_many_arguments, reason = "one of each type that all clients have")]
fn describe(
    text: String,
    count: i64,
    weight: f64,
    strict: bool,
    at: SystemTime,
    span: Duration,
    names: Vec<String>,
    ages: BTreeMap<String, i64>,
    limit: Option<i64>,
    verbose: bool,
) -> (String, i64) {
    let _ = (text, weight, strict, at, span, ages, limit, verbose);
    (MADE_BY.to_owned(), count + i64::try_from(names.len()).unwrap_or(i64::MAX))
}

#[memod::task(name = "test_same_call.measure", cache_version = "1.0.0")]
fn measure(data: File) -> std::io::Result<String> {
    Ok(format!("{} bytes, says {MADE_BY}", data.bytes()?.len()))
}

fn described() -> Result<Call, InvalidArgument> {
    describe::describe(
        "Grüße".to_owned(),
        (1 << 53) + 1,
        0.1,
        true,
        instant(),
        Duration::from_millis(90_500),
        names(),
        ages(),
        None,
        false,
    )
}

fn described_made() -> Result<Memoized<Value>, Infallible> {
    let made = describe::memoize(
        &TaskOptions::new(),
        "Grüße".to_owned(),
        (1 << 53) + 1,
        0.1,
        true,
        instant(),
        Duration::from_millis(90_500),
        names(),
        ages(),
        None,
        true,
    );
    made.map(|made| made.map(|outputs| json!(outputs)))
}

/// 2026-11-22 12:30:45.000250 UTC.
fn instant() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_795_350_645, 250_000)
}

fn names() -> Vec<String> {
    vec!["b".to_owned(), "a".to_owned()]
}

fn ages() -> BTreeMap<String, i64> {
    [("y".to_owned(), -1), ("x".to_owned(), 7)].into()
}

fn told<E: Debug>(
    call: Result<Call, InvalidArgument>,
    made: Result<Memoized<Value>, E>,
) -> anyhow::Result<Value> {
    let made = made.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(json!({
        "key": call?.key()?.to_string(),
        "status": made.status.name(),
        "value": made.outputs,
    }))
}

fn main() -> anyhow::Result<()> {
    let path = env::args_os().nth(1).context("name a file")?;
    let measured = measure::memoize(&TaskOptions::new(), File::at(&path));
    let measured = measured.map(|made| made.map(Value::String));
    println!(
        "{}",
        json!({
            "describe": told(described(), described_made())?,
            "measure": told(measure::describe(File::at(&path)), measured)?,
        })
    );
    Ok(())
}
