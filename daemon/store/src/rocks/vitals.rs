//! What the database tells of itself while it works.

use super::RocksError;
use super::database::Database;
use crate::schema::Column;
use crate::vitals::Vitals;

impl Database {
    /// How often flushes and compactions have failed since it was opened. Does not
    /// wait for the disk.
    pub(crate) fn background_failures(&self) -> Result<u64, RocksError> {
        // They are counted with the column that every database has.
        Ok(self.db.property_int_value(c"rocksdb.background-errors")?.unwrap_or(0))
    }

    /// The database's part of the vital signs.
    pub(crate) fn vitals(&self) -> Result<Vitals, RocksError> {
        // Of the database as a whole, whichever column is asked; all columns share one cache.
        let whole = |name| self.property(Column::Entries, name);
        let mut vitals = Vitals {
            block_cache_bytes: whole(c"rocksdb.block-cache-usage")?,
            compactions: whole(c"rocksdb.num-running-compactions")?,
            flushes: whole(c"rocksdb.num-running-flushes")?,
            write_stopped: whole(c"rocksdb.is-write-stopped")?,
            background_errors: self.background_failures()?,
            ..Vitals::default()
        };
        for column in Column::ALL {
            vitals.memtable_bytes += self.property(column, c"rocksdb.cur-size-all-mem-tables")?;
            vitals.table_bytes += self.property(column, c"rocksdb.live-sst-files-size")?;
            vitals.pending_bytes +=
                self.property(column, c"rocksdb.estimate-pending-compaction-bytes")?;
            let (total, garbage) = self.blob_bytes(column)?;
            vitals.blob_bytes += total;
            vitals.garbage_bytes += garbage;
        }
        Ok(vitals)
    }
}
