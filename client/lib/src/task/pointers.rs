//! Literals of pointers: a pointer is what it points to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use memod_protocol::{InvalidArgument, Literal, LiteralType};

use super::typed::{FromLiteral, ToLiteral, Typed};
use crate::content::HitOutput;
use crate::error::Error;
use crate::outputs::{PutOutput, Source};

macro_rules! pointers {
    ($([$($generics:tt)*] $pointer:ty),* $(,)?) => {$(
        impl<$($generics)* T: Typed + ?Sized> Typed for $pointer {
            fn literal_type() -> Result<LiteralType, InvalidArgument> {
                T::literal_type()
            }

            fn output_types() -> Result<BTreeMap<String, LiteralType>, InvalidArgument> {
                T::output_types()
            }
        }

        impl<$($generics)* T: ToLiteral + ?Sized> ToLiteral for $pointer {
            fn to_literal(&self) -> Result<Literal, InvalidArgument> {
                (**self).to_literal()
            }

            fn to_source(&self) -> Result<Source, InvalidArgument> {
                (**self).to_source()
            }

            fn to_outputs(&self) -> Result<Vec<PutOutput>, InvalidArgument> {
                (**self).to_outputs()
            }
        }
    )*};
}

pointers!(['a,] &'a T, [] Box<T>, [] Rc<T>, [] Arc<T>);

impl<T: FromLiteral> FromLiteral for Box<T> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        T::from_literal(literal).map(Self::new)
    }

    fn from_output(output: &HitOutput) -> Result<Self, Error> {
        T::from_output(output).map(Self::new)
    }

    fn from_outputs(outputs: &[HitOutput]) -> Result<Self, Error> {
        T::from_outputs(outputs).map(Self::new)
    }
}

impl<T: FromLiteral> FromLiteral for Box<[T]> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        T::list_from_literal(literal).map(Vec::into_boxed_slice)
    }
}

macro_rules! shared_pointers {
    ($($pointer:ident),*) => {$(
        impl<T: Typed + ?Sized> FromLiteral for $pointer<T>
        where
            Box<T>: FromLiteral,
        {
            fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
                Box::<T>::from_literal(literal).map(Self::from)
            }

            fn from_output(output: &HitOutput) -> Result<Self, Error> {
                Box::<T>::from_output(output).map(Self::from)
            }

            fn from_outputs(outputs: &[HitOutput]) -> Result<Self, Error> {
                Box::<T>::from_outputs(outputs).map(Self::from)
            }
        }
    )*};
}

shared_pointers!(Rc, Arc);

impl<T: Typed + ToOwned + ?Sized> Typed for Cow<'_, T> {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        T::literal_type()
    }
}

impl<T: ToLiteral + ToOwned + ?Sized> ToLiteral for Cow<'_, T> {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        (**self).to_literal()
    }
}

impl<T: Typed + ToOwned<Owned: FromLiteral> + ?Sized> FromLiteral for Cow<'_, T> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        T::Owned::from_literal(literal).map(Cow::Owned)
    }
}
