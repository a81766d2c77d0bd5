//! `#[task]`: from a function to a memoized one.

mod expand;
mod function;
mod options;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemFn;

use function::Function;
use options::Options;

/// The expansion. If something is wrong, all of it is said at once, and the function stays as it
/// is, so that what calls it is not in error as well.
pub(crate) fn expand(options: TokenStream, item: &TokenStream, root: &TokenStream) -> TokenStream {
    let item_fn = match syn::parse2::<ItemFn>(item.clone()) {
        Ok(item_fn) => item_fn,
        Err(error) => {
            let said = syn::Error::new(error.span(), format!("a task is a function: {error}"));
            let said = said.to_compile_error();
            return quote!(#said #item);
        }
    };
    let plain = function::without_input_attributes(item_fn.clone());
    let function = Function::check(item_fn);
    let options = syn::parse2::<Options>(options);
    let checked = match (function, options) {
        (Ok(function), Ok(options)) => match options.check(&function) {
            Ok(()) => Ok((function, options)),
            Err(error) => Err(error),
        },
        (Err(mut error), Err(other)) => {
            error.combine(other);
            Err(error)
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    match checked {
        Ok((function, options)) => expand::expand(&function, &options, root),
        Err(error) => {
            let said = error.to_compile_error();
            quote!(#said #plain)
        }
    }
}
