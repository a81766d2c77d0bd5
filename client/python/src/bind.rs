//! A function's parameters, and which value a call gives to each.
//!
//! **Invariants.** Defaults are bound, so a default that is left out and the same value given are
//! one call. Arguments that do not fit are not judged here: Python does when the function is
//! called with them.

use std::collections::BTreeMap;

use memod_client::{Literal, LiteralType};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::encode::Encoding;
use crate::errors::{self, Unfit};
use crate::node::{Node, parse_type};
use crate::plan::only_exceptions;
use crate::settle::As;

/// One parameter, or a variable that the function captures.
#[derive(Debug)]
pub(crate) struct Parameter {
    name: String,
    key: Py<PyString>,
    kind: Kind,
    default: Option<Py<PyAny>>,
    /// Its type in the signature; absent: it is not part of it.
    of: Option<LiteralType>,
    /// How its value is converted; absent: the value does not count.
    node: Option<Node>,
}

#[derive(Debug)]
enum Kind {
    PositionalOnly,
    Either,
    KeywordOnly,
    /// Captured: the cell that holds it.
    Cell(Py<PyAny>),
}

/// A call's arguments as the function is to be given them.
pub(crate) type Arguments = (Py<PyTuple>, Py<PyDict>);

/// The parameters of a function.
#[derive(Debug)]
pub(crate) struct Parameters {
    all: Vec<Parameter>,
    positional: usize,
}

impl Parameters {
    /// From tuples of name, kind, default (none or one), type and specification.
    pub(crate) fn from_specs(specs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut all = Vec::new();
        for spec in specs.try_iter()? {
            all.push(Parameter::from_spec(&spec?)?);
        }
        let is_positional =
            |parameter: &&Parameter| matches!(parameter.kind, Kind::PositionalOnly | Kind::Either);
        let positional = all.iter().take_while(is_positional).count();
        Ok(Self { all, positional })
    }

    /// The types of the inputs, by name.
    pub(crate) fn types(&self) -> BTreeMap<String, LiteralType> {
        let of = |one: &Parameter| Some((one.name.clone(), one.of.clone()?));
        self.all.iter().filter_map(of).collect()
    }

    /// A value for each parameter; nothing if the arguments do not fit.
    pub(crate) fn bind<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let py = args.py();
        let given = args.len();
        if given > self.positional {
            return Ok(None);
        }
        let mut named = 0;
        let mut values = Vec::with_capacity(self.all.len());
        for (index, parameter) in self.all.iter().enumerate() {
            let value = match &parameter.kind {
                Kind::Cell(cell) => Some(cell.bind(py).getattr("cell_contents")?),
                _ if index < given => Some(args.get_item(index)?),
                Kind::PositionalOnly => None,
                Kind::Either | Kind::KeywordOnly => match kwargs {
                    Some(kwargs) => {
                        kwargs.get_item(parameter.key.bind(py))?.inspect(|_| named += 1)
                    }
                    None => None,
                },
            };
            let default = || parameter.default.as_ref().map(|value| value.bind(py).clone());
            let Some(value) = value.or_else(default) else { return Ok(None) };
            values.push(value);
        }
        // A name that is unknown, or that was given by position as well.
        let fits = kwargs.is_none_or(|kwargs| kwargs.len() == named);
        Ok(fits.then_some(values))
    }

    /// The literals of the values that count.
    pub(crate) fn encode(
        &self,
        values: &[Bound<'_, PyAny>],
        inputs: &mut BTreeMap<String, Literal>,
        to: &mut Encoding,
    ) -> PyResult<()> {
        for (parameter, value) in self.all.iter().zip(values) {
            if let Some(node) = &parameter.node {
                let literal = parameter.literal(node, value, to).map_err(|unfit| {
                    unfit.into_exception(value.py(), &format!("input `{}`", parameter.name))
                })?;
                match inputs.get_mut(&parameter.name) {
                    Some(place) => *place = literal,
                    None => drop(inputs.insert(parameter.name.clone(), literal)),
                }
            }
        }
        Ok(())
    }

    /// The arguments as the function is to be given them, if they are not settled as they are. A
    /// value that cannot be stored is an error, or stays as it is if the call is not stored.
    pub(crate) fn settled(
        &self,
        py: Python<'_>,
        values: &[Py<PyAny>],
        is_stored: bool,
    ) -> PyResult<Option<Arguments>> {
        let mut differs = false;
        let mut positional = Vec::with_capacity(values.len());
        let named = PyDict::new(py);
        for (parameter, value) in self.all.iter().zip(values) {
            let value = value.bind(py);
            let settled = match parameter.settle(value, is_stored) {
                Err(error) if !is_stored => only_exceptions(py, error).map(|_| None)?,
                other => other?,
            };
            differs |= settled.is_some();
            let value = settled.unwrap_or_else(|| value.clone());
            match parameter.kind {
                Kind::PositionalOnly | Kind::Either => positional.push(value),
                Kind::KeywordOnly => named.set_item(parameter.key.bind(py), value)?,
                Kind::Cell(_) => {}
            }
        }
        let made = || Ok((PyTuple::new(py, positional)?.unbind(), named.unbind()));
        differs.then(made).transpose()
    }
}

impl Parameter {
    fn from_spec(spec: &Bound<'_, PyAny>) -> PyResult<Self> {
        type Spec<'py> =
            (Bound<'py, PyString>, String, Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);
        let (key, kind, default, of, node): Spec<'_> = spec.extract()?;
        let default = default.cast::<PyTuple>()?.get_item(0).ok();
        let (kind, default) = match (kind.as_str(), default) {
            ("positional", default) => (Kind::PositionalOnly, default),
            ("either", default) => (Kind::Either, default),
            ("keyword", default) => (Kind::KeywordOnly, default),
            ("cell", Some(cell)) => (Kind::Cell(cell.unbind()), None),
            (other, _) => {
                return Err(errors::invalid(spec.py(), &format!("no such parameter: {other}")));
            }
        };
        let node = if node.is_none() { None } else { Some(Node::from_spec(&node)?) };
        let of = match &node {
            Some(node) => Some(node.literal_type()),
            None if of.is_none() => None,
            None => Some(parse_type(&of)?),
        };
        let default = default.map(Bound::unbind);
        Ok(Self { name: key.to_string(), key: key.unbind(), kind, default, of, node })
    }

    fn literal(
        &self,
        node: &Node,
        value: &Bound<'_, PyAny>,
        to: &mut Encoding,
    ) -> Result<Literal, Unfit> {
        let literal = node.encode(value, to)?;
        // The function sees what it captures as it is.
        if matches!(self.kind, Kind::Cell(_)) && node.settle(value, As::Input)?.is_some() {
            return Err(Unfit::new(
                "has a form that does not count, and the function sees it; pass it as an argument",
            ));
        }
        Ok(literal)
    }

    fn settle<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        is_known: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(node) = &self.node else { return Ok(None) };
        let settled = node.settle(value, As::Input).and_then(|settled| {
            if settled.is_some() && !is_known {
                node.encode(value, &mut Encoding { shallow: true, ..Encoding::default() })?;
            }
            Ok(settled)
        });
        settled.map_err(|unfit| unfit.into_exception(value.py(), &format!("input `{}`", self.name)))
    }
}
