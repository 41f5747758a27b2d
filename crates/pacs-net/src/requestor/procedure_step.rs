//! Modality Performed Procedure Step as a service class user (PS3.4 F.7, PS3.7 10.1.3 and 10.1.5).

use super::{Requestor, RequestorError, check_status};
use crate::dimse::{CommandSet, command_field};
use crate::link::ByteStream;
use crate::sop_class::MODALITY_PERFORMED_PROCEDURE_STEP;
use bytes::Bytes;
use pacs_core::{SopInstanceUid, Tag};

/// What a provider answered that did what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepResponse {
    /// Success or a warning.
    pub status: u16,
    /// The instance, as the response names it.
    pub sop_instance: Option<SopInstanceUid>,
    /// Attributes that a warning is about.
    pub offending_elements: Vec<Tag>,
}

impl<S: ByteStream> Requestor<S> {
    /// Begins a performed procedure step (N-CREATE). `attributes` are encoded in the transfer
    /// syntax of [`Self::context`] of [`MODALITY_PERFORMED_PROCEDURE_STEP`]. Without
    /// `sop_instance` the provider gives one.
    ///
    /// # Errors
    /// [`RequestorError`]; a failure of the peer is [`RequestorError::Status`].
    pub async fn create_step(
        &mut self,
        sop_instance: Option<&SopInstanceUid>,
        attributes: Bytes,
    ) -> Result<StepResponse, RequestorError> {
        let command = CommandSet {
            command_field: command_field::N_CREATE_RQ,
            affected_sop_class: Some(MODALITY_PERFORMED_PROCEDURE_STEP.to_owned()),
            affected_sop_instance: sop_instance.map(|uid| uid.as_str().to_owned()),
            ..CommandSet::default()
        };
        self.operate(command, attributes).await
    }

    /// Changes a performed procedure step (N-SET). `modifications` are encoded as those of
    /// [`Self::create_step`].
    ///
    /// # Errors
    /// As [`Self::create_step`].
    pub async fn set_step(
        &mut self,
        sop_instance: &SopInstanceUid,
        modifications: Bytes,
    ) -> Result<StepResponse, RequestorError> {
        let command = CommandSet {
            command_field: command_field::N_SET_RQ,
            requested_sop_class: Some(MODALITY_PERFORMED_PROCEDURE_STEP.to_owned()),
            requested_sop_instance: Some(sop_instance.as_str().to_owned()),
            ..CommandSet::default()
        };
        self.operate(command, modifications).await
    }

    /// Has the provider of the class that `command` names do it with `data_set`.
    pub(super) async fn operate(
        &mut self,
        command: CommandSet,
        data_set: Bytes,
    ) -> Result<StepResponse, RequestorError> {
        let named = [&command.affected_sop_class, &command.requested_sop_class];
        let sop_class = named.into_iter().flatten().next();
        let context_id = self.context(sop_class.map_or("", String::as_str))?.id;
        let command = CommandSet {
            message_id: Some(self.next_message_id()),
            has_data_set: true,
            ..command
        };
        self.link.queue_command(context_id, &command)?;
        self.link.queue_data(context_id, data_set, true)?;
        self.link.flush().await?;
        let response = self.response_to(&command).await?;
        // What the instance looks like now is not needed.
        self.link.drain_data_set(&response).await?;
        check_status(&response)?;
        let instance = response.affected_sop_instance.as_deref();
        let mut offending_elements = response.attribute_identifiers;
        offending_elements.extend(response.offending_elements);
        Ok(StepResponse {
            status: response.status.unwrap_or_default(),
            sop_instance: instance.and_then(|uid| SopInstanceUid::parse_legacy(uid).ok()),
            offending_elements,
        })
    }
}
