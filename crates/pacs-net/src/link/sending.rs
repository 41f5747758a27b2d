//! Messages, as both sides of an association send them.

use super::{ByteStream, Ending, Link};
use crate::dimse::CommandSet;
use bytes::Bytes;

impl<S: ByteStream> Link<S> {
    /// Queues a command, to go out with what follows.
    pub(crate) fn queue_command(
        &mut self,
        context_id: u8,
        command: &CommandSet,
    ) -> Result<(), Ending> {
        Ok(self.upper.send_command(context_id, &command.to_bytes())?)
    }

    /// Queues a piece of a data set without copying it.
    pub(crate) fn queue_data(
        &mut self,
        context_id: u8,
        piece: Bytes,
        is_last: bool,
    ) -> Result<(), Ending> {
        Ok(self.upper.send_data(context_id, piece, is_last)?)
    }

    /// Sends a command without a data set.
    pub(crate) async fn send_command(
        &mut self,
        context_id: u8,
        command: &CommandSet,
    ) -> Result<(), Ending> {
        self.upper.send_command(context_id, &command.to_bytes())?;
        self.flush().await
    }

    /// Queues an encoded command with a small data set; flushes once `batch_bytes` have gathered.
    pub(crate) async fn queue_message(
        &mut self,
        context_id: u8,
        command: &[u8],
        data_set: &[u8],
    ) -> Result<(), Ending> {
        self.upper.send_message(context_id, command, data_set)?;
        let queued = self.upper.transmits().iter().map(Bytes::len).sum::<usize>();
        if queued >= self.limits.batch_bytes {
            self.flush().await?;
        }
        Ok(())
    }
}
