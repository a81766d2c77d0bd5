//! Every option of `RocksDB` that memod sets, and why.
//!
//! Memory is the scarce thing: the daemon stays well under 256 MiB, of which the hot cache has 96.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocksdb::{
    BlockBasedOptions, Cache, ChecksumType, ColumnFamilyDescriptor, CompactionDecision,
    DBCompressionType, DBRecoveryMode, LogLevel, Options, SliceTransform, WriteOptions,
};

use super::generations::family_name;
use super::recovery::lacks_log;
use crate::disk::FileSystem;
use crate::packing::{Checksum, Compression, Packing};
use crate::record::Grave;
use crate::schema::Column;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// On a smaller file system than this nothing is preallocated.
const SMALL_DISK_BYTES: u64 = 8 << 30;

/// Options of the database in this folder as a whole.
pub(super) fn database(folder: &Path, create: bool) -> Options {
    // Or a power cut that takes the end of a log and leaves the beginning of the next would go
    // unnoticed: what is in the next would be kept without what came before it.
    let mut settings = Vec::new();
    if has_log(folder) {
        settings.push("track_and_verify_wals=true");
    }
    // What is preallocated is given back when a file is complete; until then a log takes 17 MB, and
    // each file that a compaction writes as much as its inputs, on a disk that may not have that.
    if FileSystem::under(folder).is_some_and(|of| of.total_bytes < SMALL_DISK_BYTES) {
        settings.push("allow_fallocate=false");
    }
    let set = Options::default().get_options_from_string(settings.join(";"));
    let mut options = set.expect("the linked RocksDB knows these options");
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    // Without this, writes would go on behind a torn record of the log and be lost with it. The
    // price: a compaction that meets a damaged block ends all writing until that is mended.
    options.set_paranoid_checks(true);
    // A torn tail of the log is what a crash leaves; everything before it is kept.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Bounds both the disk that the log takes and the time that opening takes after a crash.
    options.set_max_total_wal_size(64 * MIB as u64);
    options.set_db_write_buffer_size(32 * MIB);
    // The kernel writes behind evenly, so that a sync finds little left to do.
    options.set_wal_bytes_per_sync(MIB as u64);
    options.set_bytes_per_sync(MIB as u64);
    // One that flushes and two that compact: while garbage is collected, the other goes on.
    options.set_max_background_jobs(3);
    // There is one writer, so nothing is gained by making its inserts safe for many.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_write_thread_adaptive_yield(false);
    // Also: files are opened when they are first read, so opening a large store is quick.
    options.set_max_open_files(256);
    options.set_skip_stats_update_on_db_open(true);
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_max_manifest_file_size(16 * MIB);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_keep_log_file_num(3);
    options.set_max_log_file_size(MIB);
    options.set_log_level(LogLevel::Warn);
    options
}

/// Whether there is a log, so that one may say how the one before it ended, and that be verified. A
/// power cut may leave none while a database is being made, which would be damage if logs were
/// verified. Nothing has been acknowledged then.
fn has_log(folder: &Path) -> bool {
    // A database that is not there yet will have one.
    !folder.join("CURRENT").exists() || !lacks_log(folder)
}

/// What the options of all columns share.
pub(crate) struct ColumnOptions {
    cache: Cache,
    packing: Packing,
    grave_age_ms: Arc<AtomicU64>,
}

impl ColumnOptions {
    pub(super) fn new(
        block_cache_bytes: u64,
        packing: Packing,
        grave_age_ms: &Arc<AtomicU64>,
    ) -> Self {
        let bytes = usize::try_from(block_cache_bytes).unwrap_or(usize::MAX);
        let grave_age_ms = Arc::clone(grave_age_ms);
        Self { cache: Cache::new_lru_cache(bytes), packing, grave_age_ms }
    }

    /// Of one column. One that is quiet is not compacted by itself.
    pub(super) fn of(&self, of: Column, quiet: bool) -> Options {
        let mut options = self.column(of);
        options.set_disable_auto_compactions(quiet);
        options
    }

    fn column(&self, of: Column) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        // Index and filter blocks count against the cache, or a large store would need much memory.
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_format_version(6);
        table.set_block_size(self.packing.block_bytes);
        table.set_checksum_type(checksum(self.packing.checksum));
        let mut options = Options::default();
        filter(of, &mut table, &mut options);
        options.set_block_based_table_factory(&table);
        options.set_level_compaction_dynamic_level_bytes(true);
        // Hashes do not compress.
        let hashes_only = matches!(of, Column::Near | Column::Heat | Column::Refs);
        options.set_compression_type(if hashes_only {
            DBCompressionType::None
        } else {
            compression(self.packing.rows)
        });
        // Chunks come faster than they are flushed: a third buffer would only be more memory.
        options.set_max_write_buffer_number(if of == Column::Chunks { 2 } else { 3 });
        options.set_write_buffer_size(match of {
            // Each flush makes a blob file: smaller buffers would make very many. And what a flush
            // leaves besides is short, so that four of them would soon have all rows written anew.
            Column::Chunks | Column::Blobs => 16 * MIB,
            Column::Entries | Column::Tasks => 8 * MIB,
            Column::Refs | Column::Near => 4 * MIB,
            Column::Heat => 2 * MIB,
            Column::Meta | Column::Graves => MIB,
        });
        match of {
            Column::Blobs => {
                blob_files(&mut options, KIB, self.packing.content);
                // So that what has been read once is in memory the next time.
                options.set_blob_cache(&self.cache);
                // A million rows take some 70 MiB, since the content stands elsewhere: with levels
                // as large as by default there would be only one, which each compaction rewrites.
                options.set_max_bytes_for_level_base(4 * MIB as u64);
                options.set_target_file_size_base(2 * MIB as u64);
            }
            Column::Chunks => {
                blob_files(&mut options, 4 * KIB, self.packing.content);
            }
            Column::Graves => {
                let age_ms = Arc::clone(&self.grave_age_ms);
                options.set_compaction_filter(c"memod.grave-age", move |_level, _key, value| {
                    let age_max = Duration::from_millis(age_ms.load(Ordering::Relaxed));
                    if is_too_old(value, age_max) {
                        CompactionDecision::Remove
                    } else {
                        CompactionDecision::Keep
                    }
                });
            }
            _ => {}
        }
        options
    }

    /// These column families with their options.
    pub(super) fn all(
        &self,
        families: &[(Column, u32)],
        quiet: bool,
    ) -> Vec<ColumnFamilyDescriptor> {
        let family = |(of, generation): &(Column, u32)| {
            ColumnFamilyDescriptor::new(family_name(*of, *generation), self.of(*of, quiet))
        };
        let mut families: Vec<_> = families.iter().map(family).collect();
        // RocksDB insists on this one; memod keeps nothing in it. The largest buffer of all columns
        // is how much room RocksDB wants to see on a disk that was full before it goes on.
        let mut unused = Options::default();
        unused.set_write_buffer_size(MIB);
        families.push(ColumnFamilyDescriptor::new("default", unused));
        families
    }
}

const fn compression(of: Compression) -> DBCompressionType {
    match of {
        Compression::None => DBCompressionType::None,
        Compression::Lz4 => DBCompressionType::Lz4,
        Compression::Zstd => DBCompressionType::Zstd,
    }
}

const fn checksum(of: Checksum) -> ChecksumType {
    match of {
        Checksum::Crc32c => ChecksumType::CRC32c,
        Checksum::Xxh3 => ChecksumType::XXH3,
    }
}

/// Filters by which a row that is not there is not looked for.
fn filter(of: Column, table: &mut BlockBasedOptions, options: &mut Options) {
    let by_key = matches!(of, Column::Entries | Column::Blobs | Column::Graves | Column::Heat);
    if by_key {
        // Every put asks for rows that are not there yet.
        options.set_memtable_whole_key_filtering(true);
    }
    if let Some(bytes) = of.prefix_bytes() {
        // Before an entry is evicted it is asked who else refers to its blobs: nobody, mostly.
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(bytes));
        table.set_whole_key_filtering(false);
    }
    if by_key || of.prefix_bytes().is_some() {
        table.set_bloom_filter(10.0, false);
        table.set_optimize_filters_for_memory(true);
        options.set_memtable_prefix_bloom_ratio(0.05);
    }
}

/// Content goes to blob files: compaction then moves references, not content.
fn blob_files(options: &mut Options, from_bytes: usize, packed: Compression) {
    options.set_enable_blob_files(true);
    options.set_min_blob_size(from_bytes as u64);
    options.set_blob_file_size(64 * MIB as u64);
    options.set_blob_compression_type(compression(packed));
    // Or each compaction would copy content. It is turned on for a while where there is garbage
    // worth it: see `crate::collect`.
    options.set_enable_blob_gc(false);
    // A blob file that is all garbage goes when compactions have met all removals. A file of rows
    // that are mostly removals is compacted at once; half of them are while each put evicts
    // another, and then all would be rewritten for each flush.
    options.add_compact_on_deletion_collector_factory(0, 0, 0.75);
}

fn is_too_old(value: &[u8], age_max: Duration) -> bool {
    let Ok(grave) = Grave::decode(value) else { return false };
    let dug = UNIX_EPOCH + Duration::from_millis(grave.at_ms);
    SystemTime::now().duration_since(dug).is_ok_and(|age| age > age_max)
}

/// Options of a write that is done when it is on the disk, or when the kernel has it.
pub(super) fn write(sync: bool) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(sync);
    options
}

#[cfg(test)]
mod tests {
    use memod_protocol::wire;

    use super::*;
    use crate::record::GraveCause;

    #[test]
    fn graves_age_out_and_what_is_no_grave_stays() {
        let grave = |at_ms| {
            wire::encode(&Grave { cause: GraveCause::Evicted, at_ms, by_uid: Some(1), lost: None })
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let age_max = Duration::from_secs(60);
        assert!(is_too_old(&grave(now - 61_000), age_max));
        assert!(!is_too_old(&grave(now - 30_000), age_max));
        assert!(!is_too_old(&grave(now + 1_000_000), age_max), "the clock was set back");
        assert!(!is_too_old(b"", age_max));
    }
}
