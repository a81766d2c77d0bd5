//! Goes on with new requests: each question waits at the daemon until there is something to tell. A
//! daemon that ends is waited for, and the next one is followed from its beginning.
//!
//! **Does not** tell what a daemon answered between our last question and its end.

use std::io;

use memod_protocol::limits::LOG_ROWS_MAX;
use memod_protocol::{ErrorCode, LogPage, LogQuery, LogRow};

use crate::exit::{self, Failure, Outcome};

/// How long one question waits at the daemon, in milliseconds.
const WAIT_MS: u64 = 30_000;

/// What is told when a daemon begins to count anew.
const ANEW: &str = "the daemon has been started anew";

/// Who is told.
pub(super) trait Show {
    /// Takes the next rows.
    ///
    /// # Errors
    /// If they cannot be written.
    fn print(&mut self, rows: &[LogRow]) -> io::Result<()>;

    /// Takes a word beside the rows.
    fn warn(&mut self, message: &str);
}

/// Shows what the query gives, then what comes. `pause` is made between two looks for a daemon that
/// has gone.
///
/// # Errors
/// What ends it: the first question is not answered, a later one is refused, or the rows cannot be
/// shown.
pub(super) fn follow(
    mut ask: impl FnMut(&LogQuery) -> Result<LogPage, Failure>,
    mut query: LogQuery,
    show: &mut impl Show,
    mut pause: impl FnMut(),
) -> Outcome {
    let page = ask(&query)?;
    show.print(&page.rows)?;
    let mut shown = page.rows.last().cloned();
    let mut from = page.next;
    query.limit = LOG_ROWS_MAX;
    query.wait_ms = WAIT_MS;
    loop {
        query.from = Some(from);
        let page = match ask(&query) {
            Ok(page) => page,
            Err(failure) if is_gone(&failure) => {
                show.warn(&format!("{failure}; waiting for a daemon to answer again"));
                if !is_same(&mut ask, &query, shown.as_ref(), &mut pause)? {
                    show.warn(ANEW);
                    from = 0;
                }
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let is_before = page.rows.first().is_some_and(|row| row.sequence < from);
        if page.next < from || is_before {
            // A daemon counts from zero when it starts.
            show.warn(ANEW);
            from = 0;
            continue;
        }
        if page.lost > 0 {
            let lost = page.lost;
            show.warn(&format!("{lost} requests, of whatever kind, came too fast to be shown"));
        }
        show.print(&page.rows)?;
        shown = page.rows.last().cloned().or(shown);
        from = page.next;
    }
}

/// Waits until a daemon answers; whether it is the one that answered this row.
fn is_same(
    ask: &mut impl FnMut(&LogQuery) -> Result<LogPage, Failure>,
    query: &LogQuery,
    last: Option<&LogRow>,
    pause: &mut impl FnMut(),
) -> Result<bool, Failure> {
    let from = last.map(|row| row.sequence).or(query.from);
    let query = LogQuery { from, limit: 1, wait_ms: 0, ..query.clone() };
    loop {
        pause();
        match ask(&query) {
            Ok(page) => return Ok(last.is_some() && page.rows.first() == last),
            Err(failure) if is_gone(&failure) => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// Whether there is no daemon that answers, for which one can wait.
fn is_gone(failure: &Failure) -> bool {
    let codes = ["no_daemon", "timeout", "io", "breaker_open", ErrorCode::ShuttingDown.name()];
    failure.exit != exit::FORBIDDEN && codes.contains(&failure.code)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::VecDeque;

    use memod_protocol::{Outcome as Came, Verb};

    use super::*;

    #[derive(Default)]
    struct Shown(Vec<String>);

    impl Show for Shown {
        fn print(&mut self, rows: &[LogRow]) -> io::Result<()> {
            self.0.extend(rows.iter().map(|row| row.sequence.to_string()));
            Ok(())
        }

        fn warn(&mut self, message: &str) {
            self.0.push(message.to_owned());
        }
    }

    fn row(sequence: u64) -> LogRow {
        LogRow {
            sequence,
            at_ms: 0,
            uid: 7,
            pid: None,
            program: None,
            verb: Verb::Put,
            key: None,
            scope: None,
            task: None,
            outcome: Came::Done,
            reason: None,
            error: None,
            took_us: 0,
            bytes: 0,
        }
    }

    fn page(sequences: std::ops::Range<u64>, next: u64, lost: u64) -> LogPage {
        LogPage { rows: sequences.map(row).collect(), next, lost }
    }

    /// What is shown of these pages, and from where each question after the first asked.
    fn followed(pages: Vec<LogPage>) -> (Vec<String>, Vec<u64>) {
        followed_through(pages.into_iter().map(Ok).collect())
    }

    /// As [`followed`], of these answers.
    fn followed_through(answers: Vec<Result<LogPage, Failure>>) -> (Vec<String>, Vec<u64>) {
        let mut answers = VecDeque::from(answers);
        let (pauses, mut looks) = (Cell::new(0), 0);
        let mut asked = Vec::new();
        let mut shown = Shown::default();
        let ask = |query: &LogQuery| {
            looks += u32::from(query.limit == 1);
            assert_eq!(looks, pauses.get(), "each look comes after a pause");
            let waits = query.from.is_some() && query.limit != 1;
            assert_eq!(query.wait_ms, if waits { WAIT_MS } else { 0 });
            let end = || Failure::new(exit::FAILED, "gone", "");
            let page = answers.pop_front().ok_or_else(end)??;
            asked.extend(query.from);
            Ok(page)
        };
        let query = LogQuery { limit: 3, ..LogQuery::default() };
        let pause = || pauses.set(pauses.get() + 1);
        let ended =
            follow(ask, query, &mut shown, pause).expect_err("there is an end to the pages");
        assert_eq!(ended.code, "gone");
        (shown.0, asked)
    }

    #[test]
    fn each_question_goes_on_where_the_last_answer_ended() {
        let pages = vec![page(7..10, 10, 0), page(10..11, 11, 0), page(0..0, 13, 0)];
        assert_eq!(
            followed(pages),
            (["7", "8", "9", "10"].map(str::to_owned).to_vec(), vec![10, 11])
        );
    }

    #[test]
    fn what_was_lost_is_told_before_what_follows() {
        let (shown, _) = followed(vec![page(0..1, 1, 0), page(5..6, 6, 4)]);
        assert_eq!(shown.len(), 3);
        assert!(shown[1].starts_with("4 requests"), "{shown:?}");
        assert_eq!(shown[2], "5");
    }

    fn gone(exit: u8, code: &'static str) -> Result<LogPage, Failure> {
        Err(Failure::new(exit, code, "no answer"))
    }

    #[test]
    fn a_daemon_that_ends_is_waited_for_and_the_next_is_followed_from_its_beginning() {
        for code in ["no_daemon", "timeout", "io", "breaker_open", "shutting_down"] {
            let (shown, asked) = followed_through(vec![
                Ok(page(8..9, 9, 0)),
                gone(exit::FAILED, code),
                gone(3, "no_daemon"),
                // It has answered more already than the one before.
                Ok(LogPage { rows: vec![LogRow { at_ms: 5, ..row(8) }], next: 12, lost: 0 }),
                Ok(page(0..2, 2, 0)),
            ]);
            let waits = "no answer; waiting for a daemon to answer again";
            assert_eq!(shown, ["8", waits, "the daemon has been started anew", "0", "1"]);
            assert_eq!(asked, [8, 0]);
        }
    }

    #[test]
    fn a_daemon_that_was_only_out_of_reach_is_followed_where_it_was_left() {
        let answers = vec![
            Ok(page(8..9, 11, 0)),
            gone(3, "timeout"),
            Ok(page(8..9, 9, 0)),
            Ok(page(11..12, 12, 0)),
        ];
        let (shown, asked) = followed_through(answers);
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert_eq!((shown[0].as_str(), shown[2].as_str()), ("8", "11"));
        assert_eq!(asked, [8, 11]);
    }

    #[test]
    fn whoever_is_refused_does_not_wait() {
        for (exit, code) in [(exit::FORBIDDEN, "io"), (exit::FAILED, "internal")] {
            let query = LogQuery::default();
            let mut answers = VecDeque::from([Ok(page(0..1, 1, 0)), gone(exit, code)]);
            let ask = |_: &LogQuery| answers.pop_front().expect("nobody asks again");
            let ended = follow(ask, query, &mut Shown::default(), || panic!("no pause is due"));
            assert_eq!(ended.expect_err("it is refused").exit, exit);
        }
    }

    #[test]
    fn a_new_daemon_is_followed_from_its_beginning() {
        let pages = vec![page(8..9, 9, 0), page(0..0, 2, 0), page(0..2, 2, 0)];
        let (shown, asked) = followed(pages);
        assert_eq!(shown, ["8", "the daemon has been started anew", "0", "1"]);
        assert_eq!(asked, [9, 0]);
        let (shown, _) = followed(vec![page(8..9, 9, 0), page(2..12, 12, 0), page(0..12, 12, 0)]);
        assert_eq!(shown.len(), 14, "{shown:?}");
    }
}
