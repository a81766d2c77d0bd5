//! memod, the memoization daemon: remembers what tasks have computed.

mod app;
mod args;
mod budget_settings;
mod config;
mod grants;
mod log;
mod server;
mod service;
mod settings;
mod shutdown;
mod systemd;

use std::process::ExitCode;

use args::Command;
use settings::Settings;

/// Exit code for a configuration or an environment that the administrator has to mend.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let arguments = args::parse();
    match arguments.command() {
        Command::CheckConfig => check_config(&arguments),
        Command::Serve => serve(&arguments),
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
            println!("memod: the configuration is good");
            for (name, value, origin) in settings.table() {
                println!("{name} = {value}  ({origin})");
            }
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

fn serve(arguments: &args::Arguments) -> ExitCode {
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    log::start(&settings);
    match app::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
