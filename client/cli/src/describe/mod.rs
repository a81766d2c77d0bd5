//! The call that flags describe.
//!
//! **Invariants.** A name that is given twice is an error. Values are taken as they are written:
//! plain text for types that are text, JSON for all others.
//!
//! **Does not** ask the daemon anything.

mod assignment;
mod files;
mod outputs;
mod value;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use memod_protocol::{Call, Interface, InvalidArgument, Literal, LiteralType, Scope, json};

use crate::args::{CallFlags, Screen};
use crate::exit::Failure;
use assignment::Assignment;
pub(crate) use files::input_file;
pub(crate) use outputs::Given;

/// The call of a lookup or a key: its outputs are declared, without values.
///
/// # Errors
/// The first flag that cannot be meant, named.
pub(crate) fn call(flags: &CallFlags, scope: &Scope) -> Result<Call, Failure> {
    let (mut call, from_json) = without_outputs(flags, scope)?;
    if from_json && !flags.output.is_empty() {
        return Err(Failure::usage("--output: the call of --call declares its outputs itself"));
    }
    for argument in &flags.output {
        let output = Assignment::parse(argument).map_err(|problem| wrong("output", &problem))?;
        if output.value.is_some() {
            let problem = format!("`{}` has a value, which only put takes", output.name);
            return Err(Failure::usage(format!("--output: {problem}")));
        }
        let of = declared_type("output", &output)?;
        insert("output", &mut call.interface.outputs, output.name, of)?;
    }
    call.identity()?;
    Ok(call)
}

/// The call of a put, with the values of its outputs.
///
/// # Errors
/// The first flag that cannot be meant, named.
pub(crate) fn put(flags: &CallFlags, scope: &Scope) -> Result<(Call, Vec<Given>), Failure> {
    let (mut call, from_json) = without_outputs(flags, scope)?;
    let mut given: BTreeMap<String, Given> = BTreeMap::new();
    for argument in &flags.output {
        let output = Assignment::parse(argument).map_err(|problem| wrong("output", &problem))?;
        let Some(value) = output.value.clone() else {
            let problem = format!("`{}` needs a value: NAME:TYPE=VALUE", output.name);
            return Err(Failure::usage(format!("--output: {problem}, or =@FILE")));
        };
        let of = if from_json {
            outputs::type_in_call(&call, &output)?
        } else {
            declared_type("output", &output)?
        };
        call.interface.outputs.insert(output.name.clone(), of.clone());
        let value = Given::new(&output.name, of, value)?;
        insert("output", &mut given, output.name, value)?;
    }
    if let Some(missing) = call.interface.outputs.keys().find(|name| !given.contains_key(*name)) {
        let problem = format!("output `{missing}` of the call has no value");
        return Err(Failure::usage(problem)
            .with_hint(format!("give it with --output {missing}=VALUE or =@FILE")));
    }
    let from_input = given.values().filter(|value| value.is_standard_input()).count();
    if from_input + usize::from(flags.call.as_deref() == Some(Path::new("-"))) > 1 {
        return Err(Failure::usage("standard input can be read only once"));
    }
    call.identity()?;
    Ok((call, given.into_values().collect()))
}

/// Warns of names that are ignored without being declared: harmless, but likely a slip.
pub(crate) fn warn_of_strangers(call: &Call, screen: Screen) {
    for name in ignored_strangers(call) {
        screen.warn(&format!("--ignore `{name}`: the call has no input of this name"));
    }
}

fn ignored_strangers(call: &Call) -> Vec<&str> {
    let stranger = |name: &&String| !call.interface.inputs.contains_key(*name);
    call.ignored.iter().filter(stranger).map(String::as_str).collect()
}

/// The call without the outputs of `--output`, and whether it came as JSON.
fn without_outputs(flags: &CallFlags, scope: &Scope) -> Result<(Call, bool), Failure> {
    let Some(path) = &flags.call else {
        return Ok((from_flags(flags, scope)?, false));
    };
    let others = [
        ("--task", flags.task.is_some()),
        ("--cache-version", flags.cache_version.is_some()),
        ("--input", !flags.input.is_empty()),
        ("--input-file", !flags.input_file.is_empty()),
        ("--input-hash", !flags.input_hash.is_empty()),
        ("--ignore", !flags.ignore.is_empty()),
    ];
    if let Some((flag, _)) = others.into_iter().find(|(_, is_given)| *is_given) {
        return Err(Failure::usage(format!("{flag} cannot be used beside --call")));
    }
    let text = files::text(path)?;
    let call = json::parse(&text)
        .and_then(|parsed| json::call(&parsed, scope))
        .map_err(|error| Failure::usage(format!("--call {}: {error}", path.display())))?;
    Ok((call, true))
}

fn from_flags(flags: &CallFlags, scope: &Scope) -> Result<Call, Failure> {
    let mut ignored = BTreeSet::new();
    for name in &flags.ignore {
        if !ignored.insert(name.clone()) {
            return Err(twice("ignore", name));
        }
    }
    let mut call = Call {
        scope: scope.clone(),
        task: required(flags.task.as_ref(), "task")?,
        cache_version: required(flags.cache_version.as_ref(), "cache-version")?,
        interface: Interface::default(),
        inputs: BTreeMap::new(),
        ignored,
    };
    for argument in &flags.input {
        let input = Assignment::parse(argument).map_err(|problem| wrong("input", &problem))?;
        let (of, value) = typed_input(&call, &input)?;
        add_input("input", &mut call, &input.name, of, value)?;
    }
    for argument in &flags.input_file {
        let (name, path) = Assignment::path(argument).map_err(|why| wrong("input-file", &why))?;
        let file = input_file(&path)?;
        let value = Literal::File { digest: file.digest, bytes: file.bytes };
        add_input("input-file", &mut call, &name, LiteralType::File, Some(value))?;
    }
    for argument in &flags.input_hash {
        let input = Assignment::parse(argument).map_err(|why| wrong("input-hash", &why))?;
        let of = input.literal_type.clone().unwrap_or(LiteralType::String);
        let hash = input.value.as_deref().and_then(std::ffi::OsStr::to_str).ok_or_else(|| {
            wrong("input-hash", &format!("`{}` has no hash: NAME[:TYPE]=HASH", input.name))
        })?;
        let value = Literal::Hashed { hash: hash.to_owned(), value: None };
        add_input("input-hash", &mut call, &input.name, of, Some(value))?;
    }
    Ok(call)
}

/// The type and the value of `--input`.
fn typed_input(call: &Call, input: &Assignment) -> Result<(LiteralType, Option<Literal>), Failure> {
    match (&input.literal_type, &input.value) {
        (Some(of), None) if call.ignored.contains(&input.name) => Ok((of.clone(), None)),
        (_, None) => {
            Err(wrong("input", &format!("`{}` has no value: NAME[:TYPE]=VALUE", input.name)))
        }
        (Some(of), Some(value)) => {
            let literal = value::typed(of, value).map_err(|error| named("input", input, &error))?;
            Ok((of.clone(), Some(literal)))
        }
        (None, Some(value)) => {
            let (of, literal) = value::inferred(value).map_err(|error| {
                let failure = named("input", input, &error);
                failure.with_hint(format!(
                    "without a type the value is JSON; for plain text write --input {}:string=..",
                    input.name
                ))
            })?;
            Ok((of, Some(literal)))
        }
    }
}

fn add_input(
    flag: &str,
    call: &mut Call,
    name: &str,
    of: LiteralType,
    value: Option<Literal>,
) -> Result<(), Failure> {
    insert(flag, &mut call.interface.inputs, name.to_owned(), of)?;
    if let Some(value) = value {
        call.inputs.insert(name.to_owned(), value);
    }
    Ok(())
}

fn insert<T>(
    flag: &str,
    members: &mut BTreeMap<String, T>,
    name: String,
    member: T,
) -> Result<(), Failure> {
    match members.entry(name) {
        Entry::Vacant(free) => {
            free.insert(member);
            Ok(())
        }
        Entry::Occupied(taken) => Err(twice(flag, taken.key())),
    }
}

fn declared_type(flag: &str, given: &Assignment) -> Result<LiteralType, Failure> {
    given
        .literal_type
        .clone()
        .ok_or_else(|| wrong(flag, &format!("`{}` needs a type: {}:TYPE", given.name, given.name)))
}

fn required(given: Option<&String>, flag: &str) -> Result<String, Failure> {
    given.cloned().ok_or_else(|| {
        Failure::usage(format!("--{flag} is missing"))
            .with_hint("describe the call with --task, --cache-version and --input, or with --call")
    })
}

fn twice(flag: &str, name: &str) -> Failure {
    wrong(flag, &format!("`{name}` is given twice"))
}

fn wrong(flag: &str, problem: &str) -> Failure {
    Failure::usage(format!("--{flag}: {problem}"))
}

/// A problem with a value, told with the name of what it was given for.
fn named(kind: &str, given: &Assignment, error: &InvalidArgument) -> Failure {
    let wanted = given.literal_type.as_ref().map(|of| format!(" of type {of}"));
    Failure::usage(format!("{kind} `{}`{}, {error}", given.name, wanted.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
