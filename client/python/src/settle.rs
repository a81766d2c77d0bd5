//! Values as a hit gives them: what the key and the stored form do not tell apart is made alike.
//!
//! **Invariants.** What this makes of a value has the same literal, and is what decoding that
//! literal gives. A task is called with settled arguments and gives a settled value back, whether
//! or not the daemon is asked, so nobody can tell a run from a hit by them. What is settled
//! already is given back as the very same object, with all that it holds.
//!
//! What counts as equal is one value as an input: -0.0 is 0.0 there. What Python functions convert,
//! they also settle: arrays, frames and tables.
//!
//! **Does not** change pickles, paths, and what counts by a hash of its own.

use std::collections::BTreeMap;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMemoryView, PySet,
    PyString, PyTuple,
};

use crate::encode::{self, Encoding};
use crate::errors::Unfit;
use crate::moment;
use crate::node::{Buffer, Field, Node, Opaque, Sequence, Shape};

/// Nothing if the value is settled as it is.
type Settled<'py> = Result<Option<Bound<'py, PyAny>>, Unfit>;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// It counts, so that what counts as equal has to be made so.
    Input,
    /// It is stored, bit by bit.
    Output,
}

impl Node {
    /// The value as a hit gives it, if that differs.
    pub(crate) fn settle<'py>(&self, value: &Bound<'py, PyAny>, role: As) -> Settled<'py> {
        let py = value.py();
        Ok(match self {
            Self::None | Self::File(_) | Self::Enum(..) => None,
            Self::Hashed(function, _, Some(inner), None) => unhashed(function, inner, value, role)?,
            Self::Opaque(Opaque { settle, .. }) | Self::Hashed(.., settle) => match settle {
                Some(settle) => {
                    let settled = settle.bind(py).call1((value,))?;
                    Some(settled).filter(|settled| !settled.is(value))
                }
                None => None,
            },
            Self::Boolean if value.is_exact_instance_of::<PyBool>() => None,
            Self::Boolean => Some(PyBool::new(py, encode::boolean(value)?).to_owned().into_any()),
            Self::Integer if value.is_exact_instance_of::<PyInt>() => None,
            Self::Integer => Some(encode::integer(value)?.into_bound_py_any(py)?),
            Self::Float => float(value, role)?,
            Self::String | Self::Choice(_) if value.is_exact_instance_of::<PyString>() => None,
            Self::String | Self::Choice(_) => {
                Some(PyString::new(py, &encode::text(value)?).into_any())
            }
            Self::Bytes(Buffer::Memoryview) if value.is_instance_of::<PyMemoryView>() => {
                read_only(value)?
            }
            Self::Bytes(buffer) if buffer.is_kind_of(value) => None,
            Self::Bytes(buffer) => Some(buffer.give(py, encode::buffer(value)?)?),
            Self::Datetime(_) => moment::settled_datetime(value)?,
            Self::Date => moment::settled_date(value)?,
            Self::Duration(_) => moment::settled_duration(value)?,
            Self::List(sequence, inner) => list(value, *sequence, inner, role)?,
            Self::Map(inner) => map(value, inner, role)?,
            Self::Pairs(key, inner) => pairs(value, key, inner, role)?,
            Self::Struct(shape, fields) => structure(value, shape, fields, role)?,
            Self::Optional(_) if value.is_none() => None,
            Self::Optional(inner) => inner.settle(value, role)?,
            Self::Union(members) => {
                match encode::fitting(value, members, &mut Encoding::default()) {
                    Some((node, _)) => node.settle(value, role)?,
                    None => None,
                }
            }
        })
    }
}

/// The value, if its user's own hash is empty, so that its content counts.
fn unhashed<'py>(
    function: &Py<PyAny>,
    inner: &Node,
    value: &Bound<'py, PyAny>,
    role: As,
) -> Settled<'py> {
    // Content that cannot be stored is no trouble where it does not count.
    let Ok(Some(settled)) = inner.settle(value, role) else { return Ok(None) };
    let hash = function.bind(value.py()).call1((value,))?;
    Ok(if hash.is_truthy()? { None } else { Some(settled) })
}

/// Of what counts as zero or as no number, an input has one form.
fn float<'py>(value: &Bound<'py, PyAny>, role: As) -> Settled<'py> {
    let given = encode::float(value, false)?;
    let settled = match given {
        _ if role == As::Output => given,
        _ if given == 0.0 => 0.0,
        _ if given.is_nan() => f64::NAN,
        _ => given,
    };
    let is_same = settled.to_bits() == given.to_bits();
    if is_same && value.is_exact_instance_of::<PyFloat>() {
        return Ok(None);
    }
    Ok(Some(PyFloat::new(value.py(), settled).into_any()))
}

/// A view that nobody writes through, as that of a hit is: of the same bytes where that can be.
fn read_only<'py>(value: &Bound<'py, PyAny>) -> Settled<'py> {
    let is_row = value.getattr("ndim")?.extract::<usize>()? == 1
        && value.getattr("c_contiguous")?.extract::<bool>()?;
    if !is_row {
        return Ok(Some(Buffer::Memoryview.give(value.py(), encode::buffer(value)?)?));
    }
    // What is no row of bytes is refused.
    encode::row(value)?;
    if value.getattr("readonly")?.extract()? {
        return Ok(None);
    }
    Ok(Some(value.call_method0("toreadonly")?))
}

impl Buffer {
    fn is_kind_of(self, value: &Bound<'_, PyAny>) -> bool {
        match self {
            Self::Bytes => value.is_exact_instance_of::<PyBytes>(),
            Self::Bytearray => value.is_exact_instance_of::<PyByteArray>(),
            Self::Memoryview => value.is_instance_of::<PyMemoryView>(),
        }
    }
}

impl Sequence {
    fn is_kind_of(self, value: &Bound<'_, PyAny>) -> bool {
        match self {
            Self::List | Self::Either => value.is_exact_instance_of::<PyList>(),
            Self::Tuple => value.is_exact_instance_of::<PyTuple>(),
            Self::Set | Self::EitherSet => value.is_exact_instance_of::<PySet>(),
            Self::Frozenset => value.is_exact_instance_of::<PyFrozenSet>(),
        }
    }
}

/// A value, settled, and whether that made a difference.
fn one<'py>(
    node: &Node,
    value: Bound<'py, PyAny>,
    role: As,
    differs: &mut bool,
) -> Result<Bound<'py, PyAny>, Unfit> {
    let settled = node.settle(&value, role)?;
    *differs |= settled.is_some();
    Ok(settled.unwrap_or(value))
}

fn list<'py>(
    value: &Bound<'py, PyAny>,
    sequence: Sequence,
    inner: &Node,
    role: As,
) -> Settled<'py> {
    let mut differs = !sequence.is_kind_of(value);
    let mut items = Vec::with_capacity(value.len()?);
    for item in value.try_iter()? {
        items.push(one(inner, item?, role, &mut differs)?);
    }
    if differs { Ok(Some(sequence.give(value.py(), items)?)) } else { Ok(None) }
}

fn map<'py>(value: &Bound<'py, PyAny>, inner: &Node, role: As) -> Settled<'py> {
    let mut differs = !value.is_exact_instance_of::<PyDict>();
    let mut members = BTreeMap::new();
    let mut last = None;
    for (key, item) in dictionary(value)? {
        differs |= !key.is_exact_instance_of::<PyString>();
        let name = encode::text(&key)?;
        differs |= last.as_ref().is_some_and(|last| *last > name);
        members.insert(name.clone(), one(inner, item, role, &mut differs)?);
        last = Some(name);
    }
    if !differs {
        return Ok(None);
    }
    let made = PyDict::new(value.py());
    for (name, item) in members {
        made.set_item(name, item)?;
    }
    Ok(Some(made.into_any()))
}

fn pairs<'py>(value: &Bound<'py, PyAny>, key_node: &Node, inner: &Node, role: As) -> Settled<'py> {
    let mut differs = !value.is_exact_instance_of::<PyDict>();
    let mut members = BTreeMap::new();
    let mut last = None;
    for (key, item) in dictionary(value)? {
        let order = key_node.encode(&key, &mut Encoding::default())?.key_encoding();
        differs |= last.as_ref().is_some_and(|last| *last > order);
        let key = one(key_node, key, role, &mut differs)?;
        members.insert(order.clone(), (key, one(inner, item, role, &mut differs)?));
        last = Some(order);
    }
    if !differs {
        return Ok(None);
    }
    let made = PyDict::new(value.py());
    for (key, item) in members.into_values() {
        made.set_item(key, item)?;
    }
    Ok(Some(made.into_any()))
}

fn dictionary<'a, 'py>(value: &'a Bound<'py, PyAny>) -> Result<&'a Bound<'py, PyDict>, Unfit> {
    value.cast::<PyDict>().map_err(|_| encode::wrong_kind(value, "dict"))
}

fn structure<'py>(
    value: &Bound<'py, PyAny>,
    shape: &Shape,
    fields: &[Field],
    role: As,
) -> Settled<'py> {
    let py = value.py();
    let mut differs = match shape {
        Shape::Attributes(class) => {
            encode::check_object(value, class.bind(py), fields)?;
            false
        }
        Shape::Items => !is_dictionary_of(value, fields)?,
        Shape::Positions => !value.is_exact_instance_of::<PyTuple>(),
    };
    let mut members = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let key = field.key.bind(py);
        let item = shape.member(value, key, index)?;
        members.push((key, one(&field.node, item, role, &mut differs)?));
    }
    if differs { Ok(Some(shape.give(py, members)?)) } else { Ok(None) }
}

/// Whether it is a dictionary with these keys in this order.
fn is_dictionary_of(value: &Bound<'_, PyAny>, fields: &[Field]) -> Result<bool, Unfit> {
    if !value.is_exact_instance_of::<PyDict>() {
        return Ok(false);
    }
    for (key, field) in dictionary(value)?.iter().zip(fields) {
        if !key.0.eq(field.key.bind(value.py()))? {
            return Ok(false);
        }
    }
    Ok(true)
}
