//! The rules, one by one and against each other.

use super::*;
use crate::attributes::{Attributes, Value};
use crate::instance::Instance;
use crate::tag::{Tag, tags, vr_of};
use crate::uid::{SeriesUid, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use proptest::prelude::*;

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
fn header(texts: &[(Tag, &str)]) -> Header {
    let mut attributes = Attributes::default();
    let given = [
        (tags::MODALITY, "CT"),
        (tags::STUDY_DATE, "20250310"),
        (tags::STUDY_TIME, "101500"),
    ];
    for (tag, text) in given.iter().chain(texts) {
        attributes.insert_text(*tag, vr_of(*tag), *text);
    }
    Header::of(&instance(attributes), false)
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

fn order(id_text: &str) -> Candidate {
    Candidate {
        examination: id(id_text),
        organisation: organisation("006"),
        planned_study: StudyUid::parse("2.25.1").unwrap(),
        kind: Kind::Ct,
        status: Status::Scheduled,
        person: Person {
            identifiers: vec!["P0000005724".into(), "20101199099907".into()],
            names: vec![
                "Жээнбеков^Үсөн^Өмүрбекович".into(),
                "ZHEENBEKOV^USON^OMURBEKOVICH".into(),
            ],
            birth_date: "1990-01-01".parse().ok(),
            sex: Some(Sex::Male),
        },
        scheduled_at: "2025-03-10T09:00:00".parse().unwrap(),
    }
}

fn judge(header: &Header, candidates: &[Candidate]) -> Verdict {
    verdict(header, here(), None, candidates, MatchingPolicy::default())
}

fn bound(rule: Rule) -> Verdict {
    Verdict::Bound {
        examination: id(ID),
        rule,
        flag: None,
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

#[test]
fn an_id_in_its_place_binds() {
    for typed in [ID, "25 006 000432 9", "25006ооо4з29"] {
        let header = header(&[(tags::ACCESSION_NUMBER, typed)]);
        assert_eq!(header.ids().collect::<Vec<_>>(), [id(ID)]);
        assert_eq!(judge(&header, &[order(ID)]), bound(Rule::AccessionNumber));
    }
}

#[test]
fn the_planned_uid_binds_without_an_id() {
    let mut planned = order(ID);
    planned.planned_study = StudyUid::parse("1.2.3").unwrap();
    assert_eq!(
        judge(&header(&[]), &[planned.clone()]),
        bound(Rule::PlannedStudy)
    );
    // That of another organisation does not.
    planned.organisation = organisation("007");
    assert_eq!(
        reason_of(judge(&header(&[]), &[planned])),
        QueueReason::NoId
    );
}

#[test]
fn an_id_in_a_wrong_field_binds_and_is_told() {
    for (tag, text, field) in [
        (tags::PATIENT_ID, ID, HeaderField::PatientId),
        (tags::STUDY_ID, ID, HeaderField::StudyId),
        (
            tags::PATIENT_COMMENTS,
            "ID 25 006 000432 9",
            HeaderField::PatientComments,
        ),
        (
            tags::PATIENT_NAME,
            "250060004329^",
            HeaderField::PatientName,
        ),
    ] {
        let header = header(&[(tag, text)]);
        let rule = Rule::IdInWrongField(field);
        assert_eq!(judge(&header, &[order(ID)]), bound(rule), "{text}");
    }
    for (tag, text, field) in [
        (
            tags::ACCESSION_NUMBER,
            ID,
            HeaderField::RequestAccessionNumber,
        ),
        (
            tags::REQUESTED_PROCEDURE_ID,
            ID,
            HeaderField::RequestedProcedureId,
        ),
        (
            tags::SCHEDULED_PROCEDURE_STEP_ID,
            "250060004329-01",
            HeaderField::ScheduledProcedureStepId,
        ),
    ] {
        let mut item = Attributes::default();
        item.insert_text(tag, vr_of(tag), text);
        let mut attributes = Attributes::default();
        let sequence = tags::REQUEST_ATTRIBUTES_SEQUENCE;
        attributes.insert(sequence, vr_of(sequence), Value::Items(vec![item]));
        let header = Header::of(&instance(attributes), false);
        assert_eq!(
            judge(&header, &[order(ID)]),
            bound(Rule::IdInWrongField(field))
        );
    }
}

#[test]
fn each_thing_that_speaks_against_an_id_has_its_reason() {
    let named = header(&[(tags::ACCESSION_NUMBER, ID)]);
    let with = |change: fn(&mut Candidate)| {
        let mut candidate = order(ID);
        change(&mut candidate);
        queued(judge(&named, &[candidate]))
    };
    let itself = vec![(ID.to_owned(), Rule::AccessionNumber)];
    assert_eq!(
        with(|order| order.status = Status::Cancelled),
        (QueueReason::IdCancelled, itself.clone())
    );
    assert_eq!(
        with(|order| order.kind = Kind::Mr),
        (QueueReason::ModalityMismatch, itself)
    );
    // Of another organisation's order nothing is shown.
    assert_eq!(
        with(|order| order.organisation = organisation("007")),
        (QueueReason::OtherOrg, vec![])
    );
    assert_eq!(reason_of(judge(&named, &[])), QueueReason::IdNotFound);
    for typed in ["250060004328", "250060003429", "000000000000"] {
        let wrong = header(&[(tags::ACCESSION_NUMBER, typed)]);
        assert_eq!(
            reason_of(judge(&wrong, &[order(ID)])),
            QueueReason::BadCheckDigit
        );
    }
    for typed in ["", "A-17", "12345"] {
        let foreign = header(&[(tags::ACCESSION_NUMBER, typed)]);
        assert_eq!(reason_of(judge(&foreign, &[order(ID)])), QueueReason::NoId);
    }
}

#[test]
fn late_images_and_all_names_of_x_ray_belong_to_the_order() {
    let mut reported = order(ID);
    reported.status = Status::Reported;
    reported.kind = Kind::XRay;
    for modality in ["CR", "DX", "RG", "RF", "SR", ""] {
        let header = header(&[(tags::ACCESSION_NUMBER, ID), (tags::MODALITY, modality)]);
        assert_eq!(
            judge(&header, &[reported.clone()]),
            bound(Rule::AccessionNumber)
        );
    }
    let mammogram = header(&[(tags::ACCESSION_NUMBER, ID), (tags::MODALITY, "MG")]);
    let verdict = judge(&mammogram, &[reported]);
    assert_eq!(reason_of(verdict), QueueReason::ModalityMismatch);
}

#[test]
fn another_patient_is_a_conflict_and_spellings_are_not() {
    let with = |texts: &[(Tag, &str)]| {
        let texts: Vec<_> = [(tags::ACCESSION_NUMBER, ID)]
            .into_iter()
            .chain(texts.iter().copied())
            .collect();
        judge(&header(&texts), &[order(ID)])
    };
    for person in [
        // The number of the archive, or the PIN, whatever the name.
        &[
            (tags::PATIENT_ID, "P0000005724"),
            (tags::PATIENT_NAME, "X^Y"),
        ][..],
        &[(tags::PATIENT_ID, "20101199099907")],
        // A number of the device's own, and the same person.
        &[
            (tags::PATIENT_ID, "17"),
            (tags::PATIENT_NAME, "Jeenbekov^Uson"),
            (tags::PATIENT_BIRTH_DATE, "19900101"),
        ],
        // No number: one of name and date may be mistyped.
        &[
            (tags::PATIENT_NAME, "Женбеков^Усон"),
            (tags::PATIENT_BIRTH_DATE, "19900110"),
        ],
        &[(tags::PATIENT_NAME, "Ivanova^Anna")],
    ] {
        assert_eq!(with(person), bound(Rule::AccessionNumber), "{person:?}");
    }
    for person in [
        &[(tags::PATIENT_ID, "P0000000017")][..],
        &[
            (tags::PATIENT_ID, "17"),
            (tags::PATIENT_NAME, "Jeenbekov^Uson"),
            (tags::PATIENT_BIRTH_DATE, "19900110"),
        ],
        &[
            (tags::PATIENT_NAME, "Ivanova^Anna"),
            (tags::PATIENT_BIRTH_DATE, "19810203"),
        ],
        // уулу is in half of all names.
        &[
            (tags::PATIENT_NAME, "Асан уулу^Чыңгыз"),
            (tags::PATIENT_BIRTH_DATE, "19810203"),
        ],
    ] {
        assert_eq!(reason_of(with(person)), QueueReason::Conflict, "{person:?}");
    }
}

#[test]
fn two_orders_that_fit_are_a_question() {
    let mut other = order(OTHER_ID);
    other.planned_study = StudyUid::parse("2.25.2").unwrap();
    let both = header(&[(tags::PATIENT_ID, ID), (tags::STUDY_ID, OTHER_ID)]);
    let orders = [order(ID), other.clone()];
    assert_eq!(reason_of(judge(&both, &orders)), QueueReason::Ambiguous);
    // The right field decides.
    let decided = header(&[(tags::ACCESSION_NUMBER, ID), (tags::STUDY_ID, OTHER_ID)]);
    assert_eq!(judge(&decided, &orders), bound(Rule::AccessionNumber));
    // As does what speaks against one of them.
    other.kind = Kind::Mr;
    let verdict = judge(&both, &[order(ID), other]);
    assert_eq!(verdict, bound(Rule::IdInWrongField(HeaderField::PatientId)));
}

#[test]
fn a_known_patient_is_a_suggestion_unless_the_policy_says_more() {
    let known = header(&[(tags::PATIENT_ID, "P0000005724")]);
    let suggested = vec![(ID.to_owned(), Rule::Patient)];
    let verdict_of = |candidates: &[Candidate]| queued(judge(&known, candidates));
    assert_eq!(verdict_of(&[order(ID)]), (QueueReason::NoId, suggested));

    let policy = MatchingPolicy {
        binds_by_patient: true,
    };
    let automatic = |candidates: &[Candidate]| verdict(&known, here(), None, candidates, policy);
    assert_eq!(automatic(&[order(ID)]), bound(Rule::Patient));
    let two = [order(ID), order(OTHER_ID)];
    assert_eq!(reason_of(automatic(&two)), QueueReason::Ambiguous);

    // Neither far away in time, nor done, nor of another kind or organisation.
    let changes: [fn(&mut Candidate); 4] = [
        |order| order.scheduled_at = "2025-03-11T10:15:01".parse().unwrap(),
        |order| order.status = Status::ImagesReceived,
        |order| order.kind = Kind::Mr,
        |order| order.organisation = organisation("007"),
    ];
    for change in changes {
        let mut candidate = order(ID);
        change(&mut candidate);
        let (reason, suggestions) = queued(automatic(&[candidate]));
        assert_eq!((reason, suggestions.len()), (QueueReason::NoId, 0));
    }
}

#[test]
fn a_name_that_sounds_alike_is_never_more_than_a_suggestion() {
    let policy = MatchingPolicy {
        binds_by_patient: true,
    };
    let suggested = |texts: &[(Tag, &str)]| {
        queued(verdict(&header(texts), here(), None, &[order(ID)], policy)).1
    };
    let alike = vec![(ID.to_owned(), Rule::NameAlike)];
    for name in ["Жээнбеков^Үсөн^Өмүрбекович", "OMURBEKOVICH^USON^JEENBEKOV"]
    {
        let born = [
            (tags::PATIENT_NAME, name),
            (tags::PATIENT_BIRTH_DATE, "19900101"),
        ];
        assert_eq!(suggested(&born), alike);
        let of_sex = [(tags::PATIENT_NAME, name), (tags::PATIENT_SEX, "M")];
        assert_eq!(suggested(&of_sex), alike);
        for other in [
            [
                (tags::PATIENT_NAME, name),
                (tags::PATIENT_BIRTH_DATE, "19900102"),
            ],
            [(tags::PATIENT_NAME, name), (tags::PATIENT_SEX, "F")],
            [
                (tags::PATIENT_NAME, "Жээнбеков^Айбек"),
                (tags::PATIENT_SEX, "M"),
            ],
        ] {
            assert_eq!(suggested(&other), []);
        }
    }
}

#[test]
fn images_follow_the_study_they_belong_to() {
    let binding = Binding {
        examination: id(ID),
        first: order(ID).person,
    };
    let follow = |header: &Header| {
        verdict(
            header,
            here(),
            Some(&binding),
            &[],
            MatchingPolicy::default(),
        )
    };
    assert_eq!(follow(&header(&[])), bound(Rule::StudyBound));
    let other = header(&[(tags::PATIENT_ID, "P0000000017")]);
    assert!(matches!(
        follow(&other),
        Verdict::Bound {
            flag: Some(QueueReason::MixedPatient),
            ..
        }
    ));
    let version = Header::of(&instance(Attributes::default()), true);
    assert!(matches!(
        follow(&version),
        Verdict::Bound {
            flag: Some(QueueReason::DuplicateUidDifferentContent),
            ..
        }
    ));
    assert_eq!(
        reason_of(judge(&version, &[])),
        QueueReason::DuplicateUidDifferentContent
    );
}

#[test]
fn images_without_an_order_say_where_they_come_from() {
    let imported = Origin::Import(organisation("006"));
    let verdict_of = verdict(&header(&[]), imported, None, &[], MatchingPolicy::default());
    assert_eq!(reason_of(verdict_of), QueueReason::OutsideImport);
    for (tag, text) in [
        (tags::PATIENT_NAME, "UNKNOWN^250310-1015"),
        (tags::PATIENT_NAME, "НЕИЗВЕСТНЫЙ^250310-1015"),
        (tags::PATIENT_ID, "T0000005724"),
    ] {
        let verdict = judge(&header(&[(tag, text)]), &[]);
        assert_eq!(
            reason_of(verdict),
            QueueReason::EmergencyUnregistered,
            "{text}"
        );
    }
}

#[test]
fn nothing_of_the_patient_is_shown_by_debug() {
    let header = header(&[(tags::PATIENT_NAME, "CANARY"), (tags::PATIENT_ID, "CANARY")]);
    assert!(!format!("{header:?} {:?}", order(ID)).contains("CANARY"));
    assert!(!format!("{:?}", order(ID)).contains("ZHEEN"));
}

proptest! {
    #[test]
    fn no_image_is_ever_bound_to_another_organisation_or_a_contradicting_patient(
        accession in prop_oneof![Just(ID), Just(OTHER_ID), Just(""), Just("250060004328")],
        patient_id in prop_oneof![Just("P0000005724"), Just("P0000000017"), Just(ID), Just("")],
        name in prop_oneof![Just("Jeenbekov^Uson"), Just("Ivanova^Anna"), Just("")],
        birth_date in prop_oneof![Just("19900101"), Just("19810203"), Just("")],
        foreign in any::<bool>(),
        binds_by_patient in any::<bool>(),
    ) {
        let header = header(&[
            (tags::ACCESSION_NUMBER, accession),
            (tags::PATIENT_ID, patient_id),
            (tags::PATIENT_NAME, name),
            (tags::PATIENT_BIRTH_DATE, birth_date),
        ]);
        let mut candidate = order(ID);
        if foreign {
            candidate.organisation = organisation("007");
        }
        let policy = MatchingPolicy { binds_by_patient };
        let got = verdict(&header, here(), None, &[candidate], policy);
        if let Verdict::Bound { .. } = got {
            prop_assert!(!foreign);
            prop_assert_ne!(patient_id, "P0000000017");
            let is_known = patient_id == "P0000005724";
            let is_other = name == "Ivanova^Anna" && birth_date == "19810203";
            prop_assert!(is_known || patient_id == ID || !is_other);
        }
    }
}
