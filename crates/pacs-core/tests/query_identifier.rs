//! Identifiers become queries and queries identifiers, in every encoding; what is wrong is refused
//! by name.

#![allow(clippy::unwrap_used, reason = "what fails in a test says so")]
#![allow(clippy::panic, reason = "what fails in a test says so")]

#[path = "query_identifier/random.rs"]
mod random;

use pacs_core::encode::write_data_set;
use pacs_core::limits::QueryLimits;
use pacs_core::matching::matches;
use pacs_core::query::{Level, Matching, Model, Query, QueryError};
use pacs_core::tag::{Tag, Vr, tags};
use pacs_core::{Attributes, TransferSyntaxUid, Uid, Value};

const SYNTAXES: [&str; 4] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
];

fn syntax(uid: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(uid).unwrap()
}

fn explicit() -> TransferSyntaxUid {
    syntax("1.2.840.10008.1.2.1")
}

/// An identifier at `level` with these texts.
fn identifier(level: &str, keys: &[(Tag, Vr, &str)]) -> Vec<u8> {
    let mut attributes = Attributes::new();
    attributes.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, level);
    for (tag, vr, text) in keys {
        attributes.insert_text(*tag, *vr, *text);
    }
    write_data_set(&attributes, &explicit()).unwrap()
}

fn find(bytes: &[u8], model: Model, relational: bool) -> Result<Query, QueryError> {
    Query::from_identifier(
        bytes,
        &explicit(),
        model,
        relational,
        &QueryLimits::default(),
    )
}

fn retrieve(bytes: &[u8], model: Model, relational: bool) -> Result<Query, QueryError> {
    Query::for_retrieve(
        bytes,
        &explicit(),
        model,
        relational,
        &QueryLimits::default(),
    )
}

/// How a key of a study query is understood.
fn understood(tag: Tag, vr: Vr, text: &str) -> Result<Matching, QueryError> {
    let query = find(
        &identifier("STUDY", &[(tag, vr, text)]),
        Model::StudyRoot,
        false,
    )?;
    assert_eq!(query.keys.len(), 1);
    Ok(query.keys[0].matching.clone())
}

fn single(text: &str) -> Matching {
    Matching::SingleValue(text.to_owned())
}

fn wild(text: &str) -> Matching {
    Matching::WildCard(text.to_owned())
}

fn range(from: Option<&str>, to: Option<&str>) -> Matching {
    Matching::Range {
        from: from.map(ToOwned::to_owned),
        to: to.map(ToOwned::to_owned),
    }
}

#[test]
fn the_kind_of_matching_follows_from_vr_and_value() {
    let uid = |text| Uid::parse(text).unwrap();
    let cases = [
        (tags::PATIENT_NAME, Vr::PN, "", Matching::Universal),
        (tags::PATIENT_NAME, Vr::PN, "**", Matching::Universal),
        (tags::PATIENT_NAME, Vr::PN, "^^", Matching::Universal),
        (
            tags::PATIENT_NAME,
            Vr::PN,
            "Иванов^Иван",
            single("Иванов^Иван"),
        ),
        (tags::PATIENT_NAME, Vr::PN, "??????^*", wild("??????^*")),
        (tags::PATIENT_ID, Vr::LO, " P1 ", single("P1")),
        (
            tags::PATIENT_ID,
            Vr::LO,
            "P1\\P?",
            Matching::AnyOf(vec![single("P1"), wild("P?")]),
        ),
        (tags::PATIENT_ID, Vr::LO, "P1\\*", Matching::Universal),
        (tags::MODALITIES_IN_STUDY, Vr::CS, "CT\\", single("CT")),
        (tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3", single("1.2.3")),
        (tags::STUDY_INSTANCE_UID, Vr::UI, "*", Matching::Universal),
        (
            tags::STUDY_INSTANCE_UID,
            Vr::UI,
            "1.2.3\\1.2.4",
            Matching::UidList(vec![uid("1.2.3"), uid("1.2.4")]),
        ),
        (tags::STUDY_DATE, Vr::DA, "20260101", single("20260101")),
        (
            tags::STUDY_DATE,
            Vr::DA,
            "20260101-",
            range(Some("20260101"), None),
        ),
        (
            tags::STUDY_DATE,
            Vr::DA,
            "-2026.01.31",
            range(None, Some("2026.01.31")),
        ),
        (tags::STUDY_DATE, Vr::DA, "-", Matching::Universal),
        (tags::STUDY_DATE, Vr::DA, "*", Matching::Universal),
        (
            tags::STUDY_TIME,
            Vr::TM,
            "0900-1000",
            range(Some("0900"), Some("1000")),
        ),
        (
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
            Vr::IS,
            "007",
            single("007"),
        ),
        (tags::PATIENT_SIZE, Vr::DS, "-1.5", single("-1.5")),
    ];
    for (tag, vr, text, expected) in cases {
        assert!(
            understood(tag, vr, text).unwrap() == expected,
            "{tag} {text}"
        );
    }
}

#[test]
fn a_value_that_is_none_of_its_vr_is_refused_by_its_tag() {
    let cases = [
        (tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.*"),
        (tags::STUDY_INSTANCE_UID, Vr::UI, "../../etc"),
        (tags::STUDY_DATE, Vr::DA, "2026"),
        (tags::STUDY_DATE, Vr::DA, "2026????"),
        (tags::STUDY_DATE, Vr::DA, "20260131-20260101"),
        (tags::STUDY_DATE, Vr::DA, "20260101-20260102-"),
        (tags::STUDY_TIME, Vr::TM, "2500"),
        (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, Vr::IS, "1*"),
    ];
    for (tag, vr, text) in cases {
        let refused = understood(tag, vr, text);
        let named = matches!(refused, Err(QueryError::Value { tag: named }) if named == tag);
        assert!(named, "{tag} {text}: {refused:?}");
        let shown = format!("{} {refused:?}", refused.as_ref().unwrap_err());
        assert!(!shown.contains(text), "{shown}");
    }
}

#[test]
fn the_dictionary_says_how_a_key_matches_whatever_vr_is_written() {
    let name = understood(tags::PATIENT_NAME, Vr::UN, "ivanov*").unwrap();
    assert!(name == wild("ivanov*"));
    let date = understood(tags::STUDY_DATE, Vr::LO, "20260101-").unwrap();
    assert!(date == range(Some("20260101"), None));
}

#[test]
fn levels_are_those_of_the_model() {
    let cases = [
        ("STUDY", Model::StudyRoot, Some(Level::Study)),
        ("STUDY ", Model::StudyRoot, Some(Level::Study)),
        ("series", Model::StudyRoot, Some(Level::Series)),
        ("IMAGE", Model::PatientRoot, Some(Level::Instance)),
        ("PATIENT", Model::PatientRoot, Some(Level::Patient)),
        ("PATIENT", Model::StudyRoot, None),
        ("INSTANCE", Model::StudyRoot, None),
        ("", Model::StudyRoot, None),
    ];
    for (text, model, expected) in cases {
        match (find(&identifier(text, &[]), model, true), expected) {
            (Ok(query), Some(level)) => assert_eq!(query.level, level, "{text}"),
            (Err(QueryError::Level), None) => {}
            (other, _) => panic!("{text} {model:?}: {other:?}"),
        }
    }
    assert!(matches!(
        find(b"", Model::StudyRoot, true),
        Err(QueryError::Level)
    ));
}

#[test]
fn a_hierarchical_query_names_what_is_above() {
    let study = (tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3");
    let series = (tags::SERIES_INSTANCE_UID, Vr::UI, "1.2.3.4");
    let patient = (tags::PATIENT_ID, Vr::LO, "P1");
    let missing = |keys: &[_], level, model| match find(&identifier(level, keys), model, false) {
        Ok(_) => None,
        Err(QueryError::UniqueKey { tag }) => Some(tag),
        Err(other) => panic!("{other:?}"),
    };
    use Model::{PatientRoot, StudyRoot};

    assert_eq!(missing(&[], "STUDY", StudyRoot), None);
    assert_eq!(missing(&[], "SERIES", StudyRoot), Some(study.0));
    assert_eq!(missing(&[study], "SERIES", StudyRoot), None);
    assert_eq!(missing(&[study], "IMAGE", StudyRoot), Some(series.0));
    assert_eq!(missing(&[study, series], "IMAGE", StudyRoot), None);
    assert_eq!(missing(&[], "PATIENT", PatientRoot), None);
    assert_eq!(missing(&[study], "STUDY", PatientRoot), Some(patient.0));
    assert_eq!(
        missing(&[study, (patient.0, Vr::LO, "P*")], "STUDY", PatientRoot),
        Some(patient.0)
    );
    assert_eq!(missing(&[study, patient], "SERIES", PatientRoot), None);
    assert!(find(&identifier("IMAGE", &[]), PatientRoot, true).is_ok());
}

#[test]
fn what_says_something_of_the_archive_is_returned_and_not_matched() {
    let keys = [
        (tags::RETRIEVE_AE_TITLE, Vr::AE, "OTHER"),
        (tags::INSTANCE_AVAILABILITY, Vr::CS, "NEARLINE"),
        (tags::TIMEZONE_OFFSET_FROM_UTC, Vr::SH, "+0600"),
        (tags::STORAGE_MEDIA_FILE_SET_ID, Vr::SH, "X"),
    ];

    let query = find(&identifier("STUDY", &keys), Model::StudyRoot, false).unwrap();

    assert_eq!(query.keys.len(), keys.len());
    assert!(
        query
            .keys
            .iter()
            .all(|key| key.matching == Matching::Universal)
    );
    assert!(matches(&query, &Attributes::new()));
    assert_eq!(query.unsupported().count(), 0);
}

#[test]
fn unsupported_keys_stay_as_return_keys_and_are_named() {
    let private = Tag(0x0029, 0x1001);
    let keys = [
        (tags::MODALITY, Vr::CS, "CT"),
        (tags::PATIENT_ID, Vr::LO, "P1"),
        (tags::PATIENT_MOTHER_BIRTH_NAME, Vr::PN, "X"),
        (private, Vr::LO, "Y"),
        (tags::NUMBER_OF_STUDY_RELATED_SERIES, Vr::IS, ""),
    ];

    let query = find(&identifier("STUDY", &keys), Model::StudyRoot, false).unwrap();

    let unsupported: Vec<Tag> = query.unsupported().collect();
    assert_eq!(
        unsupported,
        [tags::MODALITY, tags::PATIENT_MOTHER_BIRTH_NAME, private]
    );
    let mut study = Attributes::new();
    study.insert_text(tags::PATIENT_ID, Vr::LO, "P1");
    assert!(matches(&query, &study));
    assert_eq!(query.keys.len(), 5);
}

#[test]
fn sequence_keys_have_one_item_or_none() {
    let mut code = Attributes::new();
    code.insert_text(tags::CODE_VALUE, Vr::SH, "T-1");
    code.insert_text(tags::CODE_MEANING, Vr::LO, "");
    let with = |items: Vec<Attributes>| {
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, "STUDY");
        attributes.insert(tags::PROCEDURE_CODE_SEQUENCE, Vr::SQ, Value::Items(items));
        let bytes = write_data_set(&attributes, &explicit()).unwrap();
        find(&bytes, Model::StudyRoot, false).map(|query| query.keys[0].matching.clone())
    };

    assert!(with(vec![]).unwrap() == Matching::Universal);
    assert!(with(vec![Attributes::new()]).unwrap() == Matching::Universal);
    let Matching::Sequence(keys) = with(vec![code.clone()]).unwrap() else {
        panic!("no sequence");
    };
    assert_eq!(keys.len(), 2);
    assert!(keys[0].matching == single("T-1"));
    let refused = with(vec![code.clone(), code]);
    assert!(
        matches!(refused, Err(QueryError::Value { tag }) if tag == tags::PROCEDURE_CODE_SEQUENCE)
    );
}

#[test]
fn key_text_is_read_in_its_character_set() {
    let mut bytes = b"\x08\0\x05\0CS\x0a\0ISO_IR 144\x08\0\x52\0CS\x06\0STUDY ".to_vec();
    // Иванов in ISO 8859-5.
    bytes.extend_from_slice(b"\x10\0\x10\0PN\x06\0\xb8\xd2\xd0\xdd\xde\xd2");

    let query = find(&bytes, Model::StudyRoot, false).unwrap();

    let name = query
        .keys
        .iter()
        .find(|key| key.tag == tags::PATIENT_NAME)
        .unwrap();
    assert!(name.matching == single("Иванов"));
    assert_eq!(query.keys.len(), 1);
}

#[test]
fn a_retrieval_keeps_its_unique_keys_alone() {
    let keys = [
        (tags::PATIENT_NAME, Vr::PN, "X*"),
        (tags::PATIENT_ID, Vr::LO, "P1"),
        (tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3\\1.2.4"),
        (tags::SERIES_INSTANCE_UID, Vr::UI, ""),
    ];

    let query = retrieve(&identifier("STUDY", &keys), Model::PatientRoot, false).unwrap();

    let tags: Vec<Tag> = query.keys.iter().map(|key| key.tag).collect();
    assert_eq!(tags, [tags::PATIENT_ID, tags::STUDY_INSTANCE_UID]);
    assert!(matches!(&query.keys[1].matching, Matching::UidList(uids) if uids.len() == 2));
}

#[test]
fn a_retrieval_without_its_unique_keys_is_refused() {
    let study = (tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3");
    let series = (tags::SERIES_INSTANCE_UID, Vr::UI, "1.2.3.4");
    let missing = |keys: &[_], level, relational| match retrieve(
        &identifier(level, keys),
        Model::StudyRoot,
        relational,
    ) {
        Ok(_) => None,
        Err(QueryError::UniqueKey { tag }) => Some(tag),
        Err(other) => panic!("{other:?}"),
    };

    assert_eq!(missing(&[], "STUDY", false), Some(study.0));
    assert_eq!(
        missing(&[(study.0, Vr::UI, "*")], "STUDY", false),
        Some(study.0)
    );
    assert_eq!(missing(&[series], "SERIES", false), Some(study.0));
    assert_eq!(missing(&[series], "SERIES", true), None);
    assert_eq!(missing(&[study, series], "SERIES", false), None);
    let lower = retrieve(
        &identifier("STUDY", &[study, series]),
        Model::StudyRoot,
        true,
    );
    assert!(matches!(lower, Err(QueryError::LowerLevel { tag }) if tag == series.0));
    let wild = identifier("PATIENT", &[(tags::PATIENT_ID, Vr::LO, "P*")]);
    assert!(matches!(
        retrieve(&wild, Model::PatientRoot, false),
        Err(QueryError::UniqueKey { tag }) if tag == tags::PATIENT_ID
    ));
}

#[test]
fn limits_hold() {
    let limits = QueryLimits {
        identifier_bytes_max: 2_000,
        depth_max: 2,
        keys_max: 20,
        list_values_max: 5,
        list_patterns_max: 2,
        value_chars_max: 30,
    };
    let read =
        |bytes: &[u8]| Query::from_identifier(bytes, &explicit(), Model::StudyRoot, false, &limits);
    let study = |keys: &[_]| identifier("STUDY", keys);
    assert!(read(&study(&[(tags::STUDY_ID, Vr::SH, "1\\2\\3\\4\\5")])).is_ok());
    let limited = [
        study(&[(tags::STUDY_ID, Vr::SH, "1\\2\\3\\4\\5\\6")]),
        study(&[(tags::STUDY_ID, Vr::SH, "1*\\2*\\3*")]),
        study(&[(tags::STUDY_ID, Vr::SH, "1234567890123456789012345678901")]),
        vec![0; 2_001],
    ];
    for bytes in limited {
        assert!(matches!(read(&bytes), Err(QueryError::Limit { .. })));
    }
    let many: Vec<_> = (0..21)
        .map(|i| (Tag(0x0029, 0x1000 + i), Vr::LO, ""))
        .collect();
    assert!(matches!(read(&study(&many)), Err(QueryError::Scan(_))));
    let mut nested = Attributes::new();
    for _ in 0..4 {
        let mut outer = Attributes::new();
        outer.insert(
            tags::PROCEDURE_CODE_SEQUENCE,
            Vr::SQ,
            Value::Items(vec![nested]),
        );
        nested = outer;
    }
    nested.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, "STUDY");
    let nested = write_data_set(&nested, &explicit()).unwrap();
    assert!(matches!(read(&nested), Err(QueryError::Scan(_))));
}

#[test]
fn a_deflated_identifier_cannot_become_large() {
    let mut attributes = Attributes::new();
    attributes.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, "STUDY");
    attributes.insert_text(tags::PATIENT_COMMENTS, Vr::UT, "x".repeat(4 << 20));
    let deflated = syntax("1.2.840.10008.1.2.1.99");
    let bytes = write_data_set(&attributes, &deflated).unwrap();
    assert!(bytes.len() < 1 << 20);

    let read = Query::from_identifier(
        &bytes,
        &deflated,
        Model::StudyRoot,
        false,
        &QueryLimits::default(),
    );

    assert!(matches!(read, Err(QueryError::Scan(_))), "{read:?}");
}

#[test]
fn a_built_query_reads_as_it_is_written() {
    let query = Query::new(Level::Study)
        .key(tags::PATIENT_NAME, "Иванов*")
        .unwrap()
        .key(tags::STUDY_DATE, "20260101-20260131")
        .unwrap()
        .key(tags::MODALITIES_IN_STUDY, "CT\\MR")
        .unwrap()
        .returning(tags::STUDY_INSTANCE_UID)
        .returning(tags::PATIENT_NAME)
        .returning(tags::PROCEDURE_CODE_SEQUENCE);

    assert!(query.keys.iter().is_sorted_by_key(|key| key.tag));
    assert_eq!(query.keys.len(), 5);
    for uid in SYNTAXES {
        let bytes = query.to_identifier(&syntax(uid)).unwrap();
        let limits = QueryLimits::default();
        let read = Query::from_identifier(&bytes, &syntax(uid), Model::StudyRoot, false, &limits);
        assert!(read.unwrap() == query, "{uid}");
    }
    assert!(
        Query::new(Level::Study)
            .key(tags::STUDY_DATE, "soon")
            .is_err()
    );
}
