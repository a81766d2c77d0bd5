//! Semantics 26 to 32: of all who ask for the same call one computes, and the others wait for it.

mod bounds;
mod chaos;
mod clock;
mod crowd;
mod expired;
mod hold;
mod library;
mod listed;
mod named;
mod restart;
mod run;
mod wait;
mod worker;
