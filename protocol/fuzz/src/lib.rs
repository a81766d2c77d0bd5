//! What the fuzz targets do, as functions which the protocol's tests call too.

pub mod bodies;
pub mod build;
