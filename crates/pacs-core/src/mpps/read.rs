//! What a performed procedure step says to the examination.

use super::ProcedureStep;
use crate::attributes::Attributes;
use crate::commitment::Reference;
use crate::examination::ExaminationId;
use crate::tag::{Tag, tags};
use crate::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid};
use crate::{AeTitle, examination::Reason};

/// What a device was told to do, as it repeats it (0040,0270).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledStep {
    /// The study that the images are in.
    pub study: StudyUid,
    /// The examination that Accession Number names, or where that is no ID the Requested Procedure
    /// ID or the Scheduled Procedure Step ID.
    pub examination: Option<ExaminationId>,
}

/// An instance that a device made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerformedInstance {
    /// The series it is in.
    pub series: SeriesUid,
    /// Which.
    pub reference: Reference,
}

/// What becomes of an examination that was broken off, by the reason that the device gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discontinuation {
    /// (110514, DCM): whatever was made is of another patient or another order.
    IncorrectWorklistEntry,
    /// The patient did not come, refused, is pregnant, was taken elsewhere, or could not go on: it
    /// may be made another time.
    NotNow,
    /// Another reason, or none.
    Other,
}

/// CID 9301 of PS3.16: reasons of the scheme DCM for breaking off.
const REASONS: [(&str, &str, Discontinuation); 17] = [
    (
        "110500",
        "Doctor canceled procedure",
        Discontinuation::Other,
    ),
    ("110501", "Equipment failure", Discontinuation::NotNow),
    (
        "110502",
        "Incorrect procedure ordered",
        Discontinuation::Other,
    ),
    (
        "110503",
        "Patient allergic to media/contrast",
        Discontinuation::Other,
    ),
    ("110504", "Patient died", Discontinuation::Other),
    (
        "110505",
        "Patient refused to continue procedure",
        Discontinuation::NotNow,
    ),
    (
        "110506",
        "Patient taken for treatment or surgery",
        Discontinuation::NotNow,
    ),
    ("110507", "Patient did not arrive", Discontinuation::NotNow),
    ("110508", "Patient pregnant", Discontinuation::NotNow),
    (
        "110509",
        "Change of procedure for correct charging",
        Discontinuation::Other,
    ),
    ("110510", "Duplicate order", Discontinuation::Other),
    ("110511", "Nursing unit cancel", Discontinuation::Other),
    ("110512", "Incorrect side ordered", Discontinuation::Other),
    (
        "110513",
        "Discontinued for unspecified reason",
        Discontinuation::Other,
    ),
    (
        "110514",
        "Incorrect worklist entry selected",
        Discontinuation::IncorrectWorklistEntry,
    ),
    (
        "110515",
        "Patient condition prevented continuing",
        Discontinuation::NotNow,
    ),
    ("110516", "Equipment change", Discontinuation::NotNow),
];

/// What a code of the scheme DCM means, where it is one of CID 9301.
#[must_use]
pub fn discontinuation_meaning(code: &str) -> Option<&'static str> {
    let mut reasons = REASONS.iter();
    reasons
        .find(|reason| reason.0 == code)
        .map(|reason| reason.1)
}

impl ProcedureStep {
    /// What it was made for. A step without an order names a study and no examination.
    #[must_use]
    pub fn scheduled(&self) -> Vec<ScheduledStep> {
        let items = self
            .attributes()
            .items(tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE);
        items.iter().filter_map(scheduled).collect()
    }

    /// The device that performs it, as it calls itself here.
    #[must_use]
    pub fn station(&self) -> Option<AeTitle> {
        let title = self.attributes().text(tags::PERFORMED_STATION_AE_TITLE)?;
        AeTitle::parse(title).ok()
    }

    /// Modality (0008,0060).
    #[must_use]
    pub fn modality(&self) -> &str {
        self.attributes().text(tags::MODALITY).unwrap_or_default()
    }

    /// The instances that the device has named, in its order, each once.
    #[must_use]
    pub fn instances(&self) -> Vec<PerformedInstance> {
        let mut found: Vec<PerformedInstance> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for item in self.attributes().items(tags::PERFORMED_SERIES_SEQUENCE) {
            let uid = item.text(tags::SERIES_INSTANCE_UID).unwrap_or_default();
            let Ok(series) = SeriesUid::parse_legacy(uid) else {
                continue;
            };
            let images = item.items(tags::REFERENCED_IMAGE_SEQUENCE);
            let others = tags::REFERENCED_NON_IMAGE_COMPOSITE_SOP_INSTANCE_SEQUENCE;
            for reference in images.iter().chain(item.items(others)) {
                if let Some(reference) = referenced(reference)
                    && seen.insert(reference.sop_instance.clone())
                {
                    let series = series.clone();
                    found.push(PerformedInstance { series, reference });
                }
            }
        }
        found
    }

    /// What the reason for breaking off means for the examination.
    #[must_use]
    pub fn discontinuation(&self) -> Discontinuation {
        let Some(code) = self.reason_code() else {
            return Discontinuation::Other;
        };
        let is_dicom = code.text(tags::CODING_SCHEME_DESIGNATOR) == Some("DCM");
        let value = code.text(tags::CODE_VALUE).filter(|_| is_dicom);
        let known = REASONS.iter().find(|reason| Some(reason.0) == value);
        known.map_or(Discontinuation::Other, |reason| reason.2)
    }

    /// The reason for breaking off, for the record of the examination.
    #[must_use]
    pub fn discontinuation_reason(&self) -> Option<Reason> {
        let code = self.reason_code()?;
        let part = |tag: Tag| code.text(tag).unwrap_or_default();
        let text = format!(
            "{} {} {}",
            part(tags::CODING_SCHEME_DESIGNATOR),
            part(tags::CODE_VALUE),
            part(tags::CODE_MEANING)
        );
        let text: String = text.chars().take(300).collect();
        Reason::parse(&text).ok()
    }

    fn reason_code(&self) -> Option<&Attributes> {
        self.attributes()
            .items(tags::PERFORMED_PROCEDURE_STEP_DISCONTINUATION_REASON_CODE_SEQUENCE)
            .first()
    }
}

fn scheduled(item: &Attributes) -> Option<ScheduledStep> {
    let study = item.text(tags::STUDY_INSTANCE_UID)?;
    let id = |tag: Tag| {
        let text = item.text(tag)?;
        let whole = ExaminationId::parse(text).ok();
        // With the suffix of a step, or with something around it.
        whole.or_else(|| match *ExaminationId::all_in(text).as_slice() {
            [id] => Some(id),
            _ => None,
        })
    };
    Some(ScheduledStep {
        study: StudyUid::parse_legacy(study).ok()?,
        examination: id(tags::ACCESSION_NUMBER)
            .or_else(|| id(tags::REQUESTED_PROCEDURE_ID))
            .or_else(|| id(tags::SCHEDULED_PROCEDURE_STEP_ID)),
    })
}

fn referenced(item: &Attributes) -> Option<Reference> {
    let class = item.text(tags::REFERENCED_SOP_CLASS_UID)?;
    let instance = item.text(tags::REFERENCED_SOP_INSTANCE_UID)?;
    Some(Reference {
        sop_class: SopClassUid::parse_legacy(class).ok()?,
        sop_instance: SopInstanceUid::parse_legacy(instance).ok()?,
    })
}
