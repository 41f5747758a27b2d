//! Modality Performed Procedure Steps: what a device says of an examination while it makes it
//! (PS3.4 Annex F).
//!
//! [`ProcedureStep`] is the instance that N-CREATE makes and N-SET changes, with the rules of
//! PS3.4 Table F.7.2-1 as far as anything here depends on them: an attribute that only has to be
//! there, and may be empty, may also be absent. It is a pure machine:
//!
//! ```text
//!  create ─► InProgress ─┬─► InProgress
//!                        ├─► Completed      (final)
//!                        └─► Discontinued   (final)
//! ```

mod read;
#[cfg(test)]
mod tests;

pub use read::{Discontinuation, PerformedInstance, ScheduledStep, discontinuation_meaning};

use crate::attributes::{Attributes, Value};
use crate::tag::{Tag, tags};
use crate::uid::{SeriesUid, StudyUid};

/// Performed Procedure Step Status (0040,0252).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It ended, and all was made.
    Completed,
    /// It was broken off.
    Discontinued,
    /// It goes on.
    InProgress,
}

impl StepState {
    /// The enumerated value.
    #[must_use]
    pub const fn term(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Discontinued => "DISCONTINUED",
            Self::InProgress => "IN PROGRESS",
        }
    }

    /// Reads the enumerated value.
    #[must_use]
    pub fn of_term(term: &str) -> Option<Self> {
        let all = [Self::Completed, Self::Discontinued, Self::InProgress];
        all.into_iter().find(|state| state.term() == term.trim())
    }

    /// Whether nothing can change it any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::InProgress)
    }
}

/// A performed procedure step. `Debug` shows no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcedureStep {
    state: StepState,
    attributes: Attributes,
}

/// Why an N-CREATE or N-SET is refused. Values are never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The step has ended (PS3.4 F.7.2.2.3).
    #[error("Performed Procedure Step Object may no longer be updated")]
    Final,
    /// A value is none that the attribute may have here.
    #[error("value of {tag} is not allowed")]
    Invalid {
        /// Which attribute.
        tag: Tag,
    },
    /// An attribute that must be there is absent.
    #[error("attribute {tag} is missing")]
    Missing {
        /// Which.
        tag: Tag,
    },
    /// An attribute that must have a value has none.
    #[error("attribute {tag} has no value")]
    MissingValue {
        /// Which.
        tag: Tag,
    },
}

impl Refusal {
    /// Status (0000,0900) of PS3.7 Annex C.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Final => 0x0110,
            Self::Invalid { .. } => 0x0106,
            Self::Missing { .. } => 0x0120,
            Self::MissingValue { .. } => 0x0121,
        }
    }

    /// Error ID (0000,0903), where PS3.4 Table F.7.2-2 has one.
    #[must_use]
    pub const fn error_id(self) -> Option<u16> {
        match self {
            Self::Final => Some(0xa710),
            Self::Invalid { .. } | Self::Missing { .. } | Self::MissingValue { .. } => None,
        }
    }

    /// The attribute at fault.
    #[must_use]
    pub const fn tag(self) -> Option<Tag> {
        match self {
            Self::Final => None,
            Self::Invalid { tag } | Self::Missing { tag } | Self::MissingValue { tag } => Some(tag),
        }
    }
}

/// What must have a value from the beginning.
const AT_BEGIN: [Tag; 6] = [
    tags::MODALITY,
    tags::PERFORMED_STATION_AE_TITLE,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::PERFORMED_PROCEDURE_STEP_STATUS,
    tags::PERFORMED_PROCEDURE_STEP_ID,
];

/// What must have a value at the end.
const AT_END: [Tag; 2] = [
    tags::PERFORMED_PROCEDURE_STEP_END_DATE,
    tags::PERFORMED_PROCEDURE_STEP_END_TIME,
];

/// What N-SET does not change: whose images they are, which order they are for, where and when it
/// began.
const FIXED: [Tag; 18] = [
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::MODALITY,
    tags::REFERENCED_PATIENT_SEQUENCE,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_ID,
    tags::ADMISSION_ID,
    tags::PERFORMED_STATION_AE_TITLE,
    tags::PERFORMED_STATION_NAME,
    tags::PERFORMED_LOCATION,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::PERFORMED_PROCEDURE_STEP_ID,
    tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE,
];

impl ProcedureStep {
    /// Begins a step with the attribute list of an N-CREATE.
    ///
    /// # Errors
    /// [`Refusal`], naming the attribute; also where the step does not begin in progress.
    pub fn create(mut attributes: Attributes) -> Result<Self, Refusal> {
        for tag in AT_BEGIN {
            require_value(&attributes, tag)?;
        }
        if state(&attributes)? != Some(StepState::InProgress) {
            let tag = tags::PERFORMED_PROCEDURE_STEP_STATUS;
            return Err(Refusal::Invalid { tag });
        }
        let sequence = tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE;
        for item in require_items(&attributes, sequence)? {
            // The attribute at fault is named by its sequence, as PS3.7 has it.
            let study = item.text(tags::STUDY_INSTANCE_UID).unwrap_or_default();
            if study.is_empty() {
                return Err(Refusal::MissingValue { tag: sequence });
            }
            if StudyUid::parse_legacy(study).is_err() {
                return Err(Refusal::Invalid { tag: sequence });
            }
        }
        check_series(&attributes)?;
        attributes.retain(|a| !matches!(a.tag, tags::SOP_CLASS_UID | tags::SOP_INSTANCE_UID));
        Ok(Self {
            state: StepState::InProgress,
            attributes,
        })
    }

    /// The step as an N-SET changes it, and the attributes that it would have changed and may not:
    /// these stay as they are. Many devices repeat them; where they repeat the value, that is
    /// nothing to tell.
    ///
    /// # Errors
    /// [`Refusal`]: nothing is changed then.
    pub fn set(&self, modifications: &Attributes) -> Result<(Self, Vec<Tag>), Refusal> {
        if self.state.is_final() {
            return Err(Refusal::Final);
        }
        let mut next = self.clone();
        let mut kept = Vec::new();
        for attribute in modifications {
            let tag = attribute.tag;
            if !FIXED.contains(&tag) {
                next.attributes
                    .insert(tag, attribute.vr, attribute.value.clone());
            } else if !is_empty(&attribute.value)
                && self.attributes.get(tag).map(|old| &old.value) != Some(&attribute.value)
                && !matches!(tag, tags::SOP_CLASS_UID | tags::SOP_INSTANCE_UID)
            {
                kept.push(tag);
            }
        }
        let tag = tags::PERFORMED_PROCEDURE_STEP_STATUS;
        next.state = state(&next.attributes)?.ok_or(Refusal::Invalid { tag })?;
        check_series(&next.attributes)?;
        if next.state.is_final() {
            for tag in AT_END {
                require_value(&next.attributes, tag)?;
            }
            require_items(&next.attributes, tags::PERFORMED_SERIES_SEQUENCE)?;
        }
        Ok((next, kept))
    }

    /// The step with these attributes, which are those of one that was kept; `None` where it cannot
    /// have been.
    #[must_use]
    pub fn kept(attributes: Attributes) -> Option<Self> {
        let state = state(&attributes).ok().flatten()?;
        Some(Self { state, attributes })
    }

    /// How far it is.
    #[must_use]
    pub const fn state(&self) -> StepState {
        self.state
    }

    /// All that the device has said, radiation dose included.
    #[must_use]
    pub const fn attributes(&self) -> &Attributes {
        &self.attributes
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Items(items) => items.is_empty(),
        Value::Suspect(text) | Value::Text(text) => text.is_empty(),
    }
}

fn require_value(attributes: &Attributes, tag: Tag) -> Result<(), Refusal> {
    match attributes.get(tag) {
        None => Err(Refusal::Missing { tag }),
        Some(attribute) if is_empty(&attribute.value) => Err(Refusal::MissingValue { tag }),
        Some(_) => Ok(()),
    }
}

fn require_items(attributes: &Attributes, tag: Tag) -> Result<&[Attributes], Refusal> {
    require_value(attributes, tag)?;
    match attributes.items(tag) {
        [] => Err(Refusal::Invalid { tag }),
        items => Ok(items),
    }
}

/// The state that a list of attributes names, if it names one.
fn state(attributes: &Attributes) -> Result<Option<StepState>, Refusal> {
    let tag = tags::PERFORMED_PROCEDURE_STEP_STATUS;
    match attributes.text(tag) {
        None => Ok(None),
        Some(text) => match StepState::of_term(text) {
            Some(state) => Ok(Some(state)),
            None => Err(Refusal::Invalid { tag }),
        },
    }
}

/// What every performed series must have.
fn check_series(attributes: &Attributes) -> Result<(), Refusal> {
    let tag = tags::PERFORMED_SERIES_SEQUENCE;
    for series in attributes.items(tag) {
        for required in [tags::SERIES_INSTANCE_UID, tags::PROTOCOL_NAME] {
            if series.text(required).unwrap_or_default().is_empty() {
                return Err(Refusal::MissingValue { tag });
            }
        }
        let uid = series.text(tags::SERIES_INSTANCE_UID).unwrap_or_default();
        if SeriesUid::parse_legacy(uid).is_err() {
            return Err(Refusal::Invalid { tag });
        }
    }
    Ok(())
}
