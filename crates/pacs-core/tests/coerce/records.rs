//! What changes, and what Original Attributes say of it.

use super::*;

#[test]
fn changed_attributes_stand_in_order_and_previous_values_in_original_attributes() {
    let pixels = leaf(tags::PIXEL_DATA, Vr::OB, [1, 2, 3, 4]);
    let nodes = vec![
        leaf(tags::MODALITY, Vr::CS, "CT"),
        leaf(tags::PATIENT_NAME, Vr::PN, "WRONG^NAME"),
        leaf(tags::PATIENT_ID, Vr::LO, "17"),
        leaf(tags::PATIENT_SEX, Vr::CS, "M"),
        leaf(tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3"),
        pixels.clone(),
    ];
    let mut wanted = vec![utf_8(), leaf(tags::MODALITY, Vr::CS, "CT")];
    wanted.extend(plain_elements());
    let record = original(
        vec![
            leaf(tags::PATIENT_NAME, Vr::PN, "WRONG^NAME"),
            leaf(tags::PATIENT_ID, Vr::LO, "17"),
            // They were absent.
            leaf(tags::ISSUER_OF_PATIENT_ID, Vr::LO, ""),
            leaf(tags::PATIENT_BIRTH_DATE, Vr::DA, ""),
        ],
        vec![],
    );
    wanted.extend([
        leaf(tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3"),
        sequence(tags::ORIGINAL_ATTRIBUTES_SEQUENCE, vec![record]),
        pixels,
    ]);
    for form in FORMS {
        let (out, outcome) = coerced(&write(form, &nodes), form, &plain_overlay()).unwrap();
        assert_eq!(out, write(form, &wanted), "{form:?}");
        let changed = [
            tags::PATIENT_NAME,
            tags::PATIENT_ID,
            tags::ISSUER_OF_PATIENT_ID,
            tags::PATIENT_BIRTH_DATE,
        ];
        assert_eq!(outcome.changed, changed);
        assert_eq!(outcome.guessed_texts, 0);
        // A second time there is nothing to change.
        let (again, outcome) = coerced(&out, form, &plain_overlay()).unwrap();
        assert_eq!(again, out, "{form:?}");
        assert_eq!(outcome, Outcome::default());
    }
}

#[test]
fn an_empty_data_set_gets_all_of_it() {
    let mut wanted = vec![utf_8()];
    wanted.extend(plain_elements());
    let absent = [
        (tags::PATIENT_NAME, Vr::PN),
        (tags::PATIENT_ID, Vr::LO),
        (tags::ISSUER_OF_PATIENT_ID, Vr::LO),
        (tags::PATIENT_BIRTH_DATE, Vr::DA),
        (tags::PATIENT_SEX, Vr::CS),
    ];
    let absent = absent.map(|(tag, vr)| leaf(tag, vr, "")).to_vec();
    wanted.push(sequence(
        tags::ORIGINAL_ATTRIBUTES_SEQUENCE,
        vec![original(absent, vec![])],
    ));
    for form in FORMS {
        let (out, _) = coerced(&[], form, &plain_overlay()).unwrap();
        assert_eq!(out, write(form, &wanted), "{form:?}");
    }
}

#[test]
fn a_value_longer_than_its_vr_permits_is_nonconforming() {
    let long = [b'7'; 66];
    let mut nodes = plain_elements();
    nodes[0] = leaf(tags::PATIENT_NAME, Vr::PN, "A^B");
    nodes[1] = leaf(tags::PATIENT_ID, Vr::LO, long);
    let (out, _) = coerced(
        &write(Form::Explicit, &nodes),
        Form::Explicit,
        &plain_overlay(),
    )
    .unwrap();
    let name = leaf(tags::PATIENT_NAME, Vr::PN, "A^B");
    let record = original(vec![name], vec![(tags::PATIENT_ID, &long)]);
    let mut wanted = plain_elements();
    wanted.insert(0, utf_8());
    wanted.push(sequence(tags::ORIGINAL_ATTRIBUTES_SEQUENCE, vec![record]));
    assert_eq!(out, write(Form::Explicit, &wanted));
}

#[test]
fn a_sequence_that_says_what_is_wanted_and_more_stays() {
    let order = Order {
        referring_physician: None,
        study_description: None,
        procedure_codes: Vec::new(),
        request: Request {
            description: None,
            codes: Vec::new(),
            ..overlays::order().request
        },
        further_requests: Vec::new(),
    };
    let overlay = Arc::new(Overlay::new(change()).with_order(&order).unwrap());
    let issuer = || {
        let name = leaf(tags::LOCAL_NAMESPACE_ENTITY_ID, Vr::UT, "KGPACS");
        sequence(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, vec![vec![name]])
    };
    let said = |request: &str, items: usize| {
        let item = vec![
            leaf(tags::ACCESSION_NUMBER, Vr::SH, "250060004329"),
            issuer(),
            leaf(
                tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION,
                Vr::LO,
                "By the device",
            ),
            leaf(tags::SCHEDULED_PROCEDURE_STEP_ID, Vr::SH, "250060004329-01"),
            leaf(tags::REQUESTED_PROCEDURE_ID, Vr::SH, request),
        ];
        write(
            Form::Explicit,
            &[
                leaf(tags::ACCESSION_NUMBER, Vr::SH, "250060004329"),
                issuer(),
                leaf(tags::STUDY_ID, Vr::SH, "250060004329"),
                sequence(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![item; items]),
            ],
        )
    };
    let changed = |bytes: &[u8]| coerced(bytes, Form::Explicit, &overlay).unwrap().1.changed;
    assert_eq!(changed(&said("250060004329", 1)), []);
    for other in [said("250060004328", 1), said("250060004329", 2)] {
        assert_eq!(changed(&other), [tags::REQUEST_ATTRIBUTES_SEQUENCE]);
    }
}

#[test]
fn identifiers_that_nobody_gave_are_left_out() {
    let qualifiers = tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE;
    let others = tags::OTHER_PATIENT_I_DS_SEQUENCE;
    let item = || vec![vec![leaf(tags::PATIENT_ID, Vr::LO, "99")]];
    let mut nodes = plain_elements();
    nodes.insert(3, measured(qualifiers, vec![vec![]]));
    nodes.push(measured(others, item()));
    nodes[0] = leaf(tags::PATIENT_NAME, Vr::PN, "A^B");
    let (out, outcome) = coerced(
        &write(Form::Explicit, &nodes),
        Form::Explicit,
        &plain_overlay(),
    )
    .unwrap();
    assert_eq!(outcome.changed, [tags::PATIENT_NAME, qualifiers, others]);
    let record = original(
        vec![
            leaf(tags::PATIENT_NAME, Vr::PN, "A^B"),
            sequence(qualifiers, vec![vec![]]),
            sequence(others, item()),
        ],
        vec![],
    );
    let mut wanted = plain_elements();
    wanted.insert(0, utf_8());
    wanted.push(sequence(tags::ORIGINAL_ATTRIBUTES_SEQUENCE, vec![record]));
    assert_eq!(out, write(Form::Explicit, &wanted));
}

#[test]
fn what_is_not_known_of_a_patient_is_written_empty() {
    let unknown = Demographics {
        birth_date: None,
        sex: None,
        ..plain_patient()
    };
    let overlay = Arc::new(Overlay::new(change()).with_patient(&unknown).unwrap());
    let mut nodes = plain_elements();
    nodes.insert(0, utf_8());
    let (out, outcome) = coerced(&write(Form::Explicit, &nodes), Form::Explicit, &overlay).unwrap();
    assert_eq!(
        outcome.changed,
        [tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX]
    );
    let dates = texts(&out, Form::Explicit, tags::PATIENT_BIRTH_DATE);
    assert_eq!(dates, ["", "19900131"]);
    // Absent and empty are the same.
    nodes.truncate(4);
    assert_eq!(
        coerced(&write(Form::Explicit, &nodes), Form::Explicit, &overlay)
            .unwrap()
            .1,
        Outcome::default()
    );
}

#[test]
fn a_correction_by_a_person_says_so() {
    let at = chrono::DateTime::parse_from_rfc3339("2026-11-26T09:30:00+06:00").unwrap();
    let change = Change::new(Reason::Correct, at).by_system("OTHER").unwrap();
    let overlay = Overlay::new(change).with_patient(&plain_patient()).unwrap();
    let (out, _) = coerced(&[], Form::Implicit, &Arc::new(overlay)).unwrap();
    let text = |tag| texts(&out, Form::Implicit, tag);
    assert_eq!(
        text(tags::REASON_FOR_THE_ATTRIBUTE_MODIFICATION),
        ["CORRECT"]
    );
    assert_eq!(text(tags::MODIFYING_SYSTEM), ["OTHER"]);
    assert_eq!(text(tags::SOURCE_OF_PREVIOUS_VALUES), [""]);
    assert_eq!(text(tags::ATTRIBUTE_MODIFICATION_DATE_TIME), [CHANGED_AT]);
}
