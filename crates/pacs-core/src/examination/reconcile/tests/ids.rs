//! What IDs and planned UIDs say.

use super::*;
use crate::attributes::Value;
use crate::tag::Vr;

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
        let header = StudyHeader::of(&instance(attributes), organisation("006"));
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
        (QueueReason::IdCancelled, vec![])
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
fn two_orders_that_are_named_are_a_question() {
    let orders = [order(ID), other()];
    for texts in [
        [(tags::PATIENT_ID, ID), (tags::STUDY_ID, OTHER_ID)],
        [(tags::ACCESSION_NUMBER, ID), (tags::STUDY_ID, OTHER_ID)],
    ] {
        let (reason, suggested) = queued(judge(&header(&texts), &orders));
        assert_eq!((reason, suggested.len()), (QueueReason::Ambiguous, 2));
    }
    let mut planned = order(ID);
    planned.planned_study = StudyUid::parse("1.2.3").unwrap();
    let of_other = header(&[(tags::ACCESSION_NUMBER, OTHER_ID)]);
    assert_eq!(
        reason_of(judge(&of_other, &[planned, other()])),
        QueueReason::Ambiguous
    );

    // What speaks against one of them decides for the other, unless it stands in its right place.
    let mut unfit = other();
    unfit.kind = Kind::Mr;
    let decided = header(&[(tags::ACCESSION_NUMBER, ID), (tags::STUDY_ID, OTHER_ID)]);
    let orders = [order(ID), unfit];
    assert_eq!(judge(&decided, &orders), bound(Rule::AccessionNumber));
    let doubtful = header(&[(tags::ACCESSION_NUMBER, OTHER_ID), (tags::STUDY_ID, ID)]);
    let reason = reason_of(judge(&doubtful, &orders));
    assert_eq!(reason, QueueReason::ModalityMismatch);

    // The ID of another order in Patient ID says nothing for the one in its place.
    let mut of_another_person = other();
    of_another_person.person = Person::default();
    let stale = header(&[
        (tags::ACCESSION_NUMBER, ID),
        (tags::PATIENT_ID, OTHER_ID),
        (tags::PATIENT_NAME, "Ivanova^Anna"),
        (tags::PATIENT_BIRTH_DATE, "19810203"),
    ]);
    let reason = reason_of(judge(&stale, &[order(ID), of_another_person]));
    assert_eq!(reason, QueueReason::Conflict);
}

#[test]
fn an_id_in_a_wrong_field_does_not_overrule_what_was_typed_in_the_right_one() {
    let mut elsewhere = other();
    elsewhere.organisation = organisation("007");
    let suggested = vec![(ID.to_owned(), Rule::IdInWrongField(HeaderField::StudyId))];
    for (typed, candidates, reason) in [
        ("250060004328", vec![order(ID)], QueueReason::BadCheckDigit),
        (OTHER_ID, vec![order(ID)], QueueReason::IdNotFound),
        (OTHER_ID, vec![order(ID), elsewhere], QueueReason::OtherOrg),
    ] {
        // In Study ID stands what the patient before had.
        let left = header(&[(tags::ACCESSION_NUMBER, typed), (tags::STUDY_ID, ID)]);
        let found = queued(judge(&left, &candidates));
        assert_eq!(found, (reason, suggested.clone()), "{typed}");
    }
    for other in ["", "A-17"] {
        let header = header(&[(tags::ACCESSION_NUMBER, other), (tags::STUDY_ID, ID)]);
        let rule = Rule::IdInWrongField(HeaderField::StudyId);
        assert_eq!(judge(&header, &[order(ID)]), bound(rule), "{other}");
    }
}

#[test]
fn a_number_that_is_older_than_its_order_is_not_its_id() {
    let mut late = order(ID);
    late.ordered_at = "2025-03-11T10:15:01".parse().unwrap();
    let in_study_id = header(&[(tags::STUDY_ID, ID)]);
    let reason = reason_of(judge(&in_study_id, &[late.clone()]));
    assert_eq!(reason, QueueReason::BeforeOrder);
    // In its right place it was typed: the clock of the device is wrong.
    let typed = header(&[(tags::ACCESSION_NUMBER, ID)]);
    assert_eq!(judge(&typed, &[late]), bound(Rule::AccessionNumber));
}

#[test]
fn an_accession_number_of_another_system_is_no_id() {
    for (issuer, is_ours) in [("HIS", false), ("KGPACS", true), ("", true)] {
        let mut item = Attributes::default();
        item.insert_text(tags::LOCAL_NAMESPACE_ENTITY_ID, Vr::UT, issuer);
        let mut attributes = Attributes::default();
        attributes.insert_text(tags::ACCESSION_NUMBER, Vr::SH, ID);
        let sequence = tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE;
        attributes.insert(sequence, Vr::SQ, Value::Items(vec![item]));
        let header = StudyHeader::of(&instance(attributes), organisation("006"));
        assert_eq!(header.ids().count() == 1, is_ours, "{issuer}");
    }
    // The suffix of a step is not in its place, and understood.
    let step = header(&[(tags::ACCESSION_NUMBER, "250060004329-01")]);
    assert_eq!(judge(&step, &[order(ID)]), bound(Rule::AccessionNumber));
}
