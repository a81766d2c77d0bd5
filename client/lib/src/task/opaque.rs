//! Bytes in a named format that memod does not look into.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use memod_protocol::{InvalidArgument, Literal, LiteralType};

use super::typed::{FromLiteral, ToLiteral, Typed, mismatch, unhashed, wrong};

/// A format, by its name.
pub trait Format {
    /// The name, such as `npy`.
    const NAME: &'static str;
}

/// Bytes in a format: a literal of the type `opaque(NAME)`.
///
/// ```
/// struct Npy;
/// impl memod_client::Format for Npy {
///     const NAME: &'static str = "npy";
/// }
/// type Array = memod_client::Opaque<Npy>;
/// let array = Array::new(&b"\x93NUMPY"[..]);
/// assert_eq!(array.len(), 6);
/// ```
pub struct Opaque<F> {
    bytes: Bytes,
    format: PhantomData<fn() -> F>,
}

impl<F> Opaque<F> {
    /// These bytes, in that format.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), format: PhantomData }
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl<F> std::ops::Deref for Opaque<F> {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl<F> Clone for Opaque<F> {
    fn clone(&self) -> Self {
        Self::new(self.bytes.clone())
    }
}

impl<F> PartialEq for Opaque<F> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<F> Eq for Opaque<F> {}

impl<F: Format> fmt::Debug for Opaque<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Opaque({:?}, {} bytes)", F::NAME, self.bytes.len())
    }
}

impl<F: Format> Typed for Opaque<F> {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        Ok(LiteralType::Opaque(F::NAME.to_owned()))
    }
}

impl<F: Format> ToLiteral for Opaque<F> {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        Ok(Literal::Opaque { format: F::NAME.to_owned(), bytes: self.bytes.clone() })
    }
}

impl<F: Format> FromLiteral for Opaque<F> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        match unhashed(literal)? {
            Literal::Opaque { format, bytes } if format == F::NAME => Ok(Self::new(bytes)),
            Literal::Opaque { format, .. } => {
                Err(wrong(format!("is in the format {format:?}, {:?} is wanted", F::NAME)))
            }
            other => Err(mismatch("an opaque value", &other)),
        }
    }
}
