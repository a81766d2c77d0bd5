//! Exchanges about upkeep: budgets, verification, collection.

use memod_protocol::{BudgetReport, CollectReport, LeaseRow, Request, Response, VerifyReport};

use super::ask::Ask;
use super::unexpected;
use crate::error::Error;

/// Use of the budgets.
pub(crate) struct AskBudgets;

impl Ask for AskBudgets {
    type Answer = BudgetReport;

    fn request(&self) -> Request {
        Request::Budgets
    }

    fn answer(&mut self, response: Response) -> Result<Option<BudgetReport>, Error> {
        match response {
            Response::Budgets(report) => Ok(Some(*report)),
            other => Err(unexpected("a question for its budgets", &other)),
        }
    }
}

/// Counters and gauges.
pub(crate) struct AskMetrics;

impl Ask for AskMetrics {
    type Answer = String;

    fn request(&self) -> Request {
        Request::Metrics
    }

    fn answer(&mut self, response: Response) -> Result<Option<String>, Error> {
        match response {
            Response::Metrics(page) => Ok(Some(page)),
            other => Err(unexpected("a question for its metrics", &other)),
        }
    }
}

/// Who holds which leases.
pub(crate) struct AskLeases;

impl Ask for AskLeases {
    type Answer = Vec<LeaseRow>;

    fn request(&self) -> Request {
        Request::Leases
    }

    fn answer(&mut self, response: Response) -> Result<Option<Vec<LeaseRow>>, Error> {
        match response {
            Response::Leases(rows) => Ok(Some(rows)),
            other => Err(unexpected("a question for its leases", &other)),
        }
    }
}

/// Reads everything that is stored.
pub(crate) struct Verify<F> {
    pub(crate) repair: bool,
    pub(crate) progress: F,
}

impl<F: FnMut(u64)> Ask for Verify<F> {
    type Answer = VerifyReport;

    fn request(&self) -> Request {
        Request::Verify { repair: self.repair }
    }

    fn is_long(&self) -> bool {
        true
    }

    fn answer(&mut self, response: Response) -> Result<Option<VerifyReport>, Error> {
        match response {
            Response::Progress { done } => {
                (self.progress)(done);
                Ok(None)
            }
            Response::Verified(report) => Ok(Some(*report)),
            other => Err(unexpected("a verification", &other)),
        }
    }
}

/// Makes room.
pub(crate) struct Collect<F> {
    pub(crate) progress: F,
}

impl<F: FnMut(u64)> Ask for Collect<F> {
    type Answer = CollectReport;

    fn request(&self) -> Request {
        Request::Collect
    }

    fn is_long(&self) -> bool {
        true
    }

    fn answer(&mut self, response: Response) -> Result<Option<CollectReport>, Error> {
        match response {
            Response::Progress { done } => {
                (self.progress)(done);
                Ok(None)
            }
            Response::Collected(report) => Ok(Some(report)),
            other => Err(unexpected("a collection", &other)),
        }
    }
}
