//! A task as it is declared: everything about its calls but the values.
//!
//! **Invariants.** Made once, when the task is called first. What is wrong with it is kept and told
//! for every call, and the calls run without the cache (semantics 33, 34).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use memod_protocol::{
    Call, Digest, Interface, InvalidArgument, Literal, LiteralType, Scope, TaskIdentity,
};

use super::options::TaskOptions;
use super::typed::{Returned, Typed, inside};

/// The project of tasks that name none, unless `$MEMOD_PROJECT` does.
const PROJECT: &str = "default";
/// The domain of tasks that name none, unless `$MEMOD_DOMAIN` does.
const DOMAIN: &str = "development";

/// What has been declared in this process, and where.
static DECLARED: Mutex<BTreeMap<Identity, &str>> = Mutex::new(BTreeMap::new());

/// What must not be declared twice: two functions would be served each other's results.
type Identity = (Scope, String, String, Digest);

/// The name of a task that is given none: its module's and its function's, as Python writes them.
/// Programs of one project may have functions of one name, and no process sees both.
#[must_use]
pub fn qualified(module: &str, function: &str) -> String {
    let parts = module.split("::").chain([function]);
    let parts: Vec<_> = parts.map(|part| part.strip_prefix("r#").unwrap_or(part)).collect();
    parts.join(".")
}

/// A task as it is declared.
#[derive(Debug)]
pub struct Declaration {
    /// A call without values.
    call: Call,
    place: &'static str,
    wrong: Option<InvalidArgument>,
    /// What the calls share in the scope and version in which there was one last.
    identity: Mutex<Option<Arc<TaskIdentity>>>,
}

impl Declaration {
    /// The task of this name, declared at this place in the source.
    #[must_use]
    pub fn new(task: impl AsRef<str>, place: &'static str) -> Self {
        let variable = |name, default: &str| match std::env::var(name) {
            Ok(value) if !value.is_empty() => value,
            _ => default.to_owned(),
        };
        let call = Call {
            scope: Scope::new(variable("MEMOD_PROJECT", PROJECT), variable("MEMOD_DOMAIN", DOMAIN)),
            task: task.as_ref().to_owned(),
            cache_version: String::new(),
            interface: Interface::default(),
            inputs: BTreeMap::new(),
            ignored: BTreeSet::new(),
        };
        Self { call, place, wrong: None, identity: Mutex::default() }
    }

    /// In this project.
    #[must_use]
    pub fn project(mut self, project: impl AsRef<str>) -> Self {
        project.as_ref().clone_into(&mut self.call.scope.project);
        self
    }

    /// In this domain.
    #[must_use]
    pub fn domain(mut self, domain: impl AsRef<str>) -> Self {
        domain.as_ref().clone_into(&mut self.call.scope.domain);
        self
    }

    /// With this cache version.
    #[must_use]
    pub fn cache_version(mut self, version: impl AsRef<str>) -> Self {
        version.as_ref().clone_into(&mut self.call.cache_version);
        self
    }

    /// With this input.
    #[must_use]
    pub fn input<T: Typed>(mut self, name: &str) -> Self {
        let of = T::literal_type().map_err(inside(&format!("input `{name}`")));
        if let Some(of) = self.noted(of) {
            self.call.interface.inputs.insert(name.to_owned(), of);
        }
        self
    }

    /// With this input, whose value does not count.
    #[must_use]
    pub fn ignored<T: Typed>(mut self, name: &str) -> Self {
        self.call.ignored.insert(name.to_owned());
        self.input::<T>(name)
    }

    /// With the outputs of a function that returns this.
    #[must_use]
    pub fn returns<R: Returned>(mut self) -> Self {
        let types = <R::Value as Typed>::output_types().map_err(inside("output"));
        if let Some(types) = self.noted(types) {
            self.call.interface.outputs = types;
        }
        self
    }

    fn noted<T>(&mut self, outcome: Result<T, InvalidArgument>) -> Option<T> {
        match outcome {
            Ok(made) => Some(made),
            Err(error) => {
                self.wrong.get_or_insert(error);
                None
            }
        }
    }

    /// Looks whether everything is right.
    #[must_use]
    pub fn end(mut self) -> Self {
        if self.wrong.is_none() {
            self.wrong = self.check().err();
        }
        self
    }

    fn check(&self) -> Result<(), InvalidArgument> {
        let identity = self.call.identity()?;
        for (name, of) in &self.call.interface.outputs {
            if *of != LiteralType::File && holds_file(of) {
                return Err(InvalidArgument::new(
                    format!("output `{name}`"),
                    format!("is {of}; only an output by itself can be a file"),
                ));
            }
        }
        let identity = (identity.scope, identity.task, identity.cache_version, identity.signature);
        let mut declared = DECLARED.lock().unwrap_or_else(PoisonError::into_inner);
        match declared.entry(identity) {
            Entry::Vacant(vacant) => {
                vacant.insert(self.place);
                Ok(())
            }
            Entry::Occupied(other) if *other.get() == self.place => Ok(()),
            Entry::Occupied(other) => Err(InvalidArgument::new(
                "task",
                format!(
                    "`{}` is declared at {} too, with the same version and signature; give one \
                     of the two another name",
                    self.call.task.escape_debug(),
                    other.get()
                ),
            )),
        }
    }

    /// The task's name.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.call.task
    }

    /// What the calls of this task share that are in the scope and version of this one; nothing if
    /// that is wrong.
    pub(super) fn identity_of(&self, call: &Call) -> Option<Arc<TaskIdentity>> {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of = |known: &Arc<TaskIdentity>| {
            *known.scope() == call.scope && known.cache_version() == call.cache_version.trim()
        };
        if !identity.as_ref().is_some_and(is_of) {
            *identity = TaskIdentity::of(call).ok().map(Arc::new);
        }
        identity.clone()
    }

    /// A call of the task with these options and inputs.
    pub(super) fn call(
        &self,
        options: &TaskOptions,
        inputs: BTreeMap<String, Literal>,
    ) -> Result<Call, InvalidArgument> {
        if let Some(wrong) = &self.wrong {
            // A call that gives a version of its own is right whatever the declaration says.
            if wrong.field != "cache_version" || options.cache_version.is_none() {
                return Err(wrong.clone());
            }
        }
        let mut call = Call { inputs, ..self.call.clone() };
        let given = [
            (&options.project, &mut call.scope.project),
            (&options.domain, &mut call.scope.domain),
            (&options.cache_version, &mut call.cache_version),
        ];
        for (given, place) in given {
            if let Some(given) = given {
                given.clone_into(place);
            }
        }
        Ok(call)
    }
}

/// Whether values of this type have files in them.
fn holds_file(of: &LiteralType) -> bool {
    match of {
        LiteralType::File => true,
        LiteralType::List(inner) | LiteralType::Map(inner) | LiteralType::Optional(inner) => {
            holds_file(inner)
        }
        LiteralType::Struct(fields) => fields.values().any(holds_file),
        LiteralType::Union(members) => members.iter().any(holds_file),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn s4_what_is_remembered_of_a_task_is_that_of_the_calls_scope_and_version() {
        let declaration = Declaration::new("remembered", "here")
            .project("p")
            .domain("d")
            .cache_version(" 1 ")
            .input::<i64>("x")
            .returns::<i64>()
            .end();
        let others = [
            TaskOptions::new(),
            TaskOptions::new().project("q"),
            TaskOptions::new().domain("e"),
            TaskOptions::new().cache_version("2"),
            TaskOptions::new(),
        ];
        let mut keys = BTreeSet::new();
        for options in &others {
            for x in [1, 2] {
                let inputs = BTreeMap::from([("x".to_owned(), Literal::Integer(x))]);
                let call = declaration.call(options, inputs).unwrap();
                let identity = declaration.identity_of(&call).unwrap();
                let key = identity.know(&call).unwrap().key();
                assert_eq!(key, call.key().unwrap());
                keys.insert(key);
            }
        }
        assert_eq!(keys.len(), 2 * 4);
        let blank = TaskOptions::new().cache_version(" ");
        let call = declaration.call(&blank, BTreeMap::new()).unwrap();
        assert!(declaration.identity_of(&call).is_none());
    }
}
