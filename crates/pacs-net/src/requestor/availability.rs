//! Instance Availability Notification as a service class user (PS3.4 R.3.2, PS3.7 10.1.5).

use super::{Requestor, RequestorError};
use crate::dimse::{CommandSet, command_field};
use crate::link::ByteStream;
use crate::sop_class::INSTANCE_AVAILABILITY_NOTIFICATION;
use bytes::Bytes;
use pacs_core::SopInstanceUid;

impl<S: ByteStream> Requestor<S> {
    /// Tells which instances are to be had (N-CREATE). `attributes` are encoded in the transfer
    /// syntax of [`Self::context`] of [`INSTANCE_AVAILABILITY_NOTIFICATION`]; `notification` names
    /// what is told, as the standard demands of the user.
    ///
    /// # Errors
    /// [`RequestorError`]; a failure of the peer is [`RequestorError::Status`], a warning none.
    pub async fn notify_availability(
        &mut self,
        notification: &SopInstanceUid,
        attributes: Bytes,
    ) -> Result<(), RequestorError> {
        let command = CommandSet {
            command_field: command_field::N_CREATE_RQ,
            affected_sop_class: Some(INSTANCE_AVAILABILITY_NOTIFICATION.to_owned()),
            affected_sop_instance: Some(notification.as_str().to_owned()),
            ..CommandSet::default()
        };
        self.operate(command, attributes).await.map(drop)
    }
}
