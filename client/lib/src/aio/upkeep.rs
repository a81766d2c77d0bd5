//! Upkeep for async programs, and looking at the daemon.

use memod_protocol::{
    BudgetReport, Call, CollectReport, Explanation, Interface, LeaseRow, PutOutcome, Status,
    VerifyReport,
};

use super::client::{AskWork, Client, Work};
use super::connection::Connection;
use crate::connect::Patience;
use crate::content::HitOutput;
use crate::error::Error;
use crate::exchange::ask::{Ask, AskStatus, AskWhy, Ping};
use crate::exchange::upkeep::{AskBudgets, AskLeases, AskMetrics, Collect, Verify};
use crate::options::LookupOptions;
use crate::outputs::prepare_read;
use crate::upkeep::{ImportedRun, plan_import};

struct ImportWork<'a> {
    run: &'a ImportedRun,
    interface: Interface,
    outputs: &'a [HitOutput],
}

impl Work for ImportWork<'_> {
    type Outcome = PutOutcome;

    async fn run(
        &mut self,
        connection: &mut Connection,
        patience: Patience,
    ) -> Result<PutOutcome, Error> {
        let mut outputs = prepare_read(&self.interface, self.outputs)?;
        let put = plan_import(self.run, &outputs, connection.limits())?;
        connection.put(put, &mut outputs, patience).await
    }
}

impl Client {
    /// As [`crate::Client::status`].
    ///
    /// # Errors
    /// As [`crate::Client::status`].
    pub async fn status(&self) -> Result<Status, Error> {
        self.ask_anyway(&mut AskStatus).await
    }

    /// As [`crate::Client::ping`].
    ///
    /// # Errors
    /// As [`crate::Client::ping`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.ask_anyway(&mut Ping).await
    }

    async fn ask_anyway<A: Ask<Answer: Send> + Send>(
        &self,
        ask: &mut A,
    ) -> Result<A::Answer, Error> {
        let process = std::process::id();
        let (connection, outcome) = self.attempt(process, &mut AskWork(ask)).await;
        self.finish(process, connection, outcome)
    }

    /// As [`crate::Client::budgets`].
    ///
    /// # Errors
    /// As [`crate::Client::budgets`].
    pub async fn budgets(&self) -> Result<BudgetReport, Error> {
        self.ask(&mut AskBudgets).await
    }

    /// As [`crate::Client::why`].
    ///
    /// # Errors
    /// As [`crate::Client::why`].
    pub async fn why(
        &self,
        call: &Call,
        options: &LookupOptions,
        nearest_max: u32,
    ) -> Result<Explanation, Error> {
        let identity = call.identity()?;
        self.ask(&mut AskWhy { call, identity: &identity, options, nearest_max }).await
    }

    /// As [`crate::Client::metrics`].
    ///
    /// # Errors
    /// As [`crate::Client::metrics`].
    pub async fn metrics(&self) -> Result<String, Error> {
        self.ask(&mut AskMetrics).await
    }

    /// As [`crate::Client::leases`].
    ///
    /// # Errors
    /// As [`crate::Client::leases`].
    pub async fn leases(&self) -> Result<Vec<LeaseRow>, Error> {
        self.ask(&mut AskLeases).await
    }

    /// As [`crate::Client::verify`].
    ///
    /// # Errors
    /// As [`crate::Client::verify`].
    pub async fn verify(
        &self,
        repair: bool,
        progress: impl FnMut(u64) + Send,
    ) -> Result<VerifyReport, Error> {
        self.ask(&mut Verify { repair, progress }).await
    }

    /// As [`crate::Client::collect`].
    ///
    /// # Errors
    /// As [`crate::Client::collect`].
    pub async fn collect(&self, progress: impl FnMut(u64) + Send) -> Result<CollectReport, Error> {
        self.ask(&mut Collect { progress }).await
    }

    /// As [`crate::Client::import`]. Outputs in files are read on an async thread.
    ///
    /// # Errors
    /// As [`crate::Client::import`].
    pub async fn import(
        &self,
        run: &ImportedRun,
        outputs: &[HitOutput],
    ) -> Result<PutOutcome, Error> {
        let interface = run.interface.parse()?;
        self.with_connection(ImportWork { run, interface, outputs }).await
    }
}
