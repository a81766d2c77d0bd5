//! `memo gc`: have room made, and free space given back.

use memod_protocol::CollectReport;
use serde_json::json;

use crate::args::{Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::progress::Progress;
use crate::output::units;

/// Collects, and says what it brought.
///
/// # Errors
/// If the daemon gives no answer.
pub(crate) fn run(settings: &Settings) -> Outcome {
    let report = {
        let mut progress = Progress::new(settings.screen);
        connect::asking(settings).collect(&mut |done| progress.set(done))?
    };
    let CollectReport { evicted_entries, disk_bytes_before, disk_bytes_after } = report;
    if settings.screen.is_json() {
        Screen::json(&json!({
            "evicted_entries": evicted_entries,
            "disk_bytes_before": disk_bytes_before,
            "disk_bytes_after": disk_bytes_after,
        }))?;
    } else {
        settings.screen.fields(&[
            ("evicted entries", evicted_entries.to_string()),
            ("disk before", units::bytes(disk_bytes_before)),
            ("disk after", units::bytes(disk_bytes_after)),
        ])?;
    }
    Ok(exit::DONE)
}
