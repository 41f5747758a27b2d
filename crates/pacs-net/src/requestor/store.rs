//! C-STORE as a service class user (PS3.4 B.2.1, PS3.7 9.1.1).

use super::{Requestor, RequestorError, check_status};
use crate::dimse::Priority;
use crate::link::ByteStream;
use crate::sending::{Prepared, SendError, prepare, prepare_next, send, store_command};
use crate::service::{OutgoingInstance, SubOperations};
use crate::status::StatusClass;
use pacs_core::{AeTitle, SopInstanceUid};

/// The answer to a C-STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreResponse {
    /// Status (0000,0900): success or a warning.
    pub status: u16,
    /// Error Comment (0000,0902), as sent.
    pub comment: Option<String>,
}

impl StoreResponse {
    /// Whether the peer kept the instance with a reservation.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        StatusClass::of(self.status) == StatusClass::Warning
    }
}

impl<S: ByteStream> Requestor<S> {
    /// Sends an instance.
    ///
    /// # Errors
    /// [`RequestorError::NoPresentationContext`], [`RequestorError::Status`] and a source that
    /// cannot be read from its beginning leave the association standing ([`Self::is_established`]).
    pub async fn store(
        &mut self,
        instance: OutgoingInstance,
    ) -> Result<StoreResponse, RequestorError> {
        let prepared = prepare(instance).await;
        self.store_prepared(prepared, Priority::Medium, None).await
    }

    /// Sends all instances of `source`, reading the next while the peer answers. `report` is told
    /// of each.
    ///
    /// # Errors
    /// [`RequestorError`] that ended the association; what an instance came to goes to `report`.
    pub async fn store_all(
        &mut self,
        source: &mut dyn SubOperations,
        mut report: impl FnMut(&SopInstanceUid, &Result<StoreResponse, RequestorError>),
    ) -> Result<(), RequestorError> {
        let mut upcoming = prepare_next(source).await;
        while let Some(prepared) = upcoming {
            let sop_instance = prepared.instance.sop_instance.clone();
            let storing = self.store_prepared(prepared, Priority::Medium, None);
            let (stored, next) = tokio::join!(storing, prepare_next(source));
            upcoming = next;
            report(&sop_instance, &stored);
            if !self.is_established()
                && let Err(error) = stored
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sends an instance on the context that has its SOP class and its transfer syntax.
    pub(crate) async fn store_prepared(
        &mut self,
        prepared: Prepared,
        priority: Priority,
        move_originator: Option<(&AeTitle, u16)>,
    ) -> Result<StoreResponse, RequestorError> {
        let instance = &prepared.instance;
        let mut contexts = self.negotiated.contexts().iter();
        let context_id = contexts
            .find(|context| {
                context.abstract_syntax == instance.sop_class
                    && context.transfer_syntax == instance.transfer_syntax
                    && context.requestor_roles.scu
            })
            .map(|context| context.id)
            .ok_or_else(|| {
                let transfer_syntax = Some(instance.transfer_syntax.as_str());
                self.no_context(instance.sop_class.as_str(), transfer_syntax)
            })?;
        let message_id = self.next_message_id();
        let command = store_command(&prepared.instance, message_id, priority, move_originator);
        match send(&mut self.link, context_id, &command, prepared).await {
            Ok(()) => {}
            Err(SendError::Ended(ending)) => return Err(ending.into()),
            Err(SendError::Unreadable(error)) => return Err(error.into()),
        }
        let response = self.response_to(&command).await?;
        self.link.drain_data_set(&response).await?;
        check_status(&response)?;
        Ok(StoreResponse {
            status: response.status.unwrap_or(0),
            comment: response.error_comment,
        })
    }
}
