//! C-GET and C-MOVE as a service class user (PS3.4 C.4.2, C.4.3, PS3.7 9.1.3, 9.1.4).

use super::{Requestor, RequestorError};
use crate::dimse::{CommandSet, Priority, command_field};
use crate::link::ByteStream;
use crate::receiving::receive;
use crate::service::{Peer, StorageScp};
use crate::sop_class::ServiceClass;
use crate::status::StatusClass;
use bytes::Bytes;
use pacs_core::AeTitle;
use std::sync::Arc;

/// How far a retrieval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Sub-operations to come.
    pub remaining: Option<u16>,
    /// Sub-operations that succeeded.
    pub completed: Option<u16>,
    /// Sub-operations that failed.
    pub failed: Option<u16>,
    /// Sub-operations that succeeded with a warning.
    pub warning: Option<u16>,
}

/// The end of a retrieval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrieveResponse {
    /// Status (0000,0900).
    pub status: u16,
    /// Error Comment (0000,0902), as sent.
    pub comment: Option<String>,
    /// The counters.
    pub progress: Progress,
    /// The identifier with the Failed SOP Instance UID List, or empty.
    pub identifier: Bytes,
}

/// What happened in a retrieval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It ended.
    Ended(RetrieveResponse),
    /// A pending response.
    Pending(Progress),
    /// An instance came over this association, and was answered with this status (C-GET).
    Received(u16),
}

/// A retrieval under way. [`Self::next`] must be called until it has ended.
#[derive(Debug)]
pub struct Retrieval<'a, S> {
    requestor: &'a mut Requestor<S>,
    command: CommandSet,
    context_id: u8,
    storage: Option<(Arc<dyn StorageScp>, Peer)>,
}

impl<S: ByteStream> Requestor<S> {
    /// Asks for instances over this association; they go to `storage`. Roles must have been
    /// negotiated for the SOP classes. `identifier` is encoded in the transfer syntax of
    /// [`Self::context`] of `sop_class`.
    ///
    /// # Errors
    /// [`RequestorError`]
    pub async fn get(
        &mut self,
        sop_class: &str,
        identifier: Bytes,
        storage: Arc<dyn StorageScp>,
    ) -> Result<Retrieval<'_, S>, RequestorError> {
        let storage = Some((storage, self.peer()));
        self.retrieve(
            command_field::C_GET_RQ,
            sop_class,
            identifier,
            None,
            storage,
        )
        .await
    }

    /// Asks that instances be sent to `destination`.
    ///
    /// # Errors
    /// [`RequestorError`]
    pub async fn move_to(
        &mut self,
        sop_class: &str,
        identifier: Bytes,
        destination: &AeTitle,
    ) -> Result<Retrieval<'_, S>, RequestorError> {
        let destination = Some(destination.as_str().to_owned());
        let command_field = command_field::C_MOVE_RQ;
        self.retrieve(command_field, sop_class, identifier, destination, None)
            .await
    }

    async fn retrieve(
        &mut self,
        command_field: u16,
        sop_class: &str,
        identifier: Bytes,
        move_destination: Option<String>,
        storage: Option<(Arc<dyn StorageScp>, Peer)>,
    ) -> Result<Retrieval<'_, S>, RequestorError> {
        let context_id = self.context(sop_class)?.id;
        let command = CommandSet {
            command_field,
            message_id: Some(self.next_message_id()),
            affected_sop_class: Some(sop_class.to_owned()),
            priority: Some(Priority::Medium.code()),
            has_data_set: true,
            move_destination,
            ..CommandSet::default()
        };
        self.link.queue_command(context_id, &command)?;
        self.link.queue_data(context_id, identifier, true)?;
        self.link.flush().await?;
        Ok(Retrieval {
            requestor: self,
            command,
            context_id,
            storage,
        })
    }
}

impl<S: ByteStream> Retrieval<'_, S> {
    /// What happens next.
    ///
    /// # Errors
    /// [`RequestorError`] of the association. A status of the peer, failure too, is
    /// [`Step::Ended`].
    pub async fn next(&mut self) -> Result<Step, RequestorError> {
        let patience = self.requestor.link.limits().response_duration_max;
        let (context_id, command) = self.requestor.next_command(patience).await?;
        if command.command_field == command_field::C_STORE_RQ {
            return self.receive(context_id, &command).await;
        }
        let wanted = self.command.command_field | command_field::RESPONSE;
        if command.command_field != wanted
            || command.message_id_responded != self.command.message_id
        {
            return Err(self.requestor.link.unexpected(&command).into());
        }
        let identifier = self.requestor.identifier(&command).await?;
        let progress = Progress {
            remaining: command.remaining,
            completed: command.completed,
            failed: command.failed,
            warning: command.warning,
        };
        let status = command.status.unwrap_or(0xc000);
        if StatusClass::of(status) == StatusClass::Pending {
            return Ok(Step::Pending(progress));
        }
        Ok(Step::Ended(RetrieveResponse {
            status,
            comment: command.error_comment,
            progress,
            identifier,
        }))
    }

    async fn receive(
        &mut self,
        context_id: u8,
        command: &CommandSet,
    ) -> Result<Step, RequestorError> {
        let negotiated = Arc::clone(&self.requestor.negotiated);
        let link = &mut self.requestor.link;
        let (Some((storage, peer)), Some(context)) =
            (&self.storage, negotiated.context(context_id))
        else {
            return Err(link.unexpected(command).into());
        };
        // Some providers send without having answered the role selection: we asked for it.
        let takes_it = context.service == ServiceClass::Storage;
        let storage = Some(&**storage).filter(|_| takes_it);
        let status = receive(link, storage, peer, context, command).await?;
        Ok(Step::Received(status.code()))
    }

    /// Asks the peer to stop. The end has status FE00H.
    ///
    /// # Errors
    /// [`RequestorError`]
    pub async fn cancel(&mut self) -> Result<(), RequestorError> {
        self.requestor.cancel(self.context_id, &self.command).await
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`RequestorError`] of the association.
    pub async fn finish(mut self) -> Result<RetrieveResponse, RequestorError> {
        loop {
            if let Step::Ended(response) = self.next().await? {
                return Ok(response);
            }
        }
    }
}
