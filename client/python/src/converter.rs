//! The conversion of one type by itself, as declarations and hash functions need it.

use memod_client::Literal;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::encode::Encoding;
use crate::errors::{Unfit, from_argument};
use crate::node::Node;
use crate::settle::As;

/// Converts values of one type.
#[pyclass(frozen, module = "memod._memod")]
#[derive(Debug)]
pub(crate) struct Converter {
    node: Node,
}

#[pymethods]
impl Converter {
    #[new]
    fn new(spec: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { node: Node::from_spec(spec)? })
    }

    /// The type, as text.
    #[getter]
    fn r#type(&self) -> String {
        self.node.literal_type().to_string()
    }

    /// Why the value is not of the type, if it is not; as far as that can be told without reading
    /// files and calling functions.
    fn problem(&self, value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let mut shallow = Encoding { shallow: true, ..Encoding::default() };
        match self.node.encode(value, &mut shallow) {
            Ok(_) => Ok(None),
            Err(Unfit::Problem { path, problem }) if path.is_empty() => Ok(Some(problem)),
            Err(Unfit::Problem { path, problem }) => Ok(Some(format!("at {path} {problem}"))),
            Err(Unfit::Raised(error)) => Err(error),
        }
    }

    /// The digest of the value as an input, as 64 hexadecimal digits.
    fn digest(&self, value: &Bound<'_, PyAny>) -> PyResult<String> {
        Ok(self.literal(value)?.input_digest().to_string())
    }

    /// The value as a task is given it, which is the same object if it has that form.
    fn settled<'py>(&self, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let settled = self.node.settle(&value, As::Input);
        let settled = settled.map_err(|unfit| unfit.into_exception(value.py(), "value"))?;
        Ok(settled.unwrap_or(value))
    }

    /// The bytes that are stored for the value as an output.
    fn encode<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = value.py();
        let blob = self.literal(value)?.to_blob(&self.node.literal_type());
        Ok(PyBytes::new(py, &blob.map_err(|error| from_argument(py, &error))?))
    }

    /// The value for which these bytes are stored.
    fn decode<'py>(&self, py: Python<'py>, blob: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
        let literal = Literal::from_blob(&self.node.literal_type(), &blob.into());
        let literal = literal.map_err(|error| from_argument(py, &error))?;
        self.node.decode(py, literal).map_err(|unfit: Unfit| unfit.into_exception(py, "value"))
    }
}

impl Converter {
    fn literal(&self, value: &Bound<'_, PyAny>) -> PyResult<Literal> {
        let literal = self.node.encode(value, &mut Encoding::default());
        literal.map_err(|unfit| unfit.into_exception(value.py(), "value"))
    }
}
