//! The modality worklist: what a console is told of an examination before it begins (PS3.4 Annex
//! K).
//!
//! [`WorklistItem`] is an examination as consoles see it. [`WorklistQuery`] reads what a console
//! asks for, decides which items it means and writes each answer for the device that asked: in its
//! characters, in its form of names, no longer than it takes.
//!
//! Attributes of the Scheduled Procedure Step are matched inside the item of their sequence only.
//! Matching of PS3.4 K.2.2.1 is that of [`crate::matching`]; a name is matched in Latin letters, in
//! Cyrillic, and as the device was given it.

mod answer;
mod query;
mod spelling;
#[cfg(test)]
mod tests;

pub use query::{WorklistKeys, WorklistQuery, WorklistSubject};
pub use spelling::Spelled;

use crate::examination::{ExaminationId, StepId};
use crate::patient::{PatientKey, Sex};
use crate::{AeTitle, Phi, Pin, StudyUid};
use chrono::{NaiveDate, NaiveDateTime};

/// An examination in the worklist: one order, one requested procedure, one scheduled step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorklistItem {
    /// Its ID: Accession Number, Requested Procedure ID and Filler Order Number.
    pub examination: ExaminationId,
    /// The attempt that is planned.
    pub step: StepId,
    /// The Study Instance UID that the images are to have.
    pub planned_study: StudyUid,
    /// When it is planned, at the place of the archive.
    pub scheduled_at: NaiveDateTime,
    /// Modality (0008,0060).
    pub modality: Box<str>,
    /// The devices it is planned for; none where any of the organisation may make it.
    pub stations: Vec<AeTitle>,
    /// How far the step is.
    pub status: StepStatus,
    /// What is to be done.
    pub procedure: Procedure,
    /// Who is examined.
    pub patient: WorklistPatient,
    /// Where it is done.
    pub institution: Institution,
}

/// Scheduled Procedure Step Status (0040,0020), as far as worklists show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StepStatus {
    /// The patient is there.
    Arrived,
    /// Patient and room are ready.
    Ready,
    /// It is planned.
    #[default]
    Scheduled,
    /// The device has begun.
    Started,
}

impl StepStatus {
    /// The defined term.
    #[must_use]
    pub const fn term(self) -> &'static str {
        match self {
            Self::Arrived => "ARRIVED",
            Self::Ready => "READY",
            Self::Scheduled => "SCHEDULED",
            Self::Started => "STARTED",
        }
    }
}

/// Requested Procedure Priority (0040,1003).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before others.
    High,
    /// After others.
    Low,
    /// Neither.
    Medium,
    /// As it comes.
    #[default]
    Routine,
    /// At once.
    Stat,
}

impl Priority {
    /// The defined term.
    #[must_use]
    pub const fn term(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::Routine => "ROUTINE",
            Self::Stat => "STAT",
        }
    }
}

/// A code with its meaning (PS3.3 8.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Code Value.
    pub value: Box<str>,
    /// Coding Scheme Designator.
    pub scheme: Box<str>,
    /// Code Meaning.
    pub meaning: Spelled,
}

/// What is to be done, as it was ordered. Names of people are PN values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Procedure {
    /// What it is called: kind of image and body part.
    pub description: Spelled,
    /// The same in codes.
    pub codes: Vec<Code>,
    /// How urgent it is.
    pub priority: Priority,
    /// Why: the complaints.
    pub reason: Spelled,
    /// Comments on the scheduled step.
    pub step_comments: Spelled,
    /// Name of the station.
    pub station_name: Spelled,
    /// The room.
    pub location: Spelled,
    /// Who is to perform it.
    pub performing_physician: Spelled,
    /// Who asks for it.
    pub requesting_physician: Spelled,
    /// Who sent the patient.
    pub referring_physician: Spelled,
    /// The department that asks.
    pub requesting_service: Spelled,
    /// What to give beforehand.
    pub pre_medication: Spelled,
    /// The contrast agent that is asked for.
    pub contrast_agent: Spelled,
    /// How the patient is brought.
    pub transport: Spelled,
    /// The number of the order in the hospital's own system.
    pub placer_order_number: Spelled,
    /// The number of the stay: the card.
    pub admission_id: Spelled,
    /// The ward.
    pub patient_location: Spelled,
}

/// Who is examined, as far as a console needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorklistPatient {
    /// Patient ID.
    pub key: PatientKey,
    /// The name, a PN value.
    pub name: Spelled,
    /// The PIN, for devices that are to have it.
    pub pin: Option<Pin>,
    /// Date of birth.
    pub birth_date: Option<Phi<NaiveDate>>,
    /// Sex.
    pub sex: Option<Sex>,
    /// Weight in grams.
    pub weight_g: Option<u32>,
    /// Height in millimetres.
    pub height_mm: Option<u32>,
    /// Pregnancy Status (0010,21C0).
    pub pregnancy: Option<Pregnancy>,
    /// What must not be told of the patient.
    pub confidentiality: Spelled,
    /// The state the patient is in.
    pub state: Spelled,
    /// What could endanger the patient.
    pub alerts: Spelled,
    /// Allergies, to contrast agents above all.
    pub allergies: Spelled,
    /// Wheelchair, interpreter and the like.
    pub special_needs: Spelled,
    /// The history («анамнез»).
    pub history: Spelled,
}

/// Pregnancy Status (0010,21C0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pregnancy {
    /// 1
    No,
    /// 2
    Possible,
    /// 3
    Yes,
    /// 4
    Unknown,
}

impl Pregnancy {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::No => "1",
            Self::Possible => "2",
            Self::Yes => "3",
            Self::Unknown => "4",
        }
    }
}

/// Where an examination is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Institution {
    /// Institution Name.
    pub name: Spelled,
    /// Institution Address.
    pub address: Spelled,
    /// Institutional Department Name.
    pub department: Spelled,
}
