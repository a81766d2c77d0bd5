//! Whole programs, from their start to their exit.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::Program;
use crate::rival::{Found, Place, Rival};

/// Runs it; gives how long each run took. What it wrote is compared outside of that time.
pub(crate) fn run(program: &Program) -> Result<Vec<Duration>> {
    let expected = std::fs::read(&program.expected).context("what is expected")?;
    let (name, arguments) = program.words.split_first().context("a program")?;
    let mut command = Command::new(name);
    command.args(arguments).envs(&program.variables).current_dir(&program.folder);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut all = Vec::new();
    for _ in 0..program.operations {
        // It is not there before the first run.
        let _ = std::fs::remove_file(&program.output);
        let began = Instant::now();
        let status = command.status().with_context(|| name.clone())?;
        let took = began.elapsed();
        if !status.success() {
            bail!("{name}: {status}");
        }
        let written = std::fs::read(&program.output).context("what it wrote")?;
        Found::compare(Some(&written), &expected).guard(Found::Hit)?;
        all.push(took);
    }
    Ok(all)
}

/// Where there is nothing to ask.
pub(crate) struct Nowhere;

impl Place for Nowhere {
    fn connect(&self) -> Result<Box<dyn Rival>> {
        Ok(Box::new(Self))
    }
}

impl Rival for Nowhere {
    fn aim(&mut self, _: &str, _: u64) {}

    fn put(&mut self, _: &[u8]) -> Result<()> {
        bail!("a program stores nothing")
    }

    fn get(&mut self, _: &[u8]) -> Result<Found> {
        bail!("a program finds nothing")
    }
}
