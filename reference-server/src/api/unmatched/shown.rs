//! Studies and what people put right of them, as pages see them.

use crate::api::conditional::etag;
use chrono::{DateTime, FixedOffset, TimeDelta};
use pacs_core::examination::Status;
use pacs_core::examination::reconcile::{Difference, HeaderField, Kind, QueueReason, Rule};
use pacs_core::{ExaminationId, OrganisationCode};
use pacs_store::matcher::{Compared, SeenStudy};
use pacs_store::registry::Stored;
use pacs_store::registry::examinations::{Correction, CorrectionKind, MatchState, StudyMatch};
use serde::Serialize;
use std::collections::BTreeSet;

type Time = DateTime<FixedOffset>;

/// How soon somebody has to look where nobody knows who the patient is, and else.
const EMERGENCY_DUE: TimeDelta = TimeDelta::hours(1);
const ROUTINE_DUE: TimeDelta = TimeDelta::hours(24);

/// A study in a list.
#[derive(Serialize)]
pub(in crate::api) struct Entry {
    study: String,
    etag: String,
    organisation: Option<OrganisationCode>,
    is_import: bool,
    received_at: Time,
    senders: Vec<String>,
    state: &'static str,
    reasons: Vec<QueueReason>,
    examination: Option<ExaminationId>,
    rule: Option<RuleShown>,
    due_at: Option<Time>,
    postponed_until: Option<Time>,
    decided_at: Time,
    decided_by: String,
    reason: Option<String>,
    header: Header,
}

/// What the first header of the study says.
#[derive(Serialize)]
struct Header {
    patient_id: String,
    patient_name: String,
    birth_date: String,
    sex: String,
    accession_number: String,
    study_date: String,
    study_time: String,
    description: String,
    modalities: Vec<String>,
    series_count: usize,
    images_count: u64,
}

/// By which rule, and which field held the ID where it was a wrong one.
#[derive(Serialize)]
pub(super) struct RuleShown {
    name: &'static str,
    field: Option<HeaderField>,
}

/// A study with all that is known of it.
#[derive(Serialize)]
pub(in crate::api) struct Whole {
    #[serde(flatten)]
    entry: Entry,
    series: Vec<Series>,
    not_of: Vec<ExaminationId>,
    candidates: Vec<CandidateShown>,
    corrections: Vec<CorrectionShown>,
}

#[derive(Serialize)]
struct Series {
    series: String,
    modality: String,
    description: String,
    images_count: u64,
    examination: Option<ExaminationId>,
}

/// An order that could be meant, with why, and in what it is not the same.
#[derive(Serialize)]
struct CandidateShown {
    examination: ExaminationId,
    rule: Option<RuleShown>,
    score: Option<u8>,
    status: Status,
    modality: String,
    scheduled_at: chrono::NaiveDateTime,
    patient: String,
    patient_name: String,
    birth_date: Option<chrono::NaiveDate>,
    differences: BTreeSet<Difference>,
    objection: Option<QueueReason>,
}

#[derive(Serialize)]
struct CorrectionShown {
    kind: CorrectionKind,
    examination: Option<ExaminationId>,
    by: String,
    reason: String,
    at: Time,
    undone: Option<UndoneShown>,
}

#[derive(Serialize)]
struct UndoneShown {
    by: String,
    reason: String,
    at: Time,
}

/// Why an examination is shown beside a study: by a rule, with a score; or it is bound to it.
pub(super) type Naming = Option<(Rule, u8)>;

/// The examinations that are shown beside a study: what it is bound to, and what could be meant.
pub(super) fn named(found: &StudyMatch) -> Vec<(ExaminationId, Naming)> {
    let bound = found.examinations().into_iter().map(|id| (id, None));
    let suggested: &[_] = match &found.state {
        MatchState::Queued { suggestions, .. } => suggestions,
        MatchState::Bound { .. } | MatchState::Rejected => &[],
    };
    let suggested = suggested.iter();
    let suggested = suggested.map(|one| (one.examination, Some((one.rule, one.score))));
    bound.chain(suggested).take(SHOWN_MAX).collect()
}

/// Examinations that are shown beside one study.
const SHOWN_MAX: usize = 20;

const fn rule(rule: Rule) -> RuleShown {
    let (name, field) = match rule {
        Rule::StudyBound => ("STUDY_BOUND", None),
        Rule::PlannedStudy => ("PLANNED_STUDY", None),
        Rule::AccessionNumber => ("ACCESSION_NUMBER", None),
        Rule::IdInWrongField(field) => ("ID_IN_WRONG_FIELD", Some(field)),
        Rule::Patient => ("PATIENT", None),
        Rule::NameAlike => ("NAME_ALIKE", None),
        _ => ("OTHER", None),
    };
    RuleShown { name, field }
}

impl Entry {
    pub(super) fn of(found: &Stored<StudyMatch>, seen: &SeenStudy) -> Self {
        let known = &found.value;
        let reasons = known.waits_for();
        let is_emergency = reasons.contains(&QueueReason::EmergencyUnregistered);
        let due = if is_emergency {
            EMERGENCY_DUE
        } else {
            ROUTINE_DUE
        };
        let (state, by) = match &known.state {
            MatchState::Bound { rule, .. } => ("bound", *rule),
            MatchState::Queued { .. } => ("queued", None),
            MatchState::Rejected => ("rejected", None),
        };
        let due_at = known.received_at.checked_add_signed(due);
        Self {
            study: known.study.as_str().to_owned(),
            etag: etag(found.revision),
            organisation: known.organisation,
            is_import: known.is_import,
            received_at: known.received_at,
            senders: known.senders.clone(),
            state,
            due_at: due_at.filter(|_| !reasons.is_empty()),
            reasons,
            examination: known.examination(),
            rule: by.map(rule),
            postponed_until: known.postponed_until,
            decided_at: known.decided_at,
            decided_by: known.decided_by.clone(),
            reason: known
                .reason
                .as_ref()
                .map(|reason| reason.reveal().to_owned()),
            header: Header::of(seen),
        }
    }
}

impl Header {
    fn of(seen: &SeenStudy) -> Self {
        let modalities = seen.modalities().into_iter();
        Self {
            patient_id: seen.patient_id.clone(),
            patient_name: seen.patient_name.clone(),
            birth_date: seen.birth_date.clone(),
            sex: seen.sex.clone(),
            accession_number: seen.accession.clone(),
            study_date: seen.made_at.0.clone(),
            study_time: seen.made_at.1.clone(),
            description: seen.description.clone(),
            modalities: modalities.map(str::to_owned).collect(),
            series_count: seen.series.len(),
            images_count: seen.images_count(),
        }
    }
}

impl Whole {
    pub(super) fn of(
        found: &Stored<StudyMatch>,
        seen: &SeenStudy,
        candidates: Vec<(Compared, Naming)>,
        corrections: Vec<Correction>,
    ) -> Self {
        let series = seen.series.iter().map(|one| Series {
            series: one.series.as_str().to_owned(),
            modality: one.modality.clone(),
            description: one.description.clone(),
            images_count: one.images_count,
            examination: found.value.examination_of(&one.series),
        });
        Self {
            entry: Entry::of(found, seen),
            series: series.collect(),
            not_of: found.value.not_of.clone(),
            candidates: candidates.into_iter().map(candidate).collect(),
            corrections: corrections.into_iter().map(correction).collect(),
        }
    }
}

fn candidate((compared, naming): (Compared, Naming)) -> CandidateShown {
    let examination = &compared.examination.value;
    let patient = &compared.patient.value;
    let name = &patient.particulars.name;
    let names = [&name.family, &name.given, &name.patronymic];
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    CandidateShown {
        examination: examination.id,
        rule: naming.map(|(by, _)| rule(by)),
        score: naming.map(|(_, score)| score),
        status: examination.status(),
        modality: match &examination.order.kind {
            Kind::Ct => "CT".to_owned(),
            Kind::Mr => "MR".to_owned(),
            Kind::XRay => "DX".to_owned(),
            Kind::Other(modality) => modality.to_string(),
            _ => String::new(),
        },
        scheduled_at: examination.order.scheduled_at,
        patient: patient.key.to_string(),
        patient_name: names.join(" ").trim().to_owned(),
        birth_date: patient.particulars.birth_date,
        differences: compared.differences,
        objection: compared.objection,
    }
}

fn correction(of: Correction) -> CorrectionShown {
    CorrectionShown {
        kind: of.kind,
        examination: of.examination,
        by: of.by,
        reason: of.reason.reveal().to_owned(),
        at: of.at,
        undone: of.undone.map(|undone| UndoneShown {
            by: undone.by,
            reason: undone.reason.reveal().to_owned(),
            at: undone.at,
        }),
    }
}
