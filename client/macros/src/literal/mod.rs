//! `#[derive(Literal)]`: from a struct or an enum to a type that tasks may take and return.

mod attributes;
mod enums;
mod structs;

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Data, DeriveInput, Error, GenericParam, Generics, Ident, Path, Result, Type, parse_quote,
};

use crate::paths;
use attributes::Container;

/// The three implementations that a type gets, without their surroundings.
struct Parts {
    /// The body of `literal_type`.
    literal_type: TokenStream,
    /// The body of `to_literal`.
    to_literal: TokenStream,
    /// The body of `from_literal`.
    from_literal: TokenStream,
    /// Methods beside these three: of `Typed`, `ToLiteral` and `FromLiteral`.
    more: [TokenStream; 3],
}

/// The expansion, or what is wrong.
pub(crate) fn expand(item: TokenStream, root: &TokenStream) -> TokenStream {
    let expanded = syn::parse2::<DeriveInput>(item).and_then(|item| derive(&item, root));
    expanded.unwrap_or_else(|error| error.to_compile_error())
}

fn derive(item: &DeriveInput, root: &TokenStream) -> Result<TokenStream> {
    let container = Container::of(item)?;
    let krate = paths::generated(container.krate.as_ref(), root);
    check_lifetimes(&item.generics)?;
    let parts = match &item.data {
        Data::Struct(data) => structs::parts(item, data, &container, &krate)?,
        Data::Enum(data) => enums::parts(item, data, &container, &krate)?,
        Data::Union(data) => {
            let problem = "a union has no literal: nothing says which of its fields holds";
            return Err(Error::new(data.union_token.span(), problem));
        }
    };
    let Parts { literal_type, to_literal, from_literal, more } = parts;
    let [more_typed, more_to, more_from] = more;
    let implementation = |name: &str, body: TokenStream| {
        let name = Ident::new(name, proc_macro2::Span::call_site());
        let ident = &item.ident;
        let generics = bounded(&item.generics, &parse_quote!(#krate::#name));
        let (parameters, arguments, conditions) = generics.split_for_impl();
        quote! {
            #[automatically_derived]
            impl #parameters #krate::#name for #ident #arguments #conditions {
                #body
            }
        }
    };
    let result = |of: TokenStream| quote!(::core::result::Result<#of, #krate::InvalidArgument>);
    let (typed, written, read) = (
        result(quote!(#krate::LiteralType)),
        result(quote!(#krate::Literal)),
        result(quote!(Self)),
    );
    let typed = implementation(
        "Typed",
        quote! {
            fn literal_type() -> #typed { #literal_type }
            #more_typed
        },
    );
    let written = implementation(
        "ToLiteral",
        quote! {
            fn to_literal(&self) -> #written { #to_literal }
            #more_to
        },
    );
    let literal = Ident::new("literal", proc_macro2::Span::mixed_site());
    let read = implementation(
        "FromLiteral",
        quote! {
            fn from_literal(#literal: #krate::Literal) -> #read { #from_literal }
            #more_from
        },
    );
    Ok(quote!(#typed #written #read))
}

/// A value that borrows could not be read back.
fn check_lifetimes(generics: &Generics) -> Result<()> {
    match generics.lifetimes().next() {
        None => Ok(()),
        Some(lifetime) => Err(Error::new(
            lifetime.span(),
            "a literal owns what it consists of: use `String` for `&str` and `Vec` for a slice",
        )),
    }
}

/// The generics with this bound on every type.
fn bounded(generics: &Generics, bound: &Path) -> Generics {
    let mut generics = generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(#bound));
        }
    }
    generics
}

/// Finds a type inside itself, as far as its fields name it.
///
/// # Errors
/// Where it does.
fn check_recursion<'a>(of: &Ident, types: impl Iterator<Item = &'a Type>) -> Result<()> {
    let mut search = Itself { of, found: None };
    types.for_each(|ty| search.visit_type(ty));
    match search.found {
        None => Ok(()),
        Some(at) => Err(Error::new(
            at,
            format!(
                "`{of}` contains itself, so it has no type of bounded size; refer to parts \
                     by their index in a list"
            ),
        )),
    }
}

struct Itself<'a> {
    of: &'a Ident,
    found: Option<proc_macro2::Span>,
}

impl<'a> Visit<'a> for Itself<'_> {
    fn visit_path(&mut self, path: &'a Path) {
        if path.is_ident("Self")
            || (path.leading_colon.is_none()
                && path.segments.len() == 1
                && path.segments.first().is_some_and(|segment| segment.ident == *self.of))
        {
            self.found.get_or_insert(path.span());
        }
        visit::visit_path(self, path);
    }
}
