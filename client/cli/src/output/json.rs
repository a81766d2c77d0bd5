//! The parts that several answers in JSON have in common.
//!
//! **Invariants.** What is not known is absent, never null.

use std::time::Duration;

use memod_protocol::{Digest, Provenance};
use serde_json::{Map, Value};

use crate::output::units::rfc3339;

/// An object under construction.
#[derive(Debug, Default)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    /// The object with this member too.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The object with this member too, if it is known.
    pub(crate) fn with_known(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object.0)
    }
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}

/// Who made an entry.
pub(crate) fn provenance(of: &Provenance) -> Value {
    Object::default()
        .with("writer_uid", of.writer_uid)
        .with_known("writer_pid", of.writer_pid)
        .with_known("program", of.program.clone())
        .with_known("host", of.host.clone())
        .with_known("created_at", rfc3339(of.created_at_ms))
        .with_known("compute_seconds", of.run.compute_ns.map(seconds))
        .with_known("task_version", of.run.task_version.clone())
        .with_known("execution", of.run.execution.clone())
        .with_known("node", of.run.node.clone())
        .with_known("attempt", of.run.attempt)
        .into()
}

/// Digests by name.
pub(crate) fn digests<'a>(of: impl IntoIterator<Item = (&'a String, &'a Digest)>) -> Value {
    let members = of.into_iter().map(|(name, digest)| (name.clone(), digest.to_string().into()));
    Value::Object(members.collect())
}

#[cfg(test)]
mod tests {
    use memod_protocol::RunClaim;
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_parts_of_a_provenance_are_absent() {
        let mut of = Provenance {
            writer_uid: 7,
            writer_pid: None,
            program: None,
            host: None,
            created_at_ms: 0,
            run: RunClaim::default(),
        };
        assert_eq!(
            provenance(&of),
            json!({"writer_uid": 7, "created_at": "1970-01-01T00:00:00.000Z"})
        );
        of.run.compute_ns = Some(1_500_000_000);
        of.run.attempt = Some(2);
        assert_eq!(
            provenance(&of),
            json!({
                "writer_uid": 7,
                "created_at": "1970-01-01T00:00:00.000Z",
                "compute_seconds": 1.5,
                "attempt": 2
            })
        );
    }
}
