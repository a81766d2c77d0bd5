//! `memo show`: everything about an entry but its outputs' bytes.

use std::time::Duration;

use memod_protocol::{EntryDetail, MissReason};
use serde_json::Value;

use super::lookup::{provenance_fields, tell_fields};
use crate::args::{Screen, Settings, ShowArgs};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::json::{Object, digests, provenance};
use crate::output::units;

/// Shows the entry.
///
/// # Errors
/// If there is none of this key, or the daemon gives no answer.
pub(crate) fn run(args: &ShowArgs, settings: &Settings) -> Outcome {
    let client = connect::asking(settings);
    let entry = client.show(&args.key)?;
    // Who may see an entry, and is forbidden to have it, is so for its writer's sake.
    let unserved = client.unserved(&entry)?;
    let is_quarantined = unserved.is_some_and(|miss| miss.reason == MissReason::Forbidden);
    if settings.screen.is_json() {
        let quarantined = is_quarantined.then_some(true);
        Screen::json(&as_json(&entry).with_known("quarantined", quarantined).into())?;
    } else {
        let mut fields = as_fields(&entry);
        if is_quarantined {
            let text = "its writer is, so it is not served";
            fields.push(("quarantined".to_owned(), text.to_owned()));
        }
        tell_fields(&fields, settings.screen)?;
    }
    Ok(exit::DONE)
}

fn as_json(entry: &EntryDetail) -> Object {
    let types = |members: &[(String, String)]| {
        let members = members.iter().map(|(name, of)| (name.clone(), of.as_str().into()));
        Value::Object(members.collect())
    };
    let outputs = entry.outputs.iter().map(|output| {
        let described = Object::default()
            .with("type", output.literal_type.as_str())
            .with("digest", output.digest.to_string())
            .with("bytes", output.bytes);
        (output.name.clone(), described.into())
    });
    let interface = Object::default()
        .with("inputs", types(&entry.interface.inputs))
        .with("outputs", types(&entry.interface.outputs));
    Object::default()
        .with("key", entry.key.to_string())
        .with("project", entry.scope.project.as_str())
        .with("domain", entry.scope.domain.as_str())
        .with("task", entry.task.as_str())
        .with("cache_version", entry.cache_version.as_str())
        .with("signature", entry.signature.to_string())
        .with("interface", interface)
        .with("inputs", digests(entry.inputs.iter().map(|(name, digest)| (name, digest))))
        .with("outputs", Value::Object(outputs.collect()))
        .with("age_seconds", Duration::from_millis(entry.age_ms).as_secs_f64())
        .with("provenance", provenance(&entry.provenance))
}

fn as_fields(entry: &EntryDetail) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = [
        ("key", entry.key.to_string()),
        ("project", entry.scope.project.clone()),
        ("domain", entry.scope.domain.clone()),
        ("task", entry.task.clone()),
        ("cache version", entry.cache_version.clone()),
        ("signature", entry.signature.to_string()),
        ("age", units::duration(Duration::from_millis(entry.age_ms))),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    fields.extend(provenance_fields(&entry.provenance));
    for (name, of) in &entry.interface.inputs {
        let counted = entry.inputs.iter().find(|(given, _)| given == name);
        let digest = counted.map_or("does not count".to_owned(), |(_, digest)| digest.to_string());
        fields.push((format!("input {name}"), format!("{of}, {digest}")));
    }
    for output in &entry.outputs {
        let size = units::bytes(output.bytes);
        let text = format!("{}, {size}, {}", output.literal_type, output.digest);
        fields.push((format!("output {}", output.name), text));
    }
    fields
}
