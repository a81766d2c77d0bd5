//! Literals of tuples: structs whose fields are numbered; as what a task returns, outputs.

use std::collections::BTreeMap;

use memod_protocol::{InvalidArgument, Literal, LiteralType};

use super::structure::Fields;
use super::typed::{
    FromLiteral, ToLiteral, Typed, hit_output, inside, mismatch, output_name, put_output, unhashed,
};
use crate::content::HitOutput;
use crate::error::Error;
use crate::outputs::PutOutput;

impl Typed for () {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        Ok(LiteralType::None)
    }

    fn output_types() -> Result<BTreeMap<String, LiteralType>, InvalidArgument> {
        Ok(BTreeMap::new())
    }
}

impl ToLiteral for () {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        Ok(Literal::None)
    }

    fn to_outputs(&self) -> Result<Vec<PutOutput>, InvalidArgument> {
        Ok(Vec::new())
    }
}

impl FromLiteral for () {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        match unhashed(literal)? {
            Literal::None => Ok(()),
            other => Err(mismatch("none", &other)),
        }
    }

    fn from_outputs(_outputs: &[HitOutput]) -> Result<Self, Error> {
        Ok(())
    }
}

macro_rules! tuples {
    ($($($of:ident $position:tt),+;)*) => {$(
        impl<$($of: Typed),+> Typed for ($($of,)+) {
            fn literal_type() -> Result<LiteralType, InvalidArgument> {
                let fields = [$((stringify!($position).to_owned(), $of::literal_type()?)),+];
                Ok(LiteralType::Struct(fields.into()))
            }

            fn output_types() -> Result<BTreeMap<String, LiteralType>, InvalidArgument> {
                Ok([$((output_name($position), $of::literal_type()?)),+].into())
            }
        }

        impl<$($of: ToLiteral),+> ToLiteral for ($($of,)+) {
            fn to_literal(&self) -> Result<Literal, InvalidArgument> {
                let mut fields = BTreeMap::new();
                $({
                    let place = concat!(".", stringify!($position));
                    let value = self.$position.to_literal().map_err(inside(place))?;
                    fields.insert(stringify!($position).to_owned(), value);
                })+
                Ok(Literal::Struct(fields))
            }

            fn to_outputs(&self) -> Result<Vec<PutOutput>, InvalidArgument> {
                Ok(vec![$(put_output(&output_name($position), &self.$position)?),+])
            }
        }

        impl<$($of: FromLiteral),+> FromLiteral for ($($of,)+) {
            fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
                let mut fields = Fields::of(literal)?;
                let tuple = ($(fields.take::<$of>(stringify!($position))?,)+);
                fields.end()?;
                Ok(tuple)
            }

            fn from_outputs(outputs: &[HitOutput]) -> Result<Self, Error> {
                Ok(($(hit_output::<$of>(&output_name($position), outputs)?,)+))
            }
        }
    )*};
}

tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
}
