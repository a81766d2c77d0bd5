//! Whether a stored value could be one of either of two members of a union.
//!
//! **Invariants.** Errs on the side of yes: a union is refused in which two Python values that
//! differ could have one literal, so that neither the key nor a hit could tell them apart.

use std::mem::discriminant;

use crate::node::{Field, Node, Shape};

impl Node {
    /// Whether a Python value of this node and another one of the other could be stored alike.
    pub(crate) fn is_mistaken_for(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Optional(inner), other) | (other, Self::Optional(inner)) => {
                inner.is_mistaken_for(other)
            }
            (Self::Union(members), other) | (other, Self::Union(members)) => {
                members.iter().any(|(_, member)| member.is_mistaken_for(other))
            }
            (Self::Hashed(.., inner, _), other) | (other, Self::Hashed(.., inner, _)) => {
                inner.as_ref().is_some_and(|inner| inner.is_mistaken_for(other))
            }
            // The empty one is of either type.
            (Self::List(one, inner), Self::List(two, others)) => {
                one != two || inner.is_mistaken_for(others)
            }
            (Self::List(..), Self::Pairs(..)) | (Self::Pairs(..), Self::List(..)) => true,
            (Self::Pairs(key, value), Self::Pairs(other_key, other_value)) => {
                key.is_mistaken_for(other_key) || value.is_mistaken_for(other_value)
            }
            (Self::Map(inner), Self::Map(others)) => inner.is_mistaken_for(others),
            (Self::Struct(shape, fields), Self::Struct(other_shape, others)) => {
                let pairs = || fields.iter().filter_map(|field| field.among(others));
                fields.len() == others.len()
                    && pairs().count() == fields.len()
                    && pairs().all(|(one, two)| one.meets(two))
                    && (!shape.is_same(other_shape)
                        || pairs().any(|(one, two)| one.is_mistaken_for(two)))
            }
            (one, two) => one.meets(two) && !one.is_same_leaf(two),
        }
    }

    /// Whether some literal is of both types.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Optional(inner), other) | (other, Self::Optional(inner)) => {
                other.takes_none() || inner.meets(other)
            }
            (Self::Union(members), other) | (other, Self::Union(members)) => {
                members.iter().any(|(_, member)| member.meets(other))
            }
            (Self::Hashed(.., inner, _), other) | (other, Self::Hashed(.., inner, _)) => {
                inner.as_ref().is_none_or(|inner| inner.meets(other))
            }
            (Self::List(..) | Self::Pairs(..), Self::List(..) | Self::Pairs(..))
            | (Self::Map(_), Self::Map(_)) => true,
            (Self::Struct(_, fields), Self::Struct(_, others)) => {
                let meets =
                    |field: &Field| field.among(others).is_some_and(|(one, two)| one.meets(two));
                fields.len() == others.len() && fields.iter().all(meets)
            }
            (one, two) => match (one.names(), two.names()) {
                (Some(names), Some(others)) => names.iter().any(|name| others.contains(name)),
                _ => one.literal_type() == two.literal_type(),
            },
        }
    }

    fn takes_none(&self) -> bool {
        match self {
            Self::None | Self::Optional(_) => true,
            Self::Union(members) => members.iter().any(|(_, member)| member.takes_none()),
            _ => false,
        }
    }

    fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::Enum(_, members) => Some(members.keys().map(String::as_str).collect()),
            Self::Choice(names) => Some(names.iter().map(String::as_str).collect()),
            _ => None,
        }
    }

    /// Whether both give the same Python value for a literal that is of both types.
    fn is_same_leaf(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(one), Self::Bytes(two)) => one == two,
            (Self::Enum(one, _), Self::Enum(two, _)) => one.is(two),
            (Self::Opaque(one), Self::Opaque(two)) => one.is_same(two),
            // A day is no instant, and an enum's member no string.
            (one, two) => discriminant(one) == discriminant(two),
        }
    }
}

impl Field {
    /// This field's node with that of the field of the same name.
    fn among<'a>(&'a self, others: &'a [Self]) -> Option<(&'a Node, &'a Node)> {
        let other = others.iter().find(|other| other.name == self.name)?;
        Some((&self.node, &other.node))
    }
}

impl Shape {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Attributes(one), Self::Attributes(two)) => one.is(two),
            (Self::Items, Self::Items) | (Self::Positions, Self::Positions) => true,
            _ => false,
        }
    }
}
