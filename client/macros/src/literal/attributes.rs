//! `#[literal(..)]` on types, fields and variants.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, DeriveInput, Error, Ident, LitStr, Path, Result, Token};

/// What is said of a type.
#[derive(Default)]
pub(super) struct Container {
    pub(super) krate: Option<Path>,
    /// Each field is an output of its own.
    pub(super) outputs: Option<Span>,
    /// A variant is what it holds.
    pub(super) untagged: Option<Span>,
}

impl Container {
    pub(super) fn of(item: &DeriveInput) -> Result<Self> {
        let mut container = Self::default();
        for attribute in ours(&item.attrs) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("crate") {
                    meta.input.parse::<Token![=]>()?;
                    container.krate = Some(meta.input.parse()?);
                } else if meta.path.is_ident("outputs") {
                    container.outputs = Some(meta.path.span());
                } else if meta.path.is_ident("untagged") {
                    container.untagged = Some(meta.path.span());
                } else {
                    return Err(meta.error(
                        "here stands `outputs` (on a struct), `untagged` (on an enum) or \
                         `crate = path`",
                    ));
                }
                Ok(())
            })?;
        }
        Ok(container)
    }
}

/// The name of a field or a variant: its own, or the one that it is given.
pub(super) fn name(attributes: &[Attribute], own: &Ident) -> Result<LitStr> {
    let mut given: Option<LitStr> = None;
    for attribute in ours(attributes) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("rename") {
                return Err(meta.error("here stands `rename = \"..\"`"));
            }
            meta.input.parse::<Token![=]>()?;
            let name: LitStr = meta.input.parse()?;
            if name.value().is_empty() {
                return Err(Error::new(name.span(), "a name must not be empty"));
            }
            given = Some(name);
            Ok(())
        })?;
    }
    Ok(given.unwrap_or_else(|| LitStr::new(&own.unraw().to_string(), own.span())))
}

/// Sees to it that nothing is said where nothing can be.
pub(super) fn none(attributes: &[Attribute]) -> Result<()> {
    match ours(attributes).next() {
        None => Ok(()),
        Some(attribute) => Err(Error::new(attribute.span(), "this has no name to be changed")),
    }
}

/// Sees to it that no two names are equal.
pub(super) fn distinct<'a>(names: impl Iterator<Item = &'a LitStr>) -> Result<()> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        if seen.contains(&name.value()) {
            return Err(Error::new(name.span(), format!("there is another `{}`", name.value())));
        }
        seen.push(name.value());
    }
    Ok(())
}

fn ours(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("literal"))
}
