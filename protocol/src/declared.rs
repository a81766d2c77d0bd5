//! A task's declaration that has been checked, with its signature.

use crate::call::{Call, Interface};
use crate::digest::Digest;
use crate::error::InvalidArgument;
use crate::name;

/// The name and the interface of a task, both good, with the signature that is theirs. Whoever has
/// many calls of a task hashed makes one of these, since the signature is half of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    task: String,
    interface: Interface,
    signature: Digest,
    /// The texts of the outputs' types, in ascending order of their names.
    output_types: Vec<String>,
}

impl Declared {
    /// Checks a declaration.
    ///
    /// # Errors
    /// If a name or a type is wrong; the error names the field.
    pub fn new(task: &str, interface: &Interface) -> Result<Self, InvalidArgument> {
        name::check("task", task)?;
        interface.check()?;
        Ok(Self {
            task: task.to_owned(),
            interface: interface.clone(),
            signature: interface.signature(task),
            output_types: interface.outputs.values().map(ToString::to_string).collect(),
        })
    }

    /// The signature of its calls.
    #[must_use]
    pub const fn signature(&self) -> Digest {
        self.signature
    }

    /// Whether it is this call's.
    #[must_use]
    pub fn is_of(&self, call: &Call) -> bool {
        self.task == call.task && self.interface == call.interface
    }

    /// The texts of the outputs' types, in ascending order of their names.
    #[must_use]
    pub fn output_types(&self) -> &[String] {
        &self.output_types
    }
}
