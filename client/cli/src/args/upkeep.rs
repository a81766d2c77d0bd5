//! The flags of the commands of upkeep.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `memo verify`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct VerifyArgs {
    /// Removes what is bad and keeps the rest.
    #[arg(long)]
    pub(crate) repair: bool,
}

const EXPORT_DETAILS: &str = "\
The file is written under another name and renamed when it is whole. What `memo verify` would \
call bad is left out, and said. Without --task and --scope, all projects and domains are exported.";

/// Arguments of `memo export`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXPORT_DETAILS)]
pub(crate) struct ExportArgs {
    /// The archive to write, `-` for standard output.
    pub(crate) file: PathBuf,
    /// Only entries of this task of the project and domain.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) task: Option<String>,
    /// Only entries of the project and domain.
    #[arg(long)]
    pub(crate) scope: bool,
}

const IMPORT_DETAILS: &str = "\
Entries that are there already are left as they are, so an import that was interrupted goes on \
when it is run again. Everything is verified before it is stored; entries that are damaged in the \
archive are left out, and said.";

/// Arguments of `memo import`.
#[derive(Debug, Clone, Args)]
#[command(after_help = IMPORT_DETAILS)]
pub(crate) struct ImportArgs {
    /// The archive to read, `-` for standard input.
    pub(crate) file: PathBuf,
}
