//! Literals of structs.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{DataStruct, DeriveInput, Error, Fields, Index, LitStr, Result, Type};

use super::attributes::{self, Container};
use super::{Parts, check_recursion};

/// A field: how it is reached, what it is called in the literal, and its type.
pub(super) struct Field<'a> {
    pub(super) member: TokenStream,
    pub(super) name: LitStr,
    pub(super) ty: &'a Type,
}

/// The fields of a struct or of a variant.
pub(super) fn fields(fields: &Fields) -> Result<Vec<Field<'_>>> {
    let mut found = Vec::new();
    for (position, field) in fields.iter().enumerate() {
        let (member, name) = if let Some(ident) = &field.ident {
            (ident.to_token_stream(), attributes::name(&field.attrs, ident)?)
        } else {
            attributes::none(&field.attrs)?;
            let name = LitStr::new(&position.to_string(), field.ty.span());
            (Index::from(position).to_token_stream(), name)
        };
        found.push(Field { member, name, ty: &field.ty });
    }
    attributes::distinct(found.iter().map(|field| &field.name))?;
    Ok(found)
}

pub(super) fn parts(
    item: &DeriveInput,
    data: &DataStruct,
    container: &Container,
    krate: &TokenStream,
) -> Result<Parts> {
    if let Some(at) = container.untagged {
        return Err(Error::new(at, "`untagged` is said of an enum"));
    }
    let fields = fields(&data.fields)?;
    check_recursion(&item.ident, fields.iter().map(|field| field.ty))?;
    let is_named = matches!(data.fields, Fields::Named(_));
    match (fields.as_slice(), container.outputs) {
        (_, Some(at)) if !is_named => {
            Err(Error::new(at, "outputs need names, so this needs a struct with named fields"))
        }
        ([only], _) if !is_named => Ok(newtype(only, krate)),
        _ => Ok(structure(&fields, container, krate)),
    }
}

/// A struct with one unnamed field is what that field is.
fn newtype(field: &Field<'_>, krate: &TokenStream) -> Parts {
    let ty = field.ty;
    let literal = local("literal");
    Parts {
        literal_type: quote!(<#ty as #krate::Typed>::literal_type()),
        to_literal: quote!(#krate::ToLiteral::to_literal(&self.0)),
        from_literal: quote! {
            <#ty as #krate::FromLiteral>::from_literal(#literal).map(Self)
        },
        more: [quote!(), quote!(), quote!()],
    }
}

fn structure(fields: &[Field<'_>], container: &Container, krate: &TokenStream) -> Parts {
    let literal_type = type_of(fields, krate);
    let values = fields.iter().map(|field| {
        let member = &field.member;
        quote!(&self.#member)
    });
    let (literal, left, made) = (local("literal"), local("fields"), local("made"));
    let taken = take(fields, &left);
    let more = if container.outputs.is_some() {
        outputs(fields, krate)
    } else {
        [quote!(), quote!(), quote!()]
    };
    Parts {
        literal_type: quote!(#krate::named::<Self>(|| #literal_type)),
        to_literal: value_of(fields, values, krate),
        from_literal: quote! {
            let mut #left = #krate::Fields::of(#literal)?;
            let #made = Self { #taken };
            #left.end()?;
            ::core::result::Result::Ok(#made)
        },
        more,
    }
}

/// The type of a struct with these fields.
pub(super) fn type_of(fields: &[Field<'_>], krate: &TokenStream) -> TokenStream {
    let fields = with_fields(fields);
    quote!(#krate::StructType::new()#fields.end())
}

fn with_fields(fields: &[Field<'_>]) -> TokenStream {
    let fields = fields.iter().map(|Field { name, ty, .. }| quote!(.field::<#ty>(#name)?));
    quote!(#(#fields)*)
}

/// The value of a struct with these fields, which are references to these values.
pub(super) fn value_of(
    fields: &[Field<'_>],
    values: impl Iterator<Item = TokenStream>,
    krate: &TokenStream,
) -> TokenStream {
    let fields = fields.iter().zip(values).map(|(field, value)| {
        let name = &field.name;
        quote!(.field(#name, #value)?)
    });
    quote!(#krate::StructValue::new()#(#fields)*.end())
}

/// Takes these fields out of a struct that is being read.
pub(super) fn take(fields: &[Field<'_>], from: &Ident) -> TokenStream {
    let fields =
        fields.iter().map(|Field { member, name, ty }| quote!(#member: #from.take::<#ty>(#name)?));
    quote!(#(#fields),*)
}

/// What makes each field an output of its own.
fn outputs(fields: &[Field<'_>], krate: &TokenStream) -> [TokenStream; 3] {
    let types = with_fields(fields);
    let written =
        fields.iter().map(|Field { member, name, .. }| quote!(.output(#name, &self.#member)?));
    let stored = local("outputs");
    let read = fields
        .iter()
        .map(|Field { member, name, ty }| quote!(#member: #krate::output::<#ty>(#name, #stored)?));
    [
        quote! {
            fn output_types() -> ::core::result::Result<
                ::std::collections::BTreeMap<::std::string::String, #krate::LiteralType>,
                #krate::InvalidArgument,
            > {
                #krate::StructType::new()#types.outputs()
            }
        },
        quote! {
            fn to_outputs(&self) -> ::core::result::Result<
                ::std::vec::Vec<#krate::PutOutput>,
                #krate::InvalidArgument,
            > {
                #krate::Outputs::new()#(#written)*.end()
            }
        },
        quote! {
            fn from_outputs(
                #stored: &[#krate::HitOutput],
            ) -> ::core::result::Result<Self, #krate::Error> {
                ::core::result::Result::Ok(Self { #(#read),* })
            }
        },
    ]
}

fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
