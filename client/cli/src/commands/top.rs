//! `memo top`: what the daemon does, live.
//!
//! **Invariants.** A thread of its own asks the daemon, so that a key ends the view even if the
//! daemon hangs. A daemon that goes is asked again until it is back.
//!
//! **Does not** ask for more than the counters, the budgets, the leases and the log, of which
//! everybody is told what it may see.

mod frame;
mod sample;
mod terminal;

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use memod_client::{Client, Error};
use memod_protocol::limits::LOG_ROWS_MAX;
use memod_protocol::{ErrorCode, LogQuery};
use nix::unistd::{Uid, User};

use crate::args::{Screen, Settings, TopArgs};
use crate::connect;
use crate::exit::{self, Failure, Outcome};
use frame::{Size, TEXT_COLUMNS, TEXT_ROWS, lines};
use sample::{History, Lease, Sample};
use terminal::{Event, Terminal, hold_signals};

/// What the daemon has said and is not shown yet; the thread waits beyond that.
const SAMPLES_WAITING_MAX: usize = 4;

/// Asks the daemon, time and again.
struct Asker {
    client: Client,
    began: Instant,
    /// The next request of the log.
    from: Option<u64>,
    /// The names of users, which may be slow to find.
    users: HashMap<u32, String>,
}

impl Asker {
    fn ask(&mut self) -> Result<Sample, Failure> {
        // Asked also while the daemon is left alone after it has failed; if it answers, it is not
        // any more.
        self.client.ping()?;
        let stats = self.client.stats()?;
        let budgets = self.client.budgets()?;
        let leases = self.leases()?;
        let query = LogQuery { from: self.from, limit: LOG_ROWS_MAX, ..LogQuery::default() };
        let page = self.client.log(&query)?;
        // A daemon that was started anew counts from zero.
        let is_anew = self.from.is_some_and(|from| page.next < from);
        self.from = (!is_anew).then_some(page.next);
        Ok(Sample { at: self.began.elapsed(), stats, budgets, leases, rows: page.rows })
    }

    /// The leases that are held; none of a daemon that is too old to tell.
    fn leases(&mut self) -> Result<Vec<Lease>, Failure> {
        let rows = match self.client.leases() {
            Err(Error::Daemon(error)) if error.code == ErrorCode::VersionMismatch => Vec::new(),
            rows => rows?,
        };
        let leases = rows.into_iter().map(|row| {
            let uid = row.holder.uid;
            let user = self.users.entry(uid).or_insert_with(|| user_name(uid)).clone();
            Lease { row, user }
        });
        Ok(leases.collect())
    }
}

/// The user's name, or its number if it has none.
fn user_name(uid: u32) -> String {
    let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    found.map_or_else(|| format!("user {uid}"), |user| user.name)
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
    let mut asker = Asker { client, began: Instant::now(), from: None, users: HashMap::new() };
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
