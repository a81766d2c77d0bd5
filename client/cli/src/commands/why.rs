//! `memo why`: why a call misses, and what the nearest entries differ in.
//!
//! **Invariants.** The order of the entries is the daemon's: those that differ in less first, then
//! the newer ones.

mod sentence;

use std::time::{SystemTime, UNIX_EPOCH};

use memod_client::{CacheStatus, LookupOptions, Mode};
use memod_protocol::{Call, Difference, Explanation, Key, Nearest};
use serde_json::Value;

use crate::args::{Screen, Settings, WhyArgs};
use crate::connect;
use crate::describe;
use crate::exit::{self, Outcome};
use crate::output::json::Object;
use crate::output::units;

/// Asks, and tells why.
///
/// # Errors
/// If the flags describe no call, or the daemon gives no answer.
pub(crate) fn run(args: &WhyArgs, settings: &Settings) -> Outcome {
    let call = describe::call(&args.call, &settings.scope)?;
    describe::warn_of_strangers(&call, settings.screen);
    explain(&call, &LookupOptions { max_age: args.max_age }, args.limit, settings)
}

/// Explains a call.
///
/// # Errors
/// If the daemon gives no answer.
pub(super) fn explain(
    call: &Call,
    options: &LookupOptions,
    limit: u32,
    settings: &Settings,
) -> Outcome {
    let explanation = connect::asking(settings).why(call, options, limit)?;
    if settings.screen.is_json() {
        Screen::json(&as_json(&explanation))?;
    } else {
        tell(&explanation, settings.screen)?;
    }
    Ok(if explanation.miss.is_some() { exit::NOTHING } else { exit::DONE })
}

/// Explains a call that is run whatever is remembered, because its mode does not read (semantics 18
/// and 23). No daemon is asked.
///
/// # Errors
/// If standard output cannot be written.
pub(super) fn unread(mode: Mode, key: &Key, screen: Screen) -> Outcome {
    let (status, reason, why) = if mode.writes() {
        (CacheStatus::Skipped, "overwrite", "it runs in any case, to replace what is remembered")
    } else {
        (CacheStatus::Disabled, "disabled", "it just runs: nothing is asked and nothing remembered")
    };
    let (status, key) = (status.name(), key.to_string());
    if screen.is_json() {
        let answer = Object::default()
            .with("status", status)
            .with("key", key)
            .with("reason", reason)
            .with("nearest", Vec::<Value>::new());
        Screen::json(&answer.into())?;
    } else {
        let texts = [("status", status), ("key", &key), ("reason", reason), ("why", why)];
        screen.fields(&texts.map(|(name, text)| (name, text.to_owned())))?;
    }
    Ok(exit::NOTHING)
}

fn as_json(explanation: &Explanation) -> Value {
    let miss = explanation.miss.as_ref();
    Object::default()
        .with("status", if miss.is_some() { "MISS" } else { "HIT" })
        .with("key", explanation.key.to_string())
        .with_known("reason", miss.map(|miss| miss.reason.name()))
        .with_known("at", miss.and_then(|miss| miss.at_ms).and_then(units::rfc3339))
        .with_known("by_uid", miss.and_then(|miss| miss.by_uid))
        .with_known("detail", miss.and_then(|miss| miss.detail.clone()))
        .with("nearest", explanation.nearest.iter().map(nearest_as_json).collect::<Vec<_>>())
        .into()
}

fn nearest_as_json(nearest: &Nearest) -> Value {
    let difference = |of: &Difference| {
        Value::from(
            Object::default()
                .with("what", of.what.name())
                .with_known("name", of.name.clone())
                .with_known("here", of.here.clone())
                .with_known("stored", of.stored.clone()),
        )
    };
    Object::default()
        .with("key", nearest.key.to_string())
        .with_known("created_at", units::rfc3339(nearest.created_at_ms))
        .with("differs", nearest.differs.iter().map(difference).collect::<Vec<_>>())
        .into()
}

fn tell(explanation: &Explanation, screen: Screen) -> std::io::Result<()> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
    let mut fields = vec![
        ("status", if explanation.miss.is_some() { "MISS" } else { "HIT" }.to_owned()),
        ("key", explanation.key.to_string()),
    ];
    if let Some(miss) = &explanation.miss {
        fields.push(("reason", miss.reason.name().to_owned()));
        fields.push(("why", sentence::miss(miss, now_ms)));
    }
    for nearest in &explanation.nearest {
        let written = sentence::ago(nearest.created_at_ms, now_ms);
        let key = nearest.key;
        let differs: Vec<String> =
            nearest.differs.iter().map(|of| sentence::difference(of, screen.verbose)).collect();
        fields.push(("nearest", format!("{key}, written {written}: {}", differs.join("; "))));
    }
    screen.fields(&fields)
}

#[cfg(test)]
mod tests {
    use memod_protocol::{DifferenceKind, Key, Miss, MissReason};
    use serde_json::json;

    use super::*;

    #[test]
    fn json_has_the_fields_of_the_contract() {
        let key = Key::from_bytes([7; 32]);
        let hit = Explanation { key, miss: None, nearest: Vec::new() };
        let hex = key.to_string();
        assert_eq!(as_json(&hit), json!({"status": "HIT", "key": hex, "nearest": []}));
        let miss = Miss {
            key,
            reason: MissReason::Invalidated,
            at_ms: Some(0),
            by_uid: Some(1000),
            detail: None,
        };
        let differs = vec![
            Difference {
                what: DifferenceKind::CacheVersion,
                name: None,
                here: Some("1.1".into()),
                stored: Some("1.0".into()),
            },
            Difference {
                what: DifferenceKind::Input,
                name: Some("x".into()),
                here: Some("ab".into()),
                stored: None,
            },
        ];
        let nearest = vec![Nearest { key, created_at_ms: 1000, differs }];
        assert_eq!(
            as_json(&Explanation { key, miss: Some(miss), nearest }),
            json!({
                "status": "MISS", "key": hex, "reason": "invalidated",
                "at": "1970-01-01T00:00:00.000Z", "by_uid": 1000,
                "nearest": [{
                    "key": hex, "created_at": "1970-01-01T00:00:01.000Z",
                    "differs": [
                        {"what": "cache_version", "here": "1.1", "stored": "1.0"},
                        {"what": "input", "name": "x", "here": "ab"}
                    ]
                }]
            })
        );
    }
}
