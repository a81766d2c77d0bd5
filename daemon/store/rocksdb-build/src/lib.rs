//! Nothing: this crate exists so that Cargo compiles RocksDB.
