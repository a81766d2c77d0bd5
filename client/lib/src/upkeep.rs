//! Upkeep: budgets, verification, collection, and entries on their way from store to store.

use memod_protocol::handshake::PeerLimits;
use memod_protocol::{
    BudgetReport, CallIdentity, CollectReport, EntryDetail, ErrorCode, InterfaceText, Key,
    LeaseRow, Miss, Provenance, PutOutcome, VerifyReport,
};

use crate::client::Client;
use crate::collect::Collector;
use crate::connect::sink_error;
use crate::content::{Content, HitOutput};
use crate::error::Error;
use crate::exchange::ask::AskUnserved;
use crate::exchange::put::PutExchange;
use crate::exchange::upkeep::{AskBudgets, AskLeases, AskMetrics, Collect, Verify};
use crate::options::PutOptions;
use crate::outputs::{Prepared, prepare_read};

/// Bytes of one entry's outputs that are held in memory on their way; more go to files.
pub(crate) const ENTRY_MEMORY_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How often an entry is fetched again that changes meanwhile.
const FETCH_ATTEMPTS_MAX: usize = 3;

/// A run that another store remembers.
#[derive(Debug, Clone)]
pub struct ImportedRun {
    /// The call.
    pub identity: CallIdentity,
    /// What the call declares.
    pub interface: InterfaceText,
    /// Who made it, and when.
    pub provenance: Provenance,
    /// Replace an entry that is there already.
    pub overwrite: bool,
}

impl ImportedRun {
    /// The run of an entry; nothing is replaced.
    #[must_use]
    pub fn of(entry: EntryDetail) -> Self {
        Self {
            identity: CallIdentity {
                scope: entry.scope,
                task: entry.task,
                cache_version: entry.cache_version,
                signature: entry.signature,
                inputs: entry.inputs,
            },
            interface: entry.interface,
            provenance: entry.provenance,
            overwrite: false,
        }
    }
}

/// An entry with its outputs.
#[derive(Debug)]
pub struct WholeEntry {
    /// Everything but the bytes.
    pub detail: EntryDetail,
    /// The outputs, in the same order.
    pub outputs: Vec<HitOutput>,
}

impl Client {
    /// Use of the budgets, and what eviction has cost.
    ///
    /// # Errors
    /// If the daemon could not be asked.
    pub fn budgets(&self) -> Result<BudgetReport, Error> {
        self.ask(&mut AskBudgets)
    }

    /// Counters and gauges for Prometheus, as a page in the `OpenMetrics` format.
    ///
    /// # Errors
    /// If the daemon could not be asked, or is too old to be asked that.
    pub fn metrics(&self) -> Result<String, Error> {
        self.ask(&mut AskMetrics)
    }

    /// The leases that are held now, of what the user may read: those for which most wait first.
    ///
    /// # Errors
    /// If the daemon could not be asked, or is too old to be asked that.
    pub fn leases(&self) -> Result<Vec<LeaseRow>, Error> {
        self.ask(&mut AskLeases)
    }

    /// Has the daemon read everything that is stored and, with `repair`, remove what is bad.
    /// `progress` is told how many entries and blobs have been read whenever the daemon says.
    ///
    /// # Errors
    /// If the user may not, or the daemon could not be asked. Damage is no error.
    pub fn verify(
        &self,
        repair: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifyReport, Error> {
        self.ask(&mut Verify { repair, progress })
    }

    /// Has the daemon evict down to its low water mark and give free space back to the file
    /// system. `progress` is told how far it is whenever the daemon says.
    ///
    /// # Errors
    /// If the user may not, or the daemon could not be asked.
    pub fn collect(&self, progress: &mut dyn FnMut(u64)) -> Result<CollectReport, Error> {
        self.ask(&mut Collect { progress })
    }

    /// Remembers a run that another store remembered, with who made it and when. Outputs are read
    /// a second time if the connection turns out to be from before a restart of the daemon.
    ///
    /// # Errors
    /// If the user may not, the outputs are not those of the run, or the daemon does not store it.
    pub fn import(&self, run: &ImportedRun, outputs: &[HitOutput]) -> Result<PutOutcome, Error> {
        let interface = run.interface.parse()?;
        self.with_connection(true, |connection, patience| {
            let mut outputs = prepare_read(&interface, outputs)?;
            let put = plan_import(run, &outputs, connection.limits())?;
            connection.put(put, &mut outputs, patience)
        })
    }

    /// An entry with all its outputs, without counting as a use of it; none if there is none, or
    /// what is stored turns out damaged.
    ///
    /// # Errors
    /// If the daemon could not be asked.
    pub fn entry(&self, key: &Key) -> Result<Option<WholeEntry>, Error> {
        for _ in 0..FETCH_ATTEMPTS_MAX {
            let detail = match self.show(key) {
                // How old it is depends on who asks when.
                Ok(detail) => EntryDetail { age_ms: 0, ..detail },
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            match self.outputs(&detail) {
                Ok(Some(outputs)) => return Ok(Some(WholeEntry { detail, outputs })),
                // It has been replaced or removed meanwhile: look again.
                Ok(None) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Why the daemon does not serve an entry that it has, such as that its writer is quarantined;
    /// nothing if it would, however old that is. Nothing is counted.
    ///
    /// # Errors
    /// If the daemon could not be asked.
    pub fn unserved(&self, entry: &EntryDetail) -> Result<Option<Miss>, Error> {
        self.ask(&mut AskUnserved(entry))
    }

    /// The outputs of an entry; none if they are others by now.
    fn outputs(&self, detail: &EntryDetail) -> Result<Option<Vec<HitOutput>>, Error> {
        let mut memory_left = ENTRY_MEMORY_BYTES_MAX;
        let mut outputs = Vec::with_capacity(detail.outputs.len());
        for expected in &detail.outputs {
            let mut collector = Collector::new(memory_left);
            let summary = self.read_into(&detail.key, &expected.name, &mut collector)?;
            let hit = collector.finish(summary).map_err(sink_error)?;
            let Some(output) = hit.outputs.into_iter().next() else { return Ok(None) };
            if output.digest != expected.digest {
                return Ok(None);
            }
            if matches!(output.content, Content::Memory(_)) {
                memory_left = memory_left.saturating_sub(output.bytes);
            }
            outputs.push(output);
        }
        Ok(Some(outputs))
    }
}

/// Whether an error says that there is no such entry.
fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Daemon(error) if error.code == ErrorCode::NotFound)
}

/// A put of another store's run over a connection with these bounds.
pub(crate) fn plan_import(
    run: &ImportedRun,
    outputs: &[Prepared],
    limits: PeerLimits,
) -> Result<PutExchange, Error> {
    let offers: Vec<_> = outputs.iter().map(Prepared::offer).collect();
    let options = PutOptions { overwrite: run.overwrite, ..PutOptions::default() };
    let interface = run.interface.clone();
    let put = PutExchange::new(&run.identity, interface, &options, &offers, limits)?;
    Ok(put.imported(run.provenance.clone()))
}
