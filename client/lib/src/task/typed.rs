//! What a task may take and return: types whose values are literals of one type.
//!
//! **Invariants.** The type is known without a value, so a signature is the same for every call.
//! A value that is written and read back is the same value, or reading it is an error.
//!
//! The hidden methods are how elements, outputs and files differ from plain values without a
//! second trait for each: a list of bytes is `bytes` and not `list<integer>`, a tuple that is
//! returned is several outputs, a file's content is an output's content.

use std::collections::BTreeMap;

use memod_protocol::{InvalidArgument, Literal, LiteralType};

use crate::content::HitOutput;
use crate::error::Error;
use crate::outputs::{PutOutput, Source};

/// A type with a type of literal.
///
/// Implemented for what stands in the table of [`mod@crate::task`], and by `#[derive(Literal)]`. A
/// type that has none cannot be an argument of a task, not even one that is ignored:
///
/// ```compile_fail,E0277
/// #[memod_client::task(cache_version = "1")]
/// fn is_there(path: std::path::PathBuf) -> bool { path.exists() }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no type that memod knows",
    label = "the signature of a task is made of types that memod knows",
    note = "derive `memod_client::Literal` for a struct or an enum of your own",
    note = "a file that counts by its content is a `memod_client::File`; a path that counts as \
            text is a `String`"
)]
pub trait Typed {
    /// The type of all its values.
    ///
    /// # Errors
    /// If it has none: a type that contains itself.
    fn literal_type() -> Result<LiteralType, InvalidArgument>;

    /// The type of a list of its values.
    #[doc(hidden)]
    fn list_type() -> Result<LiteralType, InvalidArgument> {
        Ok(LiteralType::List(Box::new(Self::literal_type()?)))
    }

    /// Names and types of the outputs of a task that returns such a value.
    #[doc(hidden)]
    fn output_types() -> Result<BTreeMap<String, LiteralType>, InvalidArgument> {
        Ok(BTreeMap::from([(output_name(0), Self::literal_type()?)]))
    }
}

/// A type whose values can be written as literals: what a task may take.
#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` cannot be made into a literal",
    label = "memod tells calls apart by the literals of their inputs",
    note = "derive `memod_client::Literal` for a struct or an enum of your own",
    note = "an input that does not matter is named in `ignore(..)`"
)]
pub trait ToLiteral: Typed {
    /// The value as a literal of [`Typed::literal_type`].
    ///
    /// # Errors
    /// If there is none: an integer beyond 64 bits, a file that is not there. The error's field
    /// names the place inside the value, such as `[3].name`, and is empty for the value itself.
    fn to_literal(&self) -> Result<Literal, InvalidArgument>;

    /// A list of values.
    #[doc(hidden)]
    fn list_to_literal(items: &[Self]) -> Result<Literal, InvalidArgument>
    where
        Self: Sized,
    {
        list(items)
    }

    /// The value as an output by itself.
    #[doc(hidden)]
    fn to_source(&self) -> Result<Source, InvalidArgument> {
        self.to_literal().map(Source::Literal)
    }

    /// The outputs of a task that has returned this.
    #[doc(hidden)]
    fn to_outputs(&self) -> Result<Vec<PutOutput>, InvalidArgument> {
        Ok(vec![put_output(&output_name(0), self)?])
    }
}

/// A type whose values can be read from literals: with [`ToLiteral`], what a task may return.
#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` cannot be read back from what is stored",
    label = "a task returns values that own what they consist of",
    note = "derive `memod_client::Literal` for a struct or an enum of your own",
    note = "return `String` in place of `&str`, and `Vec<u8>` or `Bytes` in place of `&[u8]`"
)]
pub trait FromLiteral: Typed + Sized {
    /// The value of a literal of [`Typed::literal_type`].
    ///
    /// # Errors
    /// If the literal is of another type, or this type cannot hold it.
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument>;

    /// The values of a list.
    #[doc(hidden)]
    fn list_from_literal(literal: Literal) -> Result<Vec<Self>, InvalidArgument> {
        match unhashed(literal)? {
            Literal::List(items) => {
                let read =
                    |(index, item)| Self::from_literal(item).map_err(inside(&item_at(index)));
                items.into_iter().enumerate().map(read).collect()
            }
            other => Err(mismatch("a list", &other)),
        }
    }

    /// The value of an output by itself.
    #[doc(hidden)]
    fn from_output(output: &HitOutput) -> Result<Self, Error> {
        Ok(Self::from_literal(output.literal()?)?)
    }

    /// The value of a task with these outputs.
    #[doc(hidden)]
    fn from_outputs(outputs: &[HitOutput]) -> Result<Self, Error> {
        hit_output(&output_name(0), outputs)
    }
}

/// What a task's function may return: a value, or a `Result` with one.
///
/// An error is passed on as it is and never stored. What borrows cannot be read back:
///
/// ```compile_fail,E0277
/// #[memod_client::task(cache_version = "1")]
/// fn name(n: i64) -> &'static str { if n > 0 { "yes" } else { "no" } }
/// ```
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "memod cannot store this and read it back",
    note = "a task returns a type that memod knows, or a `Result` with one",
    note = "derive `memod_client::Literal` for a struct or an enum of your own",
    note = "return `String` in place of `&str`, and `Vec<u8>` or `Bytes` in place of `&[u8]`"
)]
pub trait Returned {
    /// What is stored.
    type Value: ToLiteral + FromLiteral;
    /// What is passed on.
    type Error;

    /// The one or the other.
    ///
    /// # Errors
    /// What the function returned as an error.
    fn into_result(self) -> Result<Self::Value, Self::Error>;

    /// The inverse.
    fn from_result(result: Result<Self::Value, Self::Error>) -> Self;
}

impl<T: ToLiteral + FromLiteral> Returned for T {
    type Value = T;
    type Error = std::convert::Infallible;

    fn into_result(self) -> Result<T, Self::Error> {
        Ok(self)
    }

    fn from_result(result: Result<T, Self::Error>) -> Self {
        let Ok(value) = result;
        value
    }
}

impl<T: ToLiteral + FromLiteral, E> Returned for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_result(self) -> Self {
        self
    }

    fn from_result(result: Self) -> Self {
        result
    }
}

/// The name of the output at a position, as Flyte names those that have none.
pub(super) fn output_name(position: usize) -> String {
    format!("o{position}")
}

/// A value as the output of this name.
pub(super) fn put_output<T: ToLiteral + ?Sized>(
    name: &str,
    value: &T,
) -> Result<PutOutput, InvalidArgument> {
    let source = value.to_source().map_err(inside(&format!("output `{name}`")))?;
    Ok(PutOutput { name: name.to_owned(), literal_type: T::literal_type()?, source })
}

/// The value of the output of this name.
///
/// # Errors
/// If there is none, or it is of another type.
pub fn hit_output<T: FromLiteral>(name: &str, outputs: &[HitOutput]) -> Result<T, Error> {
    let found = outputs.iter().find(|output| output.name == name);
    let output = found.ok_or_else(|| {
        InvalidArgument::new(format!("output `{name}`"), "is not among those that are stored")
    })?;
    T::from_output(output).map_err(|error| match error {
        Error::Invalid(error) => Error::Invalid(inside(&format!("output `{name}`"))(error)),
        other => other,
    })
}

/// Values as a list, whatever they are.
pub(super) fn list<'a, T: ToLiteral + 'a>(
    items: impl IntoIterator<Item = &'a T>,
) -> Result<Literal, InvalidArgument> {
    let write = |(index, item): (usize, &T)| item.to_literal().map_err(inside(&item_at(index)));
    let items: Result<_, _> = items.into_iter().enumerate().map(write).collect();
    Ok(Literal::List(items?))
}

/// An item's place in an error.
pub(super) fn item_at(index: usize) -> String {
    format!("[{index}]")
}

/// Puts a place in front of an error's.
pub(super) fn inside(place: &str) -> impl Fn(InvalidArgument) -> InvalidArgument + '_ {
    move |mut error| {
        error.field.insert_str(0, place);
        error
    }
}

/// What is wrong with the value itself.
pub(super) fn wrong(problem: impl Into<String>) -> InvalidArgument {
    InvalidArgument::new("", problem)
}

/// The error for a literal of another kind.
pub(super) fn mismatch(wanted: &str, given: &Literal) -> InvalidArgument {
    let given = match given {
        Literal::None => "none",
        Literal::Boolean(_) => "a boolean",
        Literal::Integer(_) => "an integer",
        Literal::Float(_) => "a float",
        Literal::String(_) => "a string",
        Literal::Bytes(_) => "bytes",
        Literal::Datetime(_) => "a datetime",
        Literal::Duration(_) => "a duration",
        Literal::File { .. } => "a file",
        Literal::List(_) => "a list",
        Literal::Map(_) => "a map",
        Literal::Struct(_) => "a struct",
        Literal::Enum(_) => "an enum's name",
        Literal::Opaque { .. } => "an opaque value",
        Literal::Hashed { .. } => "a hash",
    };
    wrong(format!("is {given}, {wanted} is wanted"))
}

/// The literal without hashes that its writer gave to it.
///
/// # Errors
/// If there is only a hash.
pub(super) fn unhashed(mut literal: Literal) -> Result<Literal, InvalidArgument> {
    loop {
        match literal {
            Literal::Hashed { value: Some(value), .. } => literal = *value,
            Literal::Hashed { value: None, .. } => return Err(wrong("is stored as a hash only")),
            other => return Ok(other),
        }
    }
}
