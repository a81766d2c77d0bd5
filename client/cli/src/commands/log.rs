//! `memo log`: what the daemon was asked of late, and by whom.
//!
//! **Invariants.** Requests are printed in the order in which they were answered, each once; if the
//! daemon has forgotten some before they could be printed, that is told.

mod follow;
mod row;
mod watch;

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use memod_protocol::{LogQuery, LogRow, name};

use crate::args::{LogArgs, ScopeFrom, Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::table::Table;
use follow::Show;

/// Between two looks for a daemon that has gone.
const PAUSE: Duration = Duration::from_millis(200);

/// Prints the last requests, and those that come if that is wanted.
///
/// # Errors
/// If the daemon gives no answer, or standard output cannot be written.
pub(crate) fn run(args: LogArgs, settings: &Settings) -> Outcome {
    if let Some(task) = &args.task {
        name::check("task", task)?;
    }
    let follows = args.follow;
    let query = query(args, settings);
    let mut client = connect::asking(settings);
    let mut printer = Printer::new(settings.screen);
    if follows {
        let settings = settings.clone();
        return watch::until_stopped(move || {
            let ask = |query: &LogQuery| {
                let answer = client.log(query);
                if answer.is_err() {
                    // One that has failed leaves the daemon alone for a while.
                    client = connect::asking(&settings);
                }
                Ok(answer?)
            };
            // tidy: sleeps because nobody tells when a daemon listens again.
            let pause = || thread::sleep(PAUSE);
            follow::follow(ask, query, &mut printer, pause)
        });
    }
    let page = client.log(&query)?;
    printer.print(&page.rows)?;
    if page.rows.is_empty() && settings.screen.out_is_terminal && !settings.screen.is_json() {
        writeln!(io::stdout(), "nothing matched")?;
    }
    Ok(if page.rows.is_empty() { exit::NOTHING } else { exit::DONE })
}

/// Within a project and domain only if the command line says so.
fn query(args: LogArgs, settings: &Settings) -> LogQuery {
    let is_scoped = settings.scope_from == ScopeFrom::Flags;
    LogQuery {
        scope: is_scoped.then(|| settings.scope.clone()),
        task: args.task,
        verb: args.verb,
        outcome: args.outcome,
        uid: args.uid,
        from: None,
        limit: args.limit,
        wait_ms: 0,
    }
}

/// Prints pages as they come.
struct Printer {
    screen: Screen,
    table: Table<'static>,
}

impl Printer {
    fn new(screen: Screen) -> Self {
        Self { screen, table: Table::new(&row::COLUMNS) }
    }
}

impl Show for Printer {
    fn print(&mut self, rows: &[LogRow]) -> io::Result<()> {
        let mut out = Screen::out();
        if self.screen.is_json() {
            for row in rows {
                writeln!(out, "{}", row::as_json(row))?;
            }
        } else if !rows.is_empty() {
            let fields: Vec<_> =
                rows.iter().map(|row| row::fields(row, self.screen.out_is_terminal)).collect();
            self.table.write(&mut out, self.screen, &fields)?;
        }
        out.flush()
    }

    fn warn(&mut self, message: &str) {
        self.screen.warn(message);
    }
}

#[cfg(test)]
mod tests {
    use memod_protocol::{Outcome, Scope, Verb};

    use super::*;
    use crate::args::Globals;

    #[test]
    fn flags_become_conditions_and_the_environment_does_not() {
        let args = || LogArgs {
            follow: false,
            task: Some("t".into()),
            verb: Some(Verb::Put),
            outcome: Some(Outcome::Exists),
            uid: Some(7),
            limit: 5,
        };
        let globals =
            Globals { project: Some("p".into()), domain: Some("d".into()), ..Globals::default() };
        let mut settings = Settings::new(&globals).expect("valid");
        let expected = LogQuery {
            scope: Some(Scope::new("p", "d")),
            task: Some("t".into()),
            verb: Some(Verb::Put),
            outcome: Some(Outcome::Exists),
            uid: Some(7),
            from: None,
            limit: 5,
            wait_ms: 0,
        };
        assert_eq!(query(args(), &settings), expected);
        settings.scope_from = ScopeFrom::Environment;
        assert_eq!(query(args(), &settings).scope, None);
    }
}
