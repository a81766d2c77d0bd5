//! `memo cat`: the raw bytes of an output.

use std::io::{self, BufWriter, StdoutLock, Write};

use memod_client::{OutputDescription, OutputSink};
use memod_protocol::name;

use crate::args::{CatArgs, Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};

/// Streams the bytes to standard output.
///
/// # Errors
/// If there is no such output, the daemon gives no answer, or standard output cannot be written.
/// Bytes that came before the error have been written.
pub(crate) fn run(args: &CatArgs, settings: &Settings) -> Outcome {
    name::check("output", &args.output)?;
    let mut sink = StandardOutput(Screen::out());
    connect::asking(settings).read_into(&args.key, &args.output, &mut sink)?;
    sink.0.flush()?;
    Ok(exit::DONE)
}

struct StandardOutput(BufWriter<StdoutLock<'static>>);

impl OutputSink for StandardOutput {
    fn begin(&mut self, _output: &OutputDescription, _index: usize) -> io::Result<()> {
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}
