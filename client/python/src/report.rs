//! What the daemon tells, as dictionaries that the Python part makes objects of.

use std::time::Duration;

use memod_client::{
    CacheStatus, Explanation, Hit, Memoized, Miss, Pending, Provenance, PutOutcome, Stats, Status,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

type Dictionary<'py> = Bound<'py, PyDict>;

/// The run that made an entry.
pub(crate) fn provenance<'py>(py: Python<'py>, of: &Provenance) -> PyResult<Dictionary<'py>> {
    let dict = PyDict::new(py);
    dict.set_item("writer_uid", of.writer_uid)?;
    dict.set_item("writer_pid", of.writer_pid)?;
    dict.set_item("program", of.program.as_deref())?;
    dict.set_item("host", of.host.as_deref())?;
    dict.set_item("created_at_ms", of.created_at_ms)?;
    dict.set_item("compute_ns", of.run.compute_ns)?;
    dict.set_item("task_version", of.run.task_version.as_deref())?;
    dict.set_item("execution", of.run.execution.as_deref())?;
    dict.set_item("node", of.run.node.as_deref())?;
    dict.set_item("attempt", of.run.attempt)?;
    Ok(dict)
}

/// Why there is no hit.
pub(crate) fn miss<'py>(py: Python<'py>, of: &Miss) -> PyResult<Dictionary<'py>> {
    let dict = PyDict::new(py);
    dict.set_item("key", of.key.to_string())?;
    dict.set_item("reason", of.reason.name())?;
    dict.set_item("at_ms", of.at_ms)?;
    dict.set_item("by_uid", of.by_uid)?;
    dict.set_item("detail", of.detail.as_deref())?;
    Ok(dict)
}

/// Who holds the lease.
pub(crate) fn pending<'py>(py: Python<'py>, of: &Pending) -> PyResult<Dictionary<'py>> {
    let dict = PyDict::new(py);
    dict.set_item("key", of.key.to_string())?;
    dict.set_item("name", of.holder.name.as_deref())?;
    dict.set_item("uid", of.holder.uid)?;
    dict.set_item("pid", of.holder.pid)?;
    dict.set_item("program", of.holder.program.as_deref())?;
    dict.set_item("held_ms", of.holder.held_ms)?;
    dict.set_item("expires_in_ms", of.holder.expires_in_ms)?;
    Ok(dict)
}

/// A hit but for its outputs.
pub(crate) fn hit<'py>(py: Python<'py>, of: &Hit) -> PyResult<Dictionary<'py>> {
    let dict = PyDict::new(py);
    dict.set_item("key", of.key.to_string())?;
    dict.set_item("age_seconds", of.age.as_secs_f64())?;
    dict.set_item("provenance", provenance(py, &of.provenance)?)?;
    Ok(dict)
}

/// How a call went.
pub(crate) fn memoized<'py, T>(py: Python<'py>, of: &Memoized<T>) -> PyResult<Dictionary<'py>> {
    let dict = PyDict::new(py);
    dict.set_item("status", of.status.name())?;
    dict.set_item("store", of.store.name())?;
    dict.set_item("reservation", of.reservation.name())?;
    dict.set_item("key", of.key.map(|key| key.to_string()))?;
    dict.set_item("compute_seconds", of.compute_time.map(|time| time.as_secs_f64()))?;
    dict.set_item("lookup_seconds", of.lookup_time.as_secs_f64())?;
    dict.set_item("saved_seconds", of.saved().map(|time| time.as_secs_f64()))?;
    dict.set_item("age_seconds", of.age.map(|age| age.as_secs_f64()))?;
    let run = of.provenance.as_ref().map(|run| provenance(py, run)).transpose()?;
    dict.set_item("provenance", run)?;
    dict.set_item("reason", of.miss.as_ref().map(|miss| miss.reason.name()))?;
    dict.set_item("exists", matches!(of.put, Some(PutOutcome::Exists(_))))?;
    Ok(dict)
}

/// How a call went that the daemon was not asked for.
pub(crate) fn aside<'py>(
    py: Python<'py>,
    status: &'static str,
    took: Duration,
) -> PyResult<Dictionary<'py>> {
    let is_wanted = status != CacheStatus::Disabled.name();
    let store = if is_wanted { CacheStatus::PutFailure } else { CacheStatus::Disabled };
    let dict = PyDict::new(py);
    dict.set_item("status", status)?;
    dict.set_item("store", store.name())?;
    dict.set_item("compute_seconds", took.as_secs_f64())?;
    Ok(dict)
}

/// Why there is no hit, and the nearest entries.
pub(crate) fn explanation<'py>(py: Python<'py>, of: &Explanation) -> PyResult<Dictionary<'py>> {
    let nearest = PyList::empty(py);
    for near in &of.nearest {
        let differs = PyList::empty(py);
        for difference in &near.differs {
            let dict = PyDict::new(py);
            dict.set_item("what", difference.what.name())?;
            dict.set_item("name", difference.name.as_deref())?;
            dict.set_item("here", difference.here.as_deref())?;
            dict.set_item("stored", difference.stored.as_deref())?;
            differs.append(dict)?;
        }
        let dict = PyDict::new(py);
        dict.set_item("key", near.key.to_string())?;
        dict.set_item("created_at_ms", near.created_at_ms)?;
        dict.set_item("differs", differs)?;
        nearest.append(dict)?;
    }
    let dict = PyDict::new(py);
    dict.set_item("key", of.key.to_string())?;
    dict.set_item("miss", of.miss.as_ref().map(|of| miss(py, of)).transpose()?)?;
    dict.set_item("nearest", nearest)?;
    Ok(dict)
}

/// The daemon's counters; what the user is not told is not there.
pub(crate) fn stats<'py>(py: Python<'py>, of: &Stats) -> PyResult<Dictionary<'py>> {
    let dict = PyDict::new(py);
    for (name, count) in [
        ("hits", of.hits),
        ("misses", of.misses),
        ("time_saved_ns", of.time_saved_ns),
        ("uptime_ns", of.uptime_ns),
    ] {
        dict.set_item(name, count)?;
    }
    let Some(whole) = &of.whole else { return Ok(dict) };
    for (name, count) in [
        ("puts", whole.puts),
        ("entries", whole.entries),
        ("blobs", whole.blobs),
        ("stored_bytes", whole.stored_bytes),
        ("logical_bytes", whole.logical_bytes),
        ("evicted_entries", whole.evicted_entries),
        ("leases", whole.leases),
        ("waiters", whole.waiters),
        ("connections", whole.connections),
    ] {
        dict.set_item(name, count)?;
    }
    Ok(dict)
}

/// Who the daemon is.
pub(crate) fn status<'py>(py: Python<'py>, of: &Status) -> PyResult<Dictionary<'py>> {
    let dict = PyDict::new(py);
    dict.set_item("version", of.version.as_str())?;
    dict.set_item("pid", of.pid)?;
    dict.set_item("uid", of.uid)?;
    dict.set_item("socket", of.socket.as_str())?;
    dict.set_item("data", of.data.as_str())?;
    dict.set_item("store_id", of.store_id.as_str())?;
    dict.set_item("started_at_ms", of.started_at_ms)?;
    Ok(dict)
}
