//! Checks stored bytes against their type without building the value.
//!
//! **Invariants.** Accepts exactly what `Literal::from_blob` accepts. Every byte is looked at once,
//! and what is held grows with the type and with the nesting, not with the number of elements: a
//! list of a million empty values is a mebibyte here and a hundred as a value.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::InvalidArgument;
use crate::limits::NESTING_MAX;
use crate::literal::tag;
use crate::literal_decode::{Reader, too_deep, wrong};
use crate::literal_type::LiteralType;

/// Whether exactly these bytes encode a value of the type.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn check(literal_type: &LiteralType, blob: &Bytes) -> Result<(), InvalidArgument> {
    let mut reader = Reader::new(blob);
    let mut candidates = Candidates::new([literal_type]);
    candidates.narrow(&mut reader, 0)?;
    reader.end()
}

/// Types of which a place in the value must be: those that have admitted everything so far. Each
/// container that may be meant adds one for its elements.
struct Candidates<'a> {
    /// The types without unions and optionals, each with the index of the candidate it is of, in
    /// ascending order of these.
    leaves: Vec<(usize, &'a LiteralType)>,
    /// Whether the candidate of that index has admitted everything so far.
    alive: Vec<bool>,
}

impl<'a> Candidates<'a> {
    fn new(types: impl IntoIterator<Item = &'a LiteralType>) -> Self {
        let mut leaves = Vec::new();
        let mut count = 0;
        for (index, of) in types.into_iter().enumerate() {
            push_leaves(&mut leaves, index, of);
            count = index + 1;
        }
        Self { leaves, alive: vec![true; count] }
    }

    /// Strikes out the candidates of which no leaf is one of these.
    fn keep(&mut self, admits: impl Fn(&LiteralType) -> bool) -> Result<(), InvalidArgument> {
        for leaves in self.leaves.chunk_by(|left, right| left.0 == right.0) {
            let Some((index, _)) = leaves.first() else { continue };
            if let Some(alive) = self.alive.get_mut(*index) {
                *alive = *alive && leaves.iter().any(|(_, leaf)| admits(leaf));
            }
        }
        self.any_alive()
    }

    /// Strikes out the candidates of which no container is alive.
    fn keep_owners(&mut self, owners: &[usize], inner: &[bool]) -> Result<(), InvalidArgument> {
        let mut kept = vec![false; self.alive.len()];
        for (owner, _) in owners.iter().zip(inner).filter(|(_, alive)| **alive) {
            if let Some(kept) = kept.get_mut(*owner) {
                *kept = true;
            }
        }
        self.alive.iter_mut().zip(kept).for_each(|(alive, kept)| *alive = *alive && kept);
        self.any_alive()
    }

    /// Fails as soon as no candidate is left: nothing that follows can change that.
    fn any_alive(&self) -> Result<(), InvalidArgument> {
        if self.alive.contains(&true) { Ok(()) } else { Err(wrong("is not of the declared type")) }
    }

    /// The containers among the leaves of candidates that are alive: whose each is, and what the
    /// given function finds in it.
    fn containers<T>(&self, find: impl Fn(&'a LiteralType) -> Option<T>) -> (Vec<usize>, Vec<T>) {
        let alive = |index: &usize| self.alive.get(*index).copied().unwrap_or(false);
        let leaves = self.leaves.iter().filter(|(index, _)| alive(index));
        leaves.filter_map(|(index, leaf)| Some((*index, find(leaf)?))).unzip()
    }

    /// Reads one value and strikes out the candidates that do not admit it.
    fn narrow(&mut self, reader: &mut Reader, depth: usize) -> Result<(), InvalidArgument> {
        if depth >= NESTING_MAX {
            return Err(too_deep());
        }
        match reader.tag()? {
            tag::LIST => self.narrow_elements(reader, depth, false),
            tag::MAP => self.narrow_elements(reader, depth, true),
            tag::STRUCT => self.narrow_fields(reader, depth),
            tag::ENUM => {
                let given = reader.text()?;
                self.keep(|leaf| matches!(leaf, LiteralType::Enum(names) if names.contains(&given)))
            }
            tag::OPAQUE => {
                let given = reader.text()?;
                reader.framed()?;
                self.keep(|leaf| matches!(leaf, LiteralType::Opaque(format) if *format == given))
            }
            // Behind a hash without content may be a value of any type.
            tag::HASHED => reader.hash().map(drop),
            tag::HASHED_VALUE => {
                reader.hash()?;
                self.narrow(reader, depth + 1)
            }
            plain => {
                let kind = reader.plain(plain)?;
                self.keep(|leaf| *leaf == kind)
            }
        }
    }

    fn narrow_elements(
        &mut self,
        reader: &mut Reader,
        depth: usize,
        named: bool,
    ) -> Result<(), InvalidArgument> {
        let (owners, types) = self.containers(|leaf| match leaf {
            LiteralType::List(of) if !named => Some(&**of),
            LiteralType::Map(of) if named => Some(&**of),
            _ => None,
        });
        let mut elements = Candidates::new(types);
        let mut last = None;
        for _ in 0..reader.count()? {
            if named {
                last = Some(reader.name_behind(last)?);
            }
            elements.narrow(reader, depth + 1)?;
        }
        self.keep_owners(&owners, &elements.alive)
    }

    fn narrow_fields(&mut self, reader: &mut Reader, depth: usize) -> Result<(), InvalidArgument> {
        let count = reader.count()?;
        let (owners, structs) = self.containers(|leaf| match leaf {
            LiteralType::Struct(fields) if fields.len() == count => Some(fields),
            _ => None,
        });
        let mut fields: Vec<_> = structs.into_iter().map(BTreeMap::iter).collect();
        let mut alive = vec![true; fields.len()];
        let mut last = None;
        for _ in 0..count {
            let given = reader.name_behind(last)?;
            let declared: Vec<_> = fields.iter_mut().map(Iterator::next).collect();
            let types = declared.iter().map(|field| field.map_or(&LiteralType::None, |f| f.1));
            let mut values = Candidates::new(types);
            for ((value, alive), field) in values.alive.iter_mut().zip(&alive).zip(&declared) {
                *value = *alive && field.is_some_and(|(name, _)| name.as_bytes() == given);
            }
            values.any_alive()?;
            values.narrow(reader, depth + 1)?;
            alive = values.alive;
            last = Some(given);
        }
        self.keep_owners(&owners, &alive)
    }
}

fn push_leaves<'a>(leaves: &mut Vec<(usize, &'a LiteralType)>, index: usize, of: &'a LiteralType) {
    match of {
        LiteralType::Optional(inner) => {
            leaves.push((index, &LiteralType::None));
            push_leaves(leaves, index, inner);
        }
        LiteralType::Union(members) => {
            for member in members {
                push_leaves(leaves, index, member);
            }
        }
        leaf => leaves.push((index, leaf)),
    }
}
