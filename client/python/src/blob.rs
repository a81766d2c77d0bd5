//! The bytes of an output in Python, without a copy: `memoryview(blob)` reads them in place.
//!
//! **Invariants.** The only file of this crate with unsafe code. The bytes never change, and the
//! blob lives for as long as a view of it does.

use std::ffi::{c_int, c_void};

use bytes::Bytes;
use memod_client::{Content, Digest, HitOutput, Literal, LiteralType};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;
use crate::node::Node;

/// The bytes of an output; supports the buffer protocol.
#[pyclass(frozen, module = "memod._memod")]
#[derive(Debug)]
pub(crate) struct Blob {
    /// The output's name.
    #[pyo3(get)]
    name: String,
    of: LiteralType,
    /// The digest, if the daemon told it.
    digest: Option<Digest>,
    bytes: Bytes,
}

impl Blob {
    /// The bytes of an output. What is in a temporary file is read into memory.
    pub(crate) fn of(py: Python<'_>, output: &HitOutput) -> PyResult<Self> {
        Ok(Self {
            name: output.name.clone(),
            of: output.literal_type.clone(),
            digest: Some(output.digest),
            bytes: in_memory(py, output)?,
        })
    }

    /// The bytes of a value that stands within an output.
    pub(crate) fn of_bytes(bytes: Bytes, of: LiteralType) -> Self {
        Self { name: String::new(), of, digest: None, bytes }
    }

    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// An output's bytes in memory.
pub(crate) fn in_memory(py: Python<'_>, output: &HitOutput) -> PyResult<Bytes> {
    let read = match &output.content {
        Content::Memory(bytes) => return Ok(bytes.clone()),
        Content::File(_) => py.detach(|| output.content.to_bytes()),
    };
    read.map_err(|source| {
        let what = format!("output `{}` cannot be read back", output.name);
        errors::from_client(py, &memod_client::Error::Local { what, source })
    })
}

#[pymethods]
impl Blob {
    /// BLAKE3 of the bytes, as 64 hexadecimal digits.
    #[getter]
    fn digest(&self) -> String {
        self.digest.unwrap_or_else(|| Digest::of(&self.bytes)).to_string()
    }

    /// The output's type, as text.
    #[getter]
    fn r#type(&self) -> String {
        self.of.to_string()
    }

    /// The value whose bytes these are: a dictionary for a struct, a string for an enum, digest
    /// and length for a file.
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let literal = Literal::from_blob(&self.of, &self.bytes);
        let literal = literal.map_err(|error| errors::from_argument(py, &error))?;
        let value = Node::of_type(py, &self.of).decode(py, literal);
        value.map_err(|unfit| unfit.into_exception(py, "output"))
    }

    fn __len__(&self) -> usize {
        self.bytes.len()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes)
    }

    fn __repr__(&self) -> String {
        format!("Blob({:?}, {}, {} bytes)", self.name, self.of, self.bytes.len())
    }

    #[expect(unsafe_code, reason = "the buffer protocol is made of raw pointers")]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("there is no view to fill"));
        }
        let bytes = slf.get().bytes();
        let length = ffi::Py_ssize_t::try_from(bytes.len())
            .map_err(|_| PyBufferError::new_err("there are too many bytes for a view"))?;
        let start = bytes.as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: `view` is valid, as Python promises. The bytes stay where they are for as long
        // as `slf` lives, to which the view gets a reference of its own; they are handed out as
        // read-only, so the pointer is never written through.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, length, 1, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
