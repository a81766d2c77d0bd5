//! `memo top`: what the daemon does, live.
//!
//! **Invariants.** A thread of its own asks the daemon, so that a key ends the view even if the
//! daemon hangs. A daemon that goes is asked again until it is back.
//!
//! **Does not** ask for more than the counters, the budgets and the log, of which everybody is told
//! what it may see.

mod frame;
mod sample;
mod terminal;

use std::io::{self, IsTerminal, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use memod_client::Client;
use memod_protocol::LogQuery;
use memod_protocol::limits::LOG_ROWS_MAX;

use crate::args::{Screen, Settings, TopArgs};
use crate::connect;
use crate::exit::{self, Failure, Outcome};
use frame::{Size, TEXT_COLUMNS, TEXT_ROWS, lines};
use sample::{History, Sample};
use terminal::{Event, Terminal, hold_signals};

/// What the daemon has said and is not shown yet; the thread waits beyond that.
const SAMPLES_WAITING_MAX: usize = 4;

/// Asks the daemon, time and again.
struct Asker {
    client: Client,
    began: Instant,
    /// The next request of the log.
    from: Option<u64>,
}

impl Asker {
    fn ask(&mut self) -> Result<Sample, Failure> {
        let stats = self.client.stats()?;
        let budgets = self.client.budgets()?;
        let query = LogQuery { from: self.from, limit: LOG_ROWS_MAX, ..LogQuery::default() };
        let page = self.client.log(&query)?;
        // A daemon that was started anew counts from zero.
        let is_anew = self.from.is_some_and(|from| page.next < from);
        self.from = (!is_anew).then_some(page.next);
        Ok(Sample { at: self.began.elapsed(), stats, budgets, rows: page.rows })
    }
}

/// Shows what happens until it is told to end; or one frame, where there is no terminal.
///
/// # Errors
/// If no daemon answers when it begins, or the terminal cannot be used.
pub(crate) fn run(args: TopArgs, settings: &Settings) -> Outcome {
    if settings.screen.is_json() {
        let failure = Failure::usage("`memo top` has no answer in JSON");
        return Err(failure.with_hint("ask `memo stats --format json`"));
    }
    let client = connect::asking(settings);
    let mut asker = Asker { client, began: Instant::now(), from: None };
    let first = asker.ask()?;
    let mut history = History::default();
    history.add(first);
    if settings.screen.out_is_terminal && io::stdin().is_terminal() {
        live(args.interval, asker, &mut history)?;
        return Ok(exit::DONE);
    }
    let mut out = Screen::out();
    for line in lines(&history, None, Size { columns: TEXT_COLUMNS, rows: TEXT_ROWS }) {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(exit::DONE)
}

fn live(interval: Duration, asker: Asker, history: &mut History) -> io::Result<()> {
    // Before the thread begins, which takes over what is held.
    let signals = hold_signals()?;
    let (sender, samples) = sync_channel(SAMPLES_WAITING_MAX);
    let (bell, news) = UnixStream::pair()?;
    thread::Builder::new()
        .name("memo-top".to_owned())
        .spawn(move || keep_asking(asker, interval, &sender, &bell))?;
    let mut terminal = Terminal::take(news, signals)?;
    let mut trouble = None;
    loop {
        Terminal::show(&lines(history, trouble.as_deref(), Terminal::size()))?;
        match terminal.next()? {
            Event::End => return Ok(()),
            Event::Resized => {}
            Event::News => trouble = take(&samples, history, trouble),
        }
    }
}

/// Takes all that the thread has learned; gives why it learned nothing the last time, if so.
fn take(
    samples: &Receiver<Result<Sample, String>>,
    history: &mut History,
    mut trouble: Option<String>,
) -> Option<String> {
    for learned in samples.try_iter() {
        trouble = match learned {
            Ok(sample) => {
                history.add(sample);
                None
            }
            Err(trouble) => Some(trouble),
        };
    }
    trouble
}

/// Asks until nobody wants to know.
fn keep_asking(
    mut asker: Asker,
    interval: Duration,
    sender: &SyncSender<Result<Sample, String>>,
    bell: &UnixStream,
) {
    loop {
        // tidy: sleeps because the view is renewed at this pace, and nothing tells of changes.
        thread::sleep(interval);
        let learned = asker.ask().map_err(|failure| failure.message);
        if sender.send(learned).is_err() || (&*bell).write_all(b"!").is_err() {
            return;
        }
    }
}
