//! The daemon's command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// The memoization daemon: remembers what tasks have computed.
///
/// Runs in the foreground and logs to standard error. SIGTERM and SIGINT let requests in flight
/// finish; a second one ends at once. SIGHUP has it read its configuration again.
///
/// Without --config it reads the file that `$MEMOD_CONFIG` names (none if that is empty), else
/// `/etc/memod/memod.toml` if that is there; with --data, which makes it somebody's own, it reads
/// `$XDG_CONFIG_HOME/memod/memod.toml` instead.
#[derive(Debug, Parser)]
#[command(name = "memod", version, args_conflicts_with_subcommands = false)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration file (TOML); `memod check-config` says whether it is good.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Unix socket to listen on.
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Directory of the store.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// What to do about a store that is damaged: end; or go on without the files that cannot be
    /// opened; or the same, and if that cannot be done move it aside and begin a new one.
    #[arg(long, global = true, value_name = "refuse|repair|set_aside")]
    pub(crate) on_damage: Option<String>,
    /// What an acknowledged put survives: the death of the process, or of the machine.
    #[arg(long, global = true, value_name = "process|power")]
    pub(crate) durability: Option<String>,
    /// End after this long without a connection, for a daemon that clients start themselves.
    #[arg(long, global = true, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) idle_exit: Option<Duration>,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Serve clients; the default.
    Serve,
    /// Check the configuration, report every mistake, and print the settings that result.
    CheckConfig {
        /// The file to check, as with --config.
        #[arg(value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
        /// How to tell.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// How something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For scripts: one JSON object.
    Json,
}

impl Arguments {
    /// The command, `serve` if none is given.
    pub(crate) fn command(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }

    /// The configuration file that is named.
    pub(crate) fn config(&self) -> Option<&Path> {
        let checked = match &self.command {
            Some(Command::CheckConfig { file, .. }) => file.as_deref(),
            Some(Command::Serve) | None => None,
        };
        checked.or(self.config.as_deref())
    }
}

/// The arguments of this process; ends it with code 2 if they are wrong.
pub(crate) fn parse() -> Arguments {
    Arguments::parse()
}
