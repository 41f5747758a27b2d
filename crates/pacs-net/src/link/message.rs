//! Data sets of messages, as both sides of an association read them.

use super::{ByteStream, Ending, Happening, Link};
use crate::dimse::{CommandSet, Event};
use crate::error::Fault;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// Bytes of an identifier that is no matter of memory.
const IDENTIFIER_BYTES_SHORT: usize = 64 << 10;

/// What an identifier came to. It has no `Debug`: there are patients in it.
pub(crate) enum Gathered {
    /// Over the limit: it was read and thrown away.
    TooLong,
    /// All of it; empty if the message has none.
    Whole(Bytes),
}

impl<S: ByteStream> Link<S> {
    /// The next part of a message; anything else has no place where this is called.
    pub(crate) async fn next_message(&mut self, patience: Duration) -> Result<Event, Ending> {
        let happening = self.next(patience).await?;
        self.message(happening)
    }

    /// What has happened as part of a message; anything else is a fault.
    pub(crate) fn message(&mut self, happening: Happening) -> Result<Event, Ending> {
        if let Happening::Message(event) = happening {
            Ok(event)
        } else {
            Err(self.fault(Fault::UnexpectedPdu { state: 6 }))
        }
    }

    /// The next piece of the data set that is under way; `None` at its end.
    pub(crate) async fn next_piece(&mut self) -> Result<Option<Bytes>, Ending> {
        let patience = self.limits.idle_duration_max;
        match self.next_message(patience).await? {
            Event::Data(piece) => Ok(Some(piece)),
            Event::DataEnd => Ok(None),
            Event::Command { command, .. } => Err(self.unexpected(&command)),
        }
    }

    /// Reads and throws away the data set of `command`, if it has one.
    pub(crate) async fn drain_data_set(&mut self, command: &CommandSet) -> Result<(), Ending> {
        if command.has_data_set {
            while self.next_piece().await?.is_some() {}
        }
        Ok(())
    }

    /// Gathers the identifier of `command`, up to `identifier_bytes_max`.
    pub(crate) async fn gather_identifier(
        &mut self,
        command: &CommandSet,
    ) -> Result<Gathered, Ending> {
        let limit_bytes = self.limits.identifier_bytes_max;
        self.gather(command, limit_bytes).await
    }

    /// Gathers the data set of `command`, up to `limit_bytes`.
    pub(crate) async fn gather(
        &mut self,
        command: &CommandSet,
        limit_bytes: usize,
    ) -> Result<Gathered, Ending> {
        if !command.has_data_set {
            return Ok(Gathered::Whole(Bytes::new()));
        }
        // Short ones are taken whatever others hold.
        let most = self.share.most(&self.limits).max(IDENTIFIER_BYTES_SHORT);
        let limit_bytes = limit_bytes.min(most);
        let mut gathered = BytesMut::new();
        while let Some(piece) = self.next_piece().await? {
            let length = gathered.len().saturating_add(piece.len());
            if length > limit_bytes {
                self.share.identifier(0);
                while self.next_piece().await?.is_some() {}
                return Ok(Gathered::TooLong);
            }
            gathered.extend_from_slice(&piece);
            self.share.identifier(length);
        }
        // From here on it lives as long as the operation.
        self.share.identifier(0);
        Ok(Gathered::Whole(gathered.freeze()))
    }

    /// Aborts because of a message that has no place here.
    pub(crate) fn unexpected(&mut self, command: &CommandSet) -> Ending {
        let command_field = command.command_field;
        self.fault(Fault::UnexpectedMessage { command_field })
    }
}
