//! `memo status`: is a daemon alive, which version, and where?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memod_client::{Error, address};
use memod_protocol::Status;
use serde_json::{Value, json};

use crate::args::{Screen, Settings};
use crate::connect;
use crate::exit::{self, Failure, Outcome};
use crate::output::json::Object;
use crate::output::units;

/// Asks the daemon who it is.
///
/// # Errors
/// If none answers: the failure names the sockets that were tried.
pub(crate) fn run(settings: &Settings) -> Outcome {
    let status = match connect::asking(settings).status() {
        Ok(status) => status,
        Err(error) => return Err(nobody(error, settings)?),
    };
    if settings.screen.is_json() {
        Screen::json(&as_json(&status))?;
    } else {
        tell(&status, settings.screen)?;
    }
    Ok(exit::DONE)
}

/// The failure to tell when there is no status.
fn nobody(error: Error, settings: &Settings) -> Result<Failure, Failure> {
    let tried: Vec<String> = address::candidates(settings.socket.clone())
        .into_iter()
        .map(|candidate| candidate.path.display().to_string())
        .collect();
    if settings.screen.is_json() {
        Screen::json(&json!({"alive": false, "tried": tried}))?;
    }
    Ok(error.into())
}

fn as_json(status: &Status) -> Value {
    let setting = |(name, value, source): &(String, String, String)| {
        (name.clone(), json!({"value": value, "source": source}))
    };
    Object::default()
        .with("alive", true)
        .with("version", status.version.as_str())
        .with("protocol", status.protocol)
        .with("pid", status.pid)
        .with("uid", status.uid)
        .with("socket", status.socket.as_str())
        .with("data", status.data.as_str())
        .with("store_id", status.store_id.as_str())
        .with("store_format", status.store_format)
        .with_known("started_at", units::rfc3339(status.started_at_ms))
        .with("settings", Value::Object(status.settings.iter().map(setting).collect()))
        .into()
}

fn tell(status: &Status, screen: Screen) -> std::io::Result<()> {
    let started = UNIX_EPOCH.checked_add(Duration::from_millis(status.started_at_ms));
    let uptime = started.and_then(|instant| SystemTime::now().duration_since(instant).ok());
    let uptime = uptime.map_or_else(String::new, |up| format!(", {} ago", units::duration(up)));
    let started = units::rfc3339(status.started_at_ms).unwrap_or_default();
    let mut fields = vec![
        ("status", "alive".to_owned()),
        ("version", status.version.clone()),
        ("protocol", status.protocol.to_string()),
        ("socket", status.socket.clone()),
        ("data", status.data.clone()),
        ("process", format!("pid {}, uid {}", status.pid, status.uid)),
        ("started", format!("{started}{uptime}")),
        ("store", format!("{}, format {}", status.store_id, status.store_format)),
    ];
    if screen.verbose {
        let settings = status.settings.iter();
        let line = |value: &str, source: &str| format!("{value} ({source})");
        fields.extend(settings.map(|(name, value, from)| (name.as_str(), line(value, from))));
    }
    screen.fields(&fields)
}
