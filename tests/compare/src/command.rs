//! What a worker is told, and what it answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One piece of work.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    /// Store values under the numbers from 0 on.
    Fill(Values),
    /// One client, one lookup after the other.
    Hits {
        /// What has been filled.
        values: Values,
        /// How many lookups.
        operations: u64,
        /// How many of a hundred lookups are for something that is there.
        present_percent: u64,
    },
    /// Many clients at once, each with lookups of its own.
    HitRate {
        /// What has been filled.
        values: Values,
        /// How many clients.
        clients: u64,
        /// How long.
        milliseconds: u64,
        /// How many lookups a client has answered at once; absent, one by one.
        #[serde(default)]
        together: Option<u64>,
    },
    /// Many clients at once, each storing values that were not there.
    PutRate {
        /// Group, length, and the number from which on none has been stored.
        values: Values,
        /// How many clients.
        clients: u64,
        /// How long.
        milliseconds: u64,
    },
    /// A program, again and again, from its start to its exit.
    Run(Program),
}

/// Values of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Values {
    /// Sets their keys apart from those of other work.
    pub(crate) group: String,
    /// The length of each, at least 8.
    pub(crate) bytes: usize,
    /// How many, or the first that is not there yet.
    pub(crate) count: u64,
}

/// A program to run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    /// Its path and its arguments.
    pub(crate) words: Vec<String>,
    /// What is set in its environment besides what this process has.
    pub(crate) variables: BTreeMap<String, String>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// The file it writes, which is removed before each run and compared after it.
    pub(crate) output: PathBuf,
    /// A file with the bytes that it has to write.
    pub(crate) expected: PathBuf,
    /// How often.
    pub(crate) operations: u64,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It was done.
    Done(Done),
    /// It was not, or not rightly: the figure does not count.
    Void(String),
}

/// A figure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Done {
    /// Nothing to measure.
    Filled,
    /// How long one operation took.
    Latency {
        /// On the average.
        mean_us: f64,
        /// Half took at most this many microseconds.
        median_us: f64,
        /// A tenth.
        p10_us: f64,
        /// Nine tenths.
        p90_us: f64,
        /// How many were measured.
        operations: usize,
    },
    /// How many operations a second.
    Rate(f64),
}
