//! Black-box tests: every module holds one theme, and all share one binary and one harness.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod autostart;
mod budgets;
mod budgets_uploads;
mod bystander;
mod cli;
mod cli_arguments;
mod cli_exit;
mod cli_rm;
mod cli_rm_terminal;
mod cli_run;
mod cli_run_alone;
mod cli_run_modes;
mod cli_run_tied;
mod client;
mod client_alone;
mod client_async;
mod connections;
mod crash;
mod eviction;
mod faults;
mod hostile;
mod large;
mod leases;
mod memo;
mod other_user;
mod request_log;
mod sameness;
mod semantics_age;
mod semantics_damage;
mod semantics_invalidate;
mod semantics_key;
mod semantics_lookup;
mod semantics_put;
mod semantics_savings;
mod semantics_value;
mod semantics_why;
mod setup;
mod shop;
mod task_macro;
mod tidy;
mod torture;
mod upkeep;
mod upkeep_damage;
