//! What consoles ask for, and what they get.

use super::*;
use crate::decode::read_data_set;
use crate::device::{DeviceCharset, DeviceProfile, NameStyle, WorklistWindow};
use crate::encode::write_data_set;
use crate::limits::{DataSetLimits, QueryLimits};
use crate::patient::PatientNumber;
use crate::tag::{Tag, Vr, tags};
use crate::{Attributes, TransferSyntaxUid, Value};

const STEP: Tag = tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE;

fn syntax() -> TransferSyntaxUid {
    TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap()
}

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

fn item() -> WorklistItem {
    let examination = ExaminationId::parse("250060004329").unwrap();
    let day = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
    WorklistItem {
        examination,
        step: StepId::first(examination),
        planned_study: StudyUid::parse("2.25.77").unwrap(),
        scheduled_at: day.and_hms_opt(9, 5, 0).unwrap(),
        modality: "CT".into(),
        stations: Vec::new(),
        status: StepStatus::Scheduled,
        procedure: Procedure {
            description: Spelled::with_latin("КТ: грудная клетка «обзор»", "CT: chest"),
            codes: vec![Code {
                value: "CT-CHEST".into(),
                scheme: "99KGPACS".into(),
                meaning: Spelled::with_latin("КТ грудной клетки", "CT of chest"),
            }],
            reason: Spelled::new("Кашель, жөтөл"),
            location: Spelled::new("Каб. 5"),
            ..Procedure::default()
        },
        patient: WorklistPatient {
            key: PatientKey::Known(PatientNumber::from_serial(572).unwrap()),
            name: Spelled::new("Жээнбеков^Үсөн^Өмүрбекович"),
            pin: Pin::parse("21502190099901", day).ok(),
            birth_date: NaiveDate::from_ymd_opt(1900, 2, 15).map(Phi::new),
            sex: Some(Sex::Male),
            weight_g: Some(72_500),
            height_mm: Some(1_800),
            pregnancy: None,
            confidentiality: Spelled::default(),
            state: Spelled::default(),
            alerts: Spelled::default(),
            allergies: Spelled::new("йод"),
            special_needs: Spelled::default(),
            history: Spelled::default(),
        },
        institution: Institution {
            name: Spelled::with_latin("Чуйская областная больница", "Chui Oblast Hospital"),
            ..Institution::default()
        },
    }
}

fn profile(charset: DeviceCharset) -> DeviceProfile {
    DeviceProfile {
        charset,
        ..DeviceProfile::default()
    }
}

/// A query with these keys of the root and of the step.
fn query(root: &[(Tag, &str)], step: Option<&[(Tag, &str)]>) -> WorklistQuery {
    let fill = |keys: &[(Tag, &str)]| {
        let mut attributes = Attributes::new();
        for (tag, text) in keys {
            let vr = crate::tag::vr_of(*tag);
            if vr == Vr::SQ {
                attributes.insert(*tag, vr, Value::Items(Vec::new()));
            } else {
                attributes.insert_text(*tag, vr, *text);
            }
        }
        attributes
    };
    let mut identifier = fill(root);
    if let Some(step) = step {
        let items = if step.is_empty() {
            Vec::new()
        } else {
            vec![fill(step)]
        };
        identifier.insert(STEP, Vr::SQ, Value::Items(items));
    }
    let bytes = write_data_set(&identifier, &syntax()).unwrap();
    WorklistQuery::read(&bytes, &syntax(), &QueryLimits::default()).unwrap()
}

fn answered(query: &WorklistQuery, item: &WorklistItem) -> Option<Attributes> {
    let profile = profile(DeviceCharset::Utf8);
    query.answer(item, &profile, &title("CHUI_CT1"))
}

#[test]
fn every_attribute_can_be_asked_for_and_nothing_else_is_answered() {
    let all = WorklistKeys::all().to_identifier(&syntax()).unwrap();
    let everything = WorklistQuery::read(&all, &syntax(), &QueryLimits::default()).unwrap();
    assert!(!everything.has_unsupported_keys());
    let answer = answered(&everything, &item()).unwrap();
    assert_eq!(answer.len(), 38);
    assert_eq!(answer.items(STEP)[0].len(), 14);
    assert_eq!(answer.text(tags::ACCESSION_NUMBER), Some("250060004329"));
    assert_eq!(answer.text(tags::PATIENT_ID), Some("P0000005724"));
    assert_eq!(answer.text(tags::PATIENT_WEIGHT), Some("72.5"));
    assert_eq!(answer.text(tags::PATIENT_SIZE), Some("1.8"));
    let step = &answer.items(STEP)[0];
    let id = step.text(tags::SCHEDULED_PROCEDURE_STEP_ID);
    assert_eq!(id, Some("250060004329-01"));
    let station = step.text(tags::SCHEDULED_STATION_AE_TITLE);
    assert_eq!(station, Some("CHUI_CT1"));

    let few = query(&[(tags::PATIENT_NAME, "")], None);
    let tags: Vec<Tag> = answered(&few, &item())
        .unwrap()
        .iter()
        .map(|a| a.tag)
        .collect();
    assert_eq!(tags, [tags::PATIENT_NAME]);
}

#[test]
fn an_empty_step_sequence_is_answered_with_all_its_attributes() {
    let answer = answered(&query(&[], Some(&[])), &item()).unwrap();
    let step = &answer.items(STEP)[0];
    assert_eq!(step.len(), 14);
    assert_eq!(
        step.items(tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE)[0].len(),
        3
    );
    assert_eq!(step.text(tags::PRE_MEDICATION), Some(""));
}

#[test]
fn attributes_of_the_step_are_matched_in_its_item_alone() {
    let inside = |modality| query(&[], Some(&[(tags::MODALITY, modality)]));
    assert!(answered(&inside("CT"), &item()).is_some());
    assert!(answered(&inside("MR"), &item()).is_none());
    // Outside it is no attribute of the model.
    let outside = query(&[(tags::MODALITY, "MR")], Some(&[]));
    assert!(outside.has_unsupported_keys());
    assert!(answered(&outside, &item()).is_some());
}

#[test]
fn a_name_is_found_in_both_scripts_and_as_the_device_was_given_it() {
    let by_name = |text: &str| query(&[(tags::PATIENT_NAME, text)], None);
    for text in [
        "ZHEEN*",
        "zheenbekov^uson*",
        "ЖЭЭНБЕКОВ*",
        "жээнбеков^усон^?мурбекович",
        "*^Uson^*",
    ] {
        assert!(answered(&by_name(text), &item()).is_some(), "{text}");
    }
    for text in ["JEENBEKOV*", "ZHEENBEKOV", "*^ASAN*"] {
        assert!(answered(&by_name(text), &item()).is_none(), "{text}");
    }
    let short = DeviceProfile {
        name_chars_max: 16,
        ..DeviceProfile::default()
    };
    let given = by_name("").answer(&item(), &short, &title("CT1")).unwrap();
    let given = given.text(tags::PATIENT_NAME).unwrap();
    assert_eq!(given, "ZHEENBEKOV^USON");
    assert!(
        by_name(given)
            .answer(&item(), &short, &title("CT1"))
            .is_some()
    );
}

#[test]
fn every_condition_holds() {
    let root = |tag, text| query(&[(tag, text)], None);
    let step = |tag, text| query(&[], Some(&[(tag, text)]));
    let date = tags::SCHEDULED_PROCEDURE_STEP_START_DATE;
    let time = tags::SCHEDULED_PROCEDURE_STEP_START_TIME;
    for (query, is_meant) in [
        (root(tags::ACCESSION_NUMBER, "250060004329"), true),
        (root(tags::ACCESSION_NUMBER, "250060004330"), false),
        (root(tags::PATIENT_ID, "P0000005724"), true),
        (root(tags::PATIENT_ID, "P0000005725"), false),
        (root(tags::PATIENT_BIRTH_DATE, "19000215"), true),
        (root(tags::STUDY_INSTANCE_UID, "2.25.78"), false),
        (step(date, "20261126"), true),
        (step(date, "20261120-20261126"), true),
        (step(date, "-20261125"), false),
        (step(time, "0900-1000"), true),
        (step(time, "1000-"), false),
        (
            step(tags::SCHEDULED_PROCEDURE_STEP_STATUS, "SCHEDULED"),
            true,
        ),
        (
            step(tags::SCHEDULED_PROCEDURE_STEP_STATUS, "STARTED"),
            false,
        ),
        // Any device may make it.
        (step(tags::SCHEDULED_STATION_AE_TITLE, "CHUI_CT2"), true),
    ] {
        assert_eq!(answered(&query, &item()).is_some(), is_meant, "{query:?}");
    }
    let planned = WorklistItem {
        stations: vec![title("CHUI_CT1"), title("CHUI_CT2")],
        ..item()
    };
    for (station, is_meant) in [("CHUI_CT2", true), ("CHUI_CT1", true), ("CHUI_CT3", false)] {
        let query = step(tags::SCHEDULED_STATION_AE_TITLE, station);
        assert_eq!(answered(&query, &planned).is_some(), is_meant, "{station}");
    }
}

#[test]
fn what_worklists_do_not_have_or_do_not_match_is_told() {
    for (keys, told) in [
        (&[(tags::PATIENT_COMMENTS, "")][..], true),
        (&[(tags::INSTITUTION_NAME, "elsewhere")], true),
        (&[(tags::INSTITUTION_NAME, "")], false),
        (&[(tags::QUERY_RETRIEVE_LEVEL, "STUDY")], false),
        (&[(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 100")], false),
        (&[(Tag(0x0009, 0x1001), "")], true),
    ] {
        let query = query(keys, None);
        assert_eq!(query.has_unsupported_keys(), told, "{keys:?}");
        let answer = answered(&query, &item()).unwrap();
        assert!(answer.get(tags::PATIENT_COMMENTS).is_none());
        assert!(answer.get(tags::QUERY_RETRIEVE_LEVEL).is_none());
    }
}

#[test]
fn days_are_those_of_the_query_or_of_the_profile() {
    let day = |text| NaiveDate::parse_from_str(text, "%Y%m%d").unwrap();
    let today = day("20261126");
    let profile = DeviceProfile {
        window: WorklistWindow {
            days_back: 1,
            days_ahead: 7,
        },
        ..DeviceProfile::default()
    };
    let date = tags::SCHEDULED_PROCEDURE_STEP_START_DATE;
    for (text, first, last) in [
        ("", day("20261125"), day("20261203")),
        ("20261101", day("20261101"), day("20261101")),
        ("20261101-20261103", day("20261101"), day("20261103")),
        ("20261101-", day("20261101"), NaiveDate::MAX),
        ("20261101\\20261105", day("20261101"), day("20261105")),
    ] {
        let days = query(&[], Some(&[(date, text)])).days(&profile, today);
        assert_eq!((*days.start(), *days.end()), (first, last), "{text}");
    }
    let days = query(&[], None).days(&profile, today);
    assert_eq!(
        (*days.start(), *days.end()),
        (day("20261125"), day("20261203"))
    );
}

fn is_ascii(attributes: &Attributes) -> bool {
    attributes.iter().all(|attribute| match &attribute.value {
        Value::Items(items) => items.iter().all(is_ascii),
        Value::Suspect(text) | Value::Text(text) => text.is_ascii(),
    })
}

#[test]
fn an_ascii_device_gets_no_other_byte_and_no_character_set() {
    let keys = WorklistKeys::all().to_identifier(&syntax()).unwrap();
    let query = WorklistQuery::read(&keys, &syntax(), &QueryLimits::default()).unwrap();
    let profile = DeviceProfile {
        text_chars_max: 10,
        name_chars_max: 24,
        ..profile(DeviceCharset::Ascii)
    };
    let answer = query.answer(&item(), &profile, &title("CT1")).unwrap();
    let bytes = WorklistQuery::write_answer(&answer, &profile, &syntax()).unwrap();
    // The first element is Accession Number: there is no Specific Character Set.
    assert!(bytes.starts_with(&[8, 0, 0x50, 0]));
    assert!(is_ascii(&answer));
    let name = answer.text(tags::PATIENT_NAME).unwrap();
    assert_eq!(name, "ZHEENBEKOV^USON^O");
    let text = answer.text(tags::INSTITUTION_NAME).unwrap();
    assert_eq!(text, "Chui Oblas");
    assert_eq!(answer.text(tags::ALLERGIES), Some("IOD"));
}

#[test]
fn a_russian_device_gets_kyrgyz_letters_as_their_neighbours_without_a_question_mark() {
    let keys = WorklistKeys::all().to_identifier(&syntax()).unwrap();
    let query = WorklistQuery::read(&keys, &syntax(), &QueryLimits::default()).unwrap();
    let profile = profile(DeviceCharset::Cyrillic);
    let answer = query.answer(&item(), &profile, &title("CT1")).unwrap();
    let bytes = WorklistQuery::write_answer(&answer, &profile, &syntax()).unwrap();
    let read = read_data_set(&bytes, &syntax(), &DataSetLimits::default()).unwrap();
    assert_eq!(read, answer);
    assert!(bytes.windows(10).any(|window| window == b"ISO_IR 144"));
    assert_eq!(
        read.text(tags::PATIENT_NAME),
        Some("Жээнбеков^Усон^Омурбекович")
    );
    let description = read.text(tags::REQUESTED_PROCEDURE_DESCRIPTION).unwrap();
    assert_eq!(description, "КТ: грудная клетка \"обзор\"");
    let reason = read.text(tags::REASON_FOR_THE_REQUESTED_PROCEDURE);
    assert_eq!(reason, Some("Кашель, жотол"));
}

#[test]
fn kyrgyz_letters_survive_on_a_device_that_has_them() {
    let query = query(&[(tags::PATIENT_NAME, "")], None);
    let mut profile = profile(DeviceCharset::Utf8);
    let written = |profile: &DeviceProfile| {
        let answer = query.answer(&item(), profile, &title("CT1")).unwrap();
        let bytes = WorklistQuery::write_answer(&answer, profile, &syntax()).unwrap();
        let read = read_data_set(&bytes, &syntax(), &DataSetLimits::default()).unwrap();
        read.text(tags::PATIENT_NAME).unwrap().to_owned()
    };
    assert_eq!(written(&profile), "Жээнбеков^Үсөн^Өмүрбекович");
    profile.name_style = NameStyle::LatinAndOwn;
    assert_eq!(
        written(&profile),
        "ZHEENBEKOV^USON^OMURBEKOVICH=Жээнбеков^Үсөн^Өмүрбекович"
    );
    profile.name_style = NameStyle::Latin;
    assert_eq!(written(&profile), "ZHEENBEKOV^USON^OMURBEKOVICH");
}

#[test]
fn the_pin_goes_to_devices_that_are_to_have_it_alone() {
    let query = query(&[(tags::OTHER_PATIENT_I_DS_SEQUENCE, "")], None);
    let mut profile = profile(DeviceCharset::Utf8);
    let others = |profile: &DeviceProfile| {
        let answer = query.answer(&item(), profile, &title("CT1")).unwrap();
        answer.items(tags::OTHER_PATIENT_I_DS_SEQUENCE).to_vec()
    };
    assert!(others(&profile).is_empty());
    profile.send_pin = true;
    let [pin] = &others(&profile)[..] else {
        panic!("one identifier");
    };
    assert_eq!(pin.text(tags::PATIENT_ID), Some("21502190099901"));
    assert_eq!(pin.text(tags::ISSUER_OF_PATIENT_ID), Some("KG-PIN"));
}

#[test]
fn names_get_shorter_at_their_components() {
    for (chars_max, expected) in [
        (64, "ZHEENBEKOV^USON^OMURBEKOVICH"),
        (27, "ZHEENBEKOV^USON^O"),
        (16, "ZHEENBEKOV^USON"),
        (14, "ZHEENBEKOV^U"),
        (11, "ZHEENBEKOV"),
        (5, "ZHEEN"),
    ] {
        let profile = DeviceProfile {
            name_chars_max: chars_max,
            ..DeviceProfile::default()
        };
        let name = spelling::name(&item().patient.name, &profile);
        assert_eq!(name, expected, "{chars_max}");
    }
    let hostile = Spelled::with_latin("", "A\\B=C^D\u{7}E");
    let name = spelling::name(&hostile, &DeviceProfile::default());
    assert_eq!(name, "A B C^D E");
}

#[test]
fn nothing_of_the_patient_is_shown() {
    let shown = format!("{:?}", item());
    for part in ["Жээнбеков", "21502190099901", "1900", "йод"] {
        assert!(!shown.contains(part), "{part}");
    }
}

#[test]
fn what_is_asked_can_be_recorded() {
    let query = query(
        &[(tags::PATIENT_NAME, "ZHEEN*"), (tags::PATIENT_ID, "")],
        Some(&[(tags::MODALITY, "CT")]),
    );
    let described = query.describe();
    assert_eq!(described.reveal(), "PatientName=ZHEEN*; Modality=CT");
}
