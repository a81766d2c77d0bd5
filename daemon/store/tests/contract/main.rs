//! What the store promises, shown from outside: against a model in memory, under concurrency,
//! damage and `kill -9`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]

mod apart;
mod basics;
mod budgets;
mod content;
mod crash;
mod damage;
mod damage_cases;
mod drawn;
mod fixtures;
mod harness;
mod listing;
mod lowered;
mod model;
mod nearest;
mod opening;
mod space;
mod threads;
mod unlisted;
mod uploads;
mod verify;
