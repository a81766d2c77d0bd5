//! Bad input of every kind: the daemon stays up with its memory bounded, other clients notice
//! nothing, nothing that was stored is lost, and the error says what is wrong and what to do.

mod descriptors;
mod files;
mod frames;
mod greetings;
mod memory;
mod outputs;
mod requests;
mod slow;
mod uploads;
