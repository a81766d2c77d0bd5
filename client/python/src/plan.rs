//! A declared task: how its calls become keys, and its outputs values.
//!
//! **Invariants.** Everything that a declaration decides is decided when the plan is made; a hit
//! is one call of [`Plan::recall`]. What is wrong with a call's values is told by the [`Recall`],
//! for the function has to run all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memod_client::{
    CacheStatus, HitOutput, Interface, KnownCall, Literal, LiteralType, MemoizeOptions, Mode,
    PutOutput, RunClaim, Scope, Source, TaskIdentity, Wait,
};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::bind::{Arguments, Parameters};
use crate::call::Call;
use crate::client::{Client, mode_named};
use crate::encode::Encoding;
use crate::errors::{self, Unfit, kind_of};
use crate::node::{Field, Node};
use crate::recall::{Asked, Recall};
use crate::settle::As;

/// Calls that are kept for the next ones, so that their names are not copied each time.
const SPARE_CALLS_MAX: usize = 16;
/// Bytes that are hashed sooner than the interpreter's lock is given up and taken again.
const SMALL_BYTES_MAX: usize = 4096;
/// The same of members.
const SMALL_ITEMS_MAX: usize = 16;

/// A declared task.
#[pyclass(frozen, module = "memod._memod")]
#[derive(Debug)]
pub(crate) struct Plan {
    parameters: Parameters,
    outputs: Outputs,
    /// A call without inputs, in the scope of the task or of nothing.
    template: memod_client::Call,
    project: Option<String>,
    domain: Option<String>,
    options: MemoizeOptions,
    /// Whether only what this user wrote is read.
    own_only: bool,
    /// Whether a value may be given as its user's own hash, at any depth.
    by_hand: bool,
    spare: Mutex<Vec<memod_client::Call>>,
    /// What the calls share in the scope in which there was one last.
    identity: Mutex<Option<Arc<TaskIdentity>>>,
}

/// What a function returns.
#[derive(Debug)]
struct Outputs {
    shape: Shape,
    fields: Vec<Field>,
}

#[derive(Debug)]
enum Shape {
    None,
    Single,
    Tuple,
    /// A named tuple of this class.
    Named(Py<PyAny>),
}

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (task, cache_version, parameters, outputs, *, project=None, domain=None,
        serialize=false, mode=None, max_age=None, task_version=None, execution=None, own_only=false,
        by_hand=false))]
    fn new(
        py: Python<'_>,
        task: String,
        cache_version: String,
        parameters: &Bound<'_, PyAny>,
        outputs: &Bound<'_, PyAny>,
        project: Option<String>,
        domain: Option<String>,
        serialize: bool,
        mode: Option<&str>,
        max_age: Option<f64>,
        task_version: Option<String>,
        execution: Option<String>,
        own_only: bool,
        by_hand: bool,
    ) -> PyResult<Self> {
        let parameters = Parameters::from_specs(parameters)?;
        let outputs = Outputs::from_spec(outputs)?;
        let interface = Interface { inputs: parameters.types(), outputs: outputs.types() };
        let scope = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        let template = memod_client::Call {
            scope: Scope::new(scope(&project), scope(&domain)),
            task,
            cache_version,
            interface,
            inputs: BTreeMap::new(),
            ignored: BTreeSet::new(),
        };
        let checked = template.identity().and_then(|_| check_texts(&template.interface));
        checked.map_err(|error| errors::from_argument(py, &error))?;
        let options = MemoizeOptions {
            mode: mode.map(|mode| mode_named(py, mode)).transpose()?,
            max_age: max_age.map(|age| seconds(py, "max_age", age)).transpose()?,
            run: RunClaim { task_version, execution, ..RunClaim::default() },
            serialize,
            wait: Wait::No,
        };
        options.run.check().map_err(|error| errors::from_argument(py, &error))?;
        let (spare, identity) = (Mutex::default(), Mutex::default());
        Ok(Self {
            parameters,
            outputs,
            template,
            project,
            domain,
            options,
            own_only,
            by_hand,
            spare,
            identity,
        })
    }

    /// The types of the inputs, by name.
    #[getter]
    fn input_types(&self) -> BTreeMap<String, String> {
        texts(&self.template.interface.inputs)
    }

    /// The types of the outputs, by name.
    #[getter]
    fn output_types(&self) -> BTreeMap<String, String> {
        texts(&self.template.interface.outputs)
    }

    /// Looks a call up. What is not a `Recall` is what the function returned once.
    #[pyo3(signature = (client, args, kwargs=None, mode=None, report=false))]
    fn recall<'py>(
        slf: &Bound<'py, Self>,
        client: &Bound<'py, Client>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        mode: Option<&str>,
        report: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mode = mode.map(|mode| mode_named(slf.py(), mode)).transpose()?;
        Self::look_up(slf, client, args, kwargs, mode, report)
    }

    /// The call with these arguments.
    ///
    /// Nothing if they do not fit.
    #[pyo3(signature = (client, args, kwargs=None))]
    fn call(
        &self,
        client: &Bound<'_, Client>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Option<Call>> {
        let Some(values) = self.parameters.bind(args, kwargs)? else { return Ok(None) };
        let mut call = self.call_of(client.get());
        self.parameters.encode(&values, &mut call.inputs, &mut self.encoding())?;
        Ok(Some(Call { call }))
    }
}

impl Plan {
    /// As `recall`.
    pub(crate) fn look_up<'py>(
        slf: &Bound<'py, Self>,
        client: &Bound<'py, Client>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        mode: Option<Mode>,
        report: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, plan, asks) = (slf.py(), slf.get(), client.get());
        let mode = mode.or(plan.options.mode).unwrap_or_else(|| asks.inner.mode());
        let Some(values) = plan.parameters.bind(args, kwargs)? else {
            let status = if mode == Mode::Disabled { "DISABLED" } else { "LOOKUP_FAILURE" };
            return Recall::aside(slf, status, None);
        };
        if mode == Mode::Disabled {
            return Recall::unfit(slf, CacheStatus::Disabled.name(), None, &unbound(values));
        }
        let mut to = plan.encoding();
        let mut call = plan.call_of(asks);
        if let Err(error) = plan.parameters.encode(&values, &mut call.inputs, &mut to) {
            let problem = Some(only_exceptions(py, error)?);
            return Recall::unfit(slf, "LOOKUP_FAILURE", problem, &unbound(values));
        }
        let identity = plan.identity_of(&call);
        let known = identity.as_deref().and_then(|identity| know(py, identity, &call));
        if let Some(known) = known.as_ref().filter(|_| mode.reads() && !report)
            && let Some(value) = plan.glance(py, asks, known)?
        {
            plan.keep(call);
            return Ok(value);
        }
        let options = MemoizeOptions { mode: Some(mode), ..plan.options.clone() };
        let recall = py.detach(|| match &known {
            Some(known) => asks.inner.recall_known(known, &options),
            // What is wrong with the call is told.
            None => asks.inner.recall(&call, &options),
        });
        let asked = Asked {
            plan: slf.clone().unbind(),
            client: client.clone().unbind(),
            values: unbound(values),
            call,
            options,
            stamps: to.stamps,
            report,
            process: std::process::id(),
        };
        Recall::told(py, asked, recall)
    }

    /// What the function returned, if that can be had without asking the daemon. An entry that
    /// cannot be read is asked for, so that it is told and replaced.
    fn glance<'py>(
        &self,
        py: Python<'py>,
        client: &Client,
        known: &KnownCall<'_>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(hit) = client.inner.glance(known, self.options.max_age) else { return Ok(None) };
        let writer = Some(hit.provenance.writer_uid);
        match self.decode(py, &hit.outputs, writer, client.own_uid) {
            Ok(value) => Ok(Some(value)),
            Err(error) => only_exceptions(py, error).map(|_| None),
        }
    }

    /// What the calls of this task in the scope of this one share; nothing if that is wrong.
    fn identity_of(&self, call: &memod_client::Call) -> Option<Arc<TaskIdentity>> {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if identity.as_ref().is_none_or(|identity| *identity.scope() != call.scope) {
            *identity = TaskIdentity::of(call).ok().map(Arc::new);
        }
        identity.clone()
    }

    fn encoding(&self) -> Encoding {
        Encoding { by_hand: self.by_hand, ..Encoding::default() }
    }

    /// A call without inputs in the scope of the task or of the client.
    fn call_of(&self, client: &Client) -> memod_client::Call {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut call = spare.unwrap_or_else(|| self.template.clone());
        let set = |place: &mut String, name: &str| {
            if *place != name {
                name.clone_into(place);
            }
        };
        set(&mut call.scope.project, self.project.as_ref().unwrap_or(&client.project));
        set(&mut call.scope.domain, self.domain.as_ref().unwrap_or(&client.domain));
        call
    }

    /// Keeps a call for the next one.
    pub(crate) fn keep(&self, mut call: memod_client::Call) {
        // Values may be large; names are those of the next call, too.
        call.inputs.values_mut().for_each(|value| *value = Literal::None);
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_CALLS_MAX {
            spare.push(call);
        }
    }

    /// What the function returned whose outputs these are.
    pub(crate) fn decode<'py>(
        &self,
        py: Python<'py>,
        outputs: &[HitOutput],
        writer_uid: Option<u32>,
        own_uid: u32,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.own_only && writer_uid != Some(own_uid) {
            let problem = "it was written by another user, and reading it could run their code";
            return Err(errors::invalid(py, problem));
        }
        self.outputs.decode(py, outputs)
    }

    /// The arguments with which the function is called, if not with those that were given.
    pub(crate) fn settled(
        &self,
        py: Python<'_>,
        values: &[Py<PyAny>],
        is_stored: bool,
    ) -> PyResult<Option<Arguments>> {
        if self.by_hand { Ok(None) } else { self.parameters.settled(py, values, is_stored) }
    }

    /// What the function returned as a hit gives it, if that differs.
    pub(crate) fn settled_return<'py>(
        &self,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let settled = self.outputs.settle(value)?;
        if settled.is_some() {
            // What is refused is given back untouched.
            let mut shallow = Encoding { shallow: true, ..Encoding::default() };
            self.outputs.encode(value, &mut shallow)?;
        }
        Ok(settled)
    }

    /// The outputs for what the function returned.
    pub(crate) fn encode(&self, value: &Bound<'_, PyAny>) -> PyResult<Vec<PutOutput>> {
        self.outputs.encode(value, &mut Encoding::default())
    }
}

/// Makes a call known; nothing if something is wrong with it. What takes a while to hash is hashed
/// without the interpreter's lock.
fn know<'a>(
    py: Python<'_>,
    identity: &'a TaskIdentity,
    call: &'a memod_client::Call,
) -> Option<KnownCall<'a>> {
    if call.inputs.values().all(is_small) {
        return identity.know(call).ok();
    }
    py.detach(|| identity.know(call)).ok()
}

fn is_small(value: &Literal) -> bool {
    match value {
        Literal::String(text) => text.len() <= SMALL_BYTES_MAX,
        Literal::Bytes(bytes) | Literal::Opaque { bytes, .. } => bytes.len() <= SMALL_BYTES_MAX,
        Literal::List(items) => items.len() <= SMALL_ITEMS_MAX && items.iter().all(is_small),
        Literal::Map(members) | Literal::Struct(members) => {
            members.len() <= SMALL_ITEMS_MAX && members.values().all(is_small)
        }
        _ => true,
    }
}

fn unbound(values: Vec<Bound<'_, PyAny>>) -> Vec<Py<PyAny>> {
    values.into_iter().map(Bound::unbind).collect()
}

/// An exception that is the cache's own affair; those that end programs go on.
pub(crate) fn only_exceptions(py: Python<'_>, error: PyErr) -> PyResult<PyErr> {
    if error.is_instance_of::<PyException>(py) { Ok(error) } else { Err(error) }
}

impl Outputs {
    fn from_spec(spec: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (shape, class, fields): (String, Bound<'_, PyAny>, Bound<'_, PyAny>) =
            spec.extract()?;
        let shape = match shape.as_str() {
            "none" => Shape::None,
            "single" => Shape::Single,
            "tuple" => Shape::Tuple,
            "named" => Shape::Named(class.unbind()),
            other => {
                return Err(errors::invalid(spec.py(), &format!("no such outputs: {other}")));
            }
        };
        Ok(Self { shape, fields: Field::all(&fields)? })
    }

    fn types(&self) -> BTreeMap<String, LiteralType> {
        let of = |field: &Field| (field.name.clone(), field.node.literal_type());
        self.fields.iter().map(of).collect()
    }

    fn decode<'py>(&self, py: Python<'py>, outputs: &[HitOutput]) -> PyResult<Bound<'py, PyAny>> {
        let mut values = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let output = outputs.iter().find(|output| output.name == field.name);
            // The client has compared names and types with those that are declared.
            let output = output.expect("a hit has the outputs that its call declares");
            values.push(field.node.decode_output(py, output)?);
        }
        match &self.shape {
            Shape::None => Ok(py.None().into_bound(py)),
            Shape::Single => Ok(values.pop().expect("there is one field")),
            Shape::Tuple => Ok(PyTuple::new(py, values)?.into_any()),
            Shape::Named(class) => class.bind(py).call1(PyTuple::new(py, values)?),
        }
    }

    fn settle<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = value.py();
        let settle = |field: &Field, value: &Bound<'py, PyAny>| {
            let label = || format!("output `{}`", field.name);
            field.node.settle(value, As::Output).map_err(|unfit| unfit.into_exception(py, &label()))
        };
        let mut differs = match (&self.shape, self.fields.first()) {
            (Shape::Single, Some(field)) => return settle(field, value),
            (Shape::Tuple, _) => !value.is_exact_instance_of::<PyTuple>(),
            (Shape::Named(class), _) => !value.get_type().is(class),
            _ => return Ok(None),
        };
        let mut members = Vec::with_capacity(self.fields.len());
        for (field, item) in self.fields.iter().zip(value.try_iter()?) {
            let item = item?;
            let settled = settle(field, &item)?;
            differs |= settled.is_some();
            members.push(settled.unwrap_or(item));
        }
        if !differs {
            return Ok(None);
        }
        let members = PyTuple::new(py, members)?;
        match &self.shape {
            Shape::Named(class) => class.bind(py).call1(members).map(Some),
            _ => Ok(Some(members.into_any())),
        }
    }

    /// Refuses what is no tuple of as many members, and one with attributes that would be lost.
    fn check_tuple(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, declared) = (value.py(), self.fields.len());
        let refused = |given: &str| {
            let problem =
                format!("the function returned {given}, a tuple of {declared} is declared");
            Err(errors::invalid(py, &problem))
        };
        if !value.is_instance_of::<PyTuple>() {
            return refused(&kind_of(value));
        }
        if value.len()? != declared {
            return refused(&format!("{} of {}", kind_of(value), value.len()?));
        }
        match value.getattr_opt("__dict__")? {
            Some(attributes) if attributes.is_truthy()? => {
                refused(&format!("{} with attributes that would be lost", kind_of(value)))
            }
            _ => Ok(()),
        }
    }

    fn encode(&self, value: &Bound<'_, PyAny>, to: &mut Encoding) -> PyResult<Vec<PutOutput>> {
        let py = value.py();
        match &self.shape {
            Shape::None if value.is_none() => Ok(Vec::new()),
            Shape::Single => self.fields.iter().map(|field| output(field, value, to)).collect(),
            Shape::Tuple | Shape::Named(_) => {
                self.check_tuple(value)?;
                let pairs = self.fields.iter().zip(value.try_iter()?);
                pairs.map(|(field, item)| output(field, &item?, to)).collect()
            }
            Shape::None => {
                let problem = format!("the function returned {}, None is declared", kind_of(value));
                Err(errors::invalid(py, &problem))
            }
        }
    }
}

/// One output of a run.
fn output(field: &Field, value: &Bound<'_, PyAny>, to: &mut Encoding) -> PyResult<PutOutput> {
    let py = value.py();
    let source = match &field.node {
        Node::File(_) if value.is_instance_of::<pyo3::types::PyString>() => {
            Err(Unfit::new("is str, pathlib.Path is declared"))
        }
        Node::File(_) => Ok(Source::File(value.extract()?)),
        node => node.encode(value, to).map(Source::Literal),
    };
    let label = || format!("output `{}`", field.name);
    Ok(PutOutput {
        name: field.name.clone(),
        literal_type: field.node.literal_type(),
        source: source.map_err(|unfit| unfit.into_exception(py, &label()))?,
    })
}

/// A type travels as text, which has a bound.
fn check_texts(interface: &Interface) -> Result<(), memod_client::InvalidArgument> {
    let mut types = interface.inputs.values().chain(interface.outputs.values());
    types.try_for_each(|of| of.to_string().parse::<LiteralType>().map(drop))
}

fn texts(types: &BTreeMap<String, LiteralType>) -> BTreeMap<String, String> {
    types.iter().map(|(name, of)| (name.clone(), of.to_string())).collect()
}

/// A span of time that Python gives in seconds.
pub(crate) fn seconds(py: Python<'_>, name: &str, given: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given)
        .map_err(|_| errors::invalid(py, &format!("{name}: {given} s is no span of time")))
}
