//! The only module that names `RocksDB`.

mod database;
mod examine;
mod generations;
mod leftovers;
mod manifest;
mod options;
mod recovery;
mod vitals;

pub use database::Tier;
#[cfg(test)]
pub(crate) use database::tests::{
    compact, detailed, family_names, files_of, format_of, leave_unfinished, make_format_1,
    make_format_2, set_row, write_format,
};
pub(crate) use database::{Batch, Database, Read, Reads, Row, Rows, View};
pub(crate) use examine::{BadFile, bad_files, has_one_family_each, unlist};
pub(crate) use generations::Renewal;
pub(crate) use leftovers::seal_leftovers;
#[cfg(test)]
pub(crate) use manifest::current;
pub(crate) use manifest::mend_current;
pub(crate) use recovery::{lacks_log, left_out};
pub use rocksdb::Error as RocksError;

/// Whether an error means that stored bytes are damaged or gone, rather than that reading failed.
pub(crate) fn is_damage(error: &RocksError) -> bool {
    error.kind() == rocksdb::ErrorKind::Corruption
        || (error.kind() == rocksdb::ErrorKind::IOError
            && error.as_ref().contains("No such file or directory"))
}
