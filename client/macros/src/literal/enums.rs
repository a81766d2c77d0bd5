//! Literals of enums.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{DataEnum, DeriveInput, Error, Fields, LitStr, Result, Variant};

use super::attributes::{self, Container};
use super::structs::{self, Field};
use super::{Parts, check_recursion};

/// A variant and what it holds.
struct Case<'a> {
    ident: &'a Ident,
    name: LitStr,
    fields: Vec<Field<'a>>,
    is_newtype: bool,
}

pub(super) fn parts(
    item: &DeriveInput,
    data: &DataEnum,
    container: &Container,
    krate: &TokenStream,
) -> Result<Parts> {
    if let Some(at) = container.outputs {
        return Err(Error::new(at, "`outputs` is said of a struct"));
    }
    if data.variants.is_empty() {
        let problem = "an enum without variants has no values, so no literal";
        return Err(Error::new(item.ident.span(), problem));
    }
    let cases = data.variants.iter().map(case).collect::<Result<Vec<_>>>()?;
    attributes::distinct(cases.iter().map(|case| &case.name))?;
    let types = cases.iter().flat_map(|case| &case.fields).map(|field| field.ty);
    check_recursion(&item.ident, types)?;
    if container.untagged.is_none() {
        return Ok(tagged(&cases, krate));
    }
    if let Some(case) = cases.iter().find(|case| !case.is_newtype) {
        let problem = "a variant of an untagged enum holds exactly one unnamed value";
        return Err(Error::new(case.ident.span(), problem));
    }
    Ok(untagged(&cases, krate))
}

fn case(variant: &Variant) -> Result<Case<'_>> {
    let fields = structs::fields(&variant.fields)?;
    let is_newtype = matches!(&variant.fields, Fields::Unnamed(_)) && fields.len() == 1;
    let name = attributes::name(&variant.attrs, &variant.ident)?;
    if variant.fields.is_empty() && !matches!(variant.fields, Fields::Unit) {
        let problem = "a variant that holds nothing is written without brackets";
        return Err(Error::new(variant.fields.span(), problem));
    }
    Ok(Case { ident: &variant.ident, name, fields, is_newtype })
}

/// A variant that holds something is a struct with one field, named after it.
fn tagged(cases: &[Case<'_>], krate: &TokenStream) -> Parts {
    let types = cases.iter().map(|case| {
        let name = &case.name;
        match payload_type(case, krate) {
            None => quote!(.unit(#name)),
            Some(of) => quote!(.holding(#name, #of)?),
        }
    });
    let written = cases.iter().map(|case| write(case, krate));
    let read = cases.iter().map(|case| read(case, krate));
    let (literal, name, held) = (local("literal"), local("name"), local("held"));
    Parts {
        literal_type: quote! {
            #krate::named::<Self>(|| #krate::EnumType::new()#(#types)*.end())
        },
        to_literal: quote!(match self { #(#written)* }),
        from_literal: quote! {
            let (#name, #held) = #krate::variant(#literal)?;
            match (#name.as_str(), #held) {
                #(#read)*
                _ => ::core::result::Result::Err(#krate::no_variant(&#name)),
            }
        },
        more: [quote!(), quote!(), quote!()],
    }
}

fn payload_type(case: &Case<'_>, krate: &TokenStream) -> Option<TokenStream> {
    match case.fields.as_slice() {
        [] => None,
        [Field { ty, .. }] if case.is_newtype => {
            Some(quote!(<#ty as #krate::Typed>::literal_type()))
        }
        // The question marks inside must not leave the expression.
        fields => {
            let of = structs::type_of(fields, krate);
            Some(quote!((|| #of)()))
        }
    }
}

fn write(case: &Case<'_>, krate: &TokenStream) -> TokenStream {
    let Case { ident, name, fields, is_newtype } = case;
    let held: Vec<_> = (0..fields.len()).map(held).collect();
    let members = fields.iter().map(|field| &field.member);
    let value = match fields.as_slice() {
        [] => return quote!(Self::#ident => #krate::unit(#name),),
        [_] if *is_newtype => quote!(#(#krate::ToLiteral::to_literal(#held))*),
        fields => {
            let value = structs::value_of(fields, held.iter().map(|held| quote!(#held)), krate);
            quote!((|| #value)())
        }
    };
    quote!(Self::#ident { #(#members: #held),* } => #krate::holding(#name, #value),)
}

fn read(case: &Case<'_>, krate: &TokenStream) -> TokenStream {
    let Case { ident, name, fields, is_newtype } = case;
    let (held, left, made) = (local("held"), local("fields"), local("made"));
    let value = match fields.as_slice() {
        [] => {
            return quote! {
                (#name, ::core::option::Option::None) => ::core::result::Result::Ok(Self::#ident),
            };
        }
        [Field { ty, .. }] if *is_newtype => {
            quote!(<#ty as #krate::FromLiteral>::from_literal(#held).map(Self::#ident))
        }
        fields => {
            let taken = structs::take(fields, &left);
            quote! {
                (|| {
                    let mut #left = #krate::Fields::of(#held)?;
                    let #made = Self::#ident { #taken };
                    #left.end()?;
                    ::core::result::Result::Ok(#made)
                })()
            }
        }
    };
    let error = local("error");
    quote! {
        (#name, ::core::option::Option::Some(#held)) => {
            #value.map_err(|#error| #krate::field(#name, #error))
        }
    }
}

/// A variant is what it holds, told from others by its type alone.
fn untagged(cases: &[Case<'_>], krate: &TokenStream) -> Parts {
    let literal = local("literal");
    let held = held(0);
    let each: Vec<_> = cases
        .iter()
        .filter_map(|case| Some((case.ident, &case.name, case.fields.first()?.ty)))
        .collect();
    let types = each.iter().map(|(_, name, ty)| quote!(.bare::<#ty>(#name)?));
    let written = each
        .iter()
        .map(|(ident, _, _)| quote!(Self::#ident(#held) => #krate::ToLiteral::to_literal(#held),));
    let read = each.iter().map(|(ident, _, ty)| {
        quote! {
            if #krate::is_of::<#ty>(&#literal)? {
                return <#ty as #krate::FromLiteral>::from_literal(#literal).map(Self::#ident);
            }
        }
    });
    Parts {
        literal_type: quote! {
            #krate::named::<Self>(|| #krate::EnumType::new()#(#types)*.end())
        },
        to_literal: quote!(match self { #(#written)* }),
        from_literal: quote! {
            #(#read)*
            ::core::result::Result::Err(#krate::no_member(&#literal))
        },
        more: [quote!(), quote!(), quote!()],
    }
}

/// The name of a value that a variant holds.
fn held(index: usize) -> Ident {
    let name = format_ident!("held_{}", index);
    Ident::new(&name.to_string(), Span::mixed_site())
}

fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
