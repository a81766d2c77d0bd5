//! Literals of containers.
//!
//! **Invariants.** A set is the list of its values in the order of their canonical encodings,
//! which is the same in every process and every language.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

use memod_protocol::{InvalidArgument, Literal, LiteralType};

use super::typed::{FromLiteral, ToLiteral, Typed, inside, list, mismatch, unhashed, wrong};

impl<T: Typed> Typed for Option<T> {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        Ok(LiteralType::Optional(Box::new(T::literal_type()?)))
    }
}

impl<T: ToLiteral> ToLiteral for Option<T> {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        self.as_ref().map_or(Ok(Literal::None), T::to_literal)
    }
}

impl<T: FromLiteral> FromLiteral for Option<T> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        match literal {
            Literal::None => Ok(None),
            some => T::from_literal(some).map(Some),
        }
    }
}

impl<T: Typed> Typed for [T] {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        T::list_type()
    }
}

impl<T: ToLiteral> ToLiteral for [T] {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        T::list_to_literal(self)
    }
}

impl<T: Typed, const N: usize> Typed for [T; N] {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        T::list_type()
    }
}

impl<T: ToLiteral, const N: usize> ToLiteral for [T; N] {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        T::list_to_literal(self)
    }
}

impl<T: FromLiteral, const N: usize> FromLiteral for [T; N] {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        let items = T::list_from_literal(literal)?;
        let length = items.len();
        items.try_into().map_err(|_| wrong(format!("has {length} items, {N} are wanted")))
    }
}

impl<T: Typed> Typed for Vec<T> {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        T::list_type()
    }
}

impl<T: ToLiteral> ToLiteral for Vec<T> {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        T::list_to_literal(self)
    }
}

impl<T: FromLiteral> FromLiteral for Vec<T> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        T::list_from_literal(literal)
    }
}

/// A collection that is the list of its items, whatever they are.
fn list_of<T: Typed>() -> Result<LiteralType, InvalidArgument> {
    Ok(LiteralType::List(Box::new(T::literal_type()?)))
}

fn items<T: FromLiteral>(literal: Literal) -> Result<Vec<T>, InvalidArgument> {
    match unhashed(literal)? {
        Literal::List(items) => items.into_iter().map(T::from_literal).collect(),
        other => Err(mismatch("a list", &other)),
    }
}

impl<T: Typed> Typed for VecDeque<T> {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        list_of::<T>()
    }
}

impl<T: ToLiteral> ToLiteral for VecDeque<T> {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        list(self)
    }
}

impl<T: FromLiteral> FromLiteral for VecDeque<T> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        items(literal).map(Self::from)
    }
}

/// The values of a set in an order that depends on nothing but the values.
fn set<'a, T: ToLiteral + 'a>(
    values: impl IntoIterator<Item = &'a T>,
) -> Result<Literal, InvalidArgument> {
    let Literal::List(mut values) = list(values)? else { return Ok(Literal::None) };
    values.sort_by_cached_key(Literal::key_encoding);
    Ok(Literal::List(values))
}

impl<T: Typed> Typed for BTreeSet<T> {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        list_of::<T>()
    }
}

impl<T: ToLiteral> ToLiteral for BTreeSet<T> {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        set(self)
    }
}

impl<T: FromLiteral + Ord> FromLiteral for BTreeSet<T> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        Ok(items(literal)?.into_iter().collect())
    }
}

impl<T: Typed, S> Typed for HashSet<T, S> {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        list_of::<T>()
    }
}

impl<T: ToLiteral, S> ToLiteral for HashSet<T, S> {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        set(self)
    }
}

impl<T: FromLiteral + Eq + Hash, S: BuildHasher + Default> FromLiteral for HashSet<T, S> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        Ok(items(literal)?.into_iter().collect())
    }
}

fn map_of<T: Typed>() -> Result<LiteralType, InvalidArgument> {
    Ok(LiteralType::Map(Box::new(T::literal_type()?)))
}

fn write_map<'a, K: AsRef<str> + 'a, T: ToLiteral + 'a>(
    members: impl IntoIterator<Item = (&'a K, &'a T)>,
) -> Result<Literal, InvalidArgument> {
    let write = |(key, value): (&K, &T)| {
        let value = value.to_literal().map_err(|error| member(key.as_ref(), error))?;
        Ok((key.as_ref().to_owned(), value))
    };
    Ok(Literal::Map(members.into_iter().map(write).collect::<Result<_, _>>()?))
}

fn read_map<K: From<String>, T: FromLiteral, M: FromIterator<(K, T)>>(
    literal: Literal,
) -> Result<M, InvalidArgument> {
    let read = |(key, value): (String, Literal)| {
        let value = T::from_literal(value).map_err(|error| member(&key, error))?;
        Ok((K::from(key), value))
    };
    match unhashed(literal)? {
        Literal::Map(members) => members.into_iter().map(read).collect(),
        other => Err(mismatch("a map", &other)),
    }
}

fn member(key: &str, error: InvalidArgument) -> InvalidArgument {
    inside(&format!("[{key:?}]"))(error)
}

impl<K: AsRef<str>, T: Typed> Typed for BTreeMap<K, T> {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        map_of::<T>()
    }
}

impl<K: AsRef<str>, T: ToLiteral> ToLiteral for BTreeMap<K, T> {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        write_map(self)
    }
}

impl<K: AsRef<str> + From<String> + Ord, T: FromLiteral> FromLiteral for BTreeMap<K, T> {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        read_map(literal)
    }
}

impl<K: AsRef<str>, T: Typed, S> Typed for HashMap<K, T, S> {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        map_of::<T>()
    }
}

impl<K: AsRef<str>, T: ToLiteral, S> ToLiteral for HashMap<K, T, S> {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        write_map(self)
    }
}

impl<K, T, S> FromLiteral for HashMap<K, T, S>
where
    K: AsRef<str> + From<String> + Eq + Hash,
    T: FromLiteral,
    S: BuildHasher + Default,
{
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        read_map(literal)
    }
}
