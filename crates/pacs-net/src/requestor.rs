//! The requestor: asks for an association and uses the peer's services (C-ECHO, C-STORE, C-FIND,
//! C-GET, C-MOVE, storage commitment, procedure steps, notification of availability). Its errors
//! name the layer that failed.

mod availability;
mod builder;
mod commitment;
mod find;
mod procedure_step;
mod retrieve;
mod store;

pub use builder::RequestorBuilder;
pub use find::Find;
pub use procedure_step::StepResponse;
pub use retrieve::{Progress, Retrieval, RetrieveResponse, Step};
pub use store::StoreResponse;

use crate::dimse::{self, CommandSet, command_field};
use crate::error::{Fault, Misuse};
use crate::link::{ByteStream, Ending, Gathered, Happening, Link};
use crate::negotiation::{Context, Negotiated};
use crate::pdu::{AbortSource, AssociateRequest, ContextReason, Rejection};
use crate::security::{Channel, TlsError};
use crate::service::{Peer, SourceError};
use crate::sop_class::VERIFICATION;
use crate::status::StatusClass;
use pacs_core::AeTitle;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Why a request failed, by the layer that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestorError {
    /// The peer, or our own side, aborted.
    #[error("association aborted: {0}")]
    Aborted(AbortSource),
    /// The peer closed the transport in the middle of an association.
    #[error("connection closed by the peer")]
    Closed,
    /// The peer broke the protocol.
    #[error("protocol fault of the peer: {0}")]
    Fault(#[from] Fault),
    /// No presentation context that was accepted fits. The association stands.
    #[error(
        "no presentation context accepted for {abstract_syntax}{}",
        reason.map_or_else(String::new, |reason| format!(": {reason}"))
    )]
    NoPresentationContext {
        /// What is needed.
        abstract_syntax: String,
        /// Why the peer did not accept it, if it was proposed.
        reason: Option<ContextReason>,
    },
    /// This side was used wrongly.
    #[error("misuse: {0}")]
    Misuse(#[from] Misuse),
    /// The peer rejected the association.
    #[error("association {0}")]
    Rejected(#[from] Rejection),
    /// The data set to be sent cannot be read.
    #[error("instance cannot be read")]
    Source(#[from] SourceError),
    /// The peer answered with a failure.
    #[error(
        "status {code:04X}H{}",
        comment.as_ref().map_or_else(String::new, |comment| format!(": {comment}"))
    )]
    Status {
        /// Status (0000,0900).
        code: u16,
        /// Error Comment (0000,0902), as sent.
        comment: Option<String>,
    },
    /// The peer did not do what it had to in time.
    #[error("time-out waiting for {waiting_for}")]
    TimedOut {
        /// What we waited for.
        waiting_for: &'static str,
    },
    /// The connection could not be secured, or was refused by TLS later on.
    #[error("connection not secured: {0}")]
    Tls(#[from] TlsError),
    /// More presentation contexts are needed than an association has.
    #[error("more than {limit} presentation contexts")]
    TooManyContexts {
        /// The limit.
        limit: usize,
    },
    /// The transport failed, or was not opened.
    #[error("connection failed")]
    Transport(#[source] io::Error),
}

impl RequestorError {
    fn of_connection(error: io::Error) -> Self {
        match TlsError::within(&error) {
            Some(error) => Self::Tls(error),
            None => Self::Transport(error),
        }
    }
}

impl From<Ending> for RequestorError {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Aborted(source) => Self::Aborted(source),
            Ending::Closed | Ending::Released => Self::Closed,
            Ending::Faulted(Fault::NoAnswer) => Self::TimedOut {
                waiting_for: "the answer to an association request or release",
            },
            Ending::Faulted(fault) => Self::Fault(fault),
            Ending::GivenUp => Self::Aborted(AbortSource::ServiceUser),
            Ending::Idle => Self::TimedOut {
                waiting_for: "a response",
            },
            Ending::Misused(misuse) => Self::Misuse(misuse),
            Ending::Tls(error) => Self::Tls(error),
            Ending::Transport(kind) => Self::Transport(kind.into()),
        }
    }
}

/// An association that we asked for. Dropping it closes the transport; [`Self::release`] ends it
/// properly.
pub struct Requestor<S = Box<dyn ByteStream>> {
    link: Link<S>,
    negotiated: Arc<Negotiated>,
    request: Arc<AssociateRequest>,
    calling_ae_title: AeTitle,
    called_ae_title: AeTitle,
    message_id: u16,
}

impl<S> std::fmt::Debug for Requestor<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requestor")
            .field("called_ae_title", &self.called_ae_title)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Requestor {
    /// Asks as `calling`, for an association with `called`.
    #[must_use]
    pub fn builder(calling: AeTitle, called: AeTitle) -> RequestorBuilder {
        RequestorBuilder::new(calling, called)
    }
}

impl<S: ByteStream> Requestor<S> {
    /// What was agreed.
    #[must_use]
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.link.is_established()
    }

    /// The accepted context of a SOP class, whatever its transfer syntax; identifiers are encoded
    /// in that.
    ///
    /// # Errors
    /// [`RequestorError::NoPresentationContext`]
    pub fn context(&self, sop_class: &str) -> Result<Context, RequestorError> {
        let mut contexts = self.negotiated.contexts().iter();
        contexts
            .find(|context| context.abstract_syntax.as_str() == sop_class)
            .cloned()
            .ok_or_else(|| self.no_context(sop_class, None))
    }

    /// Says why there is no context for `sop_class` in `transfer_syntax`.
    fn no_context(&self, sop_class: &str, transfer_syntax: Option<&str>) -> RequestorError {
        let proposed = self.request.contexts.iter().find(|proposed| {
            let has = |wanted: &str| proposed.transfer_syntaxes.iter().any(|name| name == wanted);
            proposed.abstract_syntax == sop_class && transfer_syntax.is_none_or(has)
        });
        let in_syntax = transfer_syntax.map_or_else(String::new, |name| format!(" in {name}"));
        RequestorError::NoPresentationContext {
            abstract_syntax: format!("{sop_class}{in_syntax}"),
            reason: proposed.and_then(|proposed| self.negotiated.refusal(proposed.id)),
        }
    }

    /// The peer, as the provider of what it sends us.
    fn peer(&self) -> Peer {
        Peer {
            calling_ae_title: self.called_ae_title.clone(),
            called_ae_title: self.calling_ae_title.clone(),
            address: ([0, 0, 0, 0], 0).into(),
            channel: Channel::Plain,
            implementation_class_uid: self.negotiated.implementation_class_uid.clone(),
            implementation_version_name: self.negotiated.implementation_version_name.clone(),
            user_identity: None,
        }
    }

    fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.checked_add(1).unwrap_or(1);
        self.message_id
    }

    /// C-ECHO: whether the peer's application is there.
    ///
    /// # Errors
    /// [`RequestorError`]; a status other than success is one too.
    pub async fn echo(&mut self) -> Result<(), RequestorError> {
        let context = self.context(VERIFICATION)?;
        let message_id = self.next_message_id();
        let command = CommandSet {
            command_field: command_field::C_ECHO_RQ,
            message_id: Some(message_id),
            affected_sop_class: Some(VERIFICATION.to_owned()),
            ..CommandSet::default()
        };
        self.link.send_command(context.id, &command).await?;
        let response = self.response_to(&command).await?;
        self.link.drain_data_set(&response).await?;
        check_status(&response)
    }

    /// Waits for a response to `command`; nothing else may come.
    async fn response_to(&mut self, command: &CommandSet) -> Result<CommandSet, RequestorError> {
        let patience = self.link.limits().response_duration_max;
        let (_, response) = self.next_command(patience).await?;
        let wanted = command.command_field | command_field::RESPONSE;
        if response.command_field == wanted && response.message_id_responded == command.message_id {
            Ok(response)
        } else {
            Err(self.link.unexpected(&response).into())
        }
    }

    /// Waits for a command, and gives its context.
    async fn next_command(
        &mut self,
        patience: Duration,
    ) -> Result<(u8, CommandSet), RequestorError> {
        let happening = self.link.next(patience).await?;
        if matches!(happening, Happening::ReleaseRequested) {
            return Err(self.released_by_peer().await);
        }
        if let dimse::Event::Command {
            context_id,
            command,
        } = self.link.message(happening)?
        {
            Ok((context_id, *command))
        } else {
            let what = "data set without a command";
            Err(self.link.fault(Fault::Fragments { what }).into())
        }
    }

    /// The peer releases while we wait for it: allowed, if unusual, and the end of our request.
    async fn released_by_peer(&mut self) -> RequestorError {
        if let Err(misuse) = self.link.upper().respond_release(Instant::now().into_std()) {
            return misuse.into();
        }
        self.link.finish().await;
        RequestorError::Closed
    }

    async fn identifier(&mut self, response: &CommandSet) -> Result<bytes::Bytes, RequestorError> {
        match self.link.gather_identifier(response).await? {
            Gathered::Whole(identifier) => Ok(identifier),
            Gathered::TooLong => Err(RequestorError::Fault(Fault::CommandSetTooLong {
                limit_bytes: self.link.limits().identifier_bytes_max,
            })),
        }
    }

    /// Sends C-CANCEL for `command`.
    async fn cancel(&mut self, context_id: u8, command: &CommandSet) -> Result<(), RequestorError> {
        let cancel = CommandSet {
            command_field: command_field::C_CANCEL_RQ,
            message_id_responded: command.message_id,
            ..CommandSet::default()
        };
        Ok(self.link.send_command(context_id, &cancel).await?)
    }

    /// Ends the association properly.
    ///
    /// # Errors
    /// [`RequestorError`] if it ends in another way.
    pub async fn release(mut self) -> Result<(), RequestorError> {
        self.link.upper().release(Instant::now().into_std())?;
        let patience = self.link.limits().association_duration_max;
        let result = loop {
            match self.link.next(patience).await {
                Err(Ending::Released) => break Ok(()),
                Err(ending) => break Err(ending.into()),
                Ok(Happening::ReleaseRequested) => {
                    // Collision (PS3.8 7.2.2): the requestor answers first.
                    let now = Instant::now().into_std();
                    if let Err(misuse) = self.link.upper().respond_release(now) {
                        break Err(misuse.into());
                    }
                }
                // The peer may still be sending; we no longer listen.
                Ok(_) => {}
            }
        };
        self.link.finish().await;
        result
    }

    /// Aborts the association.
    pub async fn abort(mut self) {
        let _ending = self.link.give_up(Ending::GivenUp);
        self.link.finish().await;
    }
}

/// A failure becomes an error.
fn check_status(response: &CommandSet) -> Result<(), RequestorError> {
    let code = response.status.unwrap_or(0xc000);
    match StatusClass::of(code) {
        StatusClass::Failure => Err(RequestorError::Status {
            code,
            comment: response.error_comment.clone(),
        }),
        StatusClass::Cancel
        | StatusClass::Pending
        | StatusClass::Success
        | StatusClass::Warning => Ok(()),
    }
}
