//! What the registry refuses, as problems.

use super::codes::{self, codes};
use super::{Code, Problem};
use pacs_core::examination::progress::Guard;
use pacs_core::examination::{NumberingError, TransitionError};
use pacs_core::patient::PatientKey;
use pacs_core::role::Unlicensed;
use pacs_store::registry::{Refusal, RegistryError};
use serde_json::json;

codes! {
    ASSIGNED = 409 "exam.assigned" "the examination is for another reader";
    BODY_PART_NEEDED = 422 "exam.body_part_needed" "body part and kind of images are missing";
    CLAIMED = 409 "exam.claimed" "somebody else has the examination in work";
    EXAMINATION_STATUS = 409 "exam.status_refused" "where the examination stands, this is no more";
    HAS_IMAGES = 409 "exam.has_images" "the examination has images";
    HELD = 409 "study.held" "the study is held: nothing of it is erased";
    IMAGES_MISSING = 409 "exam.images_missing" "images that were announced are missing";
    IDENTITY_NEEDED = 409 "report.identity" "patient and examination ID are not confirmed";
    LATE_IMAGES = 409 "exam.late_images" "images came late and were not seen";
    MERGED = 409 "patient.merged" "the patient went into another";
    NOT_AUTHOR = 409 "exam.not_author" "only the author or a supervisor does this";
    NOT_HOLDER = 409 "exam.not_holder" "whoever asks does not have the examination in work";
    NOT_MERGED = 409 "patient.not_merged" "the patient went into no other";
    NO_IMAGES = 409 "exam.no_images" "the examination has no image that can be had";
    OPEN_EXAMINATION = 409 "exam.open" "the patient has an open examination of this kind";
    PATIENTS_ALIKE = 409 "patient.alike" "a patient is born on this day and sounds the same";
    REPORT_INCOMPLETE = 409 "report.incomplete" "a report needs description and conclusion";
    REPORT_STANDS = 409 "exam.report_stands" "a signed report stands";
    SEVERAL_PATIENTS = 409 "patient.several" "the identifiers are of several patients";
    SUPERSEDED = 409 "unmatched.superseded" "it was put right again since";
    UNRESOLVED = 409 "report.unresolved" "it is not settled whose images these are";
    WEIGHT_NEEDED = 422 "exam.weight_needed" "CT and MR need the weight";
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Busy => (&codes::BUSY).into(),
            RegistryError::Changed => (&codes::STALE).into(),
            RegistryError::Full => (&codes::FULL).into(),
            RegistryError::NotFound { .. } => (&codes::NOT_FOUND).into(),
            RegistryError::Refused(refusal) => refusal.into(),
            RegistryError::Unlicensed(unlicensed) => unlicensed.into(),
            error @ (RegistryError::Backend(_) | RegistryError::Damaged { .. }) => {
                let error = crate::tool::failure::chain(&error);
                tracing::error!(error, "the registry could not be read or changed");
                (&codes::INTERNAL).into()
            }
        }
    }
}

impl From<Unlicensed> for Problem {
    fn from(_: Unlicensed) -> Self {
        (&codes::NOT_PERMITTED).into()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Alike { patients } => {
                let patients: Vec<String> = patients.into_iter().map(number).collect();
                PATIENTS_ALIKE.with("patients", patients)
            }
            Refusal::Exhausted { what } => codes::EXHAUSTED.with("what", what),
            Refusal::Held => (&HELD).into(),
            Refusal::Merged { into } => MERGED.with("into", number(into)),
            Refusal::NotMerged => (&NOT_MERGED).into(),
            Refusal::Numbering(error) => numbering(error),
            Refusal::Superseded => (&SUPERSEDED).into(),
            Refusal::SeveralPatients => (&SEVERAL_PATIENTS).into(),
            Refusal::Taken { what } => codes::TAKEN.with("what", what),
            Refusal::TooLate => (&codes::TOO_LATE).into(),
            Refusal::Transition(error) => error.into(),
            Refusal::Unfit { what } => codes::MALFORMED.with("what", what),
            Refusal::Repeated(_) | _ => (&codes::REFUSED).into(),
        }
    }
}

fn number(patient: PatientKey) -> String {
    patient.to_string()
}

fn numbering(error: NumberingError) -> Problem {
    tracing::error!(%error, "no examination ID can be given");
    codes::EXHAUSTED.with("what", "examination IDs")
}

impl From<TransitionError> for Problem {
    fn from(error: TransitionError) -> Self {
        match error {
            TransitionError::Actor { .. } => (&codes::NOT_PERMITTED).into(),
            TransitionError::Guard(guard) => of_guard(guard),
            TransitionError::Status { status, .. } => {
                EXAMINATION_STATUS.with("examination_status", json!(status))
            }
            _ => (&codes::REFUSED).into(),
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of guards the few that can be met here are named"
)]
fn of_guard(guard: Guard) -> Problem {
    let code = match guard {
        Guard::AssignedToAnother => &ASSIGNED,
        Guard::BodyPartOrKind => &BODY_PART_NEEDED,
        Guard::Conclusion | Guard::Description => &REPORT_INCOMPLETE,
        Guard::Duplicate => &OPEN_EXAMINATION,
        Guard::HasImages => &HAS_IMAGES,
        Guard::Identity => &IDENTITY_NEEDED,
        Guard::ImagesMissing => &IMAGES_MISSING,
        Guard::LateImages => &LATE_IMAGES,
        Guard::Locked => &CLAIMED,
        Guard::MayNotRead => &codes::NOT_PERMITTED,
        Guard::NoImages => &NO_IMAGES,
        Guard::NotAuthor => &NOT_AUTHOR,
        Guard::NotHolder => &NOT_HOLDER,
        Guard::NotOnline => &NO_IMAGES,
        Guard::ReportStands => &REPORT_STANDS,
        Guard::Unresolved => &UNRESOLVED,
        Guard::Weight => &WEIGHT_NEEDED,
        _ => &codes::REFUSED,
    };
    code.into()
}
