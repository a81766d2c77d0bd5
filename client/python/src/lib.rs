//! The extension module `memod._memod`: what the Python package needs of the Rust client.
//!
//! **Invariants.** Thin: what is sent to the daemon and what an answer means is decided in
//! memod-client. The interpreter's lock is given up while the daemon is asked and while a file is
//! hashed. Nothing here runs a task.
//!
//! **Does not** read annotations, options or the environment: the Python part does, once for each
//! declaration, and hands over a plan.

mod bind;
mod blob;
mod call;
mod caller;
mod client;
mod converter;
mod decode;
mod encode;
mod errors;
mod file;
mod listing;
mod moment;
mod node;
mod overlap;
mod plan;
mod recall;
mod report;
mod settle;

use pyo3::prelude::*;

/// Memoization with memod: the part that is written in Rust.
#[pymodule]
mod _memod {
    #[pymodule_export]
    use crate::blob::Blob;
    #[pymodule_export]
    use crate::call::{Call, Hashed};
    #[pymodule_export]
    use crate::caller::{Caller, use_by_default};
    #[pymodule_export]
    use crate::client::Client;
    #[pymodule_export]
    use crate::client::Lease;
    #[pymodule_export]
    use crate::converter::Converter;
    #[pymodule_export]
    use crate::plan::Plan;
    #[pymodule_export]
    use crate::recall::Recall;

    use pyo3::prelude::*;

    /// Tells the daemons of hits that have not been told of yet, without waiting.
    #[pyfunction]
    fn report_board_hits(py: Python<'_>) {
        py.detach(memod_client::report_board_hits);
    }

    /// Descriptors of the clients' sockets, each told once: for a process that was just forked.
    #[pyfunction]
    fn inherited_sockets() -> Vec<i32> {
        memod_client::inherited_sockets()
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
