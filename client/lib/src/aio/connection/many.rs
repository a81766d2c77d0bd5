//! Many lookups, or puts, under way on one connection; as the blocking ones.

use super::Connection;
use crate::aio::client::prepare_outputs;
use crate::connect::Patience;
use crate::error::Error;
use crate::exchange::look_many::Lookups;
use crate::exchange::put_many::Puts;

impl Connection {
    /// As the blocking one.
    pub(in crate::aio) async fn fetch_many(
        &mut self,
        lookups: &mut Lookups<'_>,
        mut patience: Patience,
    ) -> Result<(), Error> {
        lookups.begin(&self.agreement);
        while !lookups.is_done() {
            while lookups.may_send() {
                let id = self.begin();
                if let Some(head) = lookups.frame(id)? {
                    self.send(&head, &[], patience).await?;
                }
            }
            if lookups.is_awaited() {
                let (header, payload_bytes) = self.frame(patience).await?;
                let payload = self.wire.gathered(payload_bytes, patience).await?;
                lookups.answered(&header, &payload)?;
                patience = Patience::within(self.bounds.deadline);
            }
        }
        self.settled = true;
        Ok(())
    }

    /// As the blocking one.
    pub(in crate::aio) async fn put_many(
        &mut self,
        puts: &mut Puts<'_>,
        mut patience: Patience,
    ) -> Result<(), Error> {
        puts.begin();
        let limits = self.limits();
        while !puts.is_done() {
            while let Some(index) = puts.next(limits) {
                if let Some((call, outputs)) = puts.take_given(index) {
                    puts.prepared(index, prepare_outputs(call, outputs).await);
                }
                let id = self.begin();
                if let Some(frame) = puts.frame(id, index, limits) {
                    let inline: Vec<&[u8]> = frame.inline.iter().map(AsRef::as_ref).collect();
                    self.send(&frame.head, &inline, patience).await?;
                }
            }
            if puts.is_awaited() {
                let header = self.bare_header(patience).await?;
                puts.answered(&header)?;
                patience = Patience::within(self.bounds.deadline);
            }
        }
        self.settled = true;
        Ok(())
    }
}
