//! How a store is set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::budgets::Budgets;
use crate::mirror::{Blind, Mirror};

/// When a change counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is in the log of the operating system: it survives `kill -9`, and a power cut
    /// loses at most the last [`Options::sync_interval`].
    #[default]
    Process,
    /// When it is on the disk: it survives a power cut.
    Power,
}

/// What to do about a database that cannot be opened because it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// Refuse to open the store, unless it can be mended and nothing be lost.
    #[default]
    Refuse,
    /// Open it without the files that are damaged, and write what they belong to anew; refuse if
    /// that cannot be done.
    Repair,
    /// The same, but if that cannot be done move the database into a folder `damaged-<date>` of the
    /// store, and begin a new one. One that could not be written because of damage when it was open
    /// last, and cannot be mended, is moved too.
    SetAside,
}

/// Where a store is and what it may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// The store's folder; made, with its parents, if it is not there.
    pub path: PathBuf,
    /// When a change counts as done.
    pub durability: Durability,
    /// Under [`Durability::Process`], the longest time that a change waits to be synced.
    pub sync_interval: Duration,
    /// Memory for verified content.
    pub hot_bytes: u64,
    /// Memory for blocks of the database.
    pub block_cache_bytes: u64,
    /// Changes that may wait for the writer; who brings more is held up.
    pub write_queue_max: usize,
    /// What to do about a damaged database.
    pub on_damage: OnDamage,
    /// How long it is remembered that and why an entry was removed.
    pub grave_age_max: Duration,
    /// How much may be stored.
    pub budgets: Budgets,
    /// Where copies of hot entries stand.
    pub mirror: Arc<dyn Mirror>,
}

impl Options {
    /// The defaults, for a store in this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::default(),
            sync_interval: Duration::from_secs(1),
            hot_bytes: 96 * 1024 * 1024,
            block_cache_bytes: 32 * 1024 * 1024,
            write_queue_max: 1024,
            on_damage: OnDamage::default(),
            grave_age_max: Duration::from_secs(30 * 24 * 60 * 60),
            budgets: Budgets::default(),
            mirror: Arc::new(Blind),
        }
    }
}
