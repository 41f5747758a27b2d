//! What a requestor proposes.

use super::{Requestor, RequestorError};
use crate::limits::NetLimits;
use crate::link::{ByteStream, Happening, Link};
use crate::pdu::{
    APPLICATION_CONTEXT, AssociateRequest, ProposedContext, Roles, UserIdentity, UserInformation,
};
use crate::transport::{Connector, TcpConnector};
use pacs_core::AeTitle;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Builds a [`Requestor`].
#[derive(Debug, Clone)]
pub struct RequestorBuilder {
    calling: AeTitle,
    called: AeTitle,
    contexts: Vec<(String, Vec<String>)>,
    roles: Vec<(String, Roles)>,
    extended: Vec<(String, Vec<u8>)>,
    identity: Option<UserIdentity>,
    connector: Arc<dyn Connector>,
    limits: Arc<NetLimits>,
}

impl RequestorBuilder {
    pub(super) fn new(calling: AeTitle, called: AeTitle) -> Self {
        Self {
            calling,
            called,
            contexts: Vec::new(),
            roles: Vec::new(),
            extended: Vec::new(),
            identity: None,
            connector: Arc::new(TcpConnector),
            limits: Arc::new(NetLimits::default()),
        }
    }

    /// Proposes a presentation context, transfer syntaxes in order of preference.
    #[must_use]
    pub fn context<T: AsRef<str>>(
        mut self,
        abstract_syntax: &str,
        transfer_syntaxes: &[T],
    ) -> Self {
        let names = transfer_syntaxes
            .iter()
            .map(|name| name.as_ref().to_owned());
        self.contexts
            .push((abstract_syntax.to_owned(), names.collect()));
        self
    }

    /// Proposes roles for a SOP class: C-GET needs `scp` for what it is to receive.
    #[must_use]
    pub fn roles(mut self, sop_class: &str, roles: Roles) -> Self {
        self.roles.push((sop_class.to_owned(), roles));
        self
    }

    /// Asks for relational queries or retrieval of a query/retrieve SOP class (PS3.4 C.5.1.1).
    #[must_use]
    pub fn relational(mut self, sop_class: &str) -> Self {
        self.extended.push((sop_class.to_owned(), vec![1]));
        self
    }

    /// Names the user.
    #[must_use]
    pub fn identity(mut self, identity: UserIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Opens connections. Default: plain TCP.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// Default: [`NetLimits::default`].
    #[must_use]
    pub fn limits(mut self, limits: NetLimits) -> Self {
        self.limits = Arc::new(limits);
        self
    }

    /// As [`Self::limits`], shared.
    #[must_use]
    pub(crate) fn shared_limits(mut self, limits: Arc<NetLimits>) -> Self {
        self.limits = limits;
        self
    }

    fn request(&self) -> Result<AssociateRequest, RequestorError> {
        let limit = self.limits.presentation_contexts_max.min(128);
        if self.contexts.len() > limit {
            return Err(RequestorError::TooManyContexts { limit });
        }
        let ids = (1..=u8::MAX).step_by(2);
        let contexts = ids
            .zip(&self.contexts)
            .map(|(id, context)| ProposedContext {
                id,
                abstract_syntax: context.0.clone(),
                transfer_syntaxes: context.1.clone(),
            });
        Ok(AssociateRequest {
            protocol_version: 1,
            calling_ae_title: self.calling.as_str().to_owned(),
            called_ae_title: self.called.as_str().to_owned(),
            application_context: APPLICATION_CONTEXT.to_owned(),
            contexts: contexts.collect(),
            user: UserInformation {
                roles: self.roles.clone(),
                extended: self.extended.clone(),
                identity: self.identity.clone(),
                ..UserInformation::own(self.limits.pdu_bytes_max)
            },
        })
    }

    /// Connects to `address` (`host:port`) and asks for the association.
    ///
    /// # Errors
    /// [`RequestorError::Transport`], [`RequestorError::Tls`] or [`RequestorError::TimedOut`] where
    /// no connection comes about, then as [`Self::connect_stream`].
    pub async fn connect(&self, address: &str) -> Result<Requestor, RequestorError> {
        let connecting = self.connector.connect(address, &self.called);
        let stream = timeout(self.limits.connect_duration_max, connecting)
            .await
            .map_err(|_elapsed| RequestorError::TimedOut {
                waiting_for: "a connection",
            })?
            .map_err(RequestorError::of_connection)?;
        self.connect_stream(stream).await
    }

    /// Asks for the association over a connection that stands.
    ///
    /// # Errors
    /// [`RequestorError::Rejected`], or how else it did not come about.
    pub async fn connect_stream<S: ByteStream>(
        &self,
        stream: S,
    ) -> Result<Requestor<S>, RequestorError> {
        let request = self.request()?;
        let mut link = Link::requestor(stream, request.clone(), Arc::clone(&self.limits));
        match link.next(Duration::MAX).await {
            Ok(Happening::Confirmed(negotiated)) => Ok(Requestor {
                link,
                negotiated,
                request: Arc::new(request),
                calling_ae_title: self.calling.clone(),
                called_ae_title: self.called.clone(),
                message_id: 0,
            }),
            Ok(Happening::Rejected(rejection)) => {
                link.finish().await;
                Err(rejection.into())
            }
            Ok(_) => Err(RequestorError::Transport(io::ErrorKind::InvalidData.into())),
            Err(ending) => {
                link.finish().await;
                Err(ending.into())
            }
        }
    }
}
