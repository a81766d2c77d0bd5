//! From literals and stored bytes to Python values.
//!
//! **Invariants.** What cannot be made into a value of the declared type is an error, and the hit
//! is then none; nothing is given back in part. Every hit makes new objects.

use std::collections::BTreeMap;
use std::fs::File;

use bytes::Bytes;
use memod_client::{HitOutput, Literal, LiteralType};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyDict, PyFrozenSet, PyList, PyMemoryView, PySet, PyString, PyTuple,
};

use crate::blob::{Blob, in_memory};
use crate::call::Hashed;
use crate::errors::{self, Unfit};
use crate::moment;
use crate::node::{Buffer, Field, Node, Opaque, Sequence, Shape};

impl Node {
    /// The value of an output.
    pub(crate) fn decode_output<'py>(
        &self,
        py: Python<'py>,
        output: &HitOutput,
    ) -> PyResult<Bound<'py, PyAny>> {
        let label = || format!("output `{}`", output.name);
        if let Self::File(Some(place)) = self {
            return put_file(py, output, place.bind(py));
        }
        let bytes = in_memory(py, output)?;
        let of = &output.literal_type;
        let fit = |unfit: Unfit| unfit.into_exception(py, &label());
        // Plain content needs no literal in between.
        match self {
            Self::String => {
                let text = std::str::from_utf8(&bytes);
                let text = text.map_err(|_| fit(Unfit::new("is not UTF-8")))?;
                Ok(PyString::new(py, text).into_any())
            }
            Self::Bytes(buffer) => buffer.give(py, bytes),
            Self::Opaque(opaque) => opaque.decode(py, bytes),
            _ => {
                let literal = Literal::from_blob(of, &bytes).map_err(|error| fit(error.into()))?;
                self.decode(py, literal).map_err(fit)
            }
        }
    }

    /// The value of a literal.
    pub(crate) fn decode<'py>(
        &self,
        py: Python<'py>,
        literal: Literal,
    ) -> Result<Bound<'py, PyAny>, Unfit> {
        Ok(match (self, literal) {
            (Self::Optional(_) | Self::None, Literal::None) => py.None().into_bound(py),
            (Self::Optional(inner) | Self::Hashed(_, _, Some(inner), _), literal) => {
                inner.decode(py, literal)?
            }
            (Self::Union(members), literal) => {
                let fits = |(of, _): &&(LiteralType, Self)| of.admits(&literal);
                let fitting = members.iter().find(fits);
                let (_, node) = fitting.ok_or_else(|| Unfit::new("is of no type of the union"))?;
                node.decode(py, literal)?
            }
            (Self::Boolean, Literal::Boolean(value)) => value.into_bound_py_any(py)?,
            (Self::Integer, Literal::Integer(value)) => value.into_bound_py_any(py)?,
            (Self::Float, Literal::Float(value)) => value.into_bound_py_any(py)?,
            (Self::String, Literal::String(value)) => value.into_bound_py_any(py)?,
            (Self::Bytes(buffer), Literal::Bytes(bytes)) => buffer.give(py, bytes)?,
            // By hand, what is finer than Python's own is given in nanoseconds, as it is taken.
            (Self::Datetime(true), Literal::Datetime(of))
            | (Self::Duration(true), Literal::Duration(of))
                if moment::is_finer(of) =>
            {
                of.into_bound_py_any(py)?
            }
            (Self::Datetime(_), Literal::Datetime(at)) => moment::to_datetime(py, at)?,
            (Self::Date, Literal::Datetime(at)) => moment::to_date(py, at)?,
            (Self::Duration(_), Literal::Duration(span)) => moment::to_duration(py, span)?,
            (Self::File(_), Literal::File { digest, bytes }) => {
                (digest.to_string(), bytes).into_bound_py_any(py)?
            }
            (Self::List(sequence, inner), Literal::List(items)) => {
                sequence.give(py, inner.decode_all(py, items)?)?
            }
            (Self::Map(inner), Literal::Map(members)) => {
                let map = PyDict::new(py);
                for (name, member) in members {
                    map.set_item(name, inner.decode(py, member)?)?;
                }
                map.into_any()
            }
            (Self::Pairs(key, value), Literal::List(pairs)) => decode_pairs(py, key, value, pairs)?,
            (Self::Struct(shape, fields), Literal::Struct(members)) => {
                decode_struct(py, shape, fields, members)?
            }
            (Self::Enum(_, members), Literal::Enum(name)) => match members.get(&name) {
                Some(member) => member.bind(py).clone(),
                None => return Err(Unfit::new(format!("the enum has no member `{name}`"))),
            },
            (Self::Choice(_), Literal::Enum(name)) => name.into_bound_py_any(py)?,
            (Self::Opaque(opaque), Literal::Opaque { bytes, .. }) => opaque.decode(py, bytes)?,
            (node, Literal::Hashed { hash, value }) => match value {
                Some(value) => node.decode(py, *value)?,
                None => Hashed::without_value(hash).into_bound_py_any(py)?,
            },
            (node, _) => {
                return Err(Unfit::new(format!("holds no value of type {}", node.literal_type())));
            }
        })
    }

    fn decode_all<'py>(
        &self,
        py: Python<'py>,
        items: Vec<Literal>,
    ) -> Result<Vec<Bound<'py, PyAny>>, Unfit> {
        items.into_iter().map(|item| self.decode(py, item)).collect()
    }
}

fn decode_pairs<'py>(
    py: Python<'py>,
    key_node: &Node,
    value_node: &Node,
    pairs: Vec<Literal>,
) -> Result<Bound<'py, PyAny>, Unfit> {
    let map = PyDict::new(py);
    for pair in pairs {
        let Literal::Struct(mut pair) = pair else {
            return Err(Unfit::new("holds something that is no pair"));
        };
        let (Some(key), Some(value)) = (pair.remove("key"), pair.remove("value")) else {
            return Err(Unfit::new("holds a pair without key or value"));
        };
        map.set_item(key_node.decode(py, key)?, value_node.decode(py, value)?)?;
    }
    Ok(map.into_any())
}

fn decode_struct<'py>(
    py: Python<'py>,
    shape: &Shape,
    fields: &[Field],
    mut members: BTreeMap<String, Literal>,
) -> Result<Bound<'py, PyAny>, Unfit> {
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        let member = members.remove(&field.name);
        let member = member.ok_or_else(|| Unfit::new(format!("has no field `{}`", field.name)))?;
        values.push((field.key.bind(py), field.node.decode(py, member)?));
    }
    Ok(shape.give(py, values)?)
}

impl Shape {
    /// A member of the value, which has this name and stands at this place.
    pub(crate) fn member<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        name: &Bound<'py, PyString>,
        index: usize,
    ) -> Result<Bound<'py, PyAny>, Unfit> {
        match self {
            Self::Attributes(_) => Ok(value.getattr(name)?),
            Self::Items => {
                value.get_item(name).map_err(|_| Unfit::new(format!("has no member `{name}`")))
            }
            Self::Positions => Ok(value.get_item(index)?),
        }
    }

    /// The value with these members.
    pub(crate) fn give<'py>(
        &self,
        py: Python<'py>,
        members: Vec<(&Bound<'py, PyString>, Bound<'py, PyAny>)>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Self::Positions = self {
            return Ok(PyTuple::new(py, members.into_iter().map(|(_, value)| value))?.into_any());
        }
        let named = PyDict::new(py);
        for (name, value) in members {
            named.set_item(name, value)?;
        }
        match self {
            Self::Attributes(class) => restored(class.bind(py), &named),
            _ => Ok(named.into_any()),
        }
    }
}

/// An object with these fields. One of a dataclass is made without its constructor, which may do
/// more than take them, and has done that when the value was made.
fn restored<'py>(
    class: &Bound<'py, PyAny>,
    fields: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    if !class.hasattr("__dataclass_fields__")? {
        return class.call((), Some(fields));
    }
    let object = class.py().import("builtins")?.getattr("object")?;
    let value = object.call_method1("__new__", (class,))?;
    let set = object.getattr("__setattr__")?;
    for (name, field) in fields {
        set.call1((&value, name, field))?;
    }
    Ok(value)
}

impl Buffer {
    pub(crate) fn give(self, py: Python<'_>, bytes: Bytes) -> PyResult<Bound<'_, PyAny>> {
        Ok(match self {
            Self::Bytes => PyBytes::new(py, &bytes).into_any(),
            Self::Bytearray => PyByteArray::new(py, &bytes).into_any(),
            Self::Memoryview => view(py, bytes, LiteralType::Bytes)?,
        })
    }
}

/// A view of the bytes without a copy.
fn view(py: Python<'_>, bytes: Bytes, of: LiteralType) -> PyResult<Bound<'_, PyAny>> {
    let blob = Bound::new(py, Blob::of_bytes(bytes, of))?;
    Ok(PyMemoryView::from(blob.as_any())?.into_any())
}

impl Sequence {
    pub(crate) fn give<'py>(
        self,
        py: Python<'py>,
        items: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self {
            Self::List | Self::Either => PyList::new(py, items)?.into_any(),
            Self::Tuple => PyTuple::new(py, items)?.into_any(),
            Self::Set | Self::EitherSet => PySet::new(py, items)?.into_any(),
            Self::Frozenset => PyFrozenSet::new(py, items)?.into_any(),
        })
    }
}

impl Opaque {
    fn decode<'py>(&self, py: Python<'py>, bytes: Bytes) -> PyResult<Bound<'py, PyAny>> {
        match &self.functions {
            None => Ok(PyBytes::new(py, &bytes).into_any()),
            Some((_, from_bytes)) => {
                let of = LiteralType::Opaque(self.format.clone());
                from_bytes.bind(py).call1((view(py, bytes, of)?,))
            }
        }
    }
}

/// Puts the content of a file where the function says; gives the path as the function gave it.
fn put_file<'py>(
    py: Python<'py>,
    output: &HitOutput,
    place: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let path = place.call0()?;
    let target: std::path::PathBuf = path.extract()?;
    let written = py.detach(|| {
        let mut file = File::create_new(&target)?;
        output.content.copy_to(&mut file)
    });
    written.map_err(|source| {
        let what = format!("output `{}` cannot be put at {}", output.name, target.display());
        errors::from_client(py, &memod_client::Error::Local { what, source })
    })?;
    Ok(path)
}
