//! Searches, as they are read.

use super::*;

fn read(level: Level, query: &str) -> Result<SearchRequest, Failure> {
    let limits = WebLimits::default();
    let parameters = crate::query_string::parameters(Some(query), &limits)?;
    read_search(level, &parameters, &limits)
}

fn matching(request: &SearchRequest, tag: Tag) -> Option<&Matching> {
    let key = request.query.keys.iter().find(|key| key.tag == tag)?;
    Some(&key.matching)
}

#[test]
fn keywords_tags_and_paths_name_the_same_attributes() {
    for query in [
        "PatientID=P1&RequestAttributesSequence.ScheduledProcedureStepID=S1",
        "00100020=P1&00400275.00400009=S1",
        "00100020=P1&RequestAttributesSequence.00400009=S1",
    ] {
        let request = read(Level::Series, query).unwrap();

        let single = |text: &str| Matching::SingleValue(text.to_owned());
        assert_eq!(matching(&request, tags::PATIENT_ID), Some(&single("P1")));
        let Some(Matching::Sequence(keys)) = matching(&request, tags::REQUEST_ATTRIBUTES_SEQUENCE)
        else {
            panic!("{query}: no sequence");
        };
        assert_eq!(keys[0].tag, tags::SCHEDULED_PROCEDURE_STEP_ID);
        assert_eq!(keys[0].matching, single("S1"));
        assert!(request.warnings.is_empty(), "{query}");
    }
}

#[test]
fn paths_into_one_sequence_meet_in_one_item() {
    let query = "RequestAttributesSequence.ScheduledProcedureStepID=S1\
                 &RequestAttributesSequence.RequestedProcedureID=R1";
    let request = read(Level::Series, query).unwrap();

    let Some(Matching::Sequence(keys)) = matching(&request, tags::REQUEST_ATTRIBUTES_SEQUENCE)
    else {
        panic!("no sequence");
    };
    assert_eq!(keys.len(), 2);
}

#[test]
fn lists_ranges_and_wild_cards_mean_what_they_mean_to_c_find() {
    let query = "StudyInstanceUID=1.2,1.3%5C1.4&StudyDate=20260101-&PatientName=A*%5EB\
                 &ModalitiesInStudy=CT,MR";
    let request = read(Level::Study, query).unwrap();

    let uids = matching(&request, tags::STUDY_INSTANCE_UID);
    assert!(matches!(uids, Some(Matching::UidList(uids)) if uids.len() == 3));
    let date = matching(&request, tags::STUDY_DATE);
    assert!(matches!(date, Some(Matching::Range { to: None, .. })));
    let name = matching(&request, tags::PATIENT_NAME);
    assert_eq!(name, Some(&Matching::WildCard("A*^B".to_owned())));
    let modalities = matching(&request, tags::MODALITIES_IN_STUDY);
    assert!(matches!(modalities, Some(Matching::AnyOf(values)) if values.len() == 2));
}

#[test]
fn what_comes_unasked_is_what_the_standard_lists_and_all_is_all() {
    let plain = read(Level::Study, "").unwrap();
    let all = read(Level::Study, "includefield=all").unwrap();
    let one = read(Level::Study, "includefield=PatientAge,00081080").unwrap();

    assert_eq!(
        matching(&plain, tags::PATIENT_NAME),
        Some(&Matching::Universal)
    );
    assert_eq!(matching(&plain, tags::PATIENT_AGE), None);
    assert!(matching(&all, tags::PATIENT_AGE).is_some());
    assert!(matching(&one, tags::PATIENT_AGE).is_some());
    assert!(matching(&one, tags::ADMITTING_DIAGNOSES_DESCRIPTION).is_some());
    assert!(all.query.keys.len() > plain.query.keys.len() + 10);
}

#[test]
fn fuzzy_names_leave_the_query() {
    let request = read(Level::Study, "PatientName=Jeenbekov&fuzzymatching=true").unwrap();

    assert_eq!(request.fuzzy.len(), 1);
    assert_eq!(
        matching(&request, tags::PATIENT_NAME),
        Some(&Matching::Universal)
    );
    assert!(
        !format!("{request:?}").contains("eenbekov"),
        "no name is shown"
    );
}

#[test]
fn what_is_not_done_is_told_and_what_is_not_understood_is_refused() {
    for query in ["_dc=1", "PixelData=1", "Rows=5", "includefield=Rows"] {
        let request = read(Level::Study, query).unwrap();
        assert_eq!(request.warnings.len(), 1, "{query}");
    }
    for query in [
        "PatientNome=A",
        "00100020.=1",
        "1234=5",
        "PatientID.PatientName=1&PatientID=2",
        "StudyDate=yesterday",
        "StudyInstanceUID=a%2Fb",
        "limit=-1",
        "limit=x",
        "offset=1.5",
        "fuzzymatching=yes",
        "includefield=Nothing",
        "cursor=x",
        "cursor=1.2/1.3",
        "PatientID=A&PatientID=B",
        "RequestAttributesSequence=x",
    ] {
        let refused = read(Level::Series, query);
        let is_refused = matches!(refused, Err(Failure::BadRequest { .. }));
        assert!(is_refused || query == "cursor=1.2/1.3", "{query}");
    }
    let limited = read(Level::Study, "limit=1000000").unwrap();
    assert_eq!(limited.limit, WebLimits::default().results_max);
    assert_eq!(limited.warnings.len(), 1);
}

#[test]
fn a_path_wins_over_a_parameter_that_says_something_else() {
    let mut request = read(Level::Series, "StudyInstanceUID=1.2").unwrap();
    request.require(tags::STUDY_INSTANCE_UID, &Uid::parse("1.3").unwrap());
    let nothing = Matching::UidList(Vec::new());
    assert_eq!(matching(&request, tags::STUDY_INSTANCE_UID), Some(&nothing));
}
