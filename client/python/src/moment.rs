//! Datetimes, dates and spans of time as nanoseconds.
//!
//! **Invariants.** A datetime without a time zone is no instant, so it is refused. Python holds
//! microseconds: what another client stored more finely is rounded down when it is read.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{intern, types::PyDict};

use crate::errors::{Unfit, kind_of};

const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;
const MICROSECONDS_PER_DAY: i128 = 86_400_000_000;

/// What is needed of Python's `datetime`.
struct Module {
    datetime: Py<PyAny>,
    date: Py<PyAny>,
    timedelta: Py<PyAny>,
    /// 1970-01-01 UTC.
    epoch: Py<PyAny>,
}

static MODULE: PyOnceLock<Module> = PyOnceLock::new();

fn module(py: Python<'_>) -> PyResult<&Module> {
    MODULE.get_or_try_init(py, || {
        let module = py.import("datetime")?;
        let datetime = module.getattr("datetime")?;
        let zone = PyDict::new(py);
        zone.set_item("tzinfo", module.getattr("timezone")?.getattr("utc")?)?;
        Ok(Module {
            epoch: datetime.call((1970, 1, 1), Some(&zone))?.unbind(),
            datetime: datetime.unbind(),
            date: module.getattr("date")?.unbind(),
            timedelta: module.getattr("timedelta")?.unbind(),
        })
    })
}

fn wrong_kind(value: &Bound<'_, PyAny>, wanted: &str) -> Unfit {
    Unfit::new(format!("is {}, {wanted} is declared", kind_of(value)))
}

/// Nanoseconds since 1970-01-01 UTC.
pub(crate) fn of_datetime(value: &Bound<'_, PyAny>) -> Result<i128, Unfit> {
    let py = value.py();
    let module = module(py)?;
    if !value.is_instance(module.datetime.bind(py))? {
        return Err(wrong_kind(value, "datetime"));
    }
    if value.call_method0(intern!(py, "utcoffset"))?.is_none() {
        return Err(Unfit::new(
            "has no time zone, so it is no instant; give it one, such as datetime.timezone.utc",
        ));
    }
    // pandas.Timestamp is one, and counts more finely.
    let finer = match value.getattr_opt(intern!(py, "nanosecond"))? {
        Some(nanosecond) => nanosecond.extract()?,
        None => 0,
    };
    Ok(microseconds(&value.sub(module.epoch.bind(py))?)? * 1000 + finer)
}

/// Nanoseconds from 1970-01-01 to midnight of that day, UTC.
pub(crate) fn of_date(value: &Bound<'_, PyAny>) -> Result<i128, Unfit> {
    let py = value.py();
    let module = module(py)?;
    let is_day = value.is_instance(module.date.bind(py))?;
    if !is_day || value.is_instance(module.datetime.bind(py))? {
        return Err(wrong_kind(value, "date"));
    }
    let ordinal: i128 = value.call_method0(intern!(py, "toordinal"))?.extract()?;
    Ok((ordinal - 719_163) * NANOSECONDS_PER_DAY)
}

/// Nanoseconds.
pub(crate) fn of_duration(value: &Bound<'_, PyAny>) -> Result<i128, Unfit> {
    let py = value.py();
    if !value.is_instance(module(py)?.timedelta.bind(py))? {
        return Err(wrong_kind(value, "timedelta"));
    }
    let whole = microseconds(value)? * 1000;
    // pandas.Timedelta is one, and counts more finely.
    match value.getattr_opt(intern!(py, "nanoseconds"))? {
        Some(finer) => Ok(whole + finer.extract::<i128>()?),
        None => Ok(whole),
    }
}

fn microseconds(span: &Bound<'_, PyAny>) -> PyResult<i128> {
    let py = span.py();
    let days: i128 = span.getattr(intern!(py, "days"))?.extract()?;
    let seconds: i128 = span.getattr(intern!(py, "seconds"))?.extract()?;
    let micros: i128 = span.getattr(intern!(py, "microseconds"))?.extract()?;
    Ok(days * MICROSECONDS_PER_DAY + seconds * 1_000_000 + micros)
}

/// The datetime in UTC.
pub(crate) fn to_datetime(py: Python<'_>, nanoseconds: i128) -> PyResult<Bound<'_, PyAny>> {
    let since = to_duration(py, nanoseconds)?;
    module(py)?.epoch.bind(py).add(since)
}

/// The day on which this instant is in UTC.
pub(crate) fn to_date(py: Python<'_>, nanoseconds: i128) -> PyResult<Bound<'_, PyAny>> {
    to_datetime(py, nanoseconds)?.call_method0(intern!(py, "date"))
}

/// The span of time.
pub(crate) fn to_duration(py: Python<'_>, nanoseconds: i128) -> PyResult<Bound<'_, PyAny>> {
    let micros = nanoseconds.div_euclid(1000);
    module(py)?.timedelta.bind(py).call1((0, 0, micros))
}
