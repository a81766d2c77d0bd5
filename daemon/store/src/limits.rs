//! Every bound of the store, by name.

use std::time::Duration;

use memod_protocol::board::TRUST;

/// Content up to this length stands in its row in `blobs`; what is longer stands in `chunks`.
/// Small enough that an entry with the most outputs fits into memory with all of them.
pub const WHOLE_BYTES_MAX: usize = 16 * 1024;
/// Whole content from this length on is kept in the hot cache; hashing less costs no more than
/// finding it there.
pub(crate) const HOT_WHOLE_BYTES_MIN: usize = 4 * 1024;
/// For uploads that nobody has announced entries are evicted as long as all uploads under way hold
/// no more than one part in so many of the store.
pub const UPLOADS_SHARE: u64 = 8;
/// Most mutations in one group.
pub(crate) const GROUP_COUNT_MAX: usize = 512;
/// A group is full when the content in it reaches this.
pub(crate) const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Content that may wait in the writer's queue.
pub(crate) const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A group whose write is synced is waited for, to gather, as long as the last such write took, but
/// never longer than this.
pub(crate) const GATHER_MAX: Duration = Duration::from_millis(2);
/// What a mutation counts for in the two bounds above, besides its content.
pub(crate) const MUTATION_BYTES: usize = 1024;
/// Storage ids are reserved on disk in blocks of this many.
pub(crate) const STORAGE_IDS_BLOCK: u64 = 1024;
/// The first number of chunks that an upload reserves in its loose row; doubled when it is used up.
pub(crate) const LOOSE_CHUNKS_MIN: u32 = 64;
/// After so many bytes of content have been removed, the removals are flushed, which lets
/// compaction find them and give the space back.
pub(crate) const FREED_BYTES_FLUSH: u64 = 64 * 1024 * 1024;
/// Rows that one page of a listing looks at.
pub(crate) const LIST_LOOKS_MAX: usize = 10_000;
/// Bytes on disk that one page of a listing looks at.
pub(crate) const LIST_READ_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of names in the rows of one page.
pub(crate) const LIST_BYTES_MAX: usize = 512 * 1024;
/// Rows of `near` that an entry has at the most.
pub(crate) const NEAR_BUCKETS: usize = 8;
/// Scopes in which near entries are looked for.
pub(crate) const NEAREST_SCOPES_MAX: usize = 256;
/// Groups of one scope, alike in cache version and signature, in which near entries are looked for.
pub(crate) const NEAREST_GROUPS_OF_SCOPE_MAX: usize = 32;
/// Groups of all scopes in which near entries are looked for.
pub(crate) const NEAREST_GROUPS_MAX: usize = 96;
/// Rows that one slot of `near` is asked for if it leaves out several inputs; otherwise it is asked
/// for as many as are wanted.
pub(crate) const NEAREST_SLOT_ROWS_MAX: usize = 128;
/// Inputs that are left out, one at a time, to find entries for which they do not count; in groups
/// that differ in something else as well, [`NEAR_BUCKETS`].
pub(crate) const NEAREST_LEFT_OUT_MAX: usize = 64;
/// Rows and places that a search for near entries reads one by one.
pub(crate) const NEAREST_READS_MAX: usize = 3000;
/// Rows that a search for near entries compares by way of sample.
pub(crate) const NEAREST_SAMPLE_MAX: usize = 2000;
/// Bytes of rows that a search for near entries compares, and of those that stand for groups.
pub(crate) const NEAREST_READ_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Removed rows, each counted twice, that one step of a search for near entries passes over before
/// it gives up. They are there until the database compacts; so many cost some 10 ms.
pub(crate) const NEAREST_SKIPS_MAX: u64 = 100_000;
/// How often a lookup starts again because its entry was replaced in the middle of it.
pub(crate) const LOOKUP_ATTEMPTS_MAX: usize = 64;
/// The store syncs its log at least this often, whatever the options say.
pub(crate) const SYNC_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Problems that a recount names; it counts all.
pub(crate) const PROBLEMS_NAMED_MAX: usize = 100;
/// Rows that one step of a verification looks at.
pub(crate) const VERIFY_STEP_ROWS: usize = 512;
/// Bytes that one step of a verification reads.
pub(crate) const VERIFY_STEP_BYTES: u64 = 16 * 1024 * 1024;
/// This is how often it is decided whether to collect garbage.
pub(crate) const BALANCE_INTERVAL: Duration = Duration::from_secs(10);
/// Less garbage than this in a column is not collected in a large store ..
pub(crate) const GARBAGE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// .. nor less than this in a small one, or while the disk is short, ..
pub(crate) const GARBAGE_BYTES_LEAST: u64 = 1024 * 1024;
/// .. nor less than one part in so many of the store's budget in between.
pub(crate) const GARBAGE_BUDGET_SHARE: u64 = 8;
/// Graves for each entry from which on graves age faster, unless there are fewer than
/// [`GRAVES_MIN`].
pub(crate) const GRAVES_PER_ENTRY_MAX: u64 = 8;
/// So many graves are kept whatever the number of entries is.
pub(crate) const GRAVES_MIN: u64 = 100_000;
/// How long a store is not changed after a process that did not end in order has had it. Who reads
/// a daemon's boards may take it to live for [`TRUST`] after it has seen that it does, and the
/// kernel, which closes what a dead process had open one by one, may have given the store's lock
/// back before that.
pub(crate) const SUCCESSION: Duration = Duration::from_millis(20);
const _: () = assert!(SUCCESSION.as_micros() >= 20 * TRUST.as_micros());
/// How long a collection waits for the database to delete files.
pub(crate) const PURGE_PATIENCE: Duration = Duration::from_secs(5);
/// Small entries may take one part in so many of the hot cache's memory, besides it.
pub(crate) const HOT_ENTRIES_SHARE: u64 = 8;
/// Scopes and users whose charges are kept in memory; those of others are read when wanted.
pub(crate) const USAGES_KNOWN_MAX: usize = 4096;
/// Entries in one shard whose uses have not been written down; there are 16 shards.
pub(crate) const TOUCHES_PER_SHARD_MAX: usize = 1024;
/// Uses are written down this often.
pub(crate) const FOLD_INTERVAL: Duration = Duration::from_secs(5);
/// What has been learned of uses is written down this often.
pub(crate) const REUSE_INTERVAL: Duration = Duration::from_secs(60);
/// Of the uses of an entry between two writings, this many are learned from.
pub(crate) const HIT_EVENTS_MAX: u32 = 64;
/// Entries that are drawn together. Twelve for each that is evicted, or `cost` misses its aims on
/// traces whose working set is a hundred times the cache.
pub(crate) const SAMPLE_COUNT: usize = 96;
/// Entries that are evicted before others are drawn.
pub(crate) const EVICT_OF_SAMPLE: usize = 8;
/// Entries drawn before, those that were worth least, among which is chosen as well.
pub(crate) const EVICT_POOL: usize = 24;
/// Removed rows, each counted twice, that one step of a sample passes over.
pub(crate) const SAMPLE_SKIPS_MAX: u64 = 20_000;
/// Samples whose entries are evicted in one batch.
pub(crate) const EVICT_SAMPLES_MAX: usize = 8;
/// Entries that are evicted for one put before it is refused.
pub(crate) const EVICT_FOR_PUT_MAX: u64 = 20_000;
/// Outputs of an entry that are looked at before it is evicted, whether others share them.
pub(crate) const SHARED_LOOKS_MAX: usize = 8;
/// Entries that are looked at to find a sample of one user's.
pub(crate) const USER_LOOKS_MAX: usize = 4096;
/// Scopes whose listing a sample goes on from where the last one ended.
pub(crate) const HANDS_MAX: usize = 1024;
/// How often room is made for one change before it is refused. More than once because what is
/// evicted may have shared content with what is to be put, which then needs more room.
pub(crate) const ROOM_ATTEMPTS_MAX: u32 = 32;
