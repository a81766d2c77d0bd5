//! Expansions as they are, kept as files, and every mistake with the place that it is said at.
//!
//! `MEMOD_BLESS=1 cargo test -p memod-macros --all-features` writes the expansions anew.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;
use quote::quote;
use syn::{File, Item, LitStr, Meta};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The expansion of every item in this source, as if it had the macro for its kind.
fn expand(source: &str) -> TokenStream {
    let root = quote!(::memod_client);
    let mut expanded = TokenStream::new();
    for item in syn::parse_file(source).expect("the sample is Rust").items {
        expanded.extend(match item {
            Item::Fn(mut function) => {
                let task = function.attrs.remove(0);
                let options = match &task.meta {
                    Meta::List(list) => list.tokens.clone(),
                    _ => TokenStream::new(),
                };
                crate::task::expand(options, &quote!(#function), &root)
            }
            other => crate::literal::expand(quote!(#other), &root),
        });
    }
    expanded
}

/// What is said of this source, with the text at which it is said.
fn said(source: &str) -> Vec<(String, String)> {
    let file: File = syn::parse2(expand(source)).expect("errors are Rust, too");
    let errors = file.items.into_iter().filter_map(|item| match item {
        Item::Macro(item) if item.mac.path.segments.last()?.ident == "compile_error" => {
            let message: LitStr = item.mac.parse_body().expect("a message");
            Some((message.span().source_text().unwrap_or_default(), message.value()))
        }
        _ => None,
    });
    errors.collect()
}

#[test]
fn expansions_are_as_they_were() {
    let bless = std::env::var_os("MEMOD_BLESS").is_some();
    let mut samples = 0;
    for entry in fs::read_dir(folder()).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "in") {
            continue;
        }
        samples += 1;
        let expanded = expand(&fs::read_to_string(&path).expect("a sample"));
        let file: File = syn::parse2(expanded).expect("the expansion is Rust");
        let expanded = prettyplease::unparse(&file);
        let kept = path.with_extension("out");
        if bless {
            fs::write(&kept, &expanded).expect("written");
        }
        let before = fs::read_to_string(&kept).unwrap_or_default();
        assert!(
            before == expanded,
            "{} expands to something else; MEMOD_BLESS=1 writes it:\n{expanded}",
            path.display()
        );
    }
    assert!(samples >= 6, "the samples are found");
}

/// A mistake is said at this text, in these words, and nothing else is.
#[track_caller]
fn wrong(source: &str, at: &str, words: &str) {
    let said = said(source);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, at, "{}", said[0].1);
    assert!(said[0].1.contains(words), "{said:?}");
}

#[test]
fn s33_options_that_make_no_sense() {
    wrong("#[task(serialize)] fn f() {}", "serialize", "there is no `cache_version`");
    wrong("#[task(ignore(a))] fn f(a: i64) {}", "ignore", "there is no `cache_version`");
    let off = "#[task(cache_version = \"1\", enabled = false, serialize)] fn f() {}";
    wrong(off, "serialize", "caching is off");
    let off = "#[task(enabled = false, ignore(a))] fn f(a: i64) {}";
    wrong(off, "ignore", "caching is off");
    let off = "#[task(enabled = false)] fn f(#[input(hash = h)] a: i64) {}";
    wrong(off, "h", "caching is off");
    wrong("#[task(cache_version = \" \")] fn f() {}", "\" \"", "must not be blank");
    wrong("#[task(cache_version = 1.0)] fn f() {}", "1.0", "is a string");
    wrong("#[task(cache_version = \"1\", name = \"\")] fn f() {}", "\"\"", "must not be blank");
    let unknown = "#[task(cache_version = \"1\", ignore(b))] fn f(a: i64) {}";
    wrong(unknown, "b", "there is no argument `b`");
    let twice = "#[task(cache_version = \"1\", ignore(a, a))] fn f(a: i64) {}";
    wrong(twice, "a", "ignored already");
    let both = "#[task(cache_version = \"1\", ignore(a))] fn f(#[input(hash = h)] a: i64) {}";
    wrong(both, "h", "its hash does not count");
    wrong("#[task(cache_version = \"1\", ignore())] fn f() {}", "ignore", "names no argument");
    wrong("#[task(cache_version = \"1\", serialise)] fn f() {}", "serialise", "no option");
    let twice = "#[task(cache_version = \"1\", serialize, serialize)] fn f() {}";
    wrong(twice, "serialize", "given twice");
    let both = "#[task(cache_version = \"1\", overwrite, read_only)] fn f() {}";
    wrong(both, "read_only", "`enabled = false` says that");
    let hash = "#[task(cache_version = \"1\")] fn f(#[input(hash = \"h\")] a: i64) {}";
    wrong(hash, "\"h\"", "the path of a function");
    let hash = "#[task(cache_version = \"1\")] fn f(#[input(skip)] a: i64) {}";
    wrong(hash, "skip", "hash = path::to::function");
    let said = said("#[task] fn f() {}");
    assert_eq!(said.len(), 1);
    assert!(said[0].1.contains("needs a `cache_version = \"..\"`"), "{said:?}");
}

#[test]
fn s33_a_declaration_that_is_off_needs_no_version() {
    assert!(said("#[task(enabled = false)] fn f() {}").is_empty());
    assert!(said("#[task(enabled = false, serialize = false)] fn f() {}").is_empty());
    assert!(said("#[task(enabled = on(), cache_version = V, serialize)] fn f() {}").is_empty());
}

#[test]
fn functions_that_cannot_be_tasks() {
    let task = |function: &str| format!("#[task(cache_version = \"1\")] {function}");
    for (function, at, words) in [
        ("const fn f() {}", "const", "cannot be `const`"),
        ("unsafe fn f() {}", "unsafe", "cannot be `unsafe`"),
        ("extern \"C\" fn f() {}", "extern \"C\"", "no ABI"),
        ("fn f<T>(a: T) {}", "T", "cannot be generic"),
        ("fn f<'a>(a: &'a str) {}", "'a", "write `&str`"),
        ("fn f(&self) {}", "&self", "not a method"),
        ("fn f((a, b): (i64, i64)) {}", "(a, b)", "needs a name"),
        ("fn f(_: i64) {}", "_", "needs a name"),
        ("fn f(a: &mut Vec<i64>) {}", "mut", "would not happen on a hit"),
        ("fn f(a: impl ToString) {}", "impl", "name the type"),
        ("fn f() -> Vec<impl ToString> { vec![1] }", "impl", "not `impl Trait`"),
    ] {
        wrong(&task(function), at, words);
    }
    let both = said(&task("fn f(_: i64, (a, b): (i64, i64)) {}"));
    assert_eq!(both.len(), 2, "all mistakes are said at once: {both:?}");
}

#[test]
fn types_that_have_no_literal() {
    for (source, at, words) in [
        ("struct S<'a> { a: &'a str }", "'a", "use `String`"),
        ("struct Tree { leaves: Vec<Tree> }", "Tree", "contains itself"),
        ("struct Tree { leaves: Option<Box<Self>> }", "Self", "contains itself"),
        ("enum Tree { Leaf, Node(Box<Tree>) }", "Tree", "contains itself"),
        ("enum Never {}", "Never", "no values"),
        ("enum E { A() }", "()", "without brackets"),
        ("#[literal(untagged)] enum E { A(i64), B }", "B", "exactly one"),
        ("#[literal(untagged)] struct S;", "untagged", "of an enum"),
        ("#[literal(outputs)] enum E { A }", "outputs", "of a struct"),
        ("#[literal(outputs)] struct S(i64, i64);", "outputs", "named fields"),
        ("struct S { #[literal(rename = \"b\")] a: i64, b: i64 }", "b", "another `b`"),
        ("struct S { #[literal(rename = \"\")] a: i64 }", "\"\"", "must not be empty"),
        ("struct S { #[literal(skip)] a: i64 }", "skip", "rename"),
        ("#[literal(rename_all = \"x\")] struct S;", "rename_all", "here stands"),
        ("struct S(#[literal(rename = \"a\")] i64);", "#[literal(rename = \"a\")]", "no name"),
    ] {
        wrong(source, at, words);
    }
}

#[test]
fn a_mistake_leaves_the_function_where_it_is() {
    let source = "#[task] fn f(#[input(hash = h)] a: i64) -> i64 { a }";
    let file: File = syn::parse2(expand(source)).expect("Rust");
    let Some(Item::Fn(kept)) = file.items.last() else { panic!("it is gone") };
    assert_eq!(kept.sig.ident, "f");
    let is_ours = |argument: &syn::FnArg| match argument {
        syn::FnArg::Typed(typed) => !typed.attrs.is_empty(),
        syn::FnArg::Receiver(_) => false,
    };
    assert!(!kept.sig.inputs.iter().any(is_ours), "an unknown attribute would be a second error");
}
