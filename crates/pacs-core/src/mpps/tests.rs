//! What a device tells, and what becomes of it.

use super::*;
use crate::examination::ExaminationId;
use crate::tag::{Vr, vr_of};

fn with(base: &Attributes, changes: &[(Tag, &str)]) -> Attributes {
    let mut attributes = base.clone();
    for (tag, text) in changes {
        attributes.insert_text(*tag, vr_of(*tag), *text);
    }
    attributes
}

fn items(base: &Attributes, tag: Tag, items: &[Attributes]) -> Attributes {
    let mut attributes = base.clone();
    attributes.insert(tag, Vr::SQ, Value::Items(items.to_vec()));
    attributes
}

fn scheduled() -> Attributes {
    with(
        &Attributes::new(),
        &[
            (tags::STUDY_INSTANCE_UID, "2.25.77"),
            (tags::ACCESSION_NUMBER, "250060004329"),
        ],
    )
}

fn begun() -> Attributes {
    let attributes = with(
        &Attributes::new(),
        &[
            (tags::MODALITY, "CT"),
            (tags::PATIENT_NAME, "A^B"),
            (tags::PERFORMED_STATION_AE_TITLE, "CHUI_CT1"),
            (tags::PERFORMED_PROCEDURE_STEP_START_DATE, "20261126"),
            (tags::PERFORMED_PROCEDURE_STEP_START_TIME, "090500"),
            (tags::PERFORMED_PROCEDURE_STEP_STATUS, "IN PROGRESS"),
            (tags::PERFORMED_PROCEDURE_STEP_ID, "1"),
        ],
    );
    items(
        &attributes,
        tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE,
        &[scheduled()],
    )
}

fn series(instances: &[&str]) -> Attributes {
    let series = with(
        &Attributes::new(),
        &[
            (tags::SERIES_INSTANCE_UID, "1.2.3"),
            (tags::PROTOCOL_NAME, "chest"),
        ],
    );
    let references: Vec<Attributes> = instances
        .iter()
        .map(|uid| {
            with(
                &Attributes::new(),
                &[
                    (tags::REFERENCED_SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.2"),
                    (tags::REFERENCED_SOP_INSTANCE_UID, uid),
                ],
            )
        })
        .collect();
    items(&series, tags::REFERENCED_IMAGE_SEQUENCE, &references)
}

fn ended(status: &str) -> Attributes {
    let end = with(
        &Attributes::new(),
        &[
            (tags::PERFORMED_PROCEDURE_STEP_STATUS, status),
            (tags::PERFORMED_PROCEDURE_STEP_END_DATE, "20261126"),
            (tags::PERFORMED_PROCEDURE_STEP_END_TIME, "091500"),
        ],
    );
    let made = series(&["1.2.3.1", "1.2.3.2", "1.2.3.1"]);
    items(&end, tags::PERFORMED_SERIES_SEQUENCE, &[made])
}

fn broken_off(code: &str) -> Attributes {
    let code = with(
        &Attributes::new(),
        &[
            (tags::CODE_VALUE, code),
            (tags::CODING_SCHEME_DESIGNATOR, "DCM"),
            (tags::CODE_MEANING, "why"),
        ],
    );
    let tag = tags::PERFORMED_PROCEDURE_STEP_DISCONTINUATION_REASON_CODE_SEQUENCE;
    items(&ended("DISCONTINUED"), tag, &[code])
}

#[test]
fn a_step_begins_goes_on_and_ends_with_the_instances_that_it_named() {
    let step = ProcedureStep::create(begun()).unwrap();
    assert_eq!(step.state(), StepState::InProgress);
    let examination = ExaminationId::parse("250060004329").ok();
    assert_eq!(step.scheduled()[0].examination, examination);
    assert_eq!(step.modality(), "CT");
    assert_eq!(step.station().unwrap().as_str(), "CHUI_CT1");

    let more = items(
        &Attributes::new(),
        tags::PERFORMED_SERIES_SEQUENCE,
        &[series(&["1.2.3.1"])],
    );
    let (step, kept) = step.set(&more).unwrap();
    assert_eq!((step.state(), kept.len()), (StepState::InProgress, 0));

    let (step, _) = step.set(&ended("COMPLETED")).unwrap();
    assert_eq!(step.state(), StepState::Completed);
    let instances = step.instances();
    let uids: Vec<&str> = instances
        .iter()
        .map(|made| made.reference.sop_instance.as_str())
        .collect();
    assert_eq!(uids, ["1.2.3.1", "1.2.3.2"]);
    let kept = ProcedureStep::kept(step.attributes().clone());
    assert_eq!(kept, Some(step));
    assert_eq!(ProcedureStep::kept(Attributes::new()), None);
}

#[test]
fn after_the_end_nothing_changes() {
    let step = ProcedureStep::create(begun()).unwrap();
    for status in ["COMPLETED", "DISCONTINUED"] {
        let (ended_step, _) = step.set(&ended(status)).unwrap();
        for again in [ended("COMPLETED"), Attributes::new()] {
            let refused = ended_step.set(&again).unwrap_err();
            assert_eq!(refused, Refusal::Final);
            assert_eq!(
                (refused.status(), refused.error_id()),
                (0x0110, Some(0xa710))
            );
        }
    }
}

#[test]
fn a_step_that_lacks_what_it_needs_is_refused_by_its_tag() {
    for tag in AT_BEGIN {
        let mut without = begun();
        without.retain(|attribute| attribute.tag != tag);
        let refused = ProcedureStep::create(without).unwrap_err();
        assert_eq!(refused, Refusal::Missing { tag });
        assert_eq!(refused.status(), 0x0120);
        let empty = with(&begun(), &[(tag, "")]);
        let refused = ProcedureStep::create(empty).unwrap_err();
        assert_eq!(refused, Refusal::MissingValue { tag });
        assert_eq!(refused.status(), 0x0121);
    }
    let tag = tags::PERFORMED_PROCEDURE_STEP_STATUS;
    for status in ["COMPLETED", "in progress", "STARTED"] {
        let refused = ProcedureStep::create(with(&begun(), &[(tag, status)])).unwrap_err();
        assert_eq!(refused, Refusal::Invalid { tag });
        assert_eq!(refused.status(), 0x0106);
    }
    let tag = tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE;
    let refused = ProcedureStep::create(items(&begun(), tag, &[])).unwrap_err();
    assert_eq!(refused, Refusal::MissingValue { tag });
    let refused = ProcedureStep::create(items(&begun(), tag, &[Attributes::new()])).unwrap_err();
    assert_eq!(refused, Refusal::MissingValue { tag });
}

#[test]
fn a_step_does_not_end_without_a_series_or_a_time() {
    let step = ProcedureStep::create(begun()).unwrap();
    for status in ["COMPLETED", "DISCONTINUED"] {
        for tag in [
            tags::PERFORMED_SERIES_SEQUENCE,
            tags::PERFORMED_PROCEDURE_STEP_END_DATE,
            tags::PERFORMED_PROCEDURE_STEP_END_TIME,
        ] {
            let mut without = ended(status);
            without.retain(|attribute| attribute.tag != tag);
            assert_eq!(
                step.set(&without),
                Err(Refusal::Missing { tag }),
                "{status}"
            );
        }
    }
    let tag = tags::PERFORMED_SERIES_SEQUENCE;
    let empty = items(&ended("COMPLETED"), tag, &[]);
    assert_eq!(step.set(&empty), Err(Refusal::MissingValue { tag }));
    let nameless = items(&ended("COMPLETED"), tag, &[Attributes::new()]);
    assert_eq!(step.set(&nameless), Err(Refusal::MissingValue { tag }));
    assert_eq!(step.state(), StepState::InProgress);
}

#[test]
fn what_may_not_change_stays_and_is_told_unless_it_is_repeated() {
    let step = ProcedureStep::create(begun()).unwrap();
    let repeated = with(&Attributes::new(), &[(tags::PATIENT_NAME, "A^B")]);
    assert_eq!(step.set(&repeated).unwrap().1, []);
    let empty = with(&Attributes::new(), &[(tags::PATIENT_NAME, "")]);
    let (next, kept) = step.set(&empty).unwrap();
    assert_eq!(
        (next.attributes().text(tags::PATIENT_NAME), kept.len()),
        (Some("A^B"), 0)
    );
    let other = with(&ended("COMPLETED"), &[(tags::PATIENT_NAME, "C^D")]);
    let (next, kept) = step.set(&other).unwrap();
    assert_eq!(kept, [tags::PATIENT_NAME]);
    assert_eq!(next.attributes().text(tags::PATIENT_NAME), Some("A^B"));
    assert_eq!(next.state(), StepState::Completed);
}

#[test]
fn the_reason_for_breaking_off_says_what_becomes_of_the_examination() {
    let step = ProcedureStep::create(begun()).unwrap();
    for (code, meant) in [
        ("110514", Discontinuation::IncorrectWorklistEntry),
        ("110507", Discontinuation::NotNow),
        ("110505", Discontinuation::NotNow),
        ("110508", Discontinuation::NotNow),
        ("110510", Discontinuation::Other),
        ("999999", Discontinuation::Other),
    ] {
        let (broken, _) = step.set(&broken_off(code)).unwrap();
        assert_eq!(broken.discontinuation(), meant, "{code}");
        let reason = broken.discontinuation_reason().unwrap();
        assert_eq!(reason.reveal(), format!("DCM {code} why"));
    }
    let (broken, _) = step.set(&ended("DISCONTINUED")).unwrap();
    assert_eq!(broken.discontinuation(), Discontinuation::Other);
    assert_eq!(broken.discontinuation_reason(), None);
    let meaning = discontinuation_meaning("110514");
    assert_eq!(meaning, Some("Incorrect worklist entry selected"));
}

#[test]
fn the_examination_is_found_where_the_device_repeats_it() {
    let step = |changes: &[(Tag, &str)]| {
        let item = with(
            &with(&Attributes::new(), &[(tags::STUDY_INSTANCE_UID, "2.25.77")]),
            changes,
        );
        let tag = tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE;
        let step = ProcedureStep::create(items(&begun(), tag, &[item])).unwrap();
        step.scheduled()[0].examination
    };
    let id = ExaminationId::parse("250060004329").ok();
    for (changes, expected) in [
        (&[][..], None),
        (&[(tags::ACCESSION_NUMBER, "17")], None),
        (&[(tags::REQUESTED_PROCEDURE_ID, "250060004329")], id),
        (
            &[(tags::SCHEDULED_PROCEDURE_STEP_ID, "250060004329-01")],
            id,
        ),
    ] {
        assert_eq!(step(changes), expected, "{changes:?}");
    }
}
