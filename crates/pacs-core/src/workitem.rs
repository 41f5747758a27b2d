//! Reading tasks as Unified Procedure Steps (PS3.4 Annex CC): what their UIDs say, what may become
//! of them, and what they tell.
//!
//! A [`Task`] is one reading of an examination. It waits, somebody has it in work, and it ends; a
//! reading that was given up never waits again, as PS3.4 CC.1.1 has it: the examination then has a
//! further one. [`State::change`] is Table CC.1.1-2; [`Workitem`] has the attributes.

mod attributes;
mod named;
mod state;
#[cfg(test)]
mod tests;

pub use attributes::{
    Input, InputSeries, MATCHED, Performed, Performer, UNASKED, Urgency, Workitem,
};
pub use named::{organisation, subject, worklist_label};
pub use state::{Outcome, State, StateError, Wish};

use crate::examination::ExaminationId;
use crate::uid::WorkitemUid;

/// UPS Push SOP Class, which every Unified Procedure Step is of (PS3.4 CC.3.1).
pub const SOP_CLASS: &str = "1.2.840.10008.5.1.4.34.6.1";

/// The last millisecond since 1970 at which an examination was made, as far as UIDs hold it: in
/// five hundred years.
const MOMENT_LAST: u64 = 0xFFF_FFFF_FFFF;

/// The last reading of an examination that UIDs hold.
const NUMBER_LAST: u32 = 0x3FFF_FFFF;

/// One reading of an examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    examination: ExaminationId,
    made_unix_ms: u64,
    number: u32,
}

impl Task {
    /// The reading `number`, from 1 on, of an examination that was made at `made_unix_ms`; `None`
    /// where that is beyond what a UID holds.
    #[must_use]
    pub const fn new(examination: ExaminationId, made_unix_ms: u64, number: u32) -> Option<Self> {
        if number == 0 || number > NUMBER_LAST || made_unix_ms > MOMENT_LAST {
            return None;
        }
        Some(Self {
            examination,
            made_unix_ms,
            number,
        })
    }

    /// The examination.
    #[must_use]
    pub const fn examination(self) -> ExaminationId {
        self.examination
    }

    /// When the examination was made. Two archives that give the same IDs tell theirs apart by it.
    #[must_use]
    pub const fn made_unix_ms(self) -> u64 {
        self.made_unix_ms
    }

    /// Which reading of the examination it is, from 1 on.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Its SOP Instance UID: the same for ever, and nobody else's. It is made of a UUID (PS3.5 B.2)
    /// of version 8 (RFC 9562 5.8), whose own bits are the twelve digits of the examination, when
    /// that was made, and the number of the reading.
    ///
    /// # Errors
    /// [`crate::uid::UidError`]; no task has any.
    pub fn uid(self) -> Result<WorkitemUid, crate::uid::UidError> {
        let id: u128 = self.examination.to_string().parse().unwrap_or_default();
        let (high, low) = (self.made_unix_ms >> 32, self.made_unix_ms & 0xFFFF_FFFF);
        let uuid = id << 80
            | 0x8 << 76
            | u128::from(high) << 64
            | 0x2 << 62
            | u128::from(self.number) << 32
            | u128::from(low);
        WorkitemUid::parse(&format!("2.25.{uuid}"))
    }

    /// The task that a UID is of; `None` where it is none of [`Self::uid`].
    #[must_use]
    pub fn of_uid(uid: &WorkitemUid) -> Option<Self> {
        let uuid: u128 = uid.as_str().strip_prefix("2.25.")?.parse().ok()?;
        let bits = |shift: u32, mask: u64| -> Option<u64> {
            u64::try_from(uuid.checked_shr(shift)? & u128::from(mask)).ok()
        };
        if bits(76, 0xF)? != 0x8 || bits(62, 0x3)? != 0x2 {
            return None;
        }
        let examination = format!("{:012}", bits(80, 0xFFFF_FFFF_FFFF)?);
        let task = Self::new(
            ExaminationId::try_from(examination).ok()?,
            bits(64, 0xFFF)? << 32 | bits(0, 0xFFFF_FFFF)?,
            u32::try_from(bits(32, NUMBER_LAST.into())?).ok()?,
        )?;
        // Nothing but what was given out.
        (task.uid().as_ref() == Ok(uid)).then_some(task)
    }
}
