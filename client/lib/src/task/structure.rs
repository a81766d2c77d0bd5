//! What `#[derive(Literal)]` is made of: structs and enums, field by field.
//!
//! **Invariants.** A type that contains itself is an error, not an endless recursion.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use memod_protocol::{InvalidArgument, Literal, LiteralType};

use super::overlap::meet;
use super::typed::{FromLiteral, ToLiteral, Typed, inside, mismatch, put_output, unhashed, wrong};
use crate::outputs::PutOutput;

pub use super::typed::hit_output as output;

thread_local! {
    /// The types whose types are being found out.
    static OPEN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// The type of `T`, which is made of the types of others.
///
/// # Errors
/// If one of them is `T` again, or has no type.
pub fn named<T: ?Sized>(
    of: impl FnOnce() -> Result<LiteralType, InvalidArgument>,
) -> Result<LiteralType, InvalidArgument> {
    let name = std::any::type_name::<T>();
    let is_open = OPEN.with_borrow(|open| open.contains(&name));
    if is_open {
        return Err(wrong(format!("{name} contains itself, so it has no type of bounded size")));
    }
    OPEN.with_borrow_mut(|open| open.push(name));
    let made = of();
    OPEN.with_borrow_mut(Vec::pop);
    made
}

/// The type of a struct.
#[derive(Debug, Default)]
pub struct StructType {
    fields: BTreeMap<String, LiteralType>,
}

impl StructType {
    /// Without fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this field.
    ///
    /// # Errors
    /// If its type is none.
    pub fn field<T: Typed>(mut self, name: &str) -> Result<Self, InvalidArgument> {
        let of = T::literal_type().map_err(|error| field(name, error))?;
        self.fields.insert(name.to_owned(), of);
        Ok(self)
    }

    /// The type.
    ///
    /// # Errors
    /// None; so that it can stand for any expression that makes a type.
    pub fn end(self) -> Result<LiteralType, InvalidArgument> {
        Ok(LiteralType::Struct(self.fields))
    }

    /// The fields as outputs of their own.
    ///
    /// # Errors
    /// None.
    pub fn outputs(self) -> Result<BTreeMap<String, LiteralType>, InvalidArgument> {
        Ok(self.fields)
    }
}

/// The value of a struct.
#[derive(Debug, Default)]
pub struct StructValue {
    fields: BTreeMap<String, Literal>,
}

impl StructValue {
    /// Without fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this field.
    ///
    /// # Errors
    /// If the value has no literal.
    pub fn field<T: ToLiteral + ?Sized>(
        mut self,
        name: &str,
        value: &T,
    ) -> Result<Self, InvalidArgument> {
        let value = value.to_literal().map_err(|error| field(name, error))?;
        self.fields.insert(name.to_owned(), value);
        Ok(self)
    }

    /// The value.
    ///
    /// # Errors
    /// None.
    pub fn end(self) -> Result<Literal, InvalidArgument> {
        Ok(Literal::Struct(self.fields))
    }
}

/// The fields of a struct that is being read.
#[derive(Debug)]
pub struct Fields {
    left: BTreeMap<String, Literal>,
}

impl Fields {
    /// Those of this literal.
    ///
    /// # Errors
    /// If it is no struct.
    pub fn of(literal: Literal) -> Result<Self, InvalidArgument> {
        match unhashed(literal)? {
            Literal::Struct(left) => Ok(Self { left }),
            other => Err(mismatch("a struct", &other)),
        }
    }

    /// The value of this field.
    ///
    /// # Errors
    /// If there is none, or it is of another type.
    pub fn take<T: FromLiteral>(&mut self, name: &str) -> Result<T, InvalidArgument> {
        let value = self.left.remove(name).ok_or_else(|| wrong("is missing"));
        value.and_then(T::from_literal).map_err(|error| field(name, error))
    }

    /// Sees to it that no field is left over.
    ///
    /// # Errors
    /// If there is one.
    pub fn end(self) -> Result<(), InvalidArgument> {
        match self.left.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(field(&name, wrong("is not declared"))),
        }
    }
}

/// The outputs of a struct whose fields are outputs of their own.
#[derive(Debug, Default)]
pub struct Outputs {
    outputs: Vec<PutOutput>,
}

impl Outputs {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this one.
    ///
    /// # Errors
    /// If the value has no literal.
    pub fn output<T: ToLiteral>(mut self, name: &str, value: &T) -> Result<Self, InvalidArgument> {
        self.outputs.push(put_output(name, value)?);
        Ok(self)
    }

    /// All of them.
    ///
    /// # Errors
    /// None.
    pub fn end(self) -> Result<Vec<PutOutput>, InvalidArgument> {
        Ok(self.outputs)
    }
}

/// The type of an enum: that of its names if no variant holds anything, else a union in which a
/// variant that holds something is a struct with one field, named after it.
#[derive(Debug, Default)]
pub struct EnumType {
    units: BTreeSet<String>,
    others: BTreeSet<LiteralType>,
}

impl EnumType {
    /// Without variants.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variant that holds nothing.
    #[must_use]
    pub fn unit(mut self, name: &str) -> Self {
        self.units.insert(name.to_owned());
        self
    }

    /// With a variant that holds this.
    ///
    /// # Errors
    /// If what it holds has no type.
    pub fn holding(
        mut self,
        name: &str,
        of: Result<LiteralType, InvalidArgument>,
    ) -> Result<Self, InvalidArgument> {
        let of = of.map_err(|error| field(name, error))?;
        self.others.insert(LiteralType::Struct([(name.to_owned(), of)].into()));
        Ok(self)
    }

    /// With a variant that is what it holds, so that only the type tells it from others.
    ///
    /// # Errors
    /// If it has no type, or one that has values in common with another variant's.
    pub fn bare<T: Typed>(mut self, name: &str) -> Result<Self, InvalidArgument> {
        let of = T::literal_type().map_err(|error| field(name, error))?;
        if self.others.contains(&of) {
            return Err(field(name, wrong(format!("is {of}, as another untagged variant is"))));
        }
        if let Some(other) = self.others.iter().find(|other| meet(other, &of)) {
            return Err(field(
                name,
                wrong(format!(
                    "is {of}, which has values in common with {other}, another variant's"
                )),
            ));
        }
        self.others.insert(of);
        Ok(self)
    }

    /// The type.
    ///
    /// # Errors
    /// None.
    pub fn end(self) -> Result<LiteralType, InvalidArgument> {
        let Self { units, mut others } = self;
        if others.is_empty() {
            return Ok(LiteralType::Enum(units));
        }
        if !units.is_empty() {
            others.insert(LiteralType::Enum(units));
        }
        Ok(LiteralType::Union(others))
    }
}

/// The value of a variant that holds nothing.
///
/// # Errors
/// None.
pub fn unit(name: &str) -> Result<Literal, InvalidArgument> {
    Ok(Literal::Enum(name.to_owned()))
}

/// The value of a variant that holds this.
///
/// # Errors
/// If what it holds has no literal.
pub fn holding(
    name: &str,
    value: Result<Literal, InvalidArgument>,
) -> Result<Literal, InvalidArgument> {
    let value = value.map_err(|error| field(name, error))?;
    Ok(Literal::Struct([(name.to_owned(), value)].into()))
}

/// The name of the variant that is being read, and what it holds.
///
/// # Errors
/// If the literal is no variant.
pub fn variant(literal: Literal) -> Result<(String, Option<Literal>), InvalidArgument> {
    match unhashed(literal)? {
        Literal::Enum(name) => Ok((name, None)),
        Literal::Struct(mut fields) => match (fields.pop_first(), fields.is_empty()) {
            (Some((name, value)), true) => Ok((name, Some(value))),
            _ => Err(wrong("is a struct, one with a single field is wanted")),
        },
        other => Err(mismatch("a variant of an enum", &other)),
    }
}

/// The error for a variant that the enum does not have.
#[must_use]
pub fn no_variant(name: &str) -> InvalidArgument {
    wrong(format!("has no variant `{}` that holds this", name.escape_debug()))
}

/// Whether a literal is of the type of `T`.
///
/// # Errors
/// If `T` has no type.
pub fn is_of<T: Typed>(literal: &Literal) -> Result<bool, InvalidArgument> {
    Ok(T::literal_type()?.admits(literal))
}

/// The error for a literal that is no variant of an untagged enum.
#[must_use]
pub fn no_member(literal: &Literal) -> InvalidArgument {
    mismatch("a variant of an untagged enum", literal)
}

/// An error in the field of this name.
#[must_use]
pub fn field(name: &str, error: InvalidArgument) -> InvalidArgument {
    inside(&format!(".{name}"))(error)
}
