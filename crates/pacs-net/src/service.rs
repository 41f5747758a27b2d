//! What an application provides: one trait per service class. Methods answer with a status, because
//! a service class provider must always answer.
//!
//! A panic in any of them aborts the association it serves, and nothing else.

mod commitment;
mod procedure_step;
mod worklist;

pub use commitment::{
    ActionRequest, CommitmentScp, CommitmentScu, EventLine, EventReport, LineEnded,
};
pub(crate) use commitment::{EventQueue, QueuedEvent};
pub use procedure_step::{ProcedureStepScp, StepChange, StepCreation};
pub use worklist::{WorklistRequest, WorklistScp};

use crate::dimse::Priority;
use crate::negotiation::Services;
use crate::pdu::{AssociateRequest, Rejection, UserIdentity};
use crate::security::Channel;
use crate::status::{FindStatus, RetrieveStatus, StoreStatus};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::query::Model;
use pacs_core::{AeTitle, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

/// Whoever stands at the other end of an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The title it calls itself by: a label, not an identity.
    pub calling_ae_title: AeTitle,
    /// The title it calls us by.
    pub called_ae_title: AeTitle,
    /// Where its connection comes from.
    pub address: SocketAddr,
    /// What its association runs over, and the certificate it has shown there.
    pub channel: Channel,
    /// Its Implementation Class UID, as sent.
    pub implementation_class_uid: String,
    /// Its Implementation Version Name, as sent.
    pub implementation_version_name: String,
    /// The user it names: claimed, and for the policy to verify.
    pub user_identity: Option<UserIdentity>,
}

/// What a peer that is let in may use. `Debug` shows no answer to an identity: it may be a ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Admission {
    /// Services offered to it, as far as the acceptor has them.
    pub services: Services,
    /// The answer to its user identity, where it asked for one (PS3.7 D.3.3.7.2).
    pub identity_response: Option<Vec<u8>>,
    /// How long it may be silent when it is its turn, instead of `NetLimits::idle_duration_max`.
    pub idle_duration_max: Option<Duration>,
}

impl Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission")
            .field("services", &self.services)
            .field("idle_duration_max", &self.idle_duration_max)
            .finish_non_exhaustive()
    }
}

impl Admission {
    /// With these services.
    #[must_use]
    pub const fn to(services: Services) -> Self {
        Self {
            services,
            identity_response: None,
            idle_duration_max: None,
        }
    }
}

/// Decides who may associate, and for what.
#[async_trait]
pub trait AssociationPolicy: Debug + Send + Sync + 'static {
    /// Looks at titles, address, certificate and user identity. Titles have been checked to be AE
    /// titles; a certificate has been accepted by TLS, and is proved to be the peer's. Who the user
    /// is may have to be looked up; the peer waits meanwhile.
    ///
    /// # Errors
    /// The rejection that the peer is to see.
    async fn decide(&self, request: &AssociateRequest, peer: &Peer)
    -> Result<Admission, Rejection>;
}

/// Lets everyone in, for every service: for tests and for a trusted, closed network.
#[derive(Debug, Clone, Copy)]
pub struct AdmitAll;

#[async_trait]
impl AssociationPolicy for AdmitAll {
    async fn decide(
        &self,
        _request: &AssociateRequest,
        _peer: &Peer,
    ) -> Result<Admission, Rejection> {
        Ok(Admission::to(Services::ALL))
    }
}

/// A C-STORE request, or a C-STORE sub-operation of C-GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRequest {
    /// Affected SOP Class UID.
    pub sop_class: SopClassUid,
    /// Affected SOP Instance UID.
    pub sop_instance: SopInstanceUid,
    /// How the data set is encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// Its priority.
    pub priority: Priority,
    /// Who asked for the C-MOVE that this belongs to, and its message id.
    pub move_originator: Option<(AeTitle, u16)>,
}

/// Receives instances (C-STORE).
#[async_trait]
pub trait StorageScp: Debug + Send + Sync + 'static {
    /// Whether there is memory for one more sender. Where there is none, whoever asks for an
    /// association to store on is rejected: transient, local limit exceeded.
    fn has_memory(&self) -> bool {
        true
    }

    /// Begins to receive an instance.
    ///
    /// # Errors
    /// The status to answer with; the data set is then read and thrown away.
    async fn begin(
        &self,
        peer: &Peer,
        request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus>;
}

/// Takes the data set of one instance. Dropping it before `end` means that the instance did not
/// come whole.
#[async_trait]
pub trait StoreSink: Send {
    /// Takes a piece, as the peer cut it. The peer is not read while this waits.
    ///
    /// # Errors
    /// The status to answer with; the rest is then thrown away.
    async fn write(&mut self, fragment: Bytes) -> Result<(), StoreStatus>;

    /// The data set is whole. Success must mean that it is kept.
    async fn end(self: Box<Self>) -> StoreStatus;
}

/// A C-FIND request.
#[derive(Clone, PartialEq, Eq)]
pub struct FindRequest {
    /// The information model.
    pub model: Model,
    /// The identifier, not looked at yet.
    pub identifier: Bytes,
    /// How the identifier is encoded, and the answers are to be.
    pub transfer_syntax: TransferSyntaxUid,
    /// Whether relational queries were agreed.
    pub relational: bool,
    /// Its priority.
    pub priority: Priority,
}

impl Debug for FindRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FindRequest")
            .field("model", &self.model)
            .field("identifier_bytes", &self.identifier.len())
            .field("relational", &self.relational)
            .finish_non_exhaustive()
    }
}

/// Answers queries (C-FIND).
#[async_trait]
pub trait QueryScp: Debug + Send + Sync + 'static {
    /// Begins to answer.
    ///
    /// # Errors
    /// The status to answer with instead of matches.
    async fn find(&self, peer: &Peer, request: FindRequest)
    -> Result<Box<dyn Matches>, FindStatus>;
}

/// The matches of one query. Dropped when the peer cancels.
#[async_trait]
pub trait Matches: Send {
    /// The next identifier, encoded in the transfer syntax of the request; `None` after the last.
    /// While it is ready at once, responses are gathered into one write.
    ///
    /// # Errors
    /// The status to end with instead of success.
    async fn next(&mut self) -> Result<Option<Bytes>, FindStatus>;

    /// Whether some optional key was not supported: pending responses then say FF01H.
    fn has_unsupported_keys(&self) -> bool {
        false
    }
}

/// A C-GET or C-MOVE request.
#[derive(Clone, PartialEq, Eq)]
pub struct RetrieveRequest {
    /// The information model.
    pub model: Model,
    /// The identifier, not looked at yet.
    pub identifier: Bytes,
    /// How the identifier is encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// Whether relational retrieval was agreed.
    pub relational: bool,
    /// Its priority.
    pub priority: Priority,
}

impl Debug for RetrieveRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RetrieveRequest")
            .field("model", &self.model)
            .field("identifier_bytes", &self.identifier.len())
            .field("relational", &self.relational)
            .finish_non_exhaustive()
    }
}

/// Where C-MOVE sends instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its AE title.
    pub ae_title: AeTitle,
    /// `host:port`, from configuration and never from the wire.
    pub address: String,
}

/// Gives instances back (C-GET, C-MOVE).
#[async_trait]
pub trait RetrieveScp: Debug + Send + Sync + 'static {
    /// Finds what the peer wants on its own association.
    ///
    /// # Errors
    /// The status to answer with instead.
    async fn get(
        &self,
        peer: &Peer,
        request: RetrieveRequest,
    ) -> Result<Box<dyn SubOperations>, RetrieveStatus>;

    /// Finds what the peer wants sent elsewhere, and where that is.
    ///
    /// # Errors
    /// The status to answer with instead; [`RetrieveStatus::MOVE_DESTINATION_UNKNOWN`] if the
    /// destination is not known or the peer may not use it.
    async fn move_to(
        &self,
        peer: &Peer,
        request: RetrieveRequest,
        destination: &AeTitle,
    ) -> Result<(Destination, Box<dyn SubOperations>), RetrieveStatus>;
}

/// The instances of one retrieval. Dropped when the peer cancels.
#[async_trait]
pub trait SubOperations: Send {
    /// How many there are in all, known beforehand.
    fn count(&self) -> usize;

    /// Kinds of instances to come (SOP class and transfer syntax), for the presentation contexts of
    /// C-MOVE.
    fn kinds(&self) -> Vec<(SopClassUid, TransferSyntaxUid)>;

    /// Transfer syntaxes that an instance which is in `stored` can be given in besides, the best
    /// first: for peers that do not take it as it is. See [`DataSetSource::convert`].
    fn conversions(&self, stored: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
        let _nothing_to_convert = stored;
        Vec::new()
    }

    /// The next instance; `None` after the last.
    async fn next(&mut self) -> Option<OutgoingInstance>;
}

/// An instance to be sent.
pub struct OutgoingInstance {
    /// Its SOP class.
    pub sop_class: SopClassUid,
    /// Its SOP instance.
    pub sop_instance: SopInstanceUid,
    /// How its data set is encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// Bytes of its data set, as it is kept.
    pub length_bytes: u64,
    /// Its data set.
    pub source: Box<dyn DataSetSource>,
}

impl Debug for OutgoingInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutgoingInstance")
            .field("sop_class", &self.sop_class)
            .field("sop_instance", &self.sop_instance)
            .field("transfer_syntax", &self.transfer_syntax)
            .field("length_bytes", &self.length_bytes)
            .finish_non_exhaustive()
    }
}

impl OutgoingInstance {
    /// It, with its data set in `to`. Nothing must have been taken from its source.
    pub(crate) async fn converted(self, to: &TransferSyntaxUid) -> Result<Self, ConversionError> {
        let source = self.source.convert(to).await?;
        let transfer_syntax = to.clone();
        Ok(Self {
            transfer_syntax,
            source,
            ..self
        })
    }
}

/// Why a data set cannot be given in another transfer syntax. The text of its source may be told to
/// the peer: it names no patient.
#[derive(Debug, thiserror::Error)]
#[error("data set cannot be converted")]
pub struct ConversionError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// That there is no conversion.
#[derive(Debug, thiserror::Error)]
#[error("no conversion to {0}")]
struct NoConversion(TransferSyntaxUid);

/// Why a data set cannot be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("data set cannot be read")]
pub struct SourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The bytes of a data set, piece by piece.
#[async_trait]
pub trait DataSetSource: Send {
    /// The next piece, in size about what is comfortable to hold twice; `None` after the last.
    ///
    /// # Errors
    /// [`SourceError`]; if pieces have been sent, the association is aborted, because nothing may
    /// look like the end of an instance that is not.
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError>;

    /// The same data set in the transfer syntax `to`, one of [`SubOperations::conversions`], from
    /// its beginning, whatever was taken from this source. What it is told to give is all there: a
    /// data set that cannot be converted to its end fails here, before anything of it is sent.
    ///
    /// # Errors
    /// [`ConversionError`].
    async fn convert(
        self: Box<Self>,
        to: &TransferSyntaxUid,
    ) -> Result<Box<dyn DataSetSource>, ConversionError> {
        Err(ConversionError(Box::new(NoConversion(to.clone()))))
    }
}

#[async_trait]
impl DataSetSource for std::vec::IntoIter<Bytes> {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        Ok(Iterator::next(self))
    }
}
