//! memod, the memoization daemon: remembers what tasks have computed.

mod app;
mod args;
mod budget_settings;
mod config;
mod descriptors;
mod grants;
mod log;
mod metrics_address;
mod reload;
mod server;
mod service;
mod settings;
mod shutdown;
mod systemd;
mod watchdog;

use std::env;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode};

use anyhow::Context;
use app::Ended;
use args::{Command, Format};
use config::Problem;
use reload::Reload;
use serde_json::json;
use settings::Settings;
use shutdown::Held;

/// Of what `make bench`, part `allocators`, has tried, the one with which the daemon takes least
/// time. It serves `RocksDB`, too.
#[cfg(not(feature = "libc-allocator"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code for a configuration or an environment that the administrator has to mend.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    // Before anything else: a signal that comes from here on is heeded.
    let held = Held::hold();
    let arguments = args::parse();
    let format = match arguments.command() {
        Command::CheckConfig { format, .. } => format,
        Command::Serve => return serve(arguments, held),
    };
    if let Err(error) = held.and_then(|_| Held::release()) {
        eprintln!("memod: error: signals have no effect: {error}");
    }
    match format {
        Format::Text => check_config(&arguments),
        Format::Json => check_config_json(&arguments),
    }
}

fn settings(arguments: &args::Arguments) -> Result<Settings, ExitCode> {
    config::load(arguments).map_err(|problems| {
        for problem in &problems {
            eprintln!("memod: error: {problem}");
        }
        ExitCode::from(EXIT_CONFIG)
    })
}

fn check_config(arguments: &args::Arguments) -> ExitCode {
    match settings(arguments) {
        Ok(settings) => {
            let mut told = match &settings.file {
                Some(file) => format!("memod: the configuration is good: {}\n", file.display()),
                None => "memod: the configuration is good; there is no file\n".to_owned(),
            };
            for (name, value, origin) in settings.table() {
                told.extend([name.as_str(), " = ", &value, "  (", &origin, ")\n"]);
            }
            print(&told, ExitCode::SUCCESS)
        }
        Err(code) => code,
    }
}

fn check_config_json(arguments: &args::Arguments) -> ExitCode {
    let (told, code) = match config::load(arguments) {
        Ok(settings) => {
            let rows = settings.table().into_iter();
            let rows =
                rows.map(|(name, value, source)| (name, json!({"value": value, "source": source})));
            let file = settings.file.as_ref().map(|file| file.display().to_string());
            let rows: serde_json::Map<_, _> = rows.collect();
            (json!({"good": true, "file": file, "settings": rows}), ExitCode::SUCCESS)
        }
        Err(problems) => {
            let problem =
                |Problem { place, message }: &Problem| json!({"place": place, "message": message});
            let problems: Vec<_> = problems.iter().map(problem).collect();
            (json!({"good": false, "problems": problems}), ExitCode::from(EXIT_CONFIG))
        }
    };
    print(&format!("{told}\n"), code)
}

/// Prints all of it. Who reads no further is no error; a full disk is one.
fn print(told: &str, code: ExitCode) -> ExitCode {
    let mut to = io::stdout().lock();
    match to.write_all(told.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("memod: error: cannot print: {error}");
            ExitCode::FAILURE
        }
        _ => code,
    }
}

fn serve(arguments: args::Arguments, held: io::Result<Held>) -> ExitCode {
    let held = held.context("cannot hold signals");
    let ground = match held.and_then(app::ground) {
        Ok(ground) => ground,
        Err(error) => {
            eprintln!("memod: error: {}", told(&error));
            return ExitCode::FAILURE;
        }
    };
    let settings = match settings(&arguments) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let log = log::start(&settings);
    match app::run(settings, Reload { arguments, log }, ground) {
        Ok(Ended::Asked) => ExitCode::SUCCESS,
        Ok(Ended::Stuck) => start_anew(),
        Err(error) => {
            tracing::error!("{}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what it comes from, each said once: some say themselves what they come from.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += ": ";
            text += &cause;
        }
    }
    text
}

/// Makes this process a new daemon, with the same arguments; a signal that comes meanwhile
/// is heeded by that one. One that was given its socket leaves
/// that to whoever did, who gives it to the next one.
fn start_anew() -> ExitCode {
    if systemd::gives_sockets() {
        tracing::error!("ending with a failure, to be started again");
        return ExitCode::FAILURE;
    }
    tracing::error!("starting anew");
    let mut arguments = env::args_os();
    let mut command = process::Command::new("/proc/self/exe");
    command.arg0(arguments.next().unwrap_or_default()).args(arguments);
    let error = command.exec();
    tracing::error!("memod cannot start itself anew: {error}; start it again");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    #[test]
    fn what_an_error_comes_from_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open it: {source}; do something")]
        struct Told {
            source: io::Error,
        }
        let cause = || io::Error::other("the disk is gone");
        let error = anyhow::Error::new(Told { source: cause() }).context("cannot begin");
        assert_eq!(
            super::told(&error),
            "cannot begin: cannot open it: the disk is gone; do something"
        );
        let error = Err::<(), _>(cause()).context("cannot bind").expect_err("it is one");
        assert_eq!(super::told(&error), "cannot bind: the disk is gone");
    }
}
