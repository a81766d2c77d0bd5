//! Goes on with new requests: each question waits at the daemon until there is something to tell.

use std::io;

use memod_protocol::limits::LOG_ROWS_MAX;
use memod_protocol::{LogPage, LogQuery, LogRow};

use crate::exit::{Failure, Outcome};

/// How long one question waits at the daemon, in milliseconds.
const WAIT_MS: u64 = 30_000;

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

/// Shows what the query gives, then what comes, until one of both fails.
///
/// # Errors
/// The one thing that ends it: the daemon gives no answer, or the rows cannot be shown.
pub(super) fn follow(
    mut ask: impl FnMut(&LogQuery) -> Result<LogPage, Failure>,
    mut query: LogQuery,
    show: &mut impl Show,
) -> Outcome {
    let page = ask(&query)?;
    show.print(&page.rows)?;
    let mut from = page.next;
    query.limit = LOG_ROWS_MAX;
    query.wait_ms = WAIT_MS;
    loop {
        query.from = Some(from);
        let page = ask(&query)?;
        let is_before = page.rows.first().is_some_and(|row| row.sequence < from);
        if page.next < from || is_before {
            // A daemon counts from zero when it starts.
            show.warn("the daemon has been started anew");
            from = 0;
            continue;
        }
        if page.lost > 0 {
            let lost = page.lost;
            show.warn(&format!("{lost} requests, of whatever kind, came too fast to be shown"));
        }
        show.print(&page.rows)?;
        from = page.next;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use memod_protocol::{Outcome as Came, Verb};

    use super::*;
    use crate::exit;

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
        let mut pages = VecDeque::from(pages);
        let mut asked = Vec::new();
        let mut shown = Shown::default();
        let ask = |query: &LogQuery| {
            let page = pages.pop_front().ok_or_else(|| Failure::new(exit::FAILED, "gone", ""))?;
            assert_eq!(query.wait_ms, if query.from.is_some() { WAIT_MS } else { 0 });
            asked.extend(query.from);
            Ok(page)
        };
        let query = LogQuery { limit: 3, ..LogQuery::default() };
        let ended = follow(ask, query, &mut shown).expect_err("there is an end to the pages");
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
