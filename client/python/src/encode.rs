//! From Python values to literals.
//!
//! **Invariants.** A value is of its declared type or refused: nothing is guessed or rounded,
//! except that an integer is taken where a float is declared, and a scalar of numpy's where the
//! Python type of the same value is. Sets, and dictionaries whose keys
//! are no strings, are put in the order of their canonical encodings, so that they have one key in
//! every process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use memod_client::{Literal, LiteralType};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple,
};

use crate::call::Hashed;
use crate::errors::{self, Unfit, kind_of};
use crate::file::{self, Stamp};
use crate::moment;
use crate::node::{Field, Node, Opaque, Sequence, Shape};

/// What is learned and decided while a call's values are converted.
#[derive(Debug, Default)]
pub(crate) struct Encoding {
    /// The files that were hashed.
    pub(crate) stamps: Vec<Stamp>,
    /// Whether an integer is no float: first of all when a member of a union is chosen.
    pub(crate) exact: bool,
    /// Whether a value may be given as [`Hashed`], as in a call by hand and in Flyte's literals.
    pub(crate) by_hand: bool,
    /// Whether neither files are read nor functions called: what they would tell is left out.
    pub(crate) shallow: bool,
}

impl Node {
    /// The literal for a value.
    pub(crate) fn encode(
        &self,
        value: &Bound<'_, PyAny>,
        to: &mut Encoding,
    ) -> Result<Literal, Unfit> {
        if to.by_hand
            && let Ok(hashed) = value.cast::<Hashed>()
        {
            return hashed.get().encode(self, value.py(), to);
        }
        if to.shallow && self.is_shallow(value) {
            return Ok(Literal::None);
        }
        match self {
            Self::None | Self::Optional(_) if value.is_none() => Ok(Literal::None),
            Self::Boolean => Ok(Literal::Boolean(boolean(value)?)),
            Self::Integer => Ok(Literal::Integer(integer(value)?)),
            Self::Float => Ok(Literal::Float(float(value, to.exact)?)),
            Self::String => Ok(Literal::String(text(value)?)),
            Self::Bytes(_) => Ok(Literal::Bytes(buffer(value)?)),
            Self::Datetime(true) | Self::Duration(true) if value.is_instance_of::<PyInt>() => {
                let nanoseconds = value.extract()?;
                Ok(match self {
                    Self::Datetime(_) => Literal::Datetime(nanoseconds),
                    _ => Literal::Duration(nanoseconds),
                })
            }
            Self::Datetime(_) => Ok(Literal::Datetime(moment::of_datetime(value)?)),
            Self::Date => Ok(Literal::Datetime(moment::of_date(value)?)),
            Self::Duration(_) => Ok(Literal::Duration(moment::of_duration(value)?)),
            Self::File(place) => file(value, place.is_none(), to),
            Self::List(sequence, inner) => list(value, *sequence, inner, to),
            Self::Map(inner) => map(value, inner, to),
            Self::Pairs(key, inner) => pairs(value, key, inner, to),
            Self::Struct(shape, fields) => structure(value, shape, fields, to),
            Self::Enum(class, _) => member(value, class.bind(value.py())),
            Self::Choice(names) => choice(value, names),
            Self::Optional(inner) => inner.encode(value, to),
            Self::Union(members) => union(value, members, to),
            Self::Opaque(opaque) => opaque_bytes(value, opaque),
            Self::Hashed(function, _, inner, _) => {
                hashed(value, function.bind(value.py()), inner.as_deref(), to)
            }
            Self::None => Err(wrong_kind(value, "None")),
        }
    }
}

impl Node {
    /// Whether nothing more is known of the value without reading a file or calling a function.
    fn is_shallow(&self, value: &Bound<'_, PyAny>) -> bool {
        let is_text = value.is_none() || value.is_instance_of::<PyString>();
        match self {
            Self::File(_) => !is_text,
            Self::Opaque(opaque) => opaque.format == "pickle" || !is_text,
            Self::Hashed(..) => true,
            _ => false,
        }
    }
}

/// A value is of another type than this one, which is declared.
pub(crate) fn wrong_kind(value: &Bound<'_, PyAny>, wanted: &str) -> Unfit {
    Unfit::new(format!("is {}, {wanted} is declared", kind_of(value)))
}

/// The Python value of a scalar of numpy's, if it is one.
fn of_numpy<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    // Whoever has such a value has imported numpy.
    let Ok(numpy) = modules.get_item(intern!(py, "numpy")) else { return Ok(None) };
    if !value.is_instance(&numpy.getattr(intern!(py, "generic"))?)? {
        return Ok(None);
    }
    let plain = value.call_method0(intern!(py, "item"))?;
    // Some have none, such as those of more bits than Python's float.
    Ok(Some(plain).filter(|plain| !plain.is(value) && !plain.get_type().is(value.get_type())))
}

/// The truth value.
pub(crate) fn boolean(value: &Bound<'_, PyAny>) -> Result<bool, Unfit> {
    if let Ok(boolean) = value.cast::<PyBool>() {
        return Ok(boolean.is_true());
    }
    let plain = of_numpy(value)?;
    match plain.as_ref().and_then(|plain| plain.cast::<PyBool>().ok()) {
        Some(boolean) => Ok(boolean.is_true()),
        None => Err(wrong_kind(value, "bool")),
    }
}

/// The integer of 64 bits.
pub(crate) fn integer(value: &Bound<'_, PyAny>) -> Result<i64, Unfit> {
    let (plain, is_integer);
    let integer = if value.is_instance_of::<PyInt>() {
        is_integer = !value.is_instance_of::<PyBool>();
        value
    } else {
        plain = of_numpy(value)?;
        let exact = plain.as_ref().filter(|plain| plain.is_exact_instance_of::<PyInt>());
        is_integer = exact.is_some();
        exact.unwrap_or(value)
    };
    if !is_integer {
        return Err(wrong_kind(value, "int"));
    }
    integer.extract().map_err(|_| Unfit::new("is an integer beyond 64 bits with sign"))
}

/// The float; an integer is none if it has to be exact.
pub(crate) fn float(value: &Bound<'_, PyAny>, exact: bool) -> Result<f64, Unfit> {
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(float.value());
    }
    let plain = if value.is_instance_of::<PyInt>() { None } else { of_numpy(value)? };
    let number = plain.as_ref().unwrap_or(value);
    if let Ok(float) = number.cast::<PyFloat>() {
        return Ok(float.value());
    }
    if exact || !number.is_instance_of::<PyInt>() || number.is_instance_of::<PyBool>() {
        return Err(wrong_kind(value, "float"));
    }
    number.extract().map_err(|_| Unfit::new("is an integer too large for a float"))
}

/// The text of a string.
pub(crate) fn text(value: &Bound<'_, PyAny>) -> Result<String, Unfit> {
    let string = value.cast::<PyString>().map_err(|_| wrong_kind(value, "str"))?;
    match string.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Unfit::new("has a lone surrogate, so it is no Unicode text")),
    }
}

/// The bytes of a value, without a copy if it is `bytes`.
pub(crate) fn buffer(value: &Bound<'_, PyAny>) -> Result<Bytes, Unfit> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Bytes::from_owner(PyBackedBytes::from(bytes.clone())));
    }
    let view = PyBuffer::<u8>::get(value).map_err(|_| wrong_kind(value, "bytes"))?;
    Ok(view.to_vec(value.py())?.into())
}

/// Refuses what holds no bytes.
pub(crate) fn row(value: &Bound<'_, PyAny>) -> Result<(), Unfit> {
    PyBuffer::<u8>::get(value).map(drop).map_err(|_| wrong_kind(value, "bytes"))
}

fn file(value: &Bound<'_, PyAny>, by_hand: bool, to: &mut Encoding) -> Result<Literal, Unfit> {
    let py = value.py();
    if by_hand && let Ok((digest, bytes)) = value.extract::<(String, u64)>() {
        let digest = digest.parse().map_err(|_| Unfit::new("is no digest of a file"))?;
        return Ok(Literal::File { digest, bytes });
    }
    if value.is_instance_of::<PyString>() {
        return Err(wrong_kind(value, "pathlib.Path"));
    }
    let path: PathBuf = value.extract().map_err(|_| wrong_kind(value, "pathlib.Path"))?;
    let (literal, stamp) = py.detach(|| file::hash(&path)).map_err(|error| {
        Unfit::new(format!("the file {} cannot be hashed: {error}", path.display()))
    })?;
    to.stamps.push(stamp);
    Ok(literal)
}

fn list(
    value: &Bound<'_, PyAny>,
    sequence: Sequence,
    inner: &Node,
    to: &mut Encoding,
) -> Result<Literal, Unfit> {
    let (is_one, wanted) = match sequence {
        Sequence::List => (value.is_instance_of::<PyList>(), "list"),
        Sequence::Either => {
            let either = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
            (either, "a list or tuple")
        }
        Sequence::Tuple => (value.is_instance_of::<PyTuple>(), "tuple"),
        Sequence::Set => (value.is_instance_of::<PySet>(), "set"),
        Sequence::EitherSet => {
            let either = value.is_instance_of::<PySet>() || value.is_instance_of::<PyFrozenSet>();
            (either, "a set or frozenset")
        }
        Sequence::Frozenset => (value.is_instance_of::<PyFrozenSet>(), "frozenset"),
    };
    if !is_one {
        return Err(wrong_kind(value, wanted));
    }
    let mut items = Vec::with_capacity(value.len()?);
    for (index, item) in value.try_iter()?.enumerate() {
        let literal = inner.encode(&item?, to);
        items.push(literal.map_err(|unfit| unfit.inside(&format!("[{index}]")))?);
    }
    if matches!(sequence, Sequence::Set | Sequence::EitherSet | Sequence::Frozenset) {
        return in_order(items, to.shallow, Literal::key_encoding);
    }
    Ok(Literal::List(items))
}

/// A list without an order of its own.
fn in_order(
    items: Vec<Literal>,
    shallow: bool,
    by: impl Fn(&Literal) -> Vec<u8>,
) -> Result<Literal, Unfit> {
    if shallow {
        return Ok(Literal::List(items));
    }
    let mut sorted = BTreeMap::new();
    for item in items {
        if sorted.insert(by(&item), item).is_some() {
            return Err(Unfit::new(
                "holds two elements that count as equal, as NaN does with every other NaN",
            ));
        }
    }
    Ok(Literal::List(sorted.into_values().collect()))
}

fn map(value: &Bound<'_, PyAny>, inner: &Node, to: &mut Encoding) -> Result<Literal, Unfit> {
    let dictionary = value.cast::<PyDict>().map_err(|_| wrong_kind(value, "dict"))?;
    let mut members = BTreeMap::new();
    for (key, item) in dictionary {
        let name = text(&key).map_err(|unfit| unfit.inside(", a key"))?;
        let literal = inner.encode(&item, to);
        let literal = literal.map_err(|unfit| unfit.inside(&format!("[{name:?}]")))?;
        if members.insert(name, literal).is_some() {
            return Err(Unfit::new("holds two keys of the same text"));
        }
    }
    Ok(Literal::Map(members))
}

fn pairs(
    value: &Bound<'_, PyAny>,
    key_node: &Node,
    inner: &Node,
    to: &mut Encoding,
) -> Result<Literal, Unfit> {
    let dictionary = value.cast::<PyDict>().map_err(|_| wrong_kind(value, "dict"))?;
    let mut members = Vec::with_capacity(dictionary.len());
    for (key, item) in dictionary {
        let name = key_node.encode(&key, to).map_err(|unfit| unfit.inside(", a key"))?;
        let literal = inner.encode(&item, to).map_err(|unfit| unfit.inside(", a value"))?;
        let pair = [("key".to_owned(), name), ("value".to_owned(), literal)];
        members.push(Literal::Struct(pair.into()));
    }
    in_order(members, to.shallow, |member| match member {
        Literal::Struct(pair) => pair.get("key").map(Literal::key_encoding).unwrap_or_default(),
        other => other.key_encoding(),
    })
}

fn structure(
    value: &Bound<'_, PyAny>,
    shape: &Shape,
    fields: &[Field],
    to: &mut Encoding,
) -> Result<Literal, Unfit> {
    let py = value.py();
    match shape {
        Shape::Attributes(class) => check_object(value, class.bind(py), fields)?,
        Shape::Items if !value.is_instance_of::<PyDict>() => return Err(wrong_kind(value, "dict")),
        Shape::Positions if !value.is_instance_of::<PyTuple>() => {
            return Err(wrong_kind(value, "tuple"));
        }
        Shape::Items | Shape::Positions => {
            let (given, declared) = (value.len()?, fields.len());
            if given != declared {
                let problem = format!("has {given} members, {declared} are declared");
                return Err(Unfit::new(problem));
            }
        }
    }
    let mut members = BTreeMap::new();
    for (index, field) in fields.iter().enumerate() {
        let item = shape.member(value, field.key.bind(py), index)?;
        let literal = field.node.encode(&item, to);
        let literal = literal.map_err(|unfit| unfit.inside(&format!(".{}", field.name)))?;
        members.insert(field.name.clone(), literal);
    }
    Ok(Literal::Struct(members))
}

/// Refuses an object of another class, be it a subclass: what that adds would be lost.
pub(crate) fn check_object(
    value: &Bound<'_, PyAny>,
    class: &Bound<'_, PyAny>,
    fields: &[Field],
) -> Result<(), Unfit> {
    if value.get_type().is(class) {
        return check_attributes(value, fields);
    }
    let wanted = class.getattr("__qualname__")?.extract::<String>()?;
    Err(wrong_kind(value, &wanted))
}

/// Refuses an object with attributes beside its fields: they do not count, and a hit lacks them.
/// What is computed from the fields when it is asked for may be there.
fn check_attributes(value: &Bound<'_, PyAny>, fields: &[Field]) -> Result<(), Unfit> {
    let py = value.py();
    let Some(attributes) = value.getattr_opt(intern!(py, "__dict__"))? else { return Ok(()) };
    let Ok(attributes) = attributes.cast_into::<PyDict>() else { return Ok(()) };
    let mut known = 0;
    for field in fields {
        known += usize::from(attributes.contains(field.key.bind(py))?);
    }
    if attributes.len() <= known {
        return Ok(());
    }
    let cached = py.import("functools")?.getattr("cached_property")?;
    for name in attributes.keys() {
        let is_field = fields.iter().any(|field| name.eq(field.key.bind(py)).unwrap_or(false));
        let of_class = match name.cast::<PyString>() {
            Ok(name) => value.get_type().getattr_opt(name)?,
            Err(_) => None,
        };
        if !is_field && !of_class.is_some_and(|of| of.is_instance(&cached).unwrap_or(false)) {
            return Err(Unfit::new(format!(
                "has the attribute `{name}`, which is no field, so it does not count and would be \
                 lost; make it one, as with field(init=False)"
            )));
        }
    }
    Ok(())
}

fn member(value: &Bound<'_, PyAny>, class: &Bound<'_, PyAny>) -> Result<Literal, Unfit> {
    if !value.is_instance(class)? {
        let wanted = class.getattr("__qualname__")?.extract::<String>()?;
        return Err(wrong_kind(value, &wanted));
    }
    Ok(Literal::Enum(value.getattr("name")?.extract()?))
}

fn choice(value: &Bound<'_, PyAny>, names: &BTreeSet<String>) -> Result<Literal, Unfit> {
    let name = text(value)?;
    if names.contains(&name) {
        return Ok(Literal::Enum(name));
    }
    let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(Unfit::new(format!("is {name:?}, which is none of {names}")))
}

/// The first member of a union that takes the value, with what it makes of it.
pub(crate) fn fitting<'a>(
    value: &Bound<'_, PyAny>,
    members: &'a [(LiteralType, Node)],
    to: &mut Encoding,
) -> Option<(&'a Node, Result<Literal, Unfit>)> {
    let (was_exact, stamps) = (to.exact, to.stamps.len());
    let mut fits = |exact: bool| {
        to.exact = exact;
        let fitting = members.iter().find_map(|(_, node)| {
            to.stamps.truncate(stamps);
            match node.encode(value, to) {
                Err(Unfit::Problem { .. }) => None,
                other => Some((node, other)),
            }
        });
        to.exact = was_exact;
        fitting
    };
    match fits(true) {
        None if !was_exact => fits(false),
        other => other,
    }
}

fn union(
    value: &Bound<'_, PyAny>,
    members: &[(LiteralType, Node)],
    to: &mut Encoding,
) -> Result<Literal, Unfit> {
    if let Some((_, literal)) = fitting(value, members, to) {
        return literal;
    }
    let types = members.iter().map(|(of, _)| of.to_string()).collect::<Vec<_>>().join(" or ");
    Err(Unfit::new(format!("is {}, and fits none of {types}", kind_of(value))))
}

fn opaque_bytes(value: &Bound<'_, PyAny>, opaque: &Opaque) -> Result<Literal, Unfit> {
    let bytes = match &opaque.functions {
        None => buffer(value)?,
        Some((to_bytes, _)) => {
            let to_bytes = to_bytes.bind(value.py());
            let made = to_bytes.call1((value,)).map_err(|error| told(value.py(), error, ""))?;
            buffer(&made)?
        }
    };
    Ok(Literal::Opaque { format: opaque.format.clone(), bytes })
}

/// What a function raised, as a problem of the value that it was given.
fn told(py: Python<'_>, error: PyErr, said: &str) -> Unfit {
    if !error.is_instance_of::<PyException>(py) {
        return Unfit::Raised(error);
    }
    let value = error.value(py);
    // One of memod's own says it all.
    let said = if errors::is_own(py, value) { "" } else { said };
    let kind = if said.is_empty() { String::new() } else { format!("{}: ", kind_of(value)) };
    Unfit::new(format!("{said}{kind}{value}"))
}

fn hashed(
    value: &Bound<'_, PyAny>,
    function: &Bound<'_, PyAny>,
    inner: Option<&Node>,
    to: &mut Encoding,
) -> Result<Literal, Unfit> {
    let said = "its hash function raised ";
    let given = function.call1((value,)).map_err(|error| told(value.py(), error, said))?;
    let hash = text(&given).map_err(|_| {
        Unfit::new(format!("its hash function gave {}, str is wanted", kind_of(&given)))
    })?;
    match inner {
        // An empty hash is none.
        Some(inner) if hash.is_empty() => inner.encode(value, to),
        None if hash.is_empty() => {
            Err(Unfit::new("its hash function gave nothing, and nothing else is known of it"))
        }
        _ => Ok(Literal::Hashed { hash, value: None }),
    }
}
