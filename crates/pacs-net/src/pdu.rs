//! Protocol data units (PS3.8 9.3): what goes over the transport, checked before it is believed.
//!
//! [`take`] looks at six bytes, holds the length against the limits and waits until the PDU is
//! there. P-DATA-TF stays a slice of the read buffer; the others are rewritten by `items` and
//! then read by dicom-ul, which is named in `codec` alone.

pub mod associate;
mod codec;
pub mod data;
mod items;

pub use associate::{
    APPLICATION_CONTEXT, AbortReason, AbortSource, AssociateAccept, AssociateRequest,
    ContextReason, ContextResult, ProposedContext, RejectReason, RejectResult, Rejection, Roles,
    UserIdentity, UserIdentityKind, UserInformation,
};
pub use codec::{WriteError, write};
pub use data::{DataPdu, Pdv};

use crate::limits::NetLimits;
use bytes::{Buf, BytesMut};

/// Type, reserved byte and length.
pub const HEADER_BYTES: usize = 6;

/// PDU-type of P-DATA-TF.
const DATA: u8 = 0x04;

/// A PDU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pdu {
    /// 07H
    Abort(AbortSource),
    /// 02H
    AssociateAc(Box<AssociateAccept>),
    /// 03H
    AssociateRj(Rejection),
    /// 01H
    AssociateRq(Box<AssociateRequest>),
    /// 04H
    Data(DataPdu),
    /// 06H
    ReleaseRp,
    /// 05H
    ReleaseRq,
}

/// Why bytes are not a PDU that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// It is of a known type and breaks its grammar.
    #[error("PDU of type {kind:02X}H: {what}")]
    Invalid {
        /// Its PDU-type.
        kind: u8,
        /// What is wrong.
        what: &'static str,
    },
    /// It is longer than we announced, or than its type needs.
    #[error("PDU of type {kind:02X}H has {length_bytes} bytes, the limit is {limit_bytes}")]
    TooLong {
        /// Its PDU-type.
        kind: u8,
        /// PDU-length.
        length_bytes: u32,
        /// The limit.
        limit_bytes: u32,
    },
    /// Its type is not one of PS3.8 9.3.1.
    #[error("PDU of unknown type {kind:02X}H")]
    UnrecognizedPdu {
        /// Its PDU-type.
        kind: u8,
    },
}

impl PduError {
    /// What an A-ABORT says about it.
    #[must_use]
    pub const fn abort_reason(&self) -> AbortReason {
        match self {
            Self::Invalid { .. } | Self::TooLong { .. } => AbortReason::InvalidPduParameter,
            Self::UnrecognizedPdu { .. } => AbortReason::UnrecognizedPdu,
        }
    }
}

/// What the front of a read buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Less than a PDU; so many bytes are needed in all.
    Partial {
        /// Bytes that the buffer must hold before it is worth asking again.
        needed_bytes: usize,
    },
    /// A PDU, taken off.
    Whole(Pdu),
}

/// Takes a PDU off the front of `buffer` if it is all there.
///
/// # Errors
/// [`PduError`], as soon as the header shows it; the buffer is then of no more use.
pub fn take(buffer: &mut BytesMut, limits: &NetLimits) -> Result<Taken, PduError> {
    let Some(&[kind, _, a, b, c, d]) = buffer.first_chunk::<HEADER_BYTES>() else {
        // A wrong first byte is told without waiting for the other five.
        if let Some(&kind) = buffer.first() {
            length_max(kind, limits)?;
        }
        return Ok(Taken::Partial {
            needed_bytes: HEADER_BYTES,
        });
    };
    let length_bytes = u32::from_be_bytes([a, b, c, d]);
    let limit_bytes = length_max(kind, limits)?;
    if length_bytes > limit_bytes {
        return Err(PduError::TooLong {
            kind,
            length_bytes,
            limit_bytes,
        });
    }
    let needed_bytes = usize::try_from(length_bytes)
        .unwrap_or(usize::MAX)
        .saturating_add(HEADER_BYTES);
    if buffer.len() < needed_bytes {
        return Ok(Taken::Partial { needed_bytes });
    }
    let mut pdu = buffer.split_to(needed_bytes);
    if kind == DATA {
        pdu.advance(HEADER_BYTES);
        return DataPdu::parse(pdu.freeze()).map(|data| Taken::Whole(Pdu::Data(data)));
    }
    codec::read(kind, &pdu, limits).map(Taken::Whole)
}

fn length_max(kind: u8, limits: &NetLimits) -> Result<u32, PduError> {
    match kind {
        0x01 | 0x02 => Ok(limits.association_request_bytes_max),
        0x03 | 0x05..=0x07 => Ok(4),
        DATA => Ok(limits.pdu_bytes_max),
        _ => Err(PduError::UnrecognizedPdu { kind }),
    }
}

#[cfg(test)]
mod tests;
