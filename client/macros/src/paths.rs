//! Under which name the caller knows memod-client.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Ident, Path};

/// The path to memod-client in the crate that is being compiled.
pub(crate) fn root() -> TokenStream {
    match crate_name("memod-client") {
        Ok(FoundCrate::Name(name)) => {
            let name = Ident::new(&name, Span::call_site());
            quote!(::#name)
        }
        // Its own examples and tests see it under its name, and so does whoever builds without a
        // manifest.
        Ok(FoundCrate::Itself) | Err(_) => quote!(::memod_client),
    }
}

/// Where generated code finds what it names.
pub(crate) fn generated(given: Option<&Path>, root: &TokenStream) -> TokenStream {
    given.map_or_else(|| quote!(#root::task::generated), |path| quote!(#path::task::generated))
}
