//! What the header of a study says that matching asks for.

use super::Person;
use crate::OrganisationCode;
use crate::attributes::Attributes;
use crate::examination::{ExaminationId, ExaminationIdError};
use crate::instance::Instance;
use crate::patient::{Identifier, Issuer, Sex};
use crate::tag::tags;
use crate::uid::StudyUid;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

/// A kind of images, as an order names it. Devices call an X-ray picture by several names.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[non_exhaustive]
pub enum Kind {
    /// Computed tomography.
    Ct,
    /// Magnetic resonance.
    Mr,
    /// X-ray pictures: CR, DX, RG or RF.
    XRay,
    /// Another Modality (0008,0060).
    Other(Box<str>),
}

impl Kind {
    /// The kind of a Modality. `None` for objects that belong to images of any kind, such as
    /// reports and presentation states, and where there is no modality.
    #[must_use]
    pub fn of_modality(modality: &str) -> Option<Self> {
        match modality.trim() {
            "" | "SR" | "KO" | "PR" | "OT" | "DOC" | "REG" | "SEG" | "AU" => None,
            "CT" => Some(Self::Ct),
            "MR" => Some(Self::Mr),
            "CR" | "DX" | "RG" | "RF" => Some(Self::XRay),
            other => Some(Self::Other(other.into())),
        }
    }

    /// The kind that a word stands for: `ct`, `mr`, `xray`, or another Modality.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "ct" => Some(Self::Ct),
            "mr" => Some(Self::Mr),
            "xray" => Some(Self::XRay),
            // Its own words alone, so that there is one for each kind.
            other => Self::of_modality(other).filter(|kind| matches!(kind, Self::Other(_))),
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Ct => "ct",
            Self::Mr => "mr",
            Self::XRay => "xray",
            Self::Other(modality) => modality,
        }
    }

    /// Whether a device could say so: another Modality is a code string (PS3.5 6.2), and no other
    /// name of a kind that has one.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        let Self::Other(modality) = self else {
            return true;
        };
        let is_code = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        modality.len() <= 16
            && modality.bytes().all(is_code)
            && Self::of_modality(modality).as_ref() == Some(self)
    }
}

/// A field that is no place for an examination ID, and held one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum HeaderField {
    /// Patient Comments (0010,4000).
    PatientComments,
    /// Patient ID (0010,0020).
    PatientId,
    /// Patient's Name (0010,0010).
    PatientName,
    /// Accession Number in the Request Attributes Sequence (0040,0275).
    RequestAccessionNumber,
    /// Requested Procedure ID (0040,1001) in the same sequence.
    RequestedProcedureId,
    /// Scheduled Procedure Step ID (0040,0009) in the same sequence.
    ScheduledProcedureStepId,
    /// Study ID (0020,0010).
    StudyId,
}

/// The header of a study, as one of its instances gives it. `Debug` shows nothing of the patient.
#[derive(Clone, PartialEq, Eq)]
pub struct StudyHeader {
    /// Study Instance UID.
    pub study: StudyUid,
    /// Who the images are of, according to the device.
    pub person: Person,
    /// What kind of images they are.
    pub kind: Option<Kind>,
    /// When the study was made, at the place of the device.
    pub made_at: Option<NaiveDateTime>,
    /// What stands in Accession Number: an ID, something else (`Err`), or nothing.
    pub(super) accession: Option<Result<ExaminationId, ExaminationIdError>>,
    pub(super) elsewhere: Vec<(HeaderField, ExaminationId)>,
}

impl std::fmt::Debug for StudyHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StudyHeader")
            .field("study", &self.study)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl StudyHeader {
    /// Reads what `instance` says, which a device of `organisation` made: numbers of patients that
    /// nobody else gives are that organisation's, and nobody's where it is not known.
    #[must_use]
    pub fn of(instance: &Instance, organisation: impl Into<Option<OrganisationCode>>) -> Self {
        Self::read(&instance.study, &instance.attributes, organisation)
    }

    /// Reads what these attributes say of a study, as [`Self::of`]: also those of a performed
    /// procedure step.
    #[must_use]
    pub fn read(
        study: &StudyUid,
        attributes: &Attributes,
        organisation: impl Into<Option<OrganisationCode>>,
    ) -> Self {
        let text = |tag| attributes.text(tag).unwrap_or_default().trim();
        let name = text(tags::PATIENT_NAME);
        Self {
            study: study.clone(),
            person: Person {
                identifiers: Identifier::of_patient_id(text(tags::PATIENT_ID), organisation)
                    .into_iter()
                    .collect(),
                names: (!name.is_empty())
                    .then(|| name.to_owned())
                    .into_iter()
                    .collect(),
                birth_date: date(text(tags::PATIENT_BIRTH_DATE)),
                sex: Sex::of_code(text(tags::PATIENT_SEX)).filter(|sex| *sex != Sex::Other),
            },
            kind: Kind::of_modality(text(tags::MODALITY)),
            made_at: made_at(text(tags::STUDY_DATE), text(tags::STUDY_TIME)),
            accession: accession(attributes),
            elsewhere: elsewhere(attributes),
        }
    }

    /// Whether it says what `other` says, but for the time of day, which some devices set for each
    /// image.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let day = |header: &Self| header.made_at.map(|made_at| made_at.date());
        let at = |header: &Self| Self {
            made_at: None,
            ..header.clone()
        };
        day(self) == day(other) && at(self) == at(other)
    }

    /// Every examination ID in it, the one in its right place first: whoever matches looks these
    /// up.
    pub fn ids(&self) -> impl Iterator<Item = ExaminationId> + '_ {
        let right = self.accession.iter().filter_map(|id| id.ok());
        right.chain(self.elsewhere.iter().map(|(_, id)| *id))
    }
}

/// What stands in Accession Number, unless its issuer is another system.
fn accession(attributes: &Attributes) -> Option<Result<ExaminationId, ExaminationIdError>> {
    let issuer = attributes
        .items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE)
        .first()
        .and_then(|item| item.text(tags::LOCAL_NAMESPACE_ENTITY_ID))
        .map(str::trim)
        .filter(|issuer| !issuer.is_empty());
    if issuer.is_some_and(|issuer| issuer != Issuer::Archive.to_string()) {
        return None;
    }
    let text = attributes.text(tags::ACCESSION_NUMBER)?.trim();
    if text.is_empty() {
        return None;
    }
    let whole = ExaminationId::parse(text);
    if whole == Err(ExaminationIdError::Format)
        && let [id] = ExaminationId::all_in(text).as_slice()
    {
        // With something around it, such as the suffix of a step.
        return Some(Ok(*id));
    }
    Some(whole)
}

/// The IDs in fields that are not theirs; those of one field before those of less likely ones.
fn elsewhere(attributes: &Attributes) -> Vec<(HeaderField, ExaminationId)> {
    let own = [
        (HeaderField::PatientId, tags::PATIENT_ID),
        (HeaderField::StudyId, tags::STUDY_ID),
        (HeaderField::PatientComments, tags::PATIENT_COMMENTS),
        (HeaderField::PatientName, tags::PATIENT_NAME),
    ];
    let requested = [
        (HeaderField::RequestAccessionNumber, tags::ACCESSION_NUMBER),
        (
            HeaderField::RequestedProcedureId,
            tags::REQUESTED_PROCEDURE_ID,
        ),
        (
            HeaderField::ScheduledProcedureStepId,
            tags::SCHEDULED_PROCEDURE_STEP_ID,
        ),
    ];
    let mut found = Vec::new();
    let mut look = |attributes: &Attributes, fields: &[(HeaderField, _)]| {
        for (field, tag) in fields {
            for id in ExaminationId::all_in(attributes.text(*tag).unwrap_or_default()) {
                if !found.contains(&(*field, id)) {
                    found.push((*field, id));
                }
            }
        }
    };
    for item in attributes.items(tags::REQUEST_ATTRIBUTES_SEQUENCE) {
        look(item, &requested);
    }
    look(attributes, &own);
    found
}

fn date(text: &str) -> Option<NaiveDate> {
    // The older form with points is met in old archives (PS3.5 6.2).
    let digits = text.replace('.', "");
    NaiveDate::parse_from_str(&digits, "%Y%m%d").ok()
}

/// Midday where the time cannot be read: nearest to any hour of the day.
fn made_at(day: &str, time: &str) -> Option<NaiveDateTime> {
    let seconds: String = time.chars().filter(char::is_ascii_digit).take(6).collect();
    let time = NaiveTime::parse_from_str(&format!("{seconds:0<6}"), "%H%M%S").ok();
    let time = time.filter(|_| seconds.len() >= 2);
    let midday = NaiveTime::from_hms_opt(12, 0, 0)?;
    Some(date(day)?.and_time(time.unwrap_or(midday)))
}
