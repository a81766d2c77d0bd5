//! Errors on their way to Python: the class follows from the stable name of the error.
//!
//! **Invariants.** The classes stand in `memod.errors`, which maps names to them in one function.

use memod_client::{Error, InvalidArgument};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// `memod.errors.of_name`.
static OF_NAME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn of_name(py: Python<'_>, name: &str, message: &str, hint: Option<&str>) -> PyErr {
    let made = OF_NAME
        .get_or_try_init(py, || {
            Ok::<_, PyErr>(py.import("memod.errors")?.getattr("of_name")?.unbind())
        })
        .and_then(|of_name| of_name.bind(py).call1((name, message, hint)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// The Python exception for an error of the client.
pub(crate) fn from_client(py: Python<'_>, error: &Error) -> PyErr {
    of_name(py, error.name(), &error.to_string(), error.hint())
}

/// The Python exception for a wrong argument.
pub(crate) fn from_argument(py: Python<'_>, error: &InvalidArgument) -> PyErr {
    invalid(py, &error.to_string())
}

/// The Python exception for something that cannot be meant.
pub(crate) fn invalid(py: Python<'_>, message: &str) -> PyErr {
    of_name(py, "invalid_argument", message, None)
}

/// Whether this is an exception of memod's own.
pub(crate) fn is_own(py: Python<'_>, error: &Bound<'_, PyAny>) -> bool {
    let of = py.import("memod.errors").and_then(|errors| errors.getattr("MemodError"));
    of.and_then(|of| error.is_instance(&of)).unwrap_or(false)
}

/// Why a value cannot be converted.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It is not of its type; where in the value, and why.
    Problem {
        /// Steps from the whole value to the place, such as `[3].name`.
        path: String,
        /// The end of a sentence.
        problem: String,
    },
    /// A Python function that was asked for help raised this.
    Raised(PyErr),
}

impl Unfit {
    /// The given problem of the value itself.
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self::Problem { path: String::new(), problem: problem.into() }
    }

    /// The same, of a value that stands at this step of another.
    pub(crate) fn inside(self, step: &str) -> Self {
        match self {
            Self::Problem { path, problem } => {
                Self::Problem { path: format!("{step}{path}"), problem }
            }
            raised @ Self::Raised(_) => raised,
        }
    }

    /// The Python exception, for the value that this label names.
    pub(crate) fn into_exception(self, py: Python<'_>, label: &str) -> PyErr {
        match self {
            Self::Problem { path, problem } => invalid(py, &format!("{label}{path}: {problem}")),
            Self::Raised(error) => error,
        }
    }
}

impl From<PyErr> for Unfit {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<InvalidArgument> for Unfit {
    fn from(error: InvalidArgument) -> Self {
        Self::new(error.to_string())
    }
}

/// A Python value's type, for messages.
pub(crate) fn kind_of(value: &Bound<'_, PyAny>) -> String {
    let kind = value.get_type();
    let name = kind.qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    match kind.module() {
        Ok(module) if module != "builtins" => format!("{module}.{name}"),
        _ => name,
    }
}
