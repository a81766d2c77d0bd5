//! Datetimes, dates and spans of time as nanoseconds.
//!
//! **Invariants.** A datetime is an instant: of its time zone nothing is kept, and without one it
//! is refused. Python holds microseconds: what is finer is refused, on its way in as on its way
//! out, and so is an instant that is no midnight where a day is declared.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{intern, types::PyDict};

use crate::encode::wrong_kind;
use crate::errors::Unfit;

const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;
const MICROSECONDS_PER_DAY: i128 = 86_400_000_000;
/// Those of Python's datetimes, from year 1 to 9999.
const UTC_MICROSECONDS: std::ops::Range<i128> =
    -719_162 * MICROSECONDS_PER_DAY..2_932_897 * MICROSECONDS_PER_DAY;

/// What is needed of Python's `datetime`.
struct Module {
    datetime: Py<PyAny>,
    date: Py<PyAny>,
    timedelta: Py<PyAny>,
    utc: Py<PyAny>,
    /// 1970-01-01 UTC.
    epoch: Py<PyAny>,
}

static MODULE: PyOnceLock<Module> = PyOnceLock::new();

fn module(py: Python<'_>) -> PyResult<&Module> {
    MODULE.get_or_try_init(py, || {
        let module = py.import("datetime")?;
        let datetime = module.getattr("datetime")?;
        let zone = PyDict::new(py);
        let utc = module.getattr("timezone")?.getattr("utc")?;
        zone.set_item("tzinfo", &utc)?;
        Ok(Module {
            utc: utc.unbind(),
            epoch: datetime.call((1970, 1, 1), Some(&zone))?.unbind(),
            datetime: datetime.unbind(),
            date: module.getattr("date")?.unbind(),
            timedelta: module.getattr("timedelta")?.unbind(),
        })
    })
}

/// Refuses what counts nanoseconds, as values of pandas may, and has some.
fn check_fineness(finer: Option<Bound<'_, PyAny>>) -> Result<(), Unfit> {
    match finer.map(|finer| finer.extract::<i64>()).transpose()? {
        None | Some(0) => Ok(()),
        Some(finer) => Err(Unfit::new(format!(
            "has {finer} ns beyond the microseconds that Python's datetime holds, and they would \
             be lost; round it, as value.floor(\"us\") does"
        ))),
    }
}

/// Nanoseconds since 1970-01-01 UTC.
pub(crate) fn of_datetime(value: &Bound<'_, PyAny>) -> Result<i128, Unfit> {
    let py = value.py();
    let module = module(py)?;
    if !value.is_instance(module.datetime.bind(py))? {
        return Err(wrong_kind(value, "datetime"));
    }
    // As NaN does, pandas.NaT differs from itself.
    if !value.eq(value)? {
        return Err(Unfit::new(
            "is NaT, which is no instant; declare `datetime | None`, and give None",
        ));
    }
    if value.call_method0(intern!(py, "utcoffset"))?.is_none() {
        return Err(Unfit::new(
            "has no time zone, so it is no instant; give it one, such as datetime.timezone.utc",
        ));
    }
    // pandas.Timestamp is one.
    check_fineness(value.getattr_opt(intern!(py, "nanosecond"))?)?;
    let since = microseconds(&value.sub(module.epoch.bind(py))?)?;
    if !UTC_MICROSECONDS.contains(&since) {
        return Err(Unfit::new("is in no year from 1 to 9999 in UTC"));
    }
    Ok(since * 1000)
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
    // pandas.Timedelta is one.
    check_fineness(value.getattr_opt(intern!(py, "nanoseconds"))?)?;
    Ok(microseconds(value)? * 1000)
}

/// The datetime as a hit gives it, if that differs: a plain one in UTC.
pub(crate) fn settled_datetime<'py>(
    value: &Bound<'py, PyAny>,
) -> Result<Option<Bound<'py, PyAny>>, Unfit> {
    let py = value.py();
    let module = module(py)?;
    let zone = value.getattr_opt(intern!(py, "tzinfo"))?;
    let is_utc = zone.is_some_and(|zone| zone.is(&module.utc));
    if is_utc && value.get_type().is(&module.datetime) {
        return Ok(None);
    }
    Ok(Some(to_datetime(py, of_datetime(value)?)?))
}

/// The date as a hit gives it, if that differs: a plain one.
pub(crate) fn settled_date<'py>(
    value: &Bound<'py, PyAny>,
) -> Result<Option<Bound<'py, PyAny>>, Unfit> {
    if value.get_type().is(&module(value.py())?.date) {
        return Ok(None);
    }
    Ok(Some(to_date(value.py(), of_date(value)?)?))
}

/// The span of time as a hit gives it, if that differs: a plain one.
pub(crate) fn settled_duration<'py>(
    value: &Bound<'py, PyAny>,
) -> Result<Option<Bound<'py, PyAny>>, Unfit> {
    if value.get_type().is(&module(value.py())?.timedelta) {
        return Ok(None);
    }
    Ok(Some(to_duration(value.py(), of_duration(value)?)?))
}

fn microseconds(span: &Bound<'_, PyAny>) -> PyResult<i128> {
    let py = span.py();
    let days: i128 = span.getattr(intern!(py, "days"))?.extract()?;
    let seconds: i128 = span.getattr(intern!(py, "seconds"))?.extract()?;
    let micros: i128 = span.getattr(intern!(py, "microseconds"))?.extract()?;
    Ok(days * MICROSECONDS_PER_DAY + seconds * 1_000_000 + micros)
}

/// Whether these are no whole microseconds, which are all that Python holds.
pub(crate) const fn is_finer(nanoseconds: i128) -> bool {
    nanoseconds.rem_euclid(1000) != 0
}

/// The datetime in UTC.
pub(crate) fn to_datetime(py: Python<'_>, nanoseconds: i128) -> Result<Bound<'_, PyAny>, Unfit> {
    let since = to_duration(py, nanoseconds)?;
    Ok(module(py)?.epoch.bind(py).add(since)?)
}

/// The day that begins at this instant in UTC.
pub(crate) fn to_date(py: Python<'_>, nanoseconds: i128) -> Result<Bound<'_, PyAny>, Unfit> {
    if nanoseconds.rem_euclid(NANOSECONDS_PER_DAY) != 0 {
        return Err(Unfit::new(
            "holds an instant that is no midnight in UTC, and a date is declared; declare datetime",
        ));
    }
    Ok(to_datetime(py, nanoseconds)?.call_method0(intern!(py, "date"))?)
}

/// The span of time.
pub(crate) fn to_duration(py: Python<'_>, nanoseconds: i128) -> Result<Bound<'_, PyAny>, Unfit> {
    if is_finer(nanoseconds) {
        return Err(Unfit::new(format!(
            "holds {} ns beyond the microseconds that Python's datetime and timedelta hold, and \
             they would be lost; round it where it is stored",
            nanoseconds.rem_euclid(1000)
        )));
    }
    Ok(module(py)?.timedelta.bind(py).call1((0, 0, nanoseconds.div_euclid(1000)))?)
}
