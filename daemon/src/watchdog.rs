//! Tells systemd that the daemon makes progress, for as long as it does (`WatchdogSec=`).
//!
//! **Invariants.** A sign of life says that the writer and the loop that accepts connections have
//! both been seen at work since the last one: each is asked to come by, and counts that it has.
//! One that hangs ends the signs of life, and systemd ends the daemon.
//!
//! **Does not** end anything itself.

use std::sync::Arc;
use std::time::Duration;

use memod_store::Store;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::server::Server;
use crate::systemd;

/// So often within the time that systemd waits, a sign of life is due.
const SIGNS_PER_TIMEOUT: u32 = 4;
/// The shortest time between two of them.
const PERIOD_MIN: Duration = Duration::from_millis(10);

/// How often each was seen at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beats {
    writer: u64,
    /// None once no connection is accepted any more.
    accept: Option<u64>,
}

impl Beats {
    /// What has not been at work since `before`, in words; nothing if both have.
    fn hanging_since(self, before: Self) -> Option<&'static str> {
        let accepts = match (self.accept, before.accept) {
            (Some(now), Some(before)) => now > before,
            (None, _) => true,
            (Some(_), None) => false,
        };
        match (self.writer > before.writer, accepts) {
            (true, true) => None,
            (false, true) => Some("the writer"),
            (true, false) => Some("the listener"),
            (false, false) => Some("the writer and the listener"),
        }
    }
}

/// Gives signs of life until it is dropped, if systemd wants any.
pub(crate) async fn run(store: Store, server: Arc<Server>, stop: CancellationToken) {
    let Some(timeout) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let look = || Beats {
        writer: store.writer_beats(),
        accept: (!stop.is_cancelled()).then(|| server.accept_beats()),
    };
    let mut period = tokio::time::interval((timeout / SIGNS_PER_TIMEOUT).max(PERIOD_MIN));
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    period.tick().await;
    let mut before = look();
    loop {
        period.tick().await;
        let now = look();
        if let Some(hanging) = now.hanging_since(before) {
            let Beats { writer, accept } = now;
            tracing::warn!(hanging, writer, accept, "no sign of life: {hanging} did not come by");
        } else {
            systemd::notify(&[NotifyState::Watchdog]);
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_must_move() {
        let at = |writer, accept| Beats { writer, accept };
        let before = at(3, Some(3));
        assert_eq!(at(4, Some(4)).hanging_since(before), None);
        assert_eq!(at(3, Some(4)).hanging_since(before), Some("the writer"));
        assert_eq!(at(4, Some(3)).hanging_since(before), Some("the listener"));
        let both = Some("the writer and the listener");
        assert_eq!(before.hanging_since(before), both);
        // Nobody is accepted while the daemon drains.
        assert_eq!(at(4, None).hanging_since(before), None);
        assert_eq!(at(3, None).hanging_since(before), Some("the writer"));
    }
}
