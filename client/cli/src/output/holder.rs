//! Who holds a lease, for people and as JSON.

use std::time::Duration;

use memod_protocol::Holder;
use serde_json::Value;

use crate::output::json::Object;
use crate::output::units;

/// The holder as an answer's member.
pub(crate) fn as_json(holder: &Holder) -> Value {
    let seconds = |milliseconds| Duration::from_millis(milliseconds).as_secs_f64();
    Object::default()
        .with_known("name", holder.name.clone())
        .with("uid", holder.uid)
        .with_known("pid", holder.pid)
        .with_known("program", holder.program.clone())
        .with("held_seconds", seconds(holder.held_ms))
        .with_known("expires_in_seconds", holder.expires_in_ms.map(seconds))
        .into()
}

/// The holder in a phrase: ``pid 123 (make), held for 3 s``. Of a named owner, without the process
/// that asked last: it may have ended long ago, and the lease does not end with it.
pub(crate) fn phrase(holder: &Holder) -> String {
    let who = match (&holder.name, holder.pid) {
        (Some(name), _) => format!("`{name}` of user {}", holder.uid),
        (None, Some(pid)) => format!("pid {pid}"),
        (None, None) => format!("a process of user {}", holder.uid),
    };
    let who = match &holder.program {
        Some(program) if holder.name.is_none() => format!("{who} ({program})"),
        _ => who,
    };
    let held = units::rough(Duration::from_millis(holder.held_ms));
    let expires = holder.expires_in_ms.map(|left| {
        format!(", expires in {} unless extended", units::about(Duration::from_millis(left)))
    });
    format!("{who}, held for {held}{}", expires.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holder() -> Holder {
        Holder { name: None, uid: 7, pid: None, program: None, held_ms: 3200, expires_in_ms: None }
    }

    #[test]
    fn what_is_known_is_said() {
        assert_eq!(phrase(&holder()), "a process of user 7, held for 3 s");
        let connection = Holder { pid: Some(123), program: Some("make".into()), ..holder() };
        assert_eq!(phrase(&connection), "pid 123 (make), held for 3 s");
        let named =
            Holder { name: Some("nightly".into()), expires_in_ms: Some(90_000), ..connection };
        assert_eq!(
            phrase(&named),
            "`nightly` of user 7, held for 3 s, expires in 2 min unless extended"
        );
    }

    #[test]
    fn what_is_not_known_is_absent() {
        assert_eq!(as_json(&holder()), json!({"uid": 7, "held_seconds": 3.2}));
        let named = Holder { name: Some("n".into()), expires_in_ms: Some(1500), ..holder() };
        assert_eq!(
            as_json(&named),
            json!({"name": "n", "uid": 7, "held_seconds": 3.2, "expires_in_seconds": 1.5})
        );
    }
}
