//! What a task becomes.
//!
//! **Invariants.** Names in generated code are paths from the root, begin with `__memod_`, or are
//! local variables that user code cannot see; the function's own tokens keep their places, so that
//! the compiler points into the user's source.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Ident, ItemFn, LitStr, Meta, parse_quote};

use super::function::{Function, Input};
use super::options::Options;
use crate::paths;

/// Attributes that speak to the compiler about the function's text.
const LINTS: [&str; 5] = ["allow", "deny", "expect", "forbid", "warn"];

/// The expansion.
pub(super) fn expand(function: &Function, options: &Options, root: &TokenStream) -> TokenStream {
    let krate = paths::generated(options.krate.as_ref().map(|given| &given.value), root);
    let item = &function.item;
    let (vis, name) = (&item.vis, &item.sig.ident);
    let conditions = item.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let conditions: Vec<_> = conditions.collect();
    let allowed = lints(&item.attrs).map(beside_the_body);
    let front = front(function, &krate);
    let declaration = declaration(function, options, &krate);
    let settings = settings(function, options, &krate);
    let memoize = memoize(function, options, &krate);
    let with = with(function, &krate);
    let describe = describe(function, options, &krate);
    let about = format!("The task [`{0}`](fn@{0}): its calls in other ways.", name.unraw());
    quote! {
        #front

        #(#conditions)*
        #[doc = #about]
        #[allow(non_camel_case_types, dead_code)]
        #vis enum #name {}

        #(#conditions)*
        #(#allowed)*
        #[allow(dead_code, clippy::too_many_arguments)]
        impl #name {
            #declaration
            #settings
            #with
            #memoize
            #describe
        }
    }
}

/// The function by which the task is called.
fn front(function: &Function, krate: &TokenStream) -> TokenStream {
    let ItemFn { attrs, vis, sig, .. } = &function.item;
    let attributes = attrs.iter().map(beside_the_body);
    let (asyncness, name, returns) = (&sig.asyncness, &sig.ident, &function.returns);
    let (arguments, names) = arguments(function);
    let result = awaited(function, &quote!(#name::with(&#krate::TaskOptions::new(), #(#names),*)));
    quote! {
        #(#attributes)*
        #[allow(clippy::too_many_arguments)]
        #vis #asyncness fn #name(#(#arguments),*) -> #returns {
            #result
        }
    }
}

/// Makes the declaration, once.
fn declaration(function: &Function, options: &Options, krate: &TokenStream) -> TokenStream {
    let own = function.item.sig.ident.unraw().to_string();
    let own = LitStr::new(&own, function.item.sig.ident.span());
    let task = options.name.as_ref().map_or_else(
        // Where the task stands, not where the macro that may have written it does.
        || quote!(#krate::qualified(::core::module_path!(), #own)),
        |given| {
            let value = &given.value;
            quote!(#value)
        },
    );
    let named = [
        ("project", &options.project),
        ("domain", &options.domain),
        ("cache_version", &options.cache_version),
    ];
    let named = named.into_iter().filter_map(|(method, given)| {
        let value = &given.as_ref()?.value;
        let method = Ident::new(method, Span::call_site());
        Some(quote!(.#method(#value)))
    });
    let inputs = function.inputs.iter().map(|input| {
        let (ty, name) = (&input.ty, name_of(input));
        let method = if options.ignores(&input.ident) { "ignored" } else { "input" };
        let method = Ident::new(method, Span::call_site());
        quote!(.#method::<#ty>(#name))
    });
    let returns = &function.returns;
    quote! {
        fn __memod_declaration() -> &'static #krate::Declaration {
            static DECLARATION: ::std::sync::LazyLock<#krate::Declaration> =
                ::std::sync::LazyLock::new(|| {
                    #krate::Declaration::new(
                        #task,
                        ::core::concat!(::core::module_path!(), ":", ::core::line!()),
                    )
                    #(#named)*
                    #(#inputs)*
                    .returns::<#returns>()
                    .end()
                });
            &DECLARATION
        }
    }
}

/// What the declaration says for every call anew.
fn settings(function: &Function, options: &Options, krate: &TokenStream) -> TokenStream {
    let or = |given: &Option<super::options::Given<syn::Expr>>, default: bool| {
        given.as_ref().map_or_else(
            || quote!(#default),
            |given| {
                let value = &given.value;
                quote!(#value)
            },
        )
    };
    let enabled = or(&options.enabled, true);
    let (overwrite, read_only) = (or(&options.overwrite, false), or(&options.read_only, false));
    let client = if function.is_async() { "async_client" } else { "client" };
    let given = [
        ("serialize", &options.serialize),
        ("max_age", &options.max_age),
        ("wait", &options.wait),
        (client, &options.client),
    ];
    let given = given.into_iter().filter_map(|(method, given)| {
        let value = &given.as_ref()?.value;
        let method = Ident::new(method, Span::call_site());
        // The client is usually one that is kept somewhere, and cheap to clone.
        let value = if given.as_ref().is_some_and(|_| method == client) {
            quote!(::core::clone::Clone::clone(&#value))
        } else {
            quote!(#value)
        };
        Some(quote!(.#method(#value)))
    });
    quote! {
        fn __memod_settings() -> #krate::TaskOptions {
            #krate::TaskOptions::new()
                .declared(#enabled, #overwrite, #read_only)
                #(#given)*
        }
    }
}

/// A call with options of its own.
fn with(function: &Function, krate: &TokenStream) -> TokenStream {
    let ItemFn { vis, sig, .. } = &function.item;
    let (asyncness, returns) = (&sig.asyncness, &function.returns);
    let (arguments, names) = arguments(function);
    let options = local("options");
    let memoized = awaited(function, &quote!(Self::memoize(#options, #(#names),*)));
    let outputs = local("memoized");
    let of_returns = returned(function, krate);
    quote! {
        #[doc = "Calls the task with options that hold for this call."]
        #vis #asyncness fn with(
            #options: &#krate::TaskOptions,
            #(#arguments),*
        ) -> #returns {
            let #outputs = #memoized;
            #of_returns::from_result(#outputs.map(|#outputs| #outputs.outputs))
        }
    }
}

/// The call with its report, and the function's own body.
fn memoize(function: &Function, options: &Options, krate: &TokenStream) -> TokenStream {
    let ItemFn { vis, sig, block, attrs, .. } = &function.item;
    let (asyncness, of_returns) = (&sig.asyncness, returned(function, krate));
    let (arguments, names) = arguments(function);
    let (lints, inner, output) = (lints(attrs), &sig.inputs, &sig.output);
    let described = inputs(function, options);
    let (given, asked, into) = (local("options"), local("asked"), local("inputs"));
    let run = if function.is_async() {
        quote! {
            let mut #asked = #krate::AsyncAsked::new_async(
                Self::__memod_declaration(),
                Self::__memod_settings(),
                #given,
            );
            while #asked.describe_async(|#into| #into #(#described)*) {
                if !#asked.read_files().await {
                    break;
                }
            }
            #asked.run_async(move || __memod_body(#(#names),*)).await
        }
    } else {
        quote! {
            let #asked = #krate::Asked::new(
                Self::__memod_declaration(),
                Self::__memod_settings(),
                #given,
            );
            #asked
                .describe(|#into| #into #(#described)*)
                .run(move || __memod_body(#(#names),*))
        }
    };
    quote! {
        #[doc = "Calls the task with options that hold for this call, and tells what came of it."]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = "What the task returned as an error; nothing is stored then."]
        #vis #asyncness fn memoize(
            #given: &#krate::TaskOptions,
            #(#arguments),*
        ) -> ::core::result::Result<
            #krate::Memoized<#of_returns::Value>,
            #of_returns::Error,
        > {
            #(#lints)*
            #asyncness fn __memod_body(#inner) #output #block
            #run
        }
    }
}

/// The call as memod sees it.
fn describe(function: &Function, options: &Options, krate: &TokenStream) -> TokenStream {
    let vis = &function.item.vis;
    let (arguments, _) = arguments(function);
    let described = inputs(function, options);
    let into = local("inputs");
    let ignored = function.inputs.iter().filter(|input| options.ignores(&input.ident));
    let ignored = ignored.map(|input| {
        let ident = &input.ident;
        quote!(let _ = #ident;)
    });
    quote! {
        #[doc = "The call as memod sees it, with its key; nothing is asked or run."]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = "If the declaration is wrong, or a value has no literal."]
        #[allow(clippy::needless_pass_by_value)]
        #vis fn describe(
            #(#arguments),*
        ) -> ::core::result::Result<#krate::Call, #krate::InvalidArgument> {
            #(#ignored)*
            #krate::describe(
                Self::__memod_declaration(),
                |#into| #into #(#described)*,
            )
        }
    }
}

/// The arguments as generated functions declare them, and their names alone.
fn arguments(function: &Function) -> (Vec<TokenStream>, Vec<&Ident>) {
    let declared = function.inputs.iter().map(|Input { ident, ty, .. }| quote!(#ident: #ty));
    (declared.collect(), function.inputs.iter().map(|input| &input.ident).collect())
}

/// What makes the arguments that count into inputs.
fn inputs(function: &Function, options: &Options) -> Vec<TokenStream> {
    let counting = function.inputs.iter().filter(|input| !options.ignores(&input.ident));
    let described = counting.map(|input| {
        let (ident, name) = (&input.ident, name_of(input));
        match &input.hash {
            None => quote_spanned!(input.ty.span()=> .value(#name, &#ident)),
            Some(hash) => {
                let made = quote_spanned!(hash.span()=> #hash(&#ident));
                quote_spanned!(input.ty.span()=> .hashed(#name, &#ident, || #made))
            }
        }
    });
    described.collect()
}

/// What the function returns, as what a task can return; errors about it point there.
fn returned(function: &Function, krate: &TokenStream) -> TokenStream {
    let (returns, at) = (&function.returns, function.returns.span());
    let here = krate.clone().into_iter().map(|mut token| {
        token.set_span(at);
        token
    });
    let here: TokenStream = here.collect();
    quote_spanned!(at=> <#returns as #here::Returned>)
}

fn name_of(input: &Input) -> LitStr {
    LitStr::new(&input.ident.unraw().to_string(), input.ident.span())
}

/// The attribute for a function that has the signature of the task, but not its body: what is
/// expected of that is only allowed here.
fn beside_the_body(attribute: &Attribute) -> Attribute {
    let mut attribute = attribute.clone();
    if attribute.path().is_ident("expect")
        && let Meta::List(list) = &mut attribute.meta
    {
        list.path = parse_quote!(allow);
    }
    attribute
}

fn lints(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| LINTS.iter().any(|name| attribute.path().is_ident(name)))
}

fn awaited(function: &Function, call: &TokenStream) -> TokenStream {
    if function.is_async() { quote!(#call.await) } else { call.clone() }
}

/// The name of a local variable that the user's code cannot see, and that sees none of its.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
