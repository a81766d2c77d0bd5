//! Wrong uses of the macros are compile errors that point at what is wrong.
//!
//! What each mistake says is tested in memod-macros; here the compiler says a few of them, and
//! those that only it can know. `TRYBUILD=overwrite` writes what it says anew.

#![cfg(feature = "macros")]

#[test]
fn s33_wrong_uses_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
