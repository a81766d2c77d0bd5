//! The flags of the commands of upkeep.

use std::path::PathBuf;

use clap::Args;

const VERIFY_DETAILS: &str = "\
Exit codes: 0 nothing is bad, or --repair has removed or mended all that was; 3 no daemon, or it \
ended meanwhile; 4 forbidden; 5 something bad is left, or the daemon answered with an error.";

/// Arguments of `memo verify`.
#[derive(Debug, Clone, Copy, Args)]
#[command(after_help = VERIFY_DETAILS)]
pub(crate) struct VerifyArgs {
    /// Removes what is bad, writes damaged files anew, and keeps the rest.
    #[arg(long)]
    pub(crate) repair: bool,
}

const EXPORT_DETAILS: &str = "\
The file is written as FILE.part and renamed when it is whole; if that is cut off, the same \
command goes on where it ended. A symbolic link is followed; a device, a pipe or a socket is \
written through. What `memo verify` would call bad is left out, and said; so is what you may not \
read, such as entries of a quarantined user. Without --task and --scope, all projects and domains \
are exported.

Exit codes: 0 done, also if something was left out; 2 the arguments are wrong or FILE cannot be \
written; 3 no daemon, or it ended meanwhile; 4 forbidden; 5 FILE cannot be written to its end, \
another export is writing it, or the daemon answered with an error.";

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
when it is run again. Everything is verified before it is stored; an entry with a damaged output \
is left out, and said. Where damage has hit what an entry says of itself, the import ends, for \
where the next one begins is not known; --salvage looks for it.

Exit codes: 0 done; 2 the arguments are wrong or FILE is no archive; 3 no daemon, or it ended \
meanwhile; 4 forbidden, or the store is too small and some of the entries were evicted again; 5 \
something was damaged, or the daemon answered with an error.";

const DOCTOR_DETAILS: &str = "\
A daemon that answers is asked where its data are; without one, the user's own and the system's \
data directory are looked at. No program is waited for longer than 5 s.

Exit codes: 0 nothing failed, though there may be warnings; 2 the arguments are wrong; 5 \
something failed.";

/// Arguments of `memo doctor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = DOCTOR_DETAILS)]
pub(crate) struct DoctorArgs {
    /// Looks at this data directory, too.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Arguments of `memo import`.
#[derive(Debug, Clone, Args)]
#[command(after_help = IMPORT_DETAILS)]
pub(crate) struct ImportArgs {
    /// The archive to read, `-` for standard input.
    pub(crate) file: PathBuf,
    /// Looks for the entries behind damage. An output that itself holds an archive can be taken for
    /// entries: only for archives whose every output comes from whom you trust.
    #[arg(long)]
    pub(crate) salvage: bool,
}
