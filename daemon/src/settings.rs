//! The settings: what every component is given, checked, with where each value came from.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use memod_store::{Durability, OnDamage};

use crate::budget_settings::BudgetSettings;
use crate::grants::Grant;
use crate::log::LogFormat;
use crate::metrics_address::MetricsAddress;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Unix socket to listen on.
    pub(crate) socket: PathBuf,
    /// Permission bits of the socket.
    pub(crate) socket_mode: u32,
    /// Directory of the store.
    pub(crate) data: PathBuf,
    /// What to do about a store that is damaged.
    pub(crate) on_damage: OnDamage,
    /// What an acknowledged put survives.
    pub(crate) durability: Durability,
    /// Under `process` durability: the longest time that a put stays unsynced.
    pub(crate) sync_interval: Duration,
    /// Memory for verified bytes of large outputs, in bytes.
    pub(crate) hot_bytes: u64,
    /// Memory for large outputs that readers map, in bytes.
    pub(crate) sealed_bytes: u64,
    /// Memory for blocks read from disk, in bytes.
    pub(crate) block_cache_bytes: u64,
    /// Length of the board of a scope, in bytes; 0: there are no boards.
    pub(crate) board_bytes: u64,
    /// Most boards; 0: there are none.
    pub(crate) boards_max: usize,
    /// How much may be stored.
    pub(crate) budgets: BudgetSettings,
    /// Most connections at a time.
    pub(crate) connections_max: usize,
    /// Most bytes of requests and replies in memory, over all connections.
    pub(crate) buffer_bytes_max: u64,
    /// A peer that makes no progress in the middle of a frame for this long is cut off.
    pub(crate) stall_timeout: Duration,
    /// How long requests in flight may take to finish when the daemon stops.
    pub(crate) drain_timeout: Duration,
    /// Age beyond which an entry is a miss when the lookup does not say; zero: never.
    pub(crate) max_age: Duration,
    /// Most requests that wait for leases.
    pub(crate) waiters_max: usize,
    /// The longest heartbeat of a named owner that counts.
    pub(crate) lease_heartbeat_max: Duration,
    /// Requests that the log remembers.
    pub(crate) log_requests: usize,
    /// End after this long without a connection; zero: never.
    pub(crate) idle_exit: Duration,
    /// What is logged, as a `tracing` filter.
    pub(crate) log: String,
    /// In what form, and where.
    pub(crate) log_format: LogFormat,
    /// Where metrics are served.
    pub(crate) metrics: MetricsAddress,
    /// Who may do what, beside root and the daemon's own user; none: whoever can connect may use
    /// the cache.
    pub(crate) grants: Vec<Grant>,
    /// Users whose entries are not served, and who may not put.
    pub(crate) quarantined_users: BTreeSet<u32>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// Names of the settings that were not left at their defaults, and by what.
    pub(crate) origins: Vec<(&'static str, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/memod/memod.sock"),
            socket_mode: 0o600,
            data: PathBuf::from("/var/lib/memod"),
            on_damage: OnDamage::Refuse,
            durability: Durability::Process,
            sync_interval: Duration::from_secs(1),
            hot_bytes: 96 << 20,
            sealed_bytes: 256 << 20,
            block_cache_bytes: 32 << 20,
            board_bytes: 8 << 20,
            boards_max: 64,
            budgets: BudgetSettings::default(),
            connections_max: 12_000,
            buffer_bytes_max: 64 << 20,
            stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            max_age: Duration::ZERO,
            waiters_max: 16_384,
            lease_heartbeat_max: Duration::from_secs(10),
            log_requests: 10_000,
            idle_exit: Duration::ZERO,
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
            metrics: MetricsAddress::Off,
            grants: Vec::new(),
            quarantined_users: BTreeSet::new(),
            file: None,
            origins: Vec::new(),
        }
    }
}

impl Settings {
    /// Name, value and origin of every setting, in the order of the configuration file.
    pub(crate) fn table(&self) -> Vec<(String, String, String)> {
        let seconds = |duration: Duration| humantime::format_duration(duration).to_string();
        let before = [
            ("socket", self.socket.display().to_string()),
            ("socket_mode", format!("{:04o}", self.socket_mode)),
            ("data", self.data.display().to_string()),
            ("on_damage", on_damage_name(self.on_damage).to_owned()),
            ("durability", durability_name(self.durability).to_owned()),
            ("sync_interval", seconds(self.sync_interval)),
            ("hot_bytes", self.hot_bytes.to_string()),
            ("sealed_bytes", self.sealed_bytes.to_string()),
            ("block_cache_bytes", self.block_cache_bytes.to_string()),
            ("board_bytes", self.board_bytes.to_string()),
            ("boards_max", self.boards_max.to_string()),
        ];
        let after = [
            ("connections_max", self.connections_max.to_string()),
            ("buffer_bytes_max", self.buffer_bytes_max.to_string()),
            ("stall_timeout", seconds(self.stall_timeout)),
            ("drain_timeout", seconds(self.drain_timeout)),
            ("max_age", seconds(self.max_age)),
            ("waiters_max", self.waiters_max.to_string()),
            ("lease_heartbeat_max", seconds(self.lease_heartbeat_max)),
            ("log_requests", self.log_requests.to_string()),
            ("idle_exit", seconds(self.idle_exit)),
            ("log", self.log.clone()),
            ("log_format", self.log_format.name().to_owned()),
            ("metrics", self.metrics.to_string()),
            ("quarantined_users", list(&self.quarantined_users, " ")),
            ("grants", list(&self.grants, "; ")),
        ];
        let rows = before.into_iter().chain(self.budgets.rows()).chain(after);
        rows.map(|(name, value)| {
            (name.to_owned(), value, self.origin(name).unwrap_or("default").to_owned())
        })
        .collect()
    }

    /// By what a setting was set; none if it was left at its default.
    pub(crate) fn origin(&self, name: &str) -> Option<&str> {
        let origin = self.origins.iter().rev().find(|(set, _)| *set == name);
        origin.map(|(_, origin)| origin.as_str())
    }

    /// Takes the socket that is served for the one that was configured, since it was passed to this
    /// process: its path, and the permission bits that its file has.
    pub(crate) fn inherit(&mut self, listener: &UnixListener) {
        let address = listener.local_addr().ok();
        let Some(path) = address.as_ref().and_then(|address| address.as_pathname()) else { return };
        path.clone_into(&mut self.socket);
        self.origins.push(("socket", INHERITED.to_owned()));
        if let Ok(found) = path.metadata() {
            self.socket_mode = found.mode() & 0o7777;
            self.origins.push(("socket_mode", INHERITED.to_owned()));
        }
    }

    /// These settings as far as they cannot change while the daemon runs, and those as far as they
    /// can; with the names of what would have changed and cannot.
    pub(crate) fn with_live(&self, mut wanted: Self) -> (Self, Vec<&'static str>) {
        // What was inherited stays, whatever is configured.
        if self.origin("socket") == Some(INHERITED) {
            wanted.socket.clone_from(&self.socket);
            wanted.origins.push(("socket", INHERITED.to_owned()));
        }
        if self.origin("socket_mode") == Some(INHERITED) {
            wanted.socket_mode = self.socket_mode;
            wanted.origins.push(("socket_mode", INHERITED.to_owned()));
        }
        let now: HashMap<String, String> =
            self.table().into_iter().map(|(name, value, _)| (name, value)).collect();
        let table = wanted.table();
        let changed = table.iter().filter(|(name, value, _)| now.get(name) != Some(value));
        let set: Vec<&str> = changed.map(|(name, ..)| name.as_str()).collect();
        let fixed: Vec<_> = FIXED.into_iter().filter(|name| set.contains(name)).collect();
        // What is as it was may stand on another line by now.
        let kept = self.origins.iter().filter(|(name, _)| fixed.contains(name)).cloned();
        let taken = wanted.origins.iter().filter(|(name, _)| !fixed.contains(name)).cloned();
        let merged = Self {
            origins: kept.chain(taken).collect(),
            budgets: wanted.budgets,
            max_age: wanted.max_age,
            log: wanted.log,
            grants: wanted.grants,
            quarantined_users: wanted.quarantined_users,
            file: wanted.file,
            ..self.clone()
        };
        (merged, fixed)
    }
}

/// The origin of what comes with a socket that was passed to this process.
const INHERITED: &str = "inherited socket";

/// The settings that hold until the daemon is started again.
const FIXED: [&str; 21] = [
    "socket",
    "socket_mode",
    "data",
    "on_damage",
    "durability",
    "sync_interval",
    "hot_bytes",
    "sealed_bytes",
    "block_cache_bytes",
    "board_bytes",
    "boards_max",
    "connections_max",
    "buffer_bytes_max",
    "stall_timeout",
    "drain_timeout",
    "waiters_max",
    "lease_heartbeat_max",
    "log_requests",
    "idle_exit",
    "log_format",
    "metrics",
];

fn list<T: ToString>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}

/// The name of a durability, as it is written.
pub(crate) fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Process => "process",
        Durability::Power => "power",
    }
}

/// The durability of that name.
///
/// # Errors
/// If there is none.
pub(crate) fn parse_durability(name: &str) -> Result<Durability, String> {
    match name {
        "process" => Ok(Durability::Process),
        "power" => Ok(Durability::Power),
        other => Err(format!("`{other}` is neither `process` nor `power`")),
    }
}

/// How an [`OnDamage`] is written.
pub(crate) const fn on_damage_name(on_damage: OnDamage) -> &'static str {
    match on_damage {
        OnDamage::Refuse => "refuse",
        OnDamage::Repair => "repair",
        OnDamage::SetAside => "set_aside",
    }
}

/// The [`OnDamage`] of that name.
///
/// # Errors
/// If there is none.
pub(crate) fn parse_on_damage(name: &str) -> Result<OnDamage, String> {
    match name {
        "refuse" => Ok(OnDamage::Refuse),
        "repair" => Ok(OnDamage::Repair),
        "set_aside" => Ok(OnDamage::SetAside),
        other => Err(format!("`{other}` is none of `refuse`, `repair` and `set_aside`")),
    }
}
