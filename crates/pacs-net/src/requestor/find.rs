//! C-FIND as a service class user (PS3.4 C.4.1, PS3.7 9.1.2).

use super::{Requestor, RequestorError, check_status};
use crate::dimse::{CommandSet, Priority, command_field};
use crate::link::ByteStream;
use crate::status::StatusClass;
use bytes::Bytes;

/// The answers to a query, as they come.
#[derive(Debug)]
pub struct Find<'a, S> {
    requestor: &'a mut Requestor<S>,
    command: CommandSet,
    context_id: u8,
    final_status: Option<u16>,
}

impl<S: ByteStream> Requestor<S> {
    /// Asks a query. `identifier` is encoded in the transfer syntax of [`Self::context`] of
    /// `sop_class`.
    ///
    /// # Errors
    /// [`RequestorError`]
    pub async fn find(
        &mut self,
        sop_class: &str,
        identifier: Bytes,
    ) -> Result<Find<'_, S>, RequestorError> {
        let context_id = self.context(sop_class)?.id;
        let command = CommandSet {
            command_field: command_field::C_FIND_RQ,
            message_id: Some(self.next_message_id()),
            affected_sop_class: Some(sop_class.to_owned()),
            priority: Some(Priority::Medium.code()),
            has_data_set: true,
            ..CommandSet::default()
        };
        self.link.queue_command(context_id, &command)?;
        self.link.queue_data(context_id, identifier, true)?;
        self.link.flush().await?;
        Ok(Find {
            requestor: self,
            command,
            context_id,
            final_status: None,
        })
    }
}

impl<S: ByteStream> Find<'_, S> {
    /// The next match; `None` when there are no more. It must be called until then.
    ///
    /// # Errors
    /// [`RequestorError`]; a failure of the peer is [`RequestorError::Status`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, RequestorError> {
        if self.final_status.is_some() {
            return Ok(None);
        }
        let response = self.requestor.response_to(&self.command).await?;
        let identifier = self.requestor.identifier(&response).await?;
        let status = response.status.unwrap_or(0xc000);
        if StatusClass::of(status) == StatusClass::Pending {
            return Ok(Some(identifier));
        }
        self.final_status = Some(status);
        check_status(&response)?;
        Ok(None)
    }

    /// Asks the peer to stop. Matches that are under way still come; the end has status FE00H.
    ///
    /// # Errors
    /// [`RequestorError`]
    pub async fn cancel(&mut self) -> Result<(), RequestorError> {
        self.requestor.cancel(self.context_id, &self.command).await
    }

    /// The final status, once it has come.
    #[must_use]
    pub const fn final_status(&self) -> Option<u16> {
        self.final_status
    }
}
