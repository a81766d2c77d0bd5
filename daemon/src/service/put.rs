//! Puts: what is checked before a run is remembered.
//!
//! **Invariants.** The key is computed here from the call, never taken from the client. The
//! outputs are exactly those of the signature, with the lengths and digests that were claimed. The
//! reply is sent after the commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::name::{self, label};
use memod_protocol::{
    Announcement, ErrorCode, Interface, InvalidArgument, Key, Literal, LiteralType, NewOutput,
    Provenance, Put, PutOutcome, Response, RunClaim, Scope, WireError,
};
use memod_store::{NewEntry, Prepared, Promise, Replace, StoreError, Upload, Uploader};
use tokio::time::Instant;

use super::access::Standing;
use super::reply::{Reply, store_error};
use super::{Service, clock, pool};
use crate::grants::Right;
use crate::server::Peer;

/// Outputs that together are larger than this are hashed off the async threads.
const HASH_IN_PLACE_BYTES: usize = 128 * 1024;

/// Who may not read everything is answered no earlier than this after its put: later than it takes
/// to find that its content is there already.
const ANSWER_AFTER: Duration = Duration::from_millis(2);

/// A put whose outputs' bytes are at hand.
#[derive(Debug)]
pub(crate) struct GatheredPut {
    /// What was asked.
    pub(crate) put: Put,
    /// Who made it and when, if it comes from another store.
    pub(crate) imported: Option<Box<Provenance>>,
    /// The bytes of each output, in order.
    pub(crate) contents: Vec<OutputContent>,
}

/// Where an output's bytes are.
#[derive(Debug)]
pub(crate) enum OutputContent {
    /// Here.
    Inline(Bytes),
    /// In the store already.
    Uploaded(Prepared),
}

impl Service {
    /// What would come of a put whose outputs are still to be uploaded: what it would be answered,
    /// or `Awaited`, with what is promised to its uploads.
    ///
    /// # Errors
    /// As of the put, as far as can be told.
    pub(crate) async fn announce(
        self: &Arc<Self>,
        peer: &Peer,
        announced: Announcement,
    ) -> Result<(Reply, Option<Promise>), WireError> {
        let Announcement { put, writer_uid } = announced;
        put.call.check()?;
        let standing = self.admit_put(peer, &put.call.scope, writer_uid.is_some())?;
        put.run.check()?;
        check_call(&put, &put.interface.parse()?)?;
        let is_trusted = standing.may_everywhere(Right::Administer);
        let uid = writer_uid.filter(|_| is_trusted).unwrap_or(peer.uid);
        let max_age_ms = if writer_uid.is_some() { Some(0) } else { put.max_age_ms };
        let key = put.call.key();
        let replace = self.replacing(key, put.overwrite, max_age_ms).await?;
        let service = Arc::clone(self);
        let (made, promise) = pool::run(move || {
            let made = service.store.made(&key)?;
            if let Some(made) = made.filter(|made| !replace.replaces(made.created_at_ms)) {
                return Ok((Some(made), None));
            }
            let bytes = put.outputs.iter().map(|output| output.bytes).fold(0, u64::saturating_add);
            Ok((None, service.store.announce(&put.call.scope, uid, bytes)?))
        })
        .await?
        .map_err(|error| self.put_error(peer, error))?;
        let response = match made {
            Some(made) => Response::Put(PutOutcome::Exists(made)),
            None => Response::Awaited,
        };
        Ok((Reply::from(response).about(key), promise))
    }

    /// Whether this peer may put into this scope, or import into it; gives its rights.
    fn admit_put(&self, peer: &Peer, scope: &Scope, imports: bool) -> Result<Standing, WireError> {
        let right = if imports { Right::Administer } else { Right::Write };
        let standing = self.access.standing(peer);
        standing.check(right, scope)?;
        if self.access.is_quarantined(peer.uid) {
            let text = format!("user {} is quarantined and may not put", peer.uid);
            return Err(WireError::new(ErrorCode::Forbidden, text));
        }
        Ok(standing)
    }

    /// Opens an upload.
    ///
    /// # Errors
    /// If the peer may put nowhere.
    pub(crate) fn begin_upload(
        &self,
        peer: &Peer,
        promise: Option<Promise>,
    ) -> Result<Upload, WireError> {
        self.access.standing(peer).check_somewhere(Right::Write)?;
        Ok(self.store.begin_upload_by(Uploader { uid: Some(peer.uid), promise }))
    }

    /// Appends to an upload.
    ///
    /// # Errors
    /// If the store cannot take it; the upload is gone then.
    pub(crate) async fn append_upload(
        &self,
        peer: &Peer,
        mut upload: Upload,
        payload: Bytes,
    ) -> Result<Upload, WireError> {
        let written = pool::run(move || upload.write(payload).map(|()| upload)).await?;
        written.map_err(|error| self.put_error(peer, error))
    }

    /// Completes an upload.
    ///
    /// # Errors
    /// If the store cannot take it; the upload is gone then.
    pub(crate) async fn finish_upload(
        &self,
        peer: &Peer,
        upload: Upload,
    ) -> Result<Prepared, WireError> {
        let finished = pool::run(move || upload.finish()).await?;
        finished.map_err(|error| self.put_error(peer, error))
    }

    /// What a peer is told if something cannot be stored. How much there is in all is for who may
    /// read all: from one put to the next it would tell whether content was there.
    fn put_error(&self, peer: &Peer, error: StoreError) -> WireError {
        match error {
            StoreError::StoreFull { need, .. } | StoreError::UploadsFull { need, .. }
                if !self.access.standing(peer).may_everywhere(Right::Read) =>
            {
                let text = format!("the store is full: there is no room for {need} bytes more");
                WireError::new(ErrorCode::OverBudget, text)
                    .with_hint("who administers it can set a larger store_bytes_max")
            }
            error => store_error(error),
        }
    }

    /// Remembers a run.
    ///
    /// # Errors
    /// What is wrong with it, by name, or why it could not be stored; nothing is visible then.
    pub(crate) async fn put(
        self: &Arc<Self>,
        peer: &Peer,
        gathered: GatheredPut,
    ) -> Result<Reply, WireError> {
        let GatheredPut { mut put, imported, contents } = gathered;
        put.call.check()?;
        let standing = self.admit_put(peer, &put.call.scope, imported.is_some())?;
        let apart = !standing.may_everywhere(Right::Read);
        let answer_at = Instant::now() + ANSWER_AFTER;
        let mut imported = imported;
        if let Some(provenance) = &mut imported {
            check_provenance(provenance)?;
            if !standing.may_everywhere(Right::Administer) {
                // Or it could fill another's budget, and have entries evicted elsewhere.
                provenance.writer_uid = peer.uid;
            }
            // How old it may be is asked of who looks it up.
            put.max_age_ms = Some(0);
        }
        put.run.check()?;
        let interface = put.interface.parse()?;
        check_call(&put, &interface)?;
        let inline: usize = contents
            .iter()
            .map(|content| match content {
                OutputContent::Inline(bytes) => bytes.len(),
                OutputContent::Uploaded(_) => 0,
            })
            .sum();
        let service = Arc::clone(self);
        let names = put.outputs.clone();
        let prepare = move || service.prepare(&names, contents, &interface.outputs);
        let outputs =
            if inline > HASH_IN_PLACE_BYTES { pool::run(prepare).await?? } else { prepare()? };
        let key = put.call.key();
        let entry = NewEntry {
            key,
            interface: put.interface,
            outputs,
            replace: self.replacing(key, put.overwrite, put.max_age_ms).await?,
            provenance: imported.map_or_else(|| self.provenance(peer, put.run), |made| *made),
            identity: put.call,
            apart,
        };
        let outcome = self.submit(|store, done| store.put(entry, done)).await;
        if outcome.is_ok() {
            self.leases.committed(key);
        }
        if apart {
            tokio::time::sleep_until(answer_at).await;
        }
        let outcome = outcome.map_err(|error| self.put_error(peer, error))?;
        Ok(Reply::from(Response::Put(outcome)).about(key))
    }

    /// Of a run that has just ended.
    fn provenance(&self, peer: &Peer, run: RunClaim) -> Provenance {
        Provenance {
            writer_uid: peer.uid,
            writer_pid: peer.pid,
            program: peer.program.clone(),
            host: self.host.clone(),
            created_at_ms: clock::now_ms(),
            run,
        }
    }

    /// Hands a mutation to the store's writer and waits for its outcome.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        submit: impl FnOnce(&memod_store::Store, Box<dyn FnOnce(Result<T, StoreError>) + Send>),
    ) -> Result<T, WireError> {
        self.submit(submit).await.map_err(store_error)
    }

    async fn submit<T: Send + 'static>(
        &self,
        submit: impl FnOnce(&memod_store::Store, Box<dyn FnOnce(Result<T, StoreError>) + Send>),
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.mutations).acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        submit(
            &self.store,
            Box::new(move |outcome| {
                // A client that left does not want to know; the commit stands.
                let _ = sender.send(outcome);
                drop(permit);
            }),
        );
        receiver.await.unwrap_or(Err(StoreError::Closed))
    }

    fn replace(&self, overwrite: bool, max_age_ms: Option<u64>) -> Replace {
        if overwrite {
            return Replace::Always;
        }
        match self.max_age_ms(max_age_ms) {
            Some(most) => Replace::IfCreatedBefore(clock::now_ms().saturating_sub(most)),
            None => Replace::Never,
        }
    }

    /// What becomes of an entry that is there: one that is not served because its writer is
    /// quarantined is replaced.
    async fn replacing(
        self: &Arc<Self>,
        key: Key,
        overwrite: bool,
        max_age_ms: Option<u64>,
    ) -> Result<Replace, WireError> {
        let replace = self.replace(overwrite, max_age_ms);
        if replace == Replace::Always || !self.access.has_quarantine() {
            return Ok(replace);
        }
        let service = Arc::clone(self);
        let made = pool::run(move || service.store.made(&key)).await?.map_err(store_error)?;
        let set_apart = made.filter(|made| self.access.is_quarantined(made.writer_uid));
        Ok(match (set_apart, replace) {
            (None, replace) => replace,
            (Some(made), Replace::IfCreatedBefore(ms)) => {
                Replace::IfCreatedBefore(ms.max(made.created_at_ms.saturating_add(1)))
            }
            (Some(made), _) => Replace::IfCreatedBefore(made.created_at_ms.saturating_add(1)),
        })
    }

    fn prepare(
        &self,
        outputs: &[NewOutput],
        contents: Vec<OutputContent>,
        types: &BTreeMap<String, LiteralType>,
    ) -> Result<Vec<(String, String, Prepared)>, WireError> {
        let mut prepared = Vec::with_capacity(outputs.len());
        for ((output, content), literal_type) in outputs.iter().zip(contents).zip(types.values()) {
            let content = match content {
                OutputContent::Inline(bytes) => {
                    check_value(output, literal_type, &bytes)?;
                    self.store.prepare(bytes)
                }
                OutputContent::Uploaded(content) => content,
            };
            let label = || label("output", &output.name);
            if content.bytes() != output.bytes {
                let problem = format!("has {} bytes, not {}", content.bytes(), output.bytes);
                return Err(InvalidArgument::new(label(), problem).into());
            }
            if let Some(claimed) = output.digest.filter(|claimed| *claimed != content.digest()) {
                return Err(digest_mismatch(&label(), claimed, content.digest()));
            }
            prepared.push((output.name.clone(), literal_type.to_string(), content));
        }
        Ok(prepared)
    }
}

/// The error for content that is not what its sender says.
pub(crate) fn digest_mismatch(
    what: &str,
    claimed: memod_protocol::Digest,
    actual: memod_protocol::Digest,
) -> WireError {
    WireError::new(
        ErrorCode::DigestMismatch,
        format!("{what}: the content's digest is {actual}, not {claimed} as was claimed"),
    )
    .with_hint("send it again; nothing was stored")
}

/// Checks what another store says of a run.
fn check_provenance(provenance: &Provenance) -> Result<(), InvalidArgument> {
    for (field, text) in [("program", &provenance.program), ("host", &provenance.host)] {
        let given = text.as_ref().filter(|given| !given.is_empty());
        given.map_or(Ok(()), |given| name::check(field, given))?;
    }
    provenance.run.check()
}

/// Checks that call, interface and outputs belong together.
fn check_call(put: &Put, interface: &Interface) -> Result<(), InvalidArgument> {
    if interface.signature(&put.call.task) != put.call.signature {
        return Err(InvalidArgument::new(
            "signature",
            "is not that of the given task name and interface",
        ));
    }
    for (name, _) in &put.call.inputs {
        if !interface.inputs.contains_key(name) {
            let label = label("input", name);
            return Err(InvalidArgument::new(label, "is not declared in the interface"));
        }
    }
    let mut declared = interface.outputs.keys();
    for output in &put.outputs {
        let label = || label("output", &output.name);
        match declared.next() {
            Some(name) if *name == output.name => {}
            _ if !interface.outputs.contains_key(&output.name) => {
                return Err(InvalidArgument::new(label(), "is not declared in the interface"));
            }
            _ => {
                return Err(InvalidArgument::new(
                    label(),
                    "is given twice, or not in ascending order of name behind all before it",
                ));
            }
        }
    }
    match declared.next() {
        Some(name) => Err(InvalidArgument::new(
            label("output", name),
            "is declared in the interface and was not given",
        )),
        None => Ok(()),
    }
}

/// Checks that an output's bytes are a value of its type, where memod knows the encoding.
fn check_value(
    output: &NewOutput,
    literal_type: &LiteralType,
    bytes: &Bytes,
) -> Result<(), InvalidArgument> {
    let wrong = |problem| InvalidArgument::new(label("output", &output.name), problem);
    // What is wrong is told of this output by its name, not of any.
    Literal::check_blob(literal_type, bytes)
        .map_err(|error| wrong(format!("{} {}", error.field, error.problem)))
}
