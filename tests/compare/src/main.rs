//! A worker of `make compare`: does pieces of work on memod or one of its rivals, as it is told.
//!
//! `memod-compare RIVAL PLACE process|power` reads commands from standard input, one JSON object a
//! line, and answers each with one line; `compare.py` decides what is done in which order. PLACE is
//! the socket of a server, or the folder of a library that works in this process.
//!
//! **Invariants.** A found value is compared with what was stored, byte by byte, within the time
//! that is measured. A miss where a hit was due, a hit where a miss was due and a wrong byte make
//! the answer `void`.
//!
//! **Does not** start servers, nor choose how often anything is measured.

mod command;
mod content;
mod lmdb;
mod mapped;
mod measure;
mod memcached;
mod memod;
mod name;
mod program;
mod redis;
mod rival;
mod rocks;
mod sqlite;

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use command::{Answer, Command};
use rival::{Durability, Place};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rival, place, durability] = arguments.as_slice() else {
        bail!("usage: memod-compare RIVAL SOCKET-OR-FOLDER process|power");
    };
    let durability = match durability.as_str() {
        "process" => Durability::Process,
        "power" => Durability::Power,
        other => bail!("{other} is not a durability: process, power"),
    };
    let place = open(rival, Path::new(place), durability)?;
    let mut worker = measure::Worker::new(place)?;
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line.context("standard input ends in the middle of a line")?;
        let command: Command = serde_json::from_str(&line).with_context(|| line.clone())?;
        let answer = match worker.obey(&command) {
            Ok(done) => Answer::Done(done),
            Err(error) => Answer::Void(format!("{error:#}")),
        };
        writeln!(output, "{}", serde_json::to_string(&answer)?)?;
        output.flush()?;
    }
    Ok(())
}

fn open(rival: &str, place: &Path, durability: Durability) -> Result<Box<dyn Place>> {
    Ok(match rival {
        "memod" => Box::new(memod::Daemon::new(place, memod::Reading::Whole)),
        "memod-stream" => Box::new(memod::Daemon::new(place, memod::Reading::Stream)),
        "redis" => Box::new(redis::Server(place.to_owned())),
        "memcached" => Box::new(memcached::Server(place.to_owned())),
        "sqlite" => Box::new(sqlite::File::new(place, durability)),
        "lmdb" => Box::new(lmdb::Folder::open(place, durability)?),
        "rocksdb" => Box::new(rocks::Folder::open(place, durability)?),
        "mapped" => Box::new(mapped::Folder(place.to_owned())),
        // Runs programs; there is nothing to connect to.
        "program" => Box::new(program::Nowhere),
        other => bail!("{other} is no rival that this program knows"),
    })
}
