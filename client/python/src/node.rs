//! How values of one declared type are converted: a tree that is made once for a declaration.
//!
//! **Invariants.** A node and its [`LiteralType`] agree: what the node makes of a value is of that
//! type. The members of a union have different types, so that a stored value says which one it is.
//!
//! **Does not** read annotations: `memod.types` makes the specification, nested tuples whose first
//! item is one of the names in [`Node::from_spec`].

use std::collections::{BTreeMap, BTreeSet};

use memod_client::LiteralType;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::errors;

/// How values of one type are converted.
#[derive(Debug)]
pub(crate) enum Node {
    None,
    Boolean,
    Integer,
    Float,
    String,
    Bytes(Buffer),
    /// With `true`, nanoseconds since the epoch are taken, too.
    Datetime(bool),
    Date,
    /// With `true`, nanoseconds are taken, too.
    Duration(bool),
    /// The function gives the path at which an output is to be put; without one, it is described.
    File(Option<Py<PyAny>>),
    List(Sequence, Box<Node>),
    Map(Box<Node>),
    /// A dictionary whose keys are no strings: a list of structs `key`, `value`.
    Pairs(Box<Node>, Box<Node>),
    Struct(Shape, Vec<Field>),
    /// The class, and its members by name.
    Enum(Py<PyAny>, BTreeMap<String, Py<PyAny>>),
    /// One of these strings.
    Choice(BTreeSet<String>),
    Optional(Box<Node>),
    Union(Vec<(LiteralType, Node)>),
    Opaque(Opaque),
    /// The user's own hash function, how the value is converted where the hash is empty, and a
    /// function that gives the value as it is to be handed on, if not as it is.
    Hashed(Py<PyAny>, LiteralType, Option<Box<Node>>, Option<Py<PyAny>>),
}

/// What bytes are given back as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Buffer {
    Bytes,
    Bytearray,
    Memoryview,
}

/// What a list is in Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
    List,
    /// A list or a tuple; given back as a list.
    Either,
    Tuple,
    Set,
    /// A set or a frozenset; given back as a set.
    EitherSet,
    Frozenset,
}

/// What a struct is in Python.
#[derive(Debug)]
pub(crate) enum Shape {
    /// An object of this class: of a dataclass, or made with the fields as keyword arguments.
    Attributes(Py<PyAny>),
    /// A dictionary.
    Items,
    /// A tuple.
    Positions,
}

/// A field of a struct.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) key: Py<PyString>,
    pub(crate) node: Node,
}

/// Bytes in a format, and the Python functions that know it.
#[derive(Debug)]
pub(crate) struct Opaque {
    pub(crate) format: String,
    /// From a value to bytes, and back; without them, the value is bytes.
    pub(crate) functions: Option<(Py<PyAny>, Py<PyAny>)>,
    /// Gives the value as a hit does; without it, the value stays as it is.
    pub(crate) settle: Option<Py<PyAny>>,
}

impl Node {
    /// The node that a specification describes.
    pub(crate) fn from_spec(spec: &Bound<'_, PyAny>) -> PyResult<Self> {
        let spec = spec.cast::<PyTuple>()?;
        let item = |index: usize| spec.get_item(index);
        let inner = |index: usize| Ok::<_, PyErr>(Box::new(Self::from_spec(&item(index)?)?));
        let kind: String = item(0)?.extract()?;
        Ok(match kind.as_str() {
            "none" => Self::None,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "float" => Self::Float,
            "string" => Self::String,
            "bytes" => Self::Bytes(Buffer::named(&item(1)?)?),
            "datetime" => Self::Datetime(false),
            "date" => Self::Date,
            "duration" => Self::Duration(false),
            "file" => Self::File(Some(item(1)?.unbind())),
            "list" => Self::List(Sequence::named(&item(1)?)?, inner(2)?),
            "map" => Self::Map(inner(1)?),
            "pairs" => Self::Pairs(inner(1)?, inner(2)?),
            "struct" => Self::Struct(Shape::of(&item(1)?, &item(2)?)?, Field::all(&item(3)?)?),
            "enum" => Self::Enum(item(1)?.unbind(), item(2)?.extract()?),
            "choice" => Self::Choice(item(1)?.extract()?),
            "optional" => Self::Optional(inner(1)?),
            "union" => Self::union(&item(1)?)?,
            "opaque" => Self::Opaque(Opaque {
                format: item(1)?.extract()?,
                functions: Some((item(2)?.unbind(), item(3)?.unbind())),
                settle: item(4).ok().map(Bound::unbind),
            }),
            "hashed" => {
                let value = if item(3)?.is_none() { None } else { Some(inner(3)?) };
                let settle = item(4).ok().map(Bound::unbind);
                Self::Hashed(item(1)?.unbind(), parse_type(&item(2)?)?, value, settle)
            }
            other => {
                return Err(errors::invalid(spec.py(), &format!("no such conversion: {other}")));
            }
        })
    }

    fn union(specs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut members: Vec<(LiteralType, Self)> = Vec::new();
        for spec in specs.try_iter()? {
            let node = Self::from_spec(&spec?)?;
            let of = node.literal_type();
            if let Some((same, _)) = members.iter().find(|(known, _)| *known == of) {
                let problem = format!(
                    "two members of the union are stored as {same}, so it could not be told \
                     which one a stored value is"
                );
                return Err(errors::invalid(specs.py(), &problem));
            }
            if let Some((alike, _)) = members.iter().find(|(_, one)| one.is_mistaken_for(&node)) {
                let problem = format!(
                    "some values of two members of the union, {alike} and {of}, are stored alike, \
                     so it could not be told which one a stored value is; give fields other names, \
                     or declare one of the two"
                );
                return Err(errors::invalid(specs.py(), &problem));
            }
            members.push((of, node));
        }
        Ok(Self::Union(members))
    }

    /// The node for values that are described by a type alone, as calls by hand are.
    pub(crate) fn of_type(py: Python<'_>, of: &LiteralType) -> Self {
        let inner = |of: &LiteralType| Box::new(Self::of_type(py, of));
        match of {
            LiteralType::None => Self::None,
            LiteralType::Boolean => Self::Boolean,
            LiteralType::Integer => Self::Integer,
            LiteralType::Float => Self::Float,
            LiteralType::String => Self::String,
            LiteralType::Bytes => Self::Bytes(Buffer::Bytes),
            LiteralType::Datetime => Self::Datetime(true),
            LiteralType::Duration => Self::Duration(true),
            LiteralType::File => Self::File(None),
            LiteralType::List(of) => Self::List(Sequence::Either, inner(of)),
            LiteralType::Map(of) => Self::Map(inner(of)),
            LiteralType::Struct(fields) => {
                let field = |(name, of): (&String, &LiteralType)| Field {
                    name: name.clone(),
                    key: PyString::new(py, name).unbind(),
                    node: Self::of_type(py, of),
                };
                Self::Struct(Shape::Items, fields.iter().map(field).collect())
            }
            LiteralType::Enum(names) => Self::Choice(names.clone()),
            LiteralType::Optional(of) => Self::Optional(inner(of)),
            LiteralType::Union(members) => {
                Self::Union(members.iter().map(|of| (of.clone(), Self::of_type(py, of))).collect())
            }
            LiteralType::Opaque(format) => {
                Self::Opaque(Opaque { format: format.clone(), functions: None, settle: None })
            }
        }
    }

    /// The type of what this makes of a value.
    pub(crate) fn literal_type(&self) -> LiteralType {
        let boxed = |node: &Self| Box::new(node.literal_type());
        match self {
            Self::None => LiteralType::None,
            Self::Boolean => LiteralType::Boolean,
            Self::Integer => LiteralType::Integer,
            Self::Float => LiteralType::Float,
            Self::String => LiteralType::String,
            Self::Bytes(_) => LiteralType::Bytes,
            Self::Datetime(_) | Self::Date => LiteralType::Datetime,
            Self::Duration(_) => LiteralType::Duration,
            Self::File(_) => LiteralType::File,
            Self::List(_, inner) => LiteralType::List(boxed(inner)),
            Self::Map(inner) => LiteralType::Map(boxed(inner)),
            Self::Pairs(key, value) => {
                let fields = [("key", key), ("value", value)];
                let fields = fields.map(|(name, node)| (name.to_owned(), node.literal_type()));
                LiteralType::List(Box::new(LiteralType::Struct(fields.into())))
            }
            Self::Struct(_, fields) => LiteralType::Struct(
                fields
                    .iter()
                    .map(|field| (field.name.clone(), field.node.literal_type()))
                    .collect(),
            ),
            Self::Enum(_, members) => LiteralType::Enum(members.keys().cloned().collect()),
            Self::Choice(names) => LiteralType::Enum(names.clone()),
            Self::Optional(inner) => LiteralType::Optional(boxed(inner)),
            Self::Union(members) => {
                LiteralType::Union(members.iter().map(|(of, _)| of.clone()).collect())
            }
            Self::Opaque(opaque) => LiteralType::Opaque(opaque.format.clone()),
            Self::Hashed(_, of, ..) => of.clone(),
        }
    }
}

impl Buffer {
    fn named(name: &Bound<'_, PyAny>) -> PyResult<Self> {
        match name.extract::<String>()?.as_str() {
            "bytes" => Ok(Self::Bytes),
            "bytearray" => Ok(Self::Bytearray),
            "memoryview" => Ok(Self::Memoryview),
            other => Err(errors::invalid(name.py(), &format!("no such bytes: {other}"))),
        }
    }
}

impl Opaque {
    /// Whether both have the same functions.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.functions, &other.functions) {
            (Some((_, one)), Some((_, two))) => one.is(two),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Sequence {
    fn named(name: &Bound<'_, PyAny>) -> PyResult<Self> {
        match name.extract::<String>()?.as_str() {
            "list" => Ok(Self::List),
            "sequence" => Ok(Self::Either),
            "tuple" => Ok(Self::Tuple),
            "set" => Ok(Self::Set),
            "either set" => Ok(Self::EitherSet),
            "frozenset" => Ok(Self::Frozenset),
            other => Err(errors::invalid(name.py(), &format!("no such list: {other}"))),
        }
    }
}

impl Shape {
    fn of(name: &Bound<'_, PyAny>, class: &Bound<'_, PyAny>) -> PyResult<Self> {
        match name.extract::<String>()?.as_str() {
            "attributes" => Ok(Self::Attributes(class.clone().unbind())),
            "items" => Ok(Self::Items),
            "positions" => Ok(Self::Positions),
            other => Err(errors::invalid(name.py(), &format!("no such struct: {other}"))),
        }
    }
}

impl Field {
    /// From pairs of name and specification.
    pub(crate) fn all(pairs: &Bound<'_, PyAny>) -> PyResult<Vec<Self>> {
        let field = |pair: PyResult<Bound<'_, PyAny>>| {
            let (name, spec): (Bound<'_, PyString>, Bound<'_, PyAny>) = pair?.extract()?;
            let node = Node::from_spec(&spec)?;
            Ok(Self { name: name.to_string(), key: name.unbind(), node })
        };
        pairs.try_iter()?.map(field).collect()
    }
}

/// The type whose text this is.
pub(crate) fn parse_type(text: &Bound<'_, PyAny>) -> PyResult<LiteralType> {
    let given: String = text.extract()?;
    given.parse().map_err(|error| errors::from_argument(text.py(), &error))
}
