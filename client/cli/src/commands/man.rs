//! `memo man`: the manual pages, also those of memod.
//!
//! **Invariants.** The pages of memo are made of what its command line says of itself; those of
//! memod, another program, stand in `man/`, and a test compares them with what it says.

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Line, ManArgs, Screen};
use crate::exit::{self, Failure, Outcome};

/// The pages of memod, by their files' names.
const OF_DAEMON: [(&str, &str); 2] = [
    ("memod.1", include_str!("../../man/memod.1")),
    ("memod.toml.5", include_str!("../../man/memod.toml.5")),
];

/// Prints one page, or writes all.
///
/// # Errors
/// If there is no such command, or the pages cannot be written.
pub(crate) fn run(args: &ManArgs) -> Outcome {
    let mut memo = Line::command().disable_help_subcommand(true);
    memo.build();
    if let Some(directory) = &args.dir {
        write_all(&memo, directory)
            .map_err(|error| Failure::file("write manual pages into", directory, &error))?;
        return Ok(exit::DONE);
    }
    if let [name] = args.command.as_slice()
        && let Some(text) = of_daemon(name)
    {
        let mut out = Screen::out();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        return Ok(exit::DONE);
    }
    // In one word or in several: `memo man "lease acquire"` is the name as the page has it.
    let mut names = args.command.iter().flat_map(|name| name.split_whitespace());
    let page = names.try_fold(&memo, |page, name| page.find_subcommand(name));
    let page = page.ok_or_else(|| {
        Failure::usage(format!("there is no command `{}`", args.command.join(" ")))
            .with_hint("`memo man memod` and `memo man memod.toml` are about the daemon")
    })?;
    let text = text(&manual(page.clone()))?;
    let mut out = Screen::out();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(exit::DONE)
}

/// The page of memod of this name, with or without its section.
fn of_daemon(name: &str) -> Option<&'static str> {
    let is_its =
        |file: &str| file == name || file.rsplit_once('.').is_some_and(|(title, _)| title == name);
    OF_DAEMON.iter().find(|(file, _)| is_its(file)).map(|(_, text)| *text)
}

fn write_all(memo: &Command, directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for (file, text) in OF_DAEMON {
        fs::write(directory.join(file), text)?;
    }
    write_each(memo, directory)
}

/// Writes the page of a command and those of the commands below it.
fn write_each(command: &Command, directory: &Path) -> std::io::Result<()> {
    let page = manual(command.clone());
    std::fs::write(directory.join(page.get_filename()), text(&page)?)?;
    command.get_subcommands().try_for_each(|below| write_each(below, directory))
}

/// The page. What stands behind the options in `--help` is called by what it is.
fn text(page: &Man) -> std::io::Result<String> {
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8(text).map_err(std::io::Error::other)?;
    Ok(text.replace("\n.SH EXTRA\n", "\n.SH DETAILS\n"))
}

fn manual(command: Command) -> Man {
    Man::new(command).source(concat!("memo ", env!("CARGO_PKG_VERSION")))
}
