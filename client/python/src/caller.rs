//! Calling a task: a hit passes no Python code.
//!
//! **Invariants.** A hit is given back from here; everything else is left to the methods of the
//! Python class that is made of this one, `memod.task.Task`.

use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::client::Client;
use crate::plan::Plan;
use crate::recall::Recall;

/// The client of tasks that name none, once there is one.
static DEFAULT: Mutex<Option<Py<Client>>> = Mutex::new(None);

/// What can be called as a task.
#[pyclass(frozen, subclass, module = "memod._memod")]
#[derive(Debug)]
pub(crate) struct Caller {
    setup: OnceLock<Setup>,
}

#[derive(Debug)]
struct Setup {
    plan: Py<Plan>,
    client: Option<Py<Client>>,
}

#[pymethods]
impl Caller {
    /// What it is given is for the class that is made of this one.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    const fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { setup: OnceLock::new() }
    }

    /// Says once how calls are looked up. Until then, every call is made by `_call_otherwise`.
    fn _look_up_by(&self, plan: Py<Plan>, client: Option<Py<Client>>) {
        let _ = self.setup.set(Setup { plan, client });
    }

    /// What the function returns, now or once.
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let Some(setup) = slf.get().setup.get() else {
            return slf.getattr(intern!(py, "_call_otherwise"))?.call(args, kwargs);
        };
        let found = match &setup.client {
            Some(client) => {
                Plan::look_up(setup.plan.bind(py), client.bind(py), args, kwargs, None, false)?
            }
            None => {
                Plan::look_up(setup.plan.bind(py), &default_client(py)?, args, kwargs, None, false)?
            }
        };
        if !found.is_exact_instance_of::<Recall>() {
            return Ok(found);
        }
        let kwargs = kwargs.map_or_else(|| PyDict::new(py), Bound::clone);
        slf.call_method1(intern!(py, "_run_found"), (found, args, kwargs))
    }
}

/// Says which client the tasks ask that name none.
#[pyfunction]
pub(crate) fn use_by_default(client: Py<Client>) {
    let mut default = DEFAULT.lock().unwrap_or_else(PoisonError::into_inner);
    let before = default.replace(client);
    drop(default);
    // What is dropped may run Python code.
    drop(before);
}

fn default_client(py: Python<'_>) -> PyResult<Bound<'_, Client>> {
    let default = DEFAULT.lock().unwrap_or_else(PoisonError::into_inner);
    let known = default.as_ref().map(|client| client.bind(py).clone());
    drop(default);
    if let Some(client) = known {
        return Ok(client);
    }
    let made = py.import("memod.client")?.getattr("default_client")?.call0()?;
    Ok(made.getattr("raw")?.cast_into()?)
}
