//! A put: what travels inside the request's frame, and what is uploaded before it.
//!
//! **Invariants.** The inline outputs together are within the daemon's bound, the smallest first,
//! so that many small outputs never wait for a round trip each. An upload is ended and confirmed
//! before the put that uses it is sent. Uploads are announced where the daemon takes that, so that
//! nothing is sent of a run that will be refused, or that is there already.

use memod_protocol::handshake::{ANNOUNCE, Agreement, PeerLimits};
use memod_protocol::limits::{CHUNK_BYTES, INLINE_BYTES_MAX, UPLOADS_OPEN_MAX};
use memod_protocol::{
    Announcement, CallIdentity, Digest, Import, InterfaceText, InvalidArgument, NewOutput,
    OutputSource, Provenance, Put, PutOutcome, Request, Response,
};

use super::{request, response, unexpected};
use crate::error::Error;
use crate::options::{PutOptions, milliseconds};

/// What a put must know of an output.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// Its name.
    pub(crate) name: String,
    /// Its length in bytes, if all of it is in memory.
    pub(crate) bytes: Option<u64>,
    /// How long it will be, as far as is known.
    pub(crate) expected_bytes: u64,
    /// Its digest, if that is known.
    pub(crate) digest: Option<Digest>,
}

/// A put under way.
#[derive(Debug)]
pub(crate) struct PutExchange {
    put: Put,
    /// Who made the run and when, if it comes from another store.
    imported: Option<Provenance>,
    uploads: Vec<usize>,
    limits: PeerLimits,
}

impl PutExchange {
    /// Plans a put of these outputs, which stand in ascending order of their names.
    ///
    /// # Errors
    /// If more outputs are too large to travel inline than the daemon takes as uploads.
    pub(crate) fn new(
        identity: &CallIdentity,
        interface: InterfaceText,
        options: &PutOptions,
        offers: &[Offer],
        limits: PeerLimits,
    ) -> Result<Self, Error> {
        let inline = inline(offers, limits.inline_bytes_max.min(INLINE_BYTES_MAX));
        let mut uploads = Vec::new();
        let mut outputs = Vec::with_capacity(offers.len());
        for (index, (offer, inline)) in offers.iter().zip(inline).enumerate() {
            let source = if inline {
                OutputSource::Inline
            } else {
                uploads.push(index);
                OutputSource::Upload(u32::try_from(index).unwrap_or(u32::MAX))
            };
            outputs.push(NewOutput {
                name: offer.name.clone(),
                bytes: offer.expected_bytes,
                digest: offer.digest,
                source,
            });
        }
        let uploads_max = limits.uploads_open_max.min(UPLOADS_OPEN_MAX) as usize;
        if uploads.len() > uploads_max {
            return Err(Error::Invalid(InvalidArgument::new(
                "outputs",
                format!(
                    "{} are too large to travel inside one frame, {uploads_max} may be; \
                     put several into one",
                    uploads.len()
                ),
            )));
        }
        let put = Put {
            call: identity.clone(),
            interface,
            outputs,
            overwrite: options.overwrite,
            max_age_ms: milliseconds(options.max_age),
            run: options.run.clone(),
        };
        Ok(Self { put, imported: None, uploads, limits })
    }

    /// The same for a run that comes from another store.
    pub(crate) fn imported(self, provenance: Provenance) -> Self {
        Self { imported: Some(provenance), ..self }
    }

    /// The outputs that have to be uploaded first, by index.
    pub(crate) fn uploads(&self) -> Vec<usize> {
        self.uploads.clone()
    }

    /// Whether there is anything to upload, and the daemon can be told of it before.
    pub(crate) fn is_announced(&self, agreement: &Agreement) -> bool {
        !self.uploads.is_empty() && agreement.capabilities & ANNOUNCE != 0
    }

    /// Announces the put.
    ///
    /// # Errors
    /// If its description does not fit into a frame.
    pub(crate) fn announce(&self, id: u64) -> Result<Vec<u8>, Error> {
        let writer_uid = self.imported.as_ref().map(|made| made.writer_uid);
        let announcement = Announcement { put: self.put.clone(), writer_uid };
        request(id, Request::Announce(Box::new(announcement)), 0)
    }

    /// The outputs whose bytes are the put's payload, by index, in order.
    pub(crate) fn inline(&self) -> impl Iterator<Item = usize> + '_ {
        let sources = self.put.outputs.iter().map(|output| output.source).enumerate();
        sources.filter(|(_, source)| *source == OutputSource::Inline).map(|(index, _)| index)
    }

    /// The most bytes of an upload that one frame may carry.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.limits.chunk_bytes.min(CHUNK_BYTES) as usize
    }

    /// What precedes the next `payload_bytes` bytes of an upload that has had `sent` before.
    ///
    /// # Errors
    /// If the output is larger than the daemon takes.
    pub(crate) fn upload_data(
        &self,
        id: u64,
        index: usize,
        sent: u64,
        payload_bytes: usize,
    ) -> Result<Vec<u8>, Error> {
        self.check_length(index, sent.saturating_add(payload_bytes as u64))?;
        request(id, Request::UploadData { upload: number(index) }, payload_bytes)
    }

    /// Ends an upload.
    pub(crate) fn upload_end(&self, id: u64, index: usize) -> Result<Vec<u8>, Error> {
        let digest = self.put.outputs.get(index).and_then(|output| output.digest);
        request(id, Request::UploadEnd { upload: number(index), digest }, 0)
    }

    /// Makes an upload of a memory file with so many bytes, whose descriptor goes with the frame.
    ///
    /// # Errors
    /// If the output is larger than the daemon takes.
    pub(crate) fn upload_file(&self, id: u64, index: usize, bytes: u64) -> Result<Vec<u8>, Error> {
        self.check_length(index, bytes)?;
        let digest = self.put.outputs.get(index).and_then(|output| output.digest);
        request(id, Request::UploadFile { upload: number(index), digest }, 0)
    }

    fn check_length(&self, index: usize, bytes: u64) -> Result<(), Error> {
        let most = self.limits.blob_bytes_max;
        if bytes <= most {
            return Ok(());
        }
        let name = self.put.outputs.get(index).map_or("", |output| &output.name);
        Err(Error::Invalid(InvalidArgument::new(
            format!("output `{name}`"),
            format!("is larger than the {most} bytes that are allowed"),
        )))
    }

    /// Takes the answer to the end of an upload of which `sent` bytes were sent.
    pub(crate) fn uploaded(
        &mut self,
        id: u64,
        index: usize,
        sent: u64,
        header: &[u8],
    ) -> Result<(), Error> {
        match response(id, header)? {
            Response::Uploaded { digest, bytes } if bytes == sent => {
                let output = self.put.outputs.get_mut(index).expect("an index of `uploads`");
                if output.digest.is_some_and(|claimed| claimed != digest) {
                    return Err(Error::Protocol("it stored other bytes than were sent".into()));
                }
                output.bytes = bytes;
                output.digest = Some(digest);
                Ok(())
            }
            Response::Uploaded { bytes, .. } => {
                Err(Error::Protocol(format!("of {sent} uploaded bytes it has {bytes}")))
            }
            other => Err(unexpected("an upload", &other)),
        }
    }

    /// The put itself, once all uploads are there; its payload are the inline outputs.
    pub(crate) fn request(&self, id: u64) -> Result<Vec<u8>, Error> {
        let inline = self.put.outputs.iter().filter(|o| o.source == OutputSource::Inline);
        let payload = inline.map(|output| output.bytes).fold(0, u64::saturating_add);
        let payload = usize::try_from(payload).unwrap_or(usize::MAX);
        let put = self.put.clone();
        let asked = match self.imported.clone() {
            Some(provenance) => Request::Import(Box::new(Import { put, provenance })),
            None => Request::Put(Box::new(put)),
        };
        request(id, asked, payload)
    }
}

/// Takes the answer to a put.
pub(crate) fn outcome(id: u64, header: &[u8]) -> Result<PutOutcome, Error> {
    match response(id, header)? {
        Response::Put(outcome) => Ok(outcome),
        other => Err(unexpected("a put", &other)),
    }
}

/// Takes the answer to an announcement: what has become of the put, if nothing is to be uploaded.
pub(crate) fn announced(id: u64, header: &[u8]) -> Result<Option<PutOutcome>, Error> {
    match response(id, header)? {
        Response::Awaited => Ok(None),
        Response::Put(outcome) => Ok(Some(outcome)),
        other => Err(unexpected("an announcement", &other)),
    }
}

/// An upload has the number of its output.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Which outputs travel inline: of those in memory the smallest, as long as they fit together.
fn inline(offers: &[Offer], bytes_max: u64) -> Vec<bool> {
    let mut by_size: Vec<(u64, usize)> = offers
        .iter()
        .enumerate()
        .filter_map(|(index, offer)| offer.bytes.map(|bytes| (bytes, index)))
        .collect();
    by_size.sort_unstable();
    let mut inline = vec![false; offers.len()];
    let mut total: u64 = 0;
    for (bytes, index) in by_size {
        total = total.saturating_add(bytes);
        if total > bytes_max {
            break;
        }
        if let Some(chosen) = inline.get_mut(index) {
            *chosen = true;
        }
    }
    inline
}

#[cfg(test)]
#[path = "put_tests.rs"]
mod tests;
