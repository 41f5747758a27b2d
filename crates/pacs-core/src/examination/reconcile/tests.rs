//! The rules, one by one and against each other.

mod ids;
mod people;

use super::*;
use crate::attributes::Attributes;
use crate::instance::Instance;
use crate::patient::Identifier;
use crate::tag::{Tag, tags, vr_of};
use crate::uid::{SeriesUid, SopClassUid, SopInstanceUid, TransferSyntaxUid};

const ID: &str = "250060004329";
const OTHER_ID: &str = "250060000019";

fn id(text: &str) -> ExaminationId {
    ExaminationId::parse(text).unwrap()
}

fn organisation(code: &str) -> OrganisationCode {
    OrganisationCode::parse(code).unwrap()
}

fn here() -> Origin {
    Origin::Device(organisation("006"))
}

/// The header of a CT study of 10 March 2025, with these attributes.
fn header(texts: &[(Tag, &str)]) -> StudyHeader {
    let mut attributes = Attributes::default();
    let given = [
        (tags::MODALITY, "CT"),
        (tags::STUDY_DATE, "20250310"),
        (tags::STUDY_TIME, "101500"),
    ];
    for (tag, text) in given.iter().chain(texts) {
        attributes.insert_text(*tag, vr_of(*tag), *text);
    }
    StudyHeader::of(&instance(attributes), organisation("006"))
}

/// A study with these headers, from a device of organisation 006.
fn received(headers: &[StudyHeader]) -> Received<'_> {
    Received {
        headers,
        origin: here(),
        received_at: "2025-03-10T10:20:00".parse().unwrap(),
        binding: None,
        not_of: &[],
        has_other_version: false,
        has_other_senders: false,
        has_more_headers: false,
    }
}

fn instance(attributes: Attributes) -> Instance {
    Instance {
        study: StudyUid::parse("1.2.3").unwrap(),
        series: SeriesUid::parse("1.2.3.1").unwrap(),
        instance: SopInstanceUid::parse("1.2.3.1.1").unwrap(),
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
        attributes,
        head_bytes: 0,
    }
}

fn identifier(text: &str) -> Identifier {
    Identifier::of_patient_id(text, organisation("006")).unwrap()
}

fn order(id_text: &str) -> Candidate {
    Candidate {
        examination: id(id_text),
        organisation: organisation("006"),
        planned_study: StudyUid::parse(&format!("2.25.{id_text}")).unwrap(),
        kind: Kind::Ct,
        status: Status::Scheduled,
        person: Person {
            identifiers: ["P0000005724", "20101199099907", "card 5"]
                .map(identifier)
                .to_vec(),
            names: vec![
                "Жээнбеков^Үсөн^Өмүрбекович".into(),
                "ZHEENBEKOV^USON^OMURBEKOVICH".into(),
            ],
            birth_date: "1990-01-01".parse().ok(),
            sex: Some(Sex::Male),
        },
        ordered_at: "2025-03-10T08:00:00".parse().unwrap(),
        scheduled_at: "2025-03-10T09:00:00".parse().unwrap(),
    }
}

/// Another order, of the same person.
fn other() -> Candidate {
    order(OTHER_ID)
}

const BY_PATIENT: MatchingPolicy = MatchingPolicy {
    binds_by_patient: true,
};

fn judge(header: &StudyHeader, candidates: &[Candidate]) -> Verdict {
    let headers = std::slice::from_ref(header);
    verdict(&received(headers), candidates, MatchingPolicy::default())
}

fn bound(rule: Rule) -> Verdict {
    flagged(rule, &[])
}

fn flagged(rule: Rule, flags: &[QueueReason]) -> Verdict {
    Verdict::Bound {
        examination: id(ID),
        rule,
        flags: flags.to_vec(),
    }
}

/// The reason, and the suggestions by ID.
fn queued(verdict: Verdict) -> (QueueReason, Vec<(String, Rule)>) {
    match verdict {
        Verdict::Queued {
            reason,
            suggestions,
        } => {
            let shown = suggestions
                .into_iter()
                .map(|s| (s.examination.to_string(), s.rule))
                .collect();
            (reason, shown)
        }
        bound @ Verdict::Bound { .. } => panic!("{bound:?}"),
    }
}

fn reason_of(verdict: Verdict) -> QueueReason {
    queued(verdict).0
}
