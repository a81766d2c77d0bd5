//! Calls for tests, in few words.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use memod_protocol::{
    Call, Interface, InterfaceText, Literal, LiteralType, Lookup, NewOutput, OutputSource, Put,
    Request, RunClaim, Scope,
};

/// Begins the call of a task with one string input `original` and one string output `o0`.
#[must_use]
pub fn call(task: &str) -> CallBuilder {
    let string = || LiteralType::String;
    CallBuilder(Call {
        scope: Scope::new("flytesnacks", "development"),
        task: task.to_owned(),
        cache_version: "1.0.0".to_owned(),
        interface: Interface {
            inputs: BTreeMap::from([("original".to_owned(), string())]),
            outputs: BTreeMap::from([("o0".to_owned(), string())]),
        },
        inputs: BTreeMap::from([("original".to_owned(), Literal::String("value".to_owned()))]),
        ignored: BTreeSet::new(),
    })
}

/// A call being described.
#[derive(Debug, Clone)]
pub struct CallBuilder(pub Call);

impl CallBuilder {
    /// In this scope.
    #[must_use]
    pub fn scope(mut self, project: &str, domain: &str) -> Self {
        self.0.scope = Scope::new(project, domain);
        self
    }

    /// With this cache version.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.0.cache_version);
        self
    }

    /// Without any input or output.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.0.interface = Interface::default();
        self.0.inputs.clear();
        self
    }

    /// With this input, declared by the type's text.
    ///
    /// # Panics
    /// If the text is no type.
    #[must_use]
    pub fn input(mut self, name: &str, literal_type: &str, value: Literal) -> Self {
        let parsed = literal_type.parse().expect("a type");
        self.0.interface.inputs.insert(name.to_owned(), parsed);
        self.0.inputs.insert(name.to_owned(), value);
        self
    }

    /// Declaring an input, by the type's text, without a value for it.
    ///
    /// # Panics
    /// If the text is no type.
    #[must_use]
    pub fn declare(mut self, name: &str, literal_type: &str) -> Self {
        let parsed = literal_type.parse().expect("a type");
        self.0.interface.inputs.insert(name.to_owned(), parsed);
        self
    }

    /// With this output, declared by the type's text.
    ///
    /// # Panics
    /// If the text is no type.
    #[must_use]
    pub fn output(mut self, name: &str, literal_type: &str) -> Self {
        let parsed = literal_type.parse().expect("a type");
        self.0.interface.outputs.insert(name.to_owned(), parsed);
        self
    }

    /// Ignoring this input.
    #[must_use]
    pub fn ignore(mut self, name: &str) -> Self {
        self.0.ignored.insert(name.to_owned());
        self
    }

    /// The lookup of the call.
    ///
    /// # Panics
    /// If the call is invalid.
    #[must_use]
    pub fn lookup(&self) -> Request {
        let call = self.0.identity().expect("a valid call");
        Request::Lookup(Lookup { call, max_age_ms: None })
    }

    /// The put of the call with these outputs inline, and their bytes.
    ///
    /// # Panics
    /// If the call is invalid.
    #[must_use]
    pub fn put(&self, outputs: &[(&str, &[u8])]) -> (Put, Bytes) {
        let put = Put {
            call: self.0.identity().expect("a valid call"),
            interface: InterfaceText::from(&self.0.interface),
            outputs: outputs
                .iter()
                .map(|(name, content)| NewOutput {
                    name: (*name).to_owned(),
                    bytes: content.len() as u64,
                    digest: None,
                    source: OutputSource::Inline,
                })
                .collect(),
            overwrite: false,
            max_age_ms: None,
            run: RunClaim { compute_ns: Some(2_000_000_000), ..RunClaim::default() },
        };
        let contents: Vec<&[u8]> = outputs.iter().map(|(_, content)| *content).collect();
        (put, contents.concat().into())
    }
}
