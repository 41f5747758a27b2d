//! Examinations: what was ordered, where each stands, and which images are of it.
//!
//! What may happen to an examination is said by
//! [`progress`](pacs_core::examination::progress); here it is kept, with a row for each event.

mod actions;
mod assigning;
mod candidates;
mod counting;
mod document;
mod filtering;
mod known;
mod listing;
mod matching;
mod ordering;
mod progressing;
mod reading;
mod restricting;
mod tasks;

pub(super) use actions::as_system;
pub use actions::{Acted, Action};
pub use counting::{ExaminationCount, Period};
pub(in crate::registry) use counting::{figures_for, midnight};
pub use document::{BodyRegion, Examination, ExaminationEvent, Lock, Order, Priority};
pub use filtering::{Listed, Order as ListOrder, StatusCount};
pub use known::{BoundStudy, KnownPart, KnownStudy};
pub use listing::{ExaminationPage, Reader, Scheduled, ScheduledPage, Scope};
pub(super) use matching::{By, Moving};
pub use matching::{
    Correcting, Correction, CorrectionKind, KeptImages, MatchState, ReceivedStudy, StudyMatch,
    StudyPart, Suggested, Undone, UnmatchedPage,
};
pub use ordering::NewExamination;
pub(crate) use reading::{GONE_ON_EVERY, IDLE_FOR};
pub use reading::{Reading, Readings};
pub use tasks::{FoundTask, FoundTasks, WantedTasks};

use super::{Moment, Refusal, Registry, RegistryError, Stored};
use pacs_core::ExaminationId;
use pacs_core::uid::{StudyUid, text_of_random};

/// Between the parts of a key.
const BETWEEN: char = '\u{1f}';

/// A moment as a part of keys, by which the newest comes first.
pub(super) fn newest_first(at: Moment) -> String {
    let unix_ms = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    format!("{:016x}", u64::MAX.saturating_sub(unix_ms))
}

/// Random bytes, for one planned Study Instance UID.
pub type Random = [u8; 16];

/// A UID of a random UUID (PS3.5 B.2).
fn study_of(random: Random) -> Result<StudyUid, Refusal> {
    let uid = StudyUid::parse(&text_of_random(random));
    uid.map_err(|_| Refusal::Unfit { what: "random UID" })
}

impl Registry {
    async fn examination_at(
        &self,
        id: ExaminationId,
    ) -> Result<Stored<Examination>, RegistryError> {
        self.read(&id.to_string()).await
    }
}
