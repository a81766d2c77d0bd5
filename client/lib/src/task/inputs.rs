//! The inputs of one call, being made into literals.

use std::collections::BTreeMap;

use memod_protocol::{InvalidArgument, Literal};

use super::typed::{ToLiteral, inside};

/// The inputs of one call. Keeps the first thing that is wrong.
#[derive(Debug)]
pub struct Inputs {
    made: Result<BTreeMap<String, Literal>, InvalidArgument>,
}

impl Inputs {
    pub(super) const fn new() -> Self {
        Self { made: Ok(BTreeMap::new()) }
    }

    /// With this value.
    #[must_use]
    pub fn value<T: ToLiteral + ?Sized>(self, name: &str, value: &T) -> Self {
        self.with(name, || value.to_literal())
    }

    /// With the user's own hash in place of this value (Flyte's `HashMethod`); an empty hash is
    /// none (semantics 9).
    #[must_use]
    pub fn hashed<T: ToLiteral + ?Sized>(
        self,
        name: &str,
        value: &T,
        hash: impl FnOnce() -> String,
    ) -> Self {
        self.with(name, || {
            let hash = hash();
            if hash.is_empty() {
                return value.to_literal();
            }
            Ok(Literal::Hashed { hash, value: None })
        })
    }

    fn with(mut self, name: &str, make: impl FnOnce() -> Result<Literal, InvalidArgument>) -> Self {
        if let Ok(made) = &mut self.made {
            match make() {
                Ok(literal) => {
                    made.insert(name.to_owned(), literal);
                }
                Err(error) => self.made = Err(inside(&format!("input `{name}`"))(error)),
            }
        }
        self
    }

    pub(super) fn end(self) -> Result<BTreeMap<String, Literal>, InvalidArgument> {
        self.made
    }
}
