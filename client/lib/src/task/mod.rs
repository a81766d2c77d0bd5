//! Tasks: functions that are memoized by declaration.
//!
//! `#[task]` makes the call of a function a lookup, and runs the function only if that misses:
//!
//! ```no_run
//! use memod_client as memod;
//!
//! #[memod::task(cache_version = "1.0.0", serialize, ignore(verbose))]
//! fn hash_string_task(original: String, verbose: bool) -> Result<String, std::io::Error> {
//!     if verbose {
//!         println!("hashing {} bytes", original.len());
//!     }
//!     Ok(memod::Digest::of(original.as_bytes()).to_string())
//! }
//!
//! # fn main() -> Result<(), std::io::Error> {
//! let digest = hash_string_task("hello".to_owned(), true)?; // runs it, or finds what it gave
//! # Ok(())
//! # }
//! ```
//!
//! Which types a task may take and return, and what they are to other languages:
//!
//! | Rust | literal |
//! |---|---|
//! | `()` | `none`; as a return value no output at all |
//! | `bool` | `boolean` |
//! | integers, as far as they fit into 64 bits with a sign | `integer` |
//! | `f32`, `f64` | `float` |
//! | `String`, `&str`, `char` | `string` |
//! | [`Bytes`](bytes::Bytes) (never copied), `Vec<u8>`, `&[u8]`, `[u8; N]` | `bytes` |
//! | [`SystemTime`](std::time::SystemTime) | `datetime` |
//! | [`Duration`](std::time::Duration) | `duration` |
//! | [`File`] | `file`, by its content |
//! | `Vec<T>`, `&[T]`, `[T; N]`, `VecDeque<T>`, sets (in canonical order) | `list<T>` |
//! | `BTreeMap<String, T>`, `HashMap<String, T>` | `map<T>` |
//! | `Option<T>` | `optional<T>` |
//! | tuples | `struct{0:A,1:B}`; as a return value the outputs `o0`, `o1`, .. |
//! | structs and enums with `#[derive(Literal)]` | `struct{..}`, `enum(..)`, `union<..>` |
//! | [`Opaque<F>`](Opaque) | `opaque(NAME)` |
//! | `&T`, `Box<T>`, `Rc<T>`, `Arc<T>`, `Cow<T>` | as `T` |
//!
//! A task's name is that of its module and function, `my_crate.tasks.hash_string_task`, as in
//! Python. Give it a `name = ".."` to share it with another program or language, or to move it
//! without computing anew. What is declared inside a function is named by its module all the same.
//!
//! **Invariants.** The generated code only names what stands here; what can be a function is one,
//! so that the macro stays thin. A task runs whatever happens to the daemon (semantics 34); what
//! went wrong is told to [`on_trouble`].
//!
//! **Does not** look into a function's body: a changed body needs a changed cache version.

mod asked;
mod clients;
mod containers;
mod declaration;
mod file;
mod inputs;
mod opaque;
mod options;
mod overlap;
mod pointers;
mod scalars;
mod structure;
mod trouble;
mod tuples;
mod typed;

#[cfg(feature = "tokio")]
pub use clients::async_client;
pub use clients::{client, set_client};
pub use file::File;
pub use opaque::{Format, Opaque};
pub use options::TaskOptions;
pub use trouble::{Doing, Trouble, on_trouble};
pub use typed::{FromLiteral, Returned, ToLiteral, Typed};

/// What generated code names, and nobody else: it may change with any release.
#[doc(hidden)]
pub mod generated {
    #[cfg(feature = "tokio")]
    pub use super::asked::AsyncAsked;
    pub use super::asked::{Asked, describe};
    pub use super::declaration::{Declaration, qualified};
    pub use super::inputs::Inputs;
    pub use super::options::TaskOptions;
    pub use super::structure::{
        EnumType, Fields, Outputs, StructType, StructValue, field, holding, is_of, named,
        no_member, no_variant, output, unit, variant,
    };
    pub use super::typed::{FromLiteral, Returned, ToLiteral, Typed};
    pub use crate::content::HitOutput;
    pub use crate::error::Error;
    pub use crate::memo::Memoized;
    pub use crate::outputs::PutOutput;
    pub use memod_protocol::{Call, InvalidArgument, Literal, LiteralType};
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod value_tests;
