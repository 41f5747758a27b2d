//! What A-ASSOCIATE PDUs say (PS3.8 9.3.2 to 9.3.4, PS3.7 Annex D), without how they say it.

use crate::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use std::fmt;

/// The one application context (PS3.7 Annex A).
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// A-ASSOCIATE-RQ. Texts are as the peer sent them, without padding, and may be no valid titles or
/// UIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateRequest {
    /// Bit 0 is version 1.
    pub protocol_version: u16,
    /// Who asks.
    pub calling_ae_title: String,
    /// Who is asked.
    pub called_ae_title: String,
    /// [`APPLICATION_CONTEXT`].
    pub application_context: String,
    /// In the order of the peer.
    pub contexts: Vec<ProposedContext>,
    /// What else was said.
    pub user: UserInformation,
}

/// A-ASSOCIATE-AC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateAccept {
    /// As in the request; not significant.
    pub calling_ae_title: String,
    /// As in the request; not significant.
    pub called_ae_title: String,
    /// One for each context of the request.
    pub contexts: Vec<ContextResult>,
    /// What else was said.
    pub user: UserInformation,
}

/// A proposed presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedContext {
    /// Odd, 1 to 255.
    pub id: u8,
    /// Usually a SOP class.
    pub abstract_syntax: String,
    /// In order of the requestor's preference.
    pub transfer_syntaxes: Vec<String>,
}

/// The answer to a proposed presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextResult {
    /// As proposed.
    pub id: u8,
    /// The answer.
    pub reason: ContextReason,
    /// The one chosen; not significant unless accepted.
    pub transfer_syntax: String,
}

/// Result/Reason of a presentation context (PS3.8 Table 9-18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextReason {
    /// 0
    Acceptance,
    /// 1
    UserRejection,
    /// 2
    NoReason,
    /// 3
    AbstractSyntaxNotSupported,
    /// 4
    TransferSyntaxesNotSupported,
}

impl fmt::Display for ContextReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acceptance => "acceptance",
            Self::UserRejection => "user rejection",
            Self::NoReason => "no reason given",
            Self::AbstractSyntaxNotSupported => "abstract syntax not supported",
            Self::TransferSyntaxesNotSupported => "transfer syntaxes not supported",
        })
    }
}

/// The user information item (PS3.7 D.3.3). `Debug` shows no answer to an identity: it may be a
/// ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct UserInformation {
    /// Largest P-DATA-TF PDU that the sender takes; 0 is no limit.
    pub pdu_bytes_max: u32,
    /// Implementation Class UID.
    pub implementation_class_uid: String,
    /// Implementation Version Name.
    pub implementation_version_name: String,
    /// Operations invoked and performed at once; 0 is no limit. Absent is 1 and 1.
    pub asynchronous_operations: Option<(u16, u16)>,
    /// SCP/SCU role selection, by SOP class.
    pub roles: Vec<(String, Roles)>,
    /// SOP class extended negotiation, by SOP class.
    pub extended: Vec<(String, Vec<u8>)>,
    /// Who is using the requestor.
    pub identity: Option<UserIdentity>,
    /// The acceptor's answer to an identity.
    pub identity_response: Option<Vec<u8>>,
}

impl fmt::Debug for UserInformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserInformation")
            .field("pdu_bytes_max", &self.pdu_bytes_max)
            .field("implementation_class_uid", &self.implementation_class_uid)
            .field(
                "implementation_version_name",
                &self.implementation_version_name,
            )
            .field("roles", &self.roles)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl UserInformation {
    /// What this implementation says of itself.
    #[must_use]
    pub fn own(pdu_bytes_max: u32) -> Self {
        Self {
            pdu_bytes_max,
            implementation_class_uid: IMPLEMENTATION_CLASS_UID.to_owned(),
            implementation_version_name: IMPLEMENTATION_VERSION_NAME.to_owned(),
            asynchronous_operations: None,
            roles: Vec::new(),
            extended: Vec::new(),
            identity: None,
            identity_response: None,
        }
    }
}

/// The roles that the requestor of an association plays for a SOP class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Service class user: the default.
    pub scu: bool,
    /// Service class provider.
    pub scp: bool,
}

impl Roles {
    /// What holds without role selection: the requestor is the user.
    pub const DEFAULT: Self = Self {
        scu: true,
        scp: false,
    };
}

/// User-Identity-Type (PS3.7 D.3.3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserIdentityKind {
    /// 1
    Username,
    /// 2: the password is the secondary field.
    UsernameAndPassword,
    /// 3
    KerberosTicket,
    /// 4
    SamlAssertion,
    /// 5
    JsonWebToken,
}

/// A user identity. `Debug` shows its kind and no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// What [`Self::primary`] is.
    pub kind: UserIdentityKind,
    /// Whether the requestor wants to be told that it was accepted.
    pub positive_response_requested: bool,
    /// User name, ticket, assertion or token.
    pub primary: Vec<u8>,
    /// Password, or empty.
    pub secondary: Vec<u8>,
}

impl fmt::Debug for UserIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserIdentity")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Whether a rejected requestor may try again (PS3.8 9.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectResult {
    /// 1
    Permanent,
    /// 2
    Transient,
}

/// Source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21). `Display` says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    /// Source 1, reason 1.
    #[error("no reason given")]
    NoReason,
    /// Source 1, reason 2.
    #[error("application context name not supported")]
    ApplicationContextNotSupported,
    /// Source 1, reason 3.
    #[error("calling AE title not recognized")]
    CallingAeTitleNotRecognized,
    /// Source 1, reason 7.
    #[error("called AE title not recognized")]
    CalledAeTitleNotRecognized,
    /// Source 2, reason 1.
    #[error("no reason given by the service provider")]
    ProviderNoReason,
    /// Source 2, reason 2.
    #[error("protocol version not supported")]
    ProtocolVersionNotSupported,
    /// Source 3, reason 1.
    #[error("temporary congestion")]
    TemporaryCongestion,
    /// Source 3, reason 2.
    #[error("local limit exceeded")]
    LocalLimitExceeded,
    /// A pair that the standard reserves.
    #[error("reserved reason {reason} of source {source_code}")]
    Reserved {
        /// 1 to 3.
        source_code: u8,
        /// As sent.
        reason: u8,
    },
}

/// A-ASSOCIATE-RJ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", match result {
    RejectResult::Permanent => "rejected permanently",
    RejectResult::Transient => "rejected for now",
})]
pub struct Rejection {
    /// Whether to try again.
    pub result: RejectResult,
    /// Why.
    pub reason: RejectReason,
}

impl Rejection {
    /// Trying again is of no use.
    #[must_use]
    pub const fn permanent(reason: RejectReason) -> Self {
        Self {
            result: RejectResult::Permanent,
            reason,
        }
    }

    /// Trying again later may help.
    #[must_use]
    pub const fn transient(reason: RejectReason) -> Self {
        Self {
            result: RejectResult::Transient,
            reason,
        }
    }
}

/// Source and reason of an A-ABORT (PS3.8 9.3.8). `Display` says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AbortSource {
    /// Source 0.
    #[error("aborted by the service user")]
    ServiceUser,
    /// Source 1.
    #[error("aborted by a reserved source")]
    Reserved,
    /// Source 2.
    #[error("aborted by the service provider: {0}")]
    ServiceProvider(AbortReason),
}

/// Reason of an A-ABORT of the service provider (PS3.8 Table 9-26).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AbortReason {
    /// 0
    #[error("reason not specified")]
    NotSpecified,
    /// 1
    #[error("unrecognized PDU")]
    UnrecognizedPdu,
    /// 2
    #[error("unexpected PDU")]
    UnexpectedPdu,
    /// 3
    #[error("reserved reason")]
    Reserved,
    /// 4
    #[error("unrecognized PDU parameter")]
    UnrecognizedPduParameter,
    /// 5
    #[error("unexpected PDU parameter")]
    UnexpectedPduParameter,
    /// 6
    #[error("invalid PDU parameter value")]
    InvalidPduParameter,
}
