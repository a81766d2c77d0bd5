//! A call that has been looked up and has no value yet: whoever has it runs the task and stores.
//!
//! **Invariants.** Whatever went wrong is a property, never raised: the task has to run. The lease
//! that a recall may hold ends with it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use memod_client::{CacheStatus, MemoizeOptions, Mode, Wait};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::bind::Arguments;
use crate::client::Client;
use crate::errors;
use crate::file::Stamp;
use crate::plan::{Plan, only_exceptions, seconds};
use crate::report;

/// What is asked of the daemon, and what is needed to go on afterwards.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) plan: Py<Plan>,
    pub(crate) client: Py<Client>,
    /// The values of the parameters.
    pub(crate) values: Vec<Py<PyAny>>,
    pub(crate) call: memod_client::Call,
    pub(crate) options: MemoizeOptions,
    pub(crate) stamps: Vec<Stamp>,
    /// Whether a hit, too, is told as a recall.
    pub(crate) report: bool,
    /// The process that asks. One that is forked in the middle of a run is not the one that runs.
    pub(crate) process: u32,
}

/// A call that has been looked up.
#[pyclass(frozen, module = "memod._memod")]
#[derive(Debug)]
pub(crate) struct Recall {
    plan: Py<Plan>,
    /// What came of the lookup, in Flyte's word.
    #[pyo3(get)]
    status: &'static str,
    /// What went wrong before the run, if anything did.
    #[pyo3(get)]
    problem: Option<Py<PyAny>>,
    /// What the function is to be called with, if not with what was given.
    arguments: Option<Arguments>,
    /// Of a hit, what the function returned once.
    value: Option<Py<PyAny>>,
    /// How the call went, once that is known.
    report: Mutex<Option<Py<PyDict>>>,
    open: Mutex<Option<Open>>,
}

/// What is still to be computed.
#[derive(Debug)]
struct Open {
    asked: Asked,
    recall: memod_client::Recall,
}

impl Recall {
    /// A call that the daemon is not asked for.
    pub(crate) fn aside<'py>(
        plan: &Bound<'py, Plan>,
        status: &'static str,
        problem: Option<PyErr>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::without_answer(plan, status, problem, None)
    }

    /// The same, with the values of its parameters: what cannot be stored is given to the function
    /// as it is, and the rest as it is with the cache.
    pub(crate) fn unfit<'py>(
        plan: &Bound<'py, Plan>,
        status: &'static str,
        problem: Option<PyErr>,
        values: &[Py<PyAny>],
    ) -> PyResult<Bound<'py, PyAny>> {
        let arguments = plan.get().settled(plan.py(), values, false)?;
        Self::without_answer(plan, status, problem, arguments)
    }

    fn without_answer<'py>(
        plan: &Bound<'py, Plan>,
        status: &'static str,
        problem: Option<PyErr>,
        arguments: Option<Arguments>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = plan.py();
        let problem = problem.map(|error| error.into_value(py).into_any());
        let (value, plan) = (None, plan.clone().unbind());
        let (report, open) = (Mutex::default(), Mutex::default());
        Self { plan, status, problem, arguments, value, report, open }.into_bound_py_any(py)
    }

    /// Looks up or claims.
    fn ask(py: Python<'_>, asked: Asked) -> PyResult<Bound<'_, PyAny>> {
        let client = asked.client.get();
        let recall = py.detach(|| client.inner.recall(&asked.call, &asked.options));
        Self::told(py, asked, recall)
    }

    /// What a lookup or claim gave.
    pub(crate) fn told(
        py: Python<'_>,
        asked: Asked,
        mut recall: memod_client::Recall,
    ) -> PyResult<Bound<'_, PyAny>> {
        let (declared, client) = (asked.plan.clone_ref(py), asked.client.clone_ref(py));
        let (plan, client) = (declared.get(), client.get());
        client.tell_of_other(py)?;
        let writer = recall.provenance().map(|run| run.writer_uid);
        let decoded =
            recall.outputs().map(|outputs| plan.decode(py, outputs, writer, client.own_uid));
        let problem = match decoded {
            Some(Ok(value)) => return Self::hit(py, asked, recall, value),
            Some(Err(error)) => {
                let error = only_exceptions(py, error)?;
                recall.reject(error.value(py).to_string());
                Some(error)
            }
            None => recall.lookup_error().map(|error| errors::from_client(py, error)),
        };
        let status = recall.status().name();
        let arguments = match plan.settled(py, &asked.values, true) {
            Ok(arguments) => arguments,
            // The function cannot be called as the key says: nothing is stored.
            Err(error) => {
                let problem = Some(only_exceptions(py, error)?);
                let values = &asked.values;
                return Self::unfit(declared.bind(py), "LOOKUP_FAILURE", problem, values);
            }
        };
        let open = Mutex::new(Some(Open { asked, recall }));
        let problem = problem.map(|error| error.into_value(py).into_any());
        let (plan, value, report) = (declared.clone_ref(py), None, Mutex::default());
        Self { plan, status, problem, arguments, value, report, open }.into_bound_py_any(py)
    }

    fn hit<'py>(
        py: Python<'py>,
        asked: Asked,
        recall: memod_client::Recall,
        value: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let plan = asked.plan;
        plan.get().keep(asked.call);
        if !asked.report {
            return Ok(value);
        }
        let memoized = recall.into_hit().expect("there are outputs");
        let dict = report::memoized(py, &memoized)?.unbind();
        let report = Mutex::new(Some(dict));
        let (status, value) = (CacheStatus::Hit.name(), Some(value.unbind()));
        let (problem, arguments, open) = (None, None, Mutex::default());
        Self { plan, status, problem, arguments, value, report, open }.into_bound_py_any(py)
    }

    fn take(&self) -> Option<Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn tell(&self, dict: Bound<'_, PyDict>) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(dict.unbind());
    }
}

#[pymethods]
impl Recall {
    /// Whether the value came from the cache.
    #[getter]
    const fn is_hit(&self) -> bool {
        self.value.is_some()
    }

    /// Of a hit, what the function returned once.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.value.as_ref().map(|value| value.bind(py).clone())
    }

    /// Positional and keyword arguments for the function, if not those that were given.
    #[getter]
    fn arguments<'py>(&self, py: Python<'py>) -> Option<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let (args, kwargs) = self.arguments.as_ref()?;
        Some((args.bind(py).clone(), kwargs.bind(py).clone()))
    }

    /// Who computes the outputs now, if somebody else does.
    #[getter]
    fn pending<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = open.as_ref().and_then(|open| open.recall.pending());
        pending.map(|pending| report::pending(py, pending)).transpose()
    }

    /// How the call went, if that is known.
    #[getter]
    fn report<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyDict>> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.as_ref().map(|dict| dict.bind(py).clone())
    }

    /// Waits for the outputs of whoever computes them, at most so many seconds if any are given.
    /// What is not a `Recall` is what the function returned once.
    #[pyo3(signature = (most=None))]
    fn wait<'py>(&self, py: Python<'py>, most: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let most = most.map(|most| seconds(py, "wait", most)).transpose()?;
        let Some(Open { mut asked, recall }) = self.take() else {
            return Self::aside(self.plan.bind(py), self.status, None);
        };
        drop(recall);
        asked.options.wait = most.map_or(Wait::Forever, Wait::AtMost);
        Self::ask(py, asked)
    }

    /// Stores what the function returned after so many nanoseconds; gives what went wrong.
    fn store<'py>(
        &self,
        py: Python<'py>,
        value: &Bound<'py, PyAny>,
        took_ns: u64,
    ) -> PyResult<Option<Py<PyAny>>> {
        let took = Duration::from_nanos(took_ns);
        let Some(Open { asked, recall }) = self.take() else {
            self.tell(report::aside(py, self.status, took)?);
            return Ok(None);
        };
        let writes = asked.options.mode.is_none_or(Mode::writes) && recall.key().is_some();
        let outputs = if writes { outputs(py, &asked, value) } else { Ok(Vec::new()) };
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(error) => {
                let error = only_exceptions(py, error)?;
                let report = py.detach(|| recall.unstored(took));
                self.tell(report::memoized(py, &report)?);
                return Ok(Some(error.into_value(py).into_any()));
            }
        };
        let Asked { plan, client, call, .. } = asked;
        let client = client.get();
        let report = py.detach(|| client.inner.store(&call, recall, outputs, took));
        plan.get().keep(call);
        self.tell(report::memoized(py, &report)?);
        let error = report.store_error.as_ref().or(report.lease_error.as_ref());
        let error = error.map(|error| errors::from_client(py, error));
        Ok(error.map(|error| error.into_value(py).into_any()))
    }

    /// What the function returned as a hit gives it. What cannot be stored stays as it is.
    fn settled<'py>(&self, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self.plan.get().settled_return(&value) {
            Ok(settled) => Ok(settled.unwrap_or(value)),
            Err(error) => only_exceptions(value.py(), error).map(|_| value),
        }
    }

    /// The function failed: the lease is given back.
    fn abandon(&self) {
        drop(self.take());
    }

    fn __repr__(&self) -> String {
        format!("Recall({})", self.status)
    }
}

fn outputs(
    py: Python<'_>,
    asked: &Asked,
    value: &Bound<'_, PyAny>,
) -> PyResult<Vec<memod_client::PutOutput>> {
    if asked.process != std::process::id() {
        return Err(errors::invalid(py, "this process was forked in the middle of the run"));
    }
    let outputs = asked.plan.get().encode(value)?;
    match asked.stamps.iter().find_map(Stamp::change) {
        Some(change) => Err(errors::invalid(py, &change)),
        None => Ok(outputs),
    }
}
