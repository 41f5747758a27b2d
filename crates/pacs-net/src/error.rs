//! Errors, divided by whose fault it was: the peer's ([`Fault`]), the caller's ([`Misuse`]), or
//! neither.

use crate::pdu::{AbortReason, AbortSource, PduError};

/// How a peer broke the protocol. The association is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A command set is longer than [`crate::limits::NetLimits::command_set_bytes_max`].
    #[error("command set is longer than {limit_bytes} bytes")]
    CommandSetTooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// A command set breaks the grammar of PS3.7 6.3, or lacks what its command needs.
    #[error("command set is malformed: {what}")]
    CommandSet {
        /// What is wrong.
        what: &'static str,
    },
    /// Fragments of different messages, or of command and data set, are mixed (PS3.7 Annex F).
    #[error("fragments are out of order: {what}")]
    Fragments {
        /// What is wrong.
        what: &'static str,
    },
    /// The peer did not answer A-ASSOCIATE or A-RELEASE in time.
    #[error("no answer in time")]
    NoAnswer,
    /// A PDU that we do not take.
    #[error(transparent)]
    Pdu(#[from] PduError),
    /// A PDU that began did not end within [`crate::limits::NetLimits::pdu_duration_max`].
    #[error("PDU did not end in time")]
    SlowPdu,
    /// A fragment on a presentation context that was not accepted.
    #[error("presentation context {id} was not accepted")]
    UnknownContext {
        /// Its id.
        id: u8,
    },
    /// A response to no request, or a request where only a response may come.
    #[error("message {command_field:04X}H does not belong here")]
    UnexpectedMessage {
        /// Its command field.
        command_field: u16,
    },
    /// A PDU that does not belong into the state.
    #[error("PDU does not belong into state Sta{state}")]
    UnexpectedPdu {
        /// The state of PS3.8 9.2.1.
        state: u8,
    },
}

impl Fault {
    /// What our A-ABORT says about it.
    #[must_use]
    pub const fn abort_source(&self) -> AbortSource {
        match self {
            Self::CommandSetTooLong { .. }
            | Self::CommandSet { .. }
            | Self::UnexpectedMessage { .. }
            | Self::NoAnswer => AbortSource::ServiceUser,
            Self::Fragments { .. } => {
                AbortSource::ServiceProvider(AbortReason::UnexpectedPduParameter)
            }
            Self::Pdu(fault) => AbortSource::ServiceProvider(fault.abort_reason()),
            Self::SlowPdu => AbortSource::ServiceProvider(AbortReason::NotSpecified),
            Self::UnknownContext { .. } => {
                AbortSource::ServiceProvider(AbortReason::InvalidPduParameter)
            }
            Self::UnexpectedPdu { .. } => AbortSource::ServiceProvider(AbortReason::UnexpectedPdu),
        }
    }
}

/// How a caller of this crate broke its contract: a bug on our side of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// Data were sent without an association.
    #[error("no association stands")]
    NotAssociated,
    /// The state has no answer to this request.
    #[error("not possible in this state of the association")]
    NotNow,
}
