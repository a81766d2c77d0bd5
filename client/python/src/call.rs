//! A call described by hand: names, types as text, and values.

use std::collections::{BTreeMap, BTreeSet};

use memod_client::{Interface, Literal, LiteralType, Scope};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::encode::Encoding;
use crate::errors::{self, Unfit};
use crate::node::{Node, parse_type};

/// A value behind its user's own hash, in a call described by hand.
#[pyclass(frozen, module = "memod._memod")]
#[derive(Debug)]
pub(crate) struct Hashed {
    /// The hash.
    #[pyo3(get)]
    hash: String,
    value: Option<Py<PyAny>>,
}

#[pymethods]
impl Hashed {
    #[new]
    #[pyo3(signature = (hash, *value))]
    fn new(hash: String, value: &Bound<'_, PyTuple>) -> PyResult<Self> {
        if value.len() > 1 {
            return Err(errors::invalid(value.py(), "a hash stands for one value"));
        }
        Ok(Self { hash, value: value.get_item(0).ok().map(Bound::unbind) })
    }

    /// Whether there is a value beside the hash.
    #[getter]
    const fn has_value(&self) -> bool {
        self.value.is_some()
    }

    /// The value, if there is one; else None.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.value.as_ref().map(|value| value.bind(py).clone())
    }

    fn __repr__(&self) -> String {
        format!("Hashed({:?})", self.hash)
    }
}

impl Hashed {
    pub(crate) const fn without_value(hash: String) -> Self {
        Self { hash, value: None }
    }

    pub(crate) fn encode(
        &self,
        node: &Node,
        py: Python<'_>,
        to: &mut Encoding,
    ) -> Result<Literal, Unfit> {
        let value = match &self.value {
            Some(value) => Some(Box::new(node.encode(value.bind(py), to)?)),
            None => None,
        };
        Ok(Literal::Hashed { hash: self.hash.clone(), value })
    }
}

/// Everything that decides whether a task has been run before.
#[pyclass(frozen, module = "memod._memod")]
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) call: memod_client::Call,
}

#[pymethods]
impl Call {
    #[new]
    #[pyo3(signature = (task, cache_version, inputs, outputs, *, project, domain, ignored))]
    fn new(
        py: Python<'_>,
        task: String,
        cache_version: String,
        inputs: &Bound<'_, PyDict>,
        outputs: &Bound<'_, PyDict>,
        project: String,
        domain: String,
        ignored: BTreeSet<String>,
    ) -> PyResult<Self> {
        let mut call = memod_client::Call {
            scope: Scope { project, domain },
            task,
            cache_version,
            interface: Interface { inputs: BTreeMap::new(), outputs: types(outputs)? },
            inputs: BTreeMap::new(),
            ignored,
        };
        for (name, given) in inputs {
            let name: String = name.extract()?;
            let of = if given.is_instance_of::<PyString>() {
                parse_type(&given)?
            } else {
                let (text, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = given.extract()?;
                let of = parse_type(&text)?;
                let literal = by_hand(&of, &value, &format!("input `{name}`"))?;
                call.inputs.insert(name.clone(), literal);
                of
            };
            call.interface.inputs.insert(name, of);
        }
        call.identity().map_err(|error| errors::from_argument(py, &error))?;
        Ok(Self { call })
    }

    /// The task's name.
    #[getter]
    fn task(&self) -> &str {
        &self.call.task
    }

    /// The key, as 64 hexadecimal digits.
    #[getter]
    fn key(&self, py: Python<'_>) -> PyResult<String> {
        let key = py.detach(|| self.call.key());
        key.map(|key| key.to_string()).map_err(|error| errors::from_argument(py, &error))
    }

    /// The digest of the task's name and its declared inputs and outputs.
    #[getter]
    fn signature(&self) -> String {
        self.call.interface.signature(&self.call.task).to_string()
    }

    /// The digests of the inputs that count, by name.
    #[getter]
    fn inputs(&self, py: Python<'_>) -> PyResult<BTreeMap<String, String>> {
        let identity = py.detach(|| self.call.identity());
        let identity = identity.map_err(|error| errors::from_argument(py, &error))?;
        Ok(identity.inputs.into_iter().map(|(name, of)| (name, of.to_string())).collect())
    }

    /// The types of the declared outputs, by name.
    #[getter]
    fn outputs(&self) -> BTreeMap<String, String> {
        let outputs = &self.call.interface.outputs;
        outputs.iter().map(|(name, of)| (name.clone(), of.to_string())).collect()
    }

    fn __repr__(&self) -> String {
        format!("Call({:?}, {:?})", self.call.task, self.call.cache_version)
    }
}

/// The literal for a value of a type that is known by name.
pub(crate) fn by_hand(
    of: &LiteralType,
    value: &Bound<'_, PyAny>,
    label: &str,
) -> PyResult<Literal> {
    let py = value.py();
    let mut to = Encoding { by_hand: true, ..Encoding::default() };
    let literal = Node::of_type(py, of).encode(value, &mut to);
    literal.map_err(|unfit| unfit.into_exception(py, label))
}

fn types(texts: &Bound<'_, PyDict>) -> PyResult<BTreeMap<String, LiteralType>> {
    texts.iter().map(|(name, text)| Ok((name.extract()?, parse_type(&text)?))).collect()
}
