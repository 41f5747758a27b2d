//! Storage Commitment Push from the side that opened the association (PS3.4 Annex J): asking for it
//! and waiting for the report, or bringing a report with reversed roles.

use super::{Requestor, RequestorError, check_status};
use crate::dimse::{CommandSet, command_field};
use crate::error::Fault;
use crate::link::ByteStream;
use crate::reporting::receive_event;
use crate::service::CommitmentScu;
use crate::sop_class::{STORAGE_COMMITMENT_INSTANCE, STORAGE_COMMITMENT_PUSH};
use crate::status::EventStatus;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

impl<S: ByteStream> Requestor<S> {
    /// Asks for storage commitment. `information` is encoded in the transfer syntax of
    /// [`Self::context`] of [`STORAGE_COMMITMENT_PUSH`]. A report that comes before the response,
    /// as some providers send it, goes to `scu`.
    ///
    /// # Errors
    /// [`RequestorError`]; a failure of the peer is [`RequestorError::Status`].
    pub async fn request_commitment(
        &mut self,
        information: Bytes,
        scu: &dyn CommitmentScu,
    ) -> Result<(), RequestorError> {
        let context_id = self.context(STORAGE_COMMITMENT_PUSH)?.id;
        let command = CommandSet {
            command_field: command_field::N_ACTION_RQ,
            message_id: Some(self.next_message_id()),
            requested_sop_class: Some(STORAGE_COMMITMENT_PUSH.to_owned()),
            requested_sop_instance: Some(STORAGE_COMMITMENT_INSTANCE.to_owned()),
            action_type: Some(1),
            has_data_set: true,
            ..CommandSet::default()
        };
        self.link.queue_command(context_id, &command)?;
        self.link.queue_data(context_id, information, true)?;
        self.link.flush().await?;
        let patience = self.link.limits().response_duration_max;
        loop {
            let (context_id, response) = self.next_command(patience).await?;
            if response.command_field == command_field::N_EVENT_REPORT_RQ {
                self.take_event(context_id, &response, scu).await?;
                continue;
            }
            let wanted = command.command_field | command_field::RESPONSE;
            if response.command_field != wanted
                || response.message_id_responded != command.message_id
            {
                return Err(self.link.unexpected(&response).into());
            }
            // An action reply says nothing here.
            self.link.drain_data_set(&response).await?;
            return check_status(&response);
        }
    }

    /// Waits for a report on this association and hands it to `scu`; `false` where none came within
    /// `patience`, and the association stands.
    ///
    /// # Errors
    /// [`RequestorError`] of the association; [`RequestorError::Closed`] also where the peer
    /// releases it.
    pub async fn next_commitment_report(
        &mut self,
        scu: &dyn CommitmentScu,
        patience: Duration,
    ) -> Result<bool, RequestorError> {
        let next = timeout(patience, self.next_command(Duration::MAX)).await;
        let Ok(next) = next else {
            return Ok(false);
        };
        let (context_id, command) = next?;
        if command.command_field != command_field::N_EVENT_REPORT_RQ {
            return Err(self.link.unexpected(&command).into());
        }
        self.take_event(context_id, &command, scu).await?;
        Ok(true)
    }

    async fn take_event(
        &mut self,
        context_id: u8,
        command: &CommandSet,
        scu: &dyn CommitmentScu,
    ) -> Result<(), RequestorError> {
        let negotiated = Arc::clone(&self.negotiated);
        let Some(context) = negotiated.context(context_id) else {
            return Err(self
                .link
                .fault(Fault::UnknownContext { id: context_id })
                .into());
        };
        let peer = self.peer();
        receive_event(&mut self.link, Some(scu), &peer, context, command).await?;
        Ok(())
    }

    /// Reports on storage commitment as its provider: the role must have been proposed for
    /// [`STORAGE_COMMITMENT_PUSH`], in whose transfer syntax `information` is encoded. Peers that
    /// accept the context without a word about roles want the report all the same.
    ///
    /// # Errors
    /// [`RequestorError`] of the association; the status of the peer, whatever it is, is no error.
    pub async fn report_commitment(
        &mut self,
        event_type: u16,
        information: Bytes,
    ) -> Result<EventStatus, RequestorError> {
        let context_id = self.context(STORAGE_COMMITMENT_PUSH)?.id;
        let command = CommandSet {
            command_field: command_field::N_EVENT_REPORT_RQ,
            message_id: Some(self.next_message_id()),
            affected_sop_class: Some(STORAGE_COMMITMENT_PUSH.to_owned()),
            affected_sop_instance: Some(STORAGE_COMMITMENT_INSTANCE.to_owned()),
            event_type: Some(event_type),
            has_data_set: true,
            ..CommandSet::default()
        };
        self.link.queue_command(context_id, &command)?;
        self.link.queue_data(context_id, information, true)?;
        self.link.flush().await?;
        let response = self.response_to(&command).await?;
        self.link.drain_data_set(&response).await?;
        Ok(EventStatus::of(response.status.unwrap_or(0x0110)))
    }
}
