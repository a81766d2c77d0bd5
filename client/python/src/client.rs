//! The client for calls by hand, and what tasks ask.
//!
//! **Invariants.** The interpreter's lock is given up while the daemon is asked. What the daemon
//! says is an exception here; tasks turn it into a warning.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use memod_client::address::{self, Origin};
use memod_client::{
    ClaimOptions, Claimed, Error, Filter, Hit, Key, LiteralType, Lookup, LookupOptions, Mode,
    NamedOwner, PutOptions, PutOutcome, PutOutput, RunClaim, Scope, Selector, Source, Start, Wait,
};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::blob::Blob;
use crate::call::{Call, by_hand};
use crate::errors;
use crate::listing;
use crate::plan::seconds;
use crate::report;

/// Asks the daemon.
#[pyclass(frozen, module = "memod._memod")]
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) inner: memod_client::Client,
    /// The project of calls that name none.
    #[pyo3(get)]
    pub(crate) project: String,
    /// The domain of calls that name none.
    #[pyo3(get)]
    pub(crate) domain: String,
    pub(crate) own_uid: u32,
    /// The socket that the user named, if they did.
    named: Option<PathBuf>,
}

/// Whether this process has been told that another daemon is asked than the one that was named.
static TOLD: AtomicBool = AtomicBool::new(false);

/// A hit's description and outputs, or a miss.
type Found<'py> = (Option<Bound<'py, PyDict>>, Bound<'py, PyAny>);
/// The kind of what a claim came to, its description, and the outputs or the lease.
type ClaimFound<'py> = (&'static str, Option<Bound<'py, PyDict>>, Bound<'py, PyAny>);

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (*, project, domain, own_uid, socket=None, deadline=None, stall=None,
        mode=None, start=true, memory_bytes_max=None, program=None))]
    fn new(
        py: Python<'_>,
        project: String,
        domain: String,
        own_uid: u32,
        socket: Option<PathBuf>,
        deadline: Option<f64>,
        stall: Option<f64>,
        mode: Option<&str>,
        start: bool,
        memory_bytes_max: Option<u64>,
        program: Option<String>,
    ) -> PyResult<Self> {
        let scope = Scope::new(project, domain);
        scope.check().map_err(|error| errors::from_argument(py, &error))?;
        let found = address::find(socket.clone());
        let is_named = matches!(found.origin, Origin::Given | Origin::Environment);
        let named = is_named.then_some(found.path);
        let mut builder = memod_client::Client::builder();
        builder = builder.start(if start { Start::Own } else { Start::Never });
        if let Some(socket) = socket {
            builder = builder.socket(socket);
        }
        if let Some(deadline) = deadline {
            builder = builder.deadline(seconds(py, "deadline", deadline)?);
        }
        if let Some(stall) = stall {
            builder = builder.stall(seconds(py, "stall", stall)?);
        }
        if let Some(mode) = mode {
            builder = builder.mode(mode_named(py, mode)?);
        }
        if let Some(bytes) = memory_bytes_max {
            builder = builder.memory_bytes_max(bytes);
        }
        if let Some(program) = program {
            builder = builder.program(program);
        }
        let Scope { project, domain } = scope;
        Ok(Self { inner: builder.build(), project, domain, own_uid, named })
    }

    /// The mode of calls that name none.
    #[getter]
    fn mode(&self) -> &'static str {
        match self.inner.mode() {
            Mode::Enabled => "enabled",
            Mode::Disabled => "disabled",
            Mode::ReadOnly => "read-only",
            Mode::Overwrite => "overwrite",
        }
    }

    /// The sockets at which a daemon is looked for, in order.
    #[getter]
    fn sockets(&self) -> Vec<PathBuf> {
        self.inner.sockets()
    }

    /// A hit's description with its outputs, or none with the miss.
    #[pyo3(signature = (call, max_age=None))]
    fn lookup<'py>(
        &self,
        py: Python<'py>,
        call: &Bound<'py, Call>,
        max_age: Option<f64>,
    ) -> PyResult<Found<'py>> {
        let options = LookupOptions { max_age: age(py, max_age)? };
        let call = &call.get().call;
        match self.ask(py, |client| client.lookup(call, &options))? {
            Lookup::Hit(hit) => found(py, &hit),
            Lookup::Miss(miss) => Ok((None, report::miss(py, &miss)?.into_any())),
        }
    }

    /// Stores outputs, given by name; whether an entry was there already.
    #[pyo3(signature = (call, outputs, *, overwrite=false, max_age=None, run=None))]
    fn put<'py>(
        &self,
        py: Python<'py>,
        call: &Bound<'py, Call>,
        outputs: BTreeMap<String, Bound<'py, PyAny>>,
        overwrite: bool,
        max_age: Option<f64>,
        run: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<bool> {
        let call = &call.get().call;
        let outputs = put_outputs(call, outputs)?;
        let options = put_options(py, overwrite, max_age, run)?;
        let outcome = self.ask(py, |client| client.put(call, outputs, &options))?;
        Ok(outcome != PutOutcome::Populated)
    }

    /// A hit's description with its outputs; or none with the lease, the miss or who holds it.
    #[pyo3(signature = (call, *, wait=None, take=true, owner=None, heartbeat=None, max_age=None))]
    fn claim<'py>(
        slf: &Bound<'py, Self>,
        call: &Bound<'py, Call>,
        wait: Option<f64>,
        take: bool,
        owner: Option<String>,
        heartbeat: Option<f64>,
        max_age: Option<f64>,
    ) -> PyResult<ClaimFound<'py>> {
        let py = slf.py();
        let wait = match wait.map(|most| seconds(py, "wait", most)).transpose()? {
            None => Wait::Forever,
            Some(Duration::ZERO) => Wait::No,
            Some(most) => Wait::AtMost(most),
        };
        let owner = owner.map(|name| named_owner(py, name, heartbeat)).transpose()?;
        let options = ClaimOptions { max_age: age(py, max_age)?, take, owner, wait };
        let asked = &call.get().call;
        Ok(match slf.get().ask(py, |client| client.claim(asked, &options))? {
            Claimed::Hit(hit) => {
                let (dict, outputs) = found(py, &hit)?;
                ("hit", dict, outputs)
            }
            Claimed::Miss(miss) => ("miss", Some(report::miss(py, &miss)?), none(py)),
            Claimed::Pending(pending) => {
                ("pending", Some(report::pending(py, &pending)?), none(py))
            }
            Claimed::Leased(lease) => {
                let dict = report::miss(py, lease.miss())?;
                let call = call.clone().unbind();
                let lease = Lease { call, lease: Mutex::new(Some(lease)) };
                ("leased", Some(dict), Bound::new(py, lease)?.into_any())
            }
        })
    }

    /// One output of an entry.
    fn read(&self, py: Python<'_>, key: &str, output: &str) -> PyResult<Blob> {
        let key = parse_key(py, key)?;
        let output = self.ask(py, |client| client.read(&key, output))?;
        Blob::of(py, &output)
    }

    /// Why a lookup misses, and what the nearest entries differ in.
    #[pyo3(signature = (call, nearest_max, max_age=None))]
    fn why<'py>(
        &self,
        py: Python<'py>,
        call: &Bound<'py, Call>,
        nearest_max: u32,
        max_age: Option<f64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let options = LookupOptions { max_age: age(py, max_age)? };
        let call = &call.get().call;
        let said = self.ask(py, |client| client.why(call, &options, nearest_max))?;
        report::explanation(py, &said)
    }

    /// Forgets entries; gives how many.
    fn invalidate_keys(&self, py: Python<'_>, keys: Vec<String>, dry_run: bool) -> PyResult<u64> {
        let keys = keys.iter().map(|key| parse_key(py, key)).collect::<PyResult<_>>()?;
        self.forget(py, &Selector::Keys(keys), dry_run)
    }

    /// Forgets the entries that meet every condition; gives how many.
    #[pyo3(signature = (*, scope, task, cache_version, writer_uid, older_than, dry_run))]
    fn invalidate_matching(
        &self,
        py: Python<'_>,
        scope: Option<(String, String)>,
        task: Option<String>,
        cache_version: Option<String>,
        writer_uid: Option<u32>,
        older_than: Option<f64>,
        dry_run: bool,
    ) -> PyResult<u64> {
        let older_than = age(py, older_than)?;
        let filter = Filter {
            scope: scope.map(|(project, domain)| Scope { project, domain }),
            task,
            cache_version,
            writer_uid,
            older_than_ms: older_than.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        };
        self.forget(py, &Selector::Matching(filter), dry_run)
    }

    /// The keys of this user's entries that were made in this execution.
    fn keys_of_execution(&self, py: Python<'_>, execution: &str) -> PyResult<Vec<String>> {
        let keys = self.ask(py, |client| listing::of_execution(client, self.own_uid, execution))?;
        Ok(keys.iter().map(Key::to_string).collect())
    }

    /// The daemon's counters.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        report::stats(py, &self.ask(py, memod_client::Client::stats)?)
    }

    /// Who the daemon is.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        report::status(py, &self.ask(py, memod_client::Client::status)?)
    }

    /// Raises if no daemon answers.
    fn ping(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, memod_client::Client::ping)
    }
}

impl Client {
    /// Asks without the interpreter's lock.
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&memod_client::Client) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let answer = py.detach(|| ask(&self.inner));
        self.tell_of_other(py)?;
        answer.map_err(|error| errors::from_client(py, &error))
    }

    /// Tells, once in a process, that another daemon is asked than the one that was named.
    pub(crate) fn tell_of_other(&self, py: Python<'_>) -> PyResult<()> {
        let (Some(named), Some(own)) = (&self.named, self.inner.started()) else { return Ok(()) };
        if named.as_path() == own || TOLD.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let troubles = py.import("memod.troubles")?;
        troubles.getattr("warn_of_other_daemon")?.call1((named, own)).map(drop)
    }

    fn forget(&self, py: Python<'_>, selector: &Selector, dry_run: bool) -> PyResult<u64> {
        self.ask(py, |client| client.invalidate(selector, dry_run, &mut |_| {}))
    }
}

/// The right to compute a call, while others wait for its outputs.
#[pyclass(frozen, module = "memod._memod")]
#[derive(Debug)]
pub(crate) struct Lease {
    call: Py<Call>,
    lease: Mutex<Option<memod_client::Lease>>,
}

#[pymethods]
impl Lease {
    /// Stores outputs, which ends the lease; whether an entry was there already.
    #[pyo3(signature = (outputs, *, overwrite=false, max_age=None, run=None))]
    fn put<'py>(
        &self,
        py: Python<'py>,
        outputs: BTreeMap<String, Bound<'py, PyAny>>,
        overwrite: bool,
        max_age: Option<f64>,
        run: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<bool> {
        let call = &self.call.get().call;
        let outputs = put_outputs(call, outputs)?;
        let options = put_options(py, overwrite, max_age, run)?;
        let Some(lease) = self.take() else {
            return Err(errors::invalid(py, "lease: it has ended"));
        };
        let outcome = py.detach(|| lease.put(call, outputs, &options));
        let outcome = outcome.map_err(|error| errors::from_client(py, &error))?;
        Ok(outcome != PutOutcome::Populated)
    }

    /// Gives the lease back; nothing happens if it has ended.
    fn release(&self, py: Python<'_>) {
        if let Some(lease) = self.take() {
            py.detach(|| lease.release());
        }
    }

    /// Whether it is still held here.
    #[getter]
    fn is_held(&self) -> bool {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Lease {
    fn take(&self) -> Option<memod_client::Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The mode of this name.
pub(crate) fn mode_named(py: Python<'_>, name: &str) -> PyResult<Mode> {
    Ok(match name {
        "enabled" => Mode::Enabled,
        "disabled" => Mode::Disabled,
        "read-only" => Mode::ReadOnly,
        "overwrite" => Mode::Overwrite,
        other => {
            let problem =
                format!("mode: {other:?} is none of enabled, disabled, read-only, overwrite");
            return Err(errors::invalid(py, &problem));
        }
    })
}

fn none(py: Python<'_>) -> Bound<'_, PyAny> {
    py.None().into_bound(py)
}

fn age(py: Python<'_>, given: Option<f64>) -> PyResult<Option<Duration>> {
    given.map(|age| seconds(py, "max_age", age)).transpose()
}

fn found<'py>(py: Python<'py>, hit: &Hit) -> PyResult<Found<'py>> {
    let outputs = PyList::empty(py);
    for output in &hit.outputs {
        outputs.append(Bound::new(py, Blob::of(py, output)?)?)?;
    }
    Ok((Some(report::hit(py, hit)?), outputs.into_any()))
}

fn parse_key(py: Python<'_>, text: &str) -> PyResult<Key> {
    text.parse().map_err(|error| errors::invalid(py, &format!("key: {error}")))
}

fn named_owner(py: Python<'_>, name: String, heartbeat: Option<f64>) -> PyResult<NamedOwner> {
    let Some(heartbeat) = heartbeat else {
        return Err(errors::invalid(py, "heartbeat: a named owner has to say how often it lives"));
    };
    let heartbeat = seconds(py, "heartbeat", heartbeat)?;
    let heartbeat_ms = i64::try_from(heartbeat.as_millis()).unwrap_or(i64::MAX);
    Ok(NamedOwner { name, heartbeat_ms })
}

/// The outputs as the call declares them; `bytes` are taken as they are stored only where bytes
/// are declared.
fn put_outputs(
    call: &memod_client::Call,
    outputs: BTreeMap<String, Bound<'_, PyAny>>,
) -> PyResult<Vec<PutOutput>> {
    let convert = |(name, value): (String, Bound<'_, PyAny>)| {
        let declared = call.interface.outputs.get(&name);
        let of = declared.cloned().unwrap_or(LiteralType::None);
        let source = match &of {
            // The client says that it is not declared.
            _ if declared.is_none() => Source::Bytes(Bytes::new()),
            LiteralType::File => Source::File(value.extract()?),
            LiteralType::Bytes if value.is_instance_of::<PyBytes>() => {
                Source::Bytes(Bytes::from_owner(value.extract::<PyBackedBytes>()?))
            }
            of => Source::Literal(by_hand(of, &value, &format!("output `{name}`"))?),
        };
        Ok(PutOutput { name, literal_type: of, source })
    };
    outputs.into_iter().map(convert).collect()
}

fn put_options(
    py: Python<'_>,
    overwrite: bool,
    max_age: Option<f64>,
    run: Option<&Bound<'_, PyDict>>,
) -> PyResult<PutOptions> {
    let mut claim = RunClaim::default();
    for (name, value) in run.into_iter().flatten() {
        match name.extract::<String>()?.as_str() {
            "compute_seconds" => {
                let took = seconds(py, "compute_seconds", value.extract()?)?;
                claim.compute_ns = Some(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
            "task_version" => claim.task_version = value.extract()?,
            "execution" => claim.execution = value.extract()?,
            "node" => claim.node = value.extract()?,
            "attempt" => claim.attempt = value.extract()?,
            other => return Err(errors::invalid(py, &format!("run: `{other}` is unknown"))),
        }
    }
    Ok(PutOptions { overwrite, max_age: age(py, max_age)?, run: claim })
}
