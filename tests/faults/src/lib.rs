//! A library that is preloaded into memod and stands between it and the file system: it writes
//! down what is changed and what is synced, and lets calls fail.
//!
//! It is steered by the environment:
//!
//! | variable | meaning |
//! |---|---|
//! | `MEMOD_FAULTS_ROOT` | only files below this folder are watched; without it nothing is |
//! | `MEMOD_FAULTS_PLAN` | which calls fail; looked at before each call, see [`plan`] |
//! | `MEMOD_FAULTS_LOG` | a line for each call that was made to fail, see [`state`] |
//! | `MEMOD_FAULTS_JOURNAL` | every change and every sync, see [`journal`] |
//! | `MEMOD_FAULTS_CLOCK` | by how much the wall clock is set, see [`clock`] |
//!
//! **Invariants.** A call that fails by plan has done nothing. What returned to its caller is in
//! the journal, if there is one. Files elsewhere, and sockets, are left alone.
//!
//! **Does not** see what reaches files by a mapping or by the C library's own buffers; a mapping
//! that could write is told in the log.

#![allow(unsafe_code, reason = "it takes the place of functions of the C library")]

mod calls;
mod clock;
mod data_calls;
mod journal;
mod plan;
mod real;
mod state;
