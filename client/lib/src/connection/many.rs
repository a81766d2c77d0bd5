//! Many lookups, or puts, under way on one connection.

use bytes::Bytes;

use super::Connection;
use crate::connect::Patience;
use crate::error::Error;
use crate::exchange::look_many::Lookups;
use crate::exchange::put_many::Puts;
use crate::outputs::prepare;

impl Connection {
    /// Looks up what may be looked up together with others. Each answer may take as long as one
    /// alone.
    pub(crate) fn fetch_many(
        &mut self,
        lookups: &mut Lookups<'_>,
        mut patience: Patience,
    ) -> Result<(), Error> {
        lookups.begin(&self.agreement);
        while !lookups.is_done() {
            while lookups.may_send() {
                let id = self.begin();
                if let Some(head) = lookups.frame(id)? {
                    self.send(&head, &[], patience)?;
                }
            }
            if lookups.is_awaited() {
                let (header, payload_bytes) = self.frame(patience)?;
                let mut payload = Vec::with_capacity(payload_bytes);
                self.wire.payload(payload_bytes, patience, |data| {
                    payload.extend_from_slice(data);
                    Ok(())
                })?;
                lookups.answered(&header, &Bytes::from(payload))?;
                patience = Patience::within(self.bounds.deadline);
            }
        }
        self.settled = true;
        Ok(())
    }

    /// Stores what needs no uploads.
    pub(crate) fn put_many(
        &mut self,
        puts: &mut Puts<'_>,
        mut patience: Patience,
    ) -> Result<(), Error> {
        puts.begin();
        let limits = self.limits();
        while !puts.is_done() {
            while let Some(index) = puts.next(limits) {
                if let Some((call, outputs)) = puts.take_given(index) {
                    puts.prepared(index, prepare(&call.interface, outputs));
                }
                let id = self.begin();
                if let Some(frame) = puts.frame(id, index, limits) {
                    let inline: Vec<&[u8]> = frame.inline.iter().map(AsRef::as_ref).collect();
                    self.send(&frame.head, &inline, patience)?;
                }
            }
            if puts.is_awaited() {
                let header = self.bare_header(patience)?;
                puts.answered(&header)?;
                patience = Patience::within(self.bounds.deadline);
            }
        }
        self.settled = true;
        Ok(())
    }
}
