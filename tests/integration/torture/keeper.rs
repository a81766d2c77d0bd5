//! Keeps count while the daemon works: budgets hold, what is listed is known, everything verifies.

use std::io;

use memod_protocol::limits::LIST_ROWS_MAX;
use memod_protocol::{BudgetOf, Filter, Request, Response};

use super::asker::{Asker, ending};
use super::content::{KEYS, numbered};
use super::load::count;

impl Asker<'_> {
    fn ask(&mut self, request: Request) -> io::Result<Response> {
        match self.raw.try_ask(request, b"")?.response {
            Response::Error(error) => Err(ending(error)),
            response => Ok(response),
        }
    }

    /// Looks at the whole.
    pub(crate) fn keep_count(&mut self) -> io::Result<()> {
        match self.random.below(4) {
            0 => self.verify(),
            1 => self.collect(),
            2 => self.list(),
            _ => self.budgets(),
        }
    }

    fn verify(&mut self) -> io::Result<()> {
        let repair = self.random.below(2) == 0;
        match self.ask(Request::Verify { repair })? {
            Response::Verified(report) => {
                assert_eq!((report.problems, report.buried), (0, 0), "{report:?}");
            }
            other => panic!("a verification was answered by {other:?}"),
        }
        count(&self.shared.tally.upkeep);
        Ok(())
    }

    fn collect(&mut self) -> io::Result<()> {
        match self.ask(Request::Collect)? {
            Response::Collected(_) => {}
            other => panic!("a collection was answered by {other:?}"),
        }
        count(&self.shared.tally.upkeep);
        Ok(())
    }

    fn list(&mut self) -> io::Result<()> {
        let (filter, limit) = (Filter::default(), LIST_ROWS_MAX);
        match self.ask(Request::List { filter, limit, cursor: None })? {
            Response::Listed { rows, cursor: None } => {
                let is_known = |key| (0..KEYS).any(|of| numbered(of).key == key);
                assert!(rows.iter().all(|row| is_known(row.key)), "{rows:?}");
                assert!(rows.len() <= KEYS, "{rows:?}");
            }
            other => panic!("a listing was answered by {other:?}"),
        }
        Ok(())
    }

    fn budgets(&mut self) -> io::Result<()> {
        match self.ask(Request::Budgets)? {
            Response::Budgets(report) => {
                // Who inherits a shared blob may get a scope above its budget; there is one user.
                let holds = report.budgets.iter().filter(|of| !matches!(of.of, BudgetOf::Scope(_)));
                for row in holds {
                    let limit = row.limit_bytes.unwrap_or(u64::MAX);
                    assert!(row.bytes <= limit, "{row:?}");
                }
            }
            other => panic!("budgets were answered by {other:?}"),
        }
        Ok(())
    }
}
