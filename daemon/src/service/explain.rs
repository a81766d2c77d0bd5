//! Explanations: why a lookup misses, who computes it now, and what is stored that is near
//! (semantics 14 and 35).
//!
//! **Does not** count: an explanation is no lookup.

use std::sync::Arc;
use std::time::Duration;

use memod_protocol::limits::NEAREST_MAX;
use memod_protocol::{
    Difference, Explanation, Holder, InvalidArgument, Miss, Nearest, Response, Scope, Why,
    WireError,
};

use super::lookup::Wanted;
use super::reply::{Reply, store_error};
use super::{Service, pool};
use crate::grants::Right;
use crate::server::Peer;

/// Differences in one answer, in bytes, so that it fits into a frame.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

impl Service {
    /// Says why a lookup misses, and names what differs from the nearest entries.
    ///
    /// # Errors
    /// If the call is wrong, the interface is not the call's, or the store fails.
    pub(crate) async fn explain(
        self: &Arc<Self>,
        peer: &Peer,
        why: Why,
    ) -> Result<Reply, WireError> {
        let Why { lookup, interface, nearest_max } = why;
        let wanted = Wanted::new(&lookup)?.only_to_look();
        let call = lookup.call;
        if interface.parse()?.signature(&call.task) != call.signature {
            let problem = "is not that of the given task name and interface";
            return Err(InvalidArgument::new("signature", problem).into());
        }
        let standing = self.access.standing(peer);
        let may_read = standing.may(Right::Read, &call.scope);
        let found = if may_read {
            self.fetch(&wanted).await
        } else {
            self.forbidden(peer, &call.scope, wanted.key)
        };
        let miss = match found.response {
            Response::Hit(_) => None,
            Response::Miss(miss) if may_read => Some(self.with_holder(miss)),
            Response::Miss(miss) => Some(miss),
            _ => return Ok(found),
        };
        let nearest = if miss.is_some() {
            let limit = nearest_max.min(NEAREST_MAX) as usize;
            let service = Arc::clone(self);
            let tells = move |scope: &Scope| standing.may(Right::Read, scope);
            let search = move || service.store.nearest_within(&call, &interface, limit, &tells);
            pool::run(search).await?.map_err(store_error)?
        } else {
            Vec::new()
        };
        let explanation = Explanation { key: wanted.key, miss, nearest: fitting(nearest) };
        Ok(Response::Explained(Box::new(explanation)).into())
    }

    /// The miss, with a word on who computes what is missed, if somebody does.
    fn with_holder(&self, miss: Miss) -> Miss {
        let Some(holder) = self.leases.holder(&miss.key) else { return miss };
        let parts = miss.detail.iter().cloned().chain([computing(&holder)]);
        Miss { detail: Some(parts.collect::<Vec<_>>().join("; ")), ..miss }
    }
}

/// Who computes it, and since when, as the end of a sentence.
fn computing(holder: &Holder) -> String {
    let who = match (&holder.name, holder.pid) {
        (Some(name), _) => format!("`{}` of user {}", name.escape_debug(), holder.uid),
        (None, Some(pid)) => format!("pid {pid}"),
        (None, None) => format!("a process of user {}", holder.uid),
    };
    let program = holder.program.as_ref().filter(|_| holder.name.is_none());
    let program = program.map(|program| format!(" ({})", program.escape_debug()));
    let held = Duration::from_millis(holder.held_ms).as_secs();
    format!("{who}{} is computing it now, for {held} s already", program.unwrap_or_default())
}

/// As many entries as fit into a frame, and of the first as many differences.
fn fitting(mut nearest: Vec<Nearest>) -> Vec<Nearest> {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let mut room = ANSWER_BYTES_MAX;
    let mut fits = |difference: &Difference| {
        let Difference { name, here, stored, .. } = difference;
        let bytes = 32 + text(name) + text(here) + text(stored);
        let left = room.checked_sub(bytes);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let mut entries = 0;
    for entry in &mut nearest {
        let whole = entry.differs.len();
        let fitting = entry.differs.iter().take_while(|difference| fits(difference)).count();
        if fitting < whole && entries > 0 {
            break;
        }
        entry.differs.truncate(fitting);
        entries += 1;
    }
    nearest.truncate(entries);
    nearest
}

#[cfg(test)]
mod tests {
    use memod_protocol::{DifferenceKind, Key};

    use super::*;

    fn entry(differences: usize) -> Nearest {
        let difference = Difference {
            what: DifferenceKind::Input,
            name: Some("n".repeat(1024)),
            here: Some("h".repeat(64)),
            stored: None,
        };
        Nearest {
            key: Key::from_bytes([0; 32]),
            created_at_ms: 0,
            differs: vec![difference; differences],
        }
    }

    #[test]
    fn who_computes_is_told_in_words() {
        let connection = Holder {
            name: None,
            uid: 7,
            pid: Some(9),
            program: Some("make\n".into()),
            held_ms: 3200,
            expires_in_ms: None,
        };
        let told = computing(&connection);
        assert_eq!(told, "pid 9 (make\\n) is computing it now, for 3 s already");
        let named = Holder { name: Some("nightly".into()), ..connection.clone() };
        let told = computing(&named);
        assert_eq!(told, "`nightly` of user 7 is computing it now, for 3 s already");
        let unknown = Holder { pid: None, program: None, ..connection };
        let told = computing(&unknown);
        assert_eq!(told, "a process of user 7 is computing it now, for 3 s already");
    }

    #[test]
    fn an_explanation_fits_into_a_frame() {
        let differences = |nearest: Vec<Nearest>| -> Vec<usize> {
            fitting(nearest).iter().map(|entry| entry.differs.len()).collect()
        };
        assert_eq!(differences(vec![entry(1), entry(0), entry(2)]), [1, 0, 2]);
        assert_eq!(differences(vec![entry(300), entry(300), entry(300)]), [300]);
        let cut = differences(vec![entry(4096), entry(1)]);
        assert!(cut.len() == 1 && (400..500).contains(&cut[0]), "{cut:?}");
    }
}
