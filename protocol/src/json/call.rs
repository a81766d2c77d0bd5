//! Calls as JSON objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::marked::{inside, kind};
use super::{infer, read, write};
use crate::call::{Call, Interface, Scope};
use crate::error::InvalidArgument;
use crate::literal::Literal;
use crate::literal_type::LiteralType;
use crate::name::label;

type Object = Map<String, Value>;

const CALL_MEMBERS: &[&str] =
    &["project", "domain", "task", "cache_version", "inputs", "outputs", "ignore"];
const INPUT_MEMBERS: &[&str] = &["type", "value", "hash", "absent"];

/// See [`super::call()`].
pub(super) fn call(json: &Value, default_scope: &Scope) -> Result<Call, InvalidArgument> {
    let object = as_object("call", json)?;
    refuse_unknown("call", object, CALL_MEMBERS)?;
    let required = |name: &str| {
        text(object, name)?.ok_or_else(|| InvalidArgument::new(name, "is missing from the call"))
    };
    let mut call = Call {
        scope: Scope {
            project: text(object, "project")?.unwrap_or_else(|| default_scope.project.clone()),
            domain: text(object, "domain")?.unwrap_or_else(|| default_scope.domain.clone()),
        },
        task: required("task")?,
        cache_version: required("cache_version")?,
        interface: Interface::default(),
        inputs: BTreeMap::new(),
        ignored: ignored(object.get("ignore"))?,
    };
    for (name, input) in members(object, "inputs")?.into_iter().flatten() {
        let label = label("input", name);
        let (of, value) = read_input(&label, input, call.ignored.contains(name))?;
        call.interface.inputs.insert(name.clone(), of);
        if let Some(value) = value {
            call.inputs.insert(name.clone(), value);
        }
    }
    for (name, of) in members(object, "outputs")?.into_iter().flatten() {
        let label = label("output", name);
        call.interface.outputs.insert(name.clone(), read_type(&label, of)?);
    }
    Ok(call)
}

/// The type of an input, and its value unless it is absent or ignored.
fn read_input(
    label: &str,
    json: &Value,
    is_ignored: bool,
) -> Result<(LiteralType, Option<Literal>), InvalidArgument> {
    let wrong = |problem: &str| Err(InvalidArgument::new(label, problem));
    let object = as_object(label, json)?;
    refuse_unknown(label, object, INPUT_MEMBERS)?;
    let declared = object.get("type").map(|of| read_type(label, of)).transpose()?;
    let value = object.get("value");
    let hash = match object.get("hash") {
        None => None,
        Some(Value::String(hash)) if hash.is_empty() && value.is_none() => None,
        Some(Value::String(hash)) => Some(hash.clone()),
        Some(other) => return wrong(&format!("`hash` must be a string, not {}", kind(other))),
    };
    let is_absent = match object.get("absent") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) if value.is_none() && hash.is_none() => true,
        Some(Value::Bool(true)) => return wrong("is absent, so it has neither value nor hash"),
        Some(other) => return wrong(&format!("`absent` must be a boolean, not {}", kind(other))),
    };
    let of = match (declared, value) {
        (Some(declared), _) => declared,
        (None, Some(value)) => infer::infer(value).map_err(inside(&format!("{label}, ")))?,
        (None, None) => return wrong("needs a `type`, for there is no `value` to infer it from"),
    };
    let value = value
        .map(|value| read::literal(&of, value).map_err(inside(&format!("{label}, "))))
        .transpose()?;
    match (hash, value) {
        (None, None) if is_ignored || is_absent => Ok((of, None)),
        (None, None) => wrong("needs a `value` or a `hash`"),
        (None, Some(value)) => Ok((of, Some(value))),
        (Some(hash), value) => Ok((of, Some(Literal::Hashed { hash, value: value.map(Box::new) }))),
    }
}

fn read_type(label: &str, json: &Value) -> Result<LiteralType, InvalidArgument> {
    let Value::String(text) = json else {
        let problem = format!("must be the text of a type, not {}", kind(json));
        return Err(InvalidArgument::new(format!("{label}, type"), problem));
    };
    text.parse().map_err(inside(&format!("{label}, ")))
}

fn ignored(json: Option<&Value>) -> Result<BTreeSet<String>, InvalidArgument> {
    let wrong = |found: &Value| {
        InvalidArgument::new("ignore", format!("must be a list of names, not {}", kind(found)))
    };
    let Some(json) = json else { return Ok(BTreeSet::new()) };
    let names = json.as_array().ok_or_else(|| wrong(json))?;
    let name = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| wrong(item));
    names.iter().map(name).collect()
}

fn as_object<'a>(label: &str, json: &'a Value) -> Result<&'a Object, InvalidArgument> {
    json.as_object().ok_or_else(|| {
        InvalidArgument::new(label, format!("must be an object, not {}", kind(json)))
    })
}

fn members<'a>(object: &'a Object, name: &str) -> Result<Option<&'a Object>, InvalidArgument> {
    object.get(name).map(|members| as_object(name, members)).transpose()
}

fn text(object: &Object, name: &str) -> Result<Option<String>, InvalidArgument> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => {
            Err(InvalidArgument::new(name, format!("must be a string, not {}", kind(other))))
        }
    }
}

fn refuse_unknown(label: &str, object: &Object, known: &[&str]) -> Result<(), InvalidArgument> {
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(stranger) => Err(InvalidArgument::new(
            label,
            format!(
                "{} is unknown; known are {}",
                crate::name::label("member", stranger),
                known.join(", ")
            ),
        )),
    }
}

/// See [`super::call_to_json`].
pub(super) fn call_to_json(call: &Call) -> Value {
    let inputs: Object = call
        .interface
        .inputs
        .iter()
        .map(|(name, of)| (name.clone(), input_to_json(call, name, of)))
        .collect();
    let outputs: BTreeMap<&String, String> =
        call.interface.outputs.iter().map(|(name, of)| (name, of.to_string())).collect();
    json!({
        "project": call.scope.project,
        "domain": call.scope.domain,
        "task": call.task,
        "cache_version": call.cache_version,
        "inputs": inputs,
        "outputs": outputs,
        "ignore": call.ignored,
    })
}

fn input_to_json(call: &Call, name: &str, of: &LiteralType) -> Value {
    let text = of.to_string();
    match call.inputs.get(name) {
        Some(Literal::Hashed { hash, value: None }) => json!({"type": text, "hash": hash}),
        Some(Literal::Hashed { hash, value: Some(value) }) => {
            json!({"type": text, "value": write::typed(of, value), "hash": hash})
        }
        Some(value) => json!({"type": text, "value": write::typed(of, value)}),
        None if call.ignored.contains(name) => json!({"type": text}),
        None => json!({"type": text, "absent": true}),
    }
}
