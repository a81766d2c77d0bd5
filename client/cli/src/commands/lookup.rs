//! `memo lookup`: has this call been run before?
//!
//! **Invariants.** Outputs pass through with bounded memory: only small ones are kept, to be shown.
//! A lease is waited for, never taken. A mode that does not read asks nobody.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use memod_client::{
    CacheStatus, ClaimFound, ClaimOptions, HitSummary, Mode, OutputDescription, OutputSink, Wait,
};
use memod_protocol::{Key, Literal, LiteralType, Miss, Pending, Provenance, json};
use serde_json::Value;

use crate::args::{LookupArgs, Screen, Settings};
use crate::connect;
use crate::describe;
use crate::exit::{self, Outcome};
use crate::output::json::{Object, provenance};
use crate::output::{holder, units};

/// Outputs up to this length are shown with their value.
const VALUE_BYTES_MAX: u64 = 4096;
/// Values up to this length stand in a line of text; of longer ones their beginning does.
const LINE_CHARS_MAX: usize = 200;

/// Asks, and tells what was found.
///
/// # Errors
/// If the flags describe no call, or the daemon gives no answer.
pub(crate) fn run(args: &LookupArgs, settings: &Settings) -> Outcome {
    let call = describe::call(&args.call, &settings.scope)?;
    describe::warn_of_strangers(&call, settings.screen);
    let unread = match settings.mode()? {
        Mode::Disabled => Some(CacheStatus::Disabled),
        Mode::Overwrite => Some(CacheStatus::Skipped),
        Mode::Enabled | Mode::ReadOnly => None,
    };
    if let Some(status) = unread {
        tell_status(status.name(), &call.key()?, settings.screen)?;
        return Ok(exit::NOTHING);
    }
    let mut small = SmallValues::default();
    let options = ClaimOptions {
        max_age: args.max_age,
        take: false,
        owner: None,
        wait: args.wait.map_or(Wait::No, connect::wait),
    };
    match connect::asking(settings).claim_into(&call, &options, &mut small)? {
        ClaimFound::Hit(hit) => {
            tell_hit(&hit, &small.values(&hit), settings.screen)?;
            return Ok(exit::DONE);
        }
        ClaimFound::Miss(miss) => tell_miss(&miss, settings.screen)?,
        // Nobody has asked for it, so it goes back at once.
        ClaimFound::Leased(lease) => tell_miss(lease.miss(), settings.screen)?,
        ClaimFound::Pending(pending) => tell_pending(&pending, settings.screen)?,
    }
    Ok(exit::NOTHING)
}

fn tell_hit(hit: &HitSummary, values: &BTreeMap<String, Value>, screen: Screen) -> io::Result<()> {
    if screen.is_json() {
        let output = |output: &OutputDescription| {
            let described = Object::default()
                .with("type", output.literal_type.to_string())
                .with("digest", output.digest.to_string())
                .with("bytes", output.bytes)
                .with_known("value", values.get(&output.name).cloned());
            (output.name.clone(), described.into())
        };
        let answer = Object::default()
            .with("status", "HIT")
            .with("key", hit.key.to_string())
            .with("age_seconds", hit.age.as_secs_f64())
            .with("outputs", Value::Object(hit.outputs.iter().map(output).collect()))
            .with("provenance", provenance(&hit.provenance));
        return Screen::json(&answer.into());
    }
    let mut fields = vec![
        ("status".to_owned(), "HIT".to_owned()),
        ("key".to_owned(), hit.key.to_string()),
        ("age".to_owned(), units::duration(hit.age)),
    ];
    fields.extend(provenance_fields(&hit.provenance));
    for output in &hit.outputs {
        let mut text = format!("{}, {}", output.literal_type, units::bytes(output.bytes));
        if let Some(value) = values.get(&output.name) {
            text.push_str(": ");
            text.push_str(&shortened(&value.to_string()));
        }
        fields.push((format!("output {}", output.name), text));
    }
    tell_fields(&fields, screen)
}

/// Who made an entry, as lines of text.
pub(super) fn provenance_fields(of: &Provenance) -> Vec<(String, String)> {
    let writer = std::iter::once(format!("uid {}", of.writer_uid))
        .chain(of.writer_pid.map(|pid| format!("pid {pid}")))
        .chain(of.program.clone())
        .chain(of.host.as_ref().map(|host| format!("on {host}")))
        .collect::<Vec<_>>()
        .join(", ");
    let computed = of.run.compute_ns.map(|taken| units::duration(Duration::from_nanos(taken)));
    let all = [
        ("written at", units::rfc3339(of.created_at_ms)),
        ("written by", Some(writer)),
        ("computed in", computed),
        ("task version", of.run.task_version.clone()),
        ("execution", of.run.execution.clone()),
        ("node", of.run.node.clone()),
        ("attempt", of.run.attempt.map(|attempt| attempt.to_string())),
    ];
    let known = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.collect()
}

fn tell_miss(miss: &Miss, screen: Screen) -> io::Result<()> {
    let at = miss.at_ms.and_then(units::rfc3339);
    if screen.is_json() {
        let answer = Object::default()
            .with("status", "MISS")
            .with("key", miss.key.to_string())
            .with("reason", miss.reason.name())
            .with_known("at", at)
            .with_known("by_uid", miss.by_uid)
            .with_known("detail", miss.detail.clone());
        return Screen::json(&answer.into());
    }
    let all = [
        ("status", Some("MISS".to_owned())),
        ("key", Some(miss.key.to_string())),
        ("reason", Some(miss.reason.name().to_owned())),
        ("at", at),
        ("by uid", miss.by_uid.map(|uid| uid.to_string())),
        ("detail", miss.detail.clone()),
    ];
    let known = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
    screen.fields(&known.collect::<Vec<_>>())
}

/// A status alone: there is nothing else to say.
pub(super) fn tell_status(status: &str, key: &Key, screen: Screen) -> io::Result<()> {
    if screen.is_json() {
        let answer = Object::default().with("status", status).with("key", key.to_string());
        return Screen::json(&answer.into());
    }
    screen.fields(&[("status", status.to_owned()), ("key", key.to_string())])
}

fn tell_pending(pending: &Pending, screen: Screen) -> io::Result<()> {
    if screen.is_json() {
        let answer = Object::default()
            .with("status", "PENDING")
            .with("key", pending.key.to_string())
            .with("holder", holder::as_json(&pending.holder));
        return Screen::json(&answer.into());
    }
    screen.fields(&[
        ("status", "PENDING".to_owned()),
        ("key", pending.key.to_string()),
        ("holder", holder::phrase(&pending.holder)),
    ])
}

/// As [`Screen::fields`], for names that are not all constant.
pub(super) fn tell_fields(fields: &[(String, String)], screen: Screen) -> io::Result<()> {
    let borrowed: Vec<(&str, String)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    screen.fields(&borrowed)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}..", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Keeps the bytes of small outputs and lets the others pass.
#[derive(Debug, Default)]
struct SmallValues {
    kept: BTreeMap<String, Vec<u8>>,
    current: Option<String>,
}

impl SmallValues {
    /// The values of the outputs that were kept and are what their types say.
    fn values(&self, hit: &HitSummary) -> BTreeMap<String, Value> {
        let value = |output: &OutputDescription| {
            let bytes = self.kept.get(&output.name)?;
            let literal =
                Literal::from_blob(&output.literal_type, &Bytes::copy_from_slice(bytes)).ok()?;
            Some((output.name.clone(), json::value(&literal)))
        };
        hit.outputs.iter().filter_map(value).collect()
    }
}

impl OutputSink for SmallValues {
    fn begin(&mut self, output: &OutputDescription, _index: usize) -> io::Result<()> {
        // A file's value is its digest and length, which are told in any case.
        let is_kept = output.bytes <= VALUE_BYTES_MAX && output.literal_type != LiteralType::File;
        self.current = is_kept.then(|| output.name.clone());
        if is_kept {
            self.kept.insert(output.name.clone(), Vec::new());
        }
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let kept = self.current.as_ref().and_then(|name| self.kept.get_mut(name));
        if let Some(kept) = kept {
            kept.extend_from_slice(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memod_protocol::Digest;

    fn output(name: &str, bytes: u64) -> OutputDescription {
        let literal_type = LiteralType::String;
        OutputDescription { name: name.into(), literal_type, digest: Digest::of(b""), bytes }
    }

    #[test]
    fn only_small_outputs_are_kept() {
        let mut small = SmallValues::default();
        for (name, bytes) in [("a", 3), ("b", VALUE_BYTES_MAX + 1), ("empty", 0)] {
            small.begin(&output(name, bytes), 0).expect("memory takes it");
            if bytes > 0 {
                small.data(b"xyz").expect("memory takes it");
            }
        }
        let kept: Vec<_> = small.kept.iter().map(|(name, bytes)| (name.as_str(), bytes)).collect();
        assert_eq!(kept, [("a", &b"xyz".to_vec()), ("empty", &Vec::new())]);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let cut = shortened(&"ü".repeat(LINE_CHARS_MAX + 1));
        assert_eq!(cut, format!("{}..", "ü".repeat(LINE_CHARS_MAX)));
    }
}
