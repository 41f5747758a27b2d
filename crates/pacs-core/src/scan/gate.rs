//! Says what may be handed to a reader that recurses and trusts lengths, as dicom-object does.

use super::{Encoding, Event, ScanError, Scanner};
use crate::limits::ScanLimits;
use crate::tag::{Vr, tags};

/// Why a data set may not be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// It is deflated: inflate it ([`super::inflate::inflate`]) and hand on what comes out.
    #[error("data set is deflated")]
    Deflated,
    /// It can be read here, but has forms that other readers misread.
    #[error("data set has irregular elements")]
    Irregular,
    /// It cannot be read.
    #[error("data set cannot be read")]
    Scan(#[from] ScanError),
}

/// Reads all of `data_set` and says whether a trusting reader is safe with it: every length fits
/// what is there, nothing is nested too deep, all is in the one encoding, and nothing stands after
/// its end.
///
/// # Errors
/// [`GateError`]: it is not.
pub fn check(data_set: &[u8], encoding: Encoding, limits: &ScanLimits) -> Result<(), GateError> {
    if encoding == Encoding::Deflated {
        return Err(GateError::Deflated);
    }
    let mut scanner = Scanner::new(data_set, encoding, limits);
    let implicit = encoding == Encoding::ImplicitLittleEndian;
    for event in scanner.by_ref() {
        let is_understood = match event? {
            // The items of an UN are in another encoding than what is around them (PS3.5 6.2.2),
            // and an undefined length where the dictionary has no sequence is taken for that of a
            // value.
            Event::SequenceBegin(element) => {
                element.vr == Vr::SQ
                    && element.written_vr.is_none() == implicit
                    && element.written_vr != Some(Vr::UN)
            }
            // Others take fragments anywhere else for items.
            Event::FragmentsBegin(element) => {
                element.tag == tags::PIXEL_DATA && matches!(element.vr, Vr::OB | Vr::OW)
            }
            // Others lose their place behind half a number.
            Event::Element(element) => element.length().is_multiple_of(unit_bytes(element.vr)),
            Event::Fragment { .. }
            | Event::FragmentsEnd { .. }
            | Event::ItemBegin { .. }
            | Event::ItemEnd { .. }
            | Event::SequenceEnd { .. }
            | Event::Trailing { .. } => true,
        };
        if !is_understood {
            return Err(GateError::Irregular);
        }
    }
    if scanner.irregularities() > 0 {
        return Err(GateError::Irregular);
    }
    Ok(())
}

/// Bytes of one number of `vr` (PS3.5 6.2).
const fn unit_bytes(vr: Vr) -> u64 {
    match vr {
        Vr::FD | Vr::OD | Vr::OV | Vr::SV | Vr::UV => 8,
        Vr::AT | Vr::FL | Vr::OF | Vr::OL | Vr::SL | Vr::UL => 4,
        Vr::OW | Vr::SS | Vr::US => 2,
        Vr::AE
        | Vr::AS
        | Vr::CS
        | Vr::DA
        | Vr::DS
        | Vr::DT
        | Vr::IS
        | Vr::LO
        | Vr::LT
        | Vr::OB
        | Vr::PN
        | Vr::SH
        | Vr::SQ
        | Vr::ST
        | Vr::TM
        | Vr::UC
        | Vr::UI
        | Vr::UN
        | Vr::UR
        | Vr::UT => 1,
    }
}
