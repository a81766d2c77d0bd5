//! The macros of memod-client: `#[task]` and `#[derive(Literal)]`.
//!
//! **Invariants.** Thin: what can be a function is one, in `memod_client::task`; a macro parses,
//! checks and names those functions, by paths that begin at the root. What is generated does not
//! depend on the names that surround it, nor on the name under which memod-client is known.
//!
//! **Does not** depend on any other crate of memod, nor look into a function's body.

mod literal;
mod paths;
mod task;

#[cfg(test)]
mod golden_tests;

use proc_macro::TokenStream;

/// Memoizes a function.
///
/// The first call with certain inputs runs it; afterwards, in any process and any language, a call
/// with the same inputs gets what it returned, for as long as that is stored.
///
/// ```text
/// #[memod::task(cache_version = "1.0.0", serialize, ignore(verbose))]
/// fn hash_string_task(original: String, verbose: bool) -> Result<String, MyError> { .. }
/// ```
///
/// # Options
///
/// | option | means |
/// |---|---|
/// | `cache_version = ".."` | required: another version, another result. A literal or any expression that is a string, made once |
/// | `serialize` | of all who ask for the same call at once, one computes and the others wait for it |
/// | `ignore(a, b)` | the values of these arguments do not count; they stay in the signature |
/// | `name = ".."` | the task's name, else that of its module and function, `my_crate.tasks.hash_string_task` |
/// | `project = ".."`, `domain = ".."` | the scope, else `$MEMOD_PROJECT` and `$MEMOD_DOMAIN`, else `default` and `development` |
/// | `max_age = Duration` | older entries are computed again |
/// | `wait = Duration` | how long to wait for another who computes, if serialized |
/// | `overwrite` | computes always and replaces what is stored |
/// | `read_only` | stores nothing |
/// | `enabled = bool` | `false`: neither reads nor stores |
/// | `client = ..` | the client to ask, in place of the process's |
/// | `crate = path` | where memod-client is found, if it is re-exported by another crate |
///
/// `serialize`, `overwrite` and `read_only` can be given a value, `overwrite = refresh()`; such
/// expressions, and `enabled`, `max_age`, `wait` and `client`, are evaluated for every call.
///
/// Give a task a `name` to share it with another program or language, or to rename or move the
/// function without computing anew. Two functions of one name inside other functions of one module
/// need names, too: the module's is all that they have.
///
/// An argument with `#[input(hash = path::to::function)]` counts by what that function returns, a
/// `String` made from a reference to it, in place of its content (Flyte's `HashMethod`).
///
/// # What it makes
///
/// The function itself, and beside it under the same name
///
/// - `name::with(&TaskOptions, ..)`: a call that says something otherwise;
/// - `name::memoize(&TaskOptions, ..)`: the same with a report, `Memoized`;
/// - `name::describe(..)`: the `Call` with its key, to ask `Client::why` or to invalidate.
///
/// # What it does with errors
///
/// An `Err` is passed on and never stored. Nothing that is wrong with the cache is an error: the
/// function runs, and the trouble is told to `memod_client::on_trouble`.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(options.into(), &item.into(), &paths::root()).into()
}

/// Makes a struct or an enum into a type that tasks may take and return.
///
/// A struct becomes `struct{..}` of its fields; with one unnamed field it is what that field is.
/// An enum whose variants hold nothing becomes `enum(..)` of their names; else a union in which a
/// variant that holds something is a struct with one field, named after it.
///
/// | attribute | on | means |
/// |---|---|---|
/// | `#[literal(rename = "..")]` | a field or a variant | its name, if another |
/// | `#[literal(outputs)]` | a struct | as what a task returns, each field is an output of its own |
/// | `#[literal(untagged)]` | an enum | a variant is what it holds, told from others by its type alone, which may have no value in common with theirs |
/// | `#[literal(crate = path)]` | either | where memod-client is found |
#[proc_macro_derive(Literal, attributes(literal))]
pub fn literal(item: TokenStream) -> TokenStream {
    literal::expand(item.into(), &paths::root()).into()
}
