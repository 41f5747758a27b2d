//! UIDs of reading tasks, the table of their states, and what they say.

use super::*;
use crate::attributes::Attributes;
use crate::coerce::{Demographics, Order, PersonName, Request};
use crate::patient::{Identifier, PatientKey, PatientNumber, Sex};
use crate::query::{Key, Matching};
use crate::tag::{Tag, Vr, tags};
use crate::worklist::WorklistSubject;
use crate::{OrganisationCode, Phi, Pin, StudyUid};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn id(text: &str) -> ExaminationId {
    ExaminationId::parse(text).unwrap()
}

#[test]
fn a_task_has_one_uid_and_is_found_by_it() {
    let made = 1_795_000_000_123;
    let first = Task::new(id("260060004327"), made, 1).unwrap();
    let uid = first.uid().unwrap();
    assert!(uid.uid().is_conformant(), "{uid}");
    assert_eq!(Task::of_uid(&uid), Some(first));
    let others = [
        Task::new(id("260060004327"), made, 2),
        Task::new(id("260060004327"), made + 1, 1),
        Task::new(id("250060004329"), made, 1),
    ];
    for other in others {
        assert_ne!(other.unwrap().uid().unwrap(), uid);
    }
    assert_eq!(Task::new(id("260060004327"), made, 0), None);
    assert_eq!(Task::new(id("260060004327"), u64::MAX, 1), None);
}

#[test]
fn what_nobody_gave_out_is_no_task() {
    for text in [
        "1.2.840.10008.5.1.4.34.5",
        "2.25.0",
        "2.25.329800735698586629295641978511506172918",
        "2.25.340282366920938463463374607431768211455",
        "2.25.999999999999999999999999999999999999999",
        "2.25.x",
    ] {
        let uid = WorkitemUid::parse_legacy(text).unwrap();
        assert_eq!(Task::of_uid(&uid), None, "{text}");
    }
    // A digit of the examination is another one: its check digit tells.
    let uid = Task::new(id("260060004327"), 1, 1).unwrap().uid().unwrap();
    let uuid: u128 = uid.as_str()[5..].parse().unwrap();
    let wrong = WorkitemUid::parse(&format!("2.25.{}", uuid + (1 << 80))).unwrap();
    assert_eq!(Task::of_uid(&wrong), None);
}

proptest! {
    #[test]
    fn every_task_comes_back_from_its_uid(
        made in 0_u64..1 << 44, number in 1_u32..1 << 30, any in any::<u128>(),
    ) {
        let task = Task::new(id("260060004327"), made, number).unwrap();
        prop_assert_eq!(Task::of_uid(&task.uid().unwrap()), Some(task));
        let uid = WorkitemUid::parse(&format!("2.25.{any}")).unwrap();
        if let Some(task) = Task::of_uid(&uid) {
            prop_assert_eq!(task.uid().unwrap(), uid);
        }
    }
}

/// Table CC.1.1-2, line by line: the wish, whether the UID is right, and what becomes of a step
/// that is SCHEDULED, IN PROGRESS, COMPLETED, CANCELED. A claim that is repeated is ours.
#[test]
fn the_states_are_those_of_the_table() {
    use Outcome::{Changes, IsSo};
    use StateError::{AlreadyInProgress, NotInProgress, NotOwner, Over, Unreachable, Waits};
    const STATES: [State; 4] = [
        State::Scheduled,
        State::InProgress,
        State::Completed,
        State::Canceled,
    ];
    let begin = [Ok(Changes), Err(AlreadyInProgress), Err(Over), Err(Over)];
    let begin_again = [Ok(Changes), Ok(IsSo), Err(Over), Err(Over)];
    let complete = [Err(NotInProgress), Ok(Changes), Ok(IsSo), Err(Over)];
    let cancel = [Err(NotInProgress), Ok(Changes), Err(Over), Ok(IsSo)];
    let of_others = [
        Err(NotInProgress),
        Err(NotOwner),
        Err(NotOwner),
        Err(NotOwner),
    ];
    for (wish, is_owner, expected) in [
        (Wish::Begin, true, begin_again),
        (Wish::Begin, false, begin),
        (Wish::Complete, true, complete),
        (Wish::Complete, false, of_others),
        (Wish::Cancel, true, cancel),
        (Wish::Cancel, false, of_others),
    ] {
        let is = STATES.map(|state| state.change(wish, is_owner));
        assert_eq!(is, expected, "{wish:?} {is_owner}");
    }
    let is = STATES.map(State::request_cancellation);
    assert_eq!(is, [Err(Waits), Err(Unreachable), Err(Over), Ok(IsSo)]);
    for state in STATES {
        assert_eq!(State::of_term(state.term()), Some(state));
        let is_wish = Wish::try_from(state);
        assert_eq!(is_wish.is_err(), state == State::Scheduled);
    }
    assert_eq!(State::of_term("CANCELLED"), Some(State::Canceled));
    assert_eq!(State::of_term("DONE"), None);
}

fn workitem() -> Workitem {
    let examination = id("260060004327");
    let key = PatientKey::Known(PatientNumber::from_serial(1234).unwrap());
    let at = "2026-11-26T14:00:00+06:00".parse().unwrap();
    let pin = Pin::try_from("21502190099901".to_owned()).unwrap();
    Workitem {
        task: Task::new(examination, 1, 1).unwrap(),
        state: State::Scheduled,
        urgency: Urgency::High,
        worklist: "READING 006".into(),
        scheduled_at: at,
        changed_at: at,
        expires_at: None,
        is_ready: true,
        inputs: vec![Input {
            study: StudyUid::parse("2.25.7").unwrap(),
            series: InputSeries::AllBut(BTreeSet::new()),
        }],
        meant_for: None,
        performed: None,
        patient: Demographics {
            name: PersonName::new("Жээнбеков", "Үсөн", "").unwrap(),
            latin_name: None,
            key,
            identifiers: vec![Identifier::Pin(pin)],
            birth_date: None,
            sex: Some(Phi::new(Sex::Male)),
        },
        order: Order {
            request: Request::new(examination),
            further_requests: Vec::new(),
            referring_physician: None,
            study_description: Some("КТ: голова".into()),
            procedure_codes: Vec::new(),
        },
        placer_number: "".into(),
        department: "".into(),
        card_number: "17".into(),
        complaints: "кашель\nи \u{7}одышка \\ ".into(),
        history: "".into(),
        allergies: "".into(),
        pregnancy: None,
    }
}

fn code_of(attributes: &Attributes, tag: Tag) -> Option<&str> {
    attributes.items(tag).first()?.text(tags::CODE_VALUE)
}

#[test]
fn a_task_that_waits_says_what_the_table_demands_and_no_transaction() {
    let all = workitem().attributes().unwrap();
    // Never empty (Table CC.2.5-3, N-GET and C-FIND, type 1).
    for tag in [
        tags::SOP_CLASS_UID,
        tags::SOP_INSTANCE_UID,
        tags::PROCEDURE_STEP_STATE,
        tags::SCHEDULED_PROCEDURE_STEP_PRIORITY,
        tags::SCHEDULED_PROCEDURE_STEP_MODIFICATION_DATE_TIME,
        tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME,
        tags::PROCEDURE_STEP_LABEL,
        tags::WORKLIST_LABEL,
        tags::INPUT_READINESS_STATE,
    ] {
        assert!(!all.text(tag).unwrap().is_empty(), "{tag}");
    }
    for tag in UNASKED.iter().chain(MATCHED) {
        let is_conditional = *tag == tags::OTHER_PATIENT_NAMES
            || *tag == tags::SCHEDULED_PROCEDURE_STEP_EXPIRATION_DATE_TIME;
        assert!(all.get(*tag).is_some() || is_conditional, "{tag}");
    }
    assert_eq!(all.get(tags::TRANSACTION_UID), None);
    assert_eq!(all.text(tags::PATIENT_NAME), Some("Жээнбеков^Үсөн"));
    assert_eq!(all.text(tags::ISSUER_OF_PATIENT_ID), Some("KGPACS"));
    let start = tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME;
    assert_eq!(all.text(start), Some("20261126140000+0600"));
    let work = code_of(&all, tags::SCHEDULED_WORKITEM_CODE_SEQUENCE);
    assert_eq!(work, Some("110005"));
    let [request] = all.items(tags::REFERENCED_REQUEST_SEQUENCE) else {
        panic!("one request");
    };
    assert_eq!(request.text(tags::ACCESSION_NUMBER), Some("260060004327"));
    assert_eq!(request.text(tags::STUDY_INSTANCE_UID), Some("2.25.7"));
    let reason = request.text(tags::REASON_FOR_THE_REQUESTED_PROCEDURE);
    assert_eq!(reason, Some("кашель и  одышка /"));
    let comments = request.text(tags::REQUESTED_PROCEDURE_COMMENTS);
    assert_eq!(comments, Some("кашель\r\nи  одышка \\"));
    let done = tags::UNIFIED_PROCEDURE_STEP_PERFORMED_PROCEDURE_SEQUENCE;
    assert!(all.items(done).is_empty());
}

#[test]
fn allergies_are_told_whole_and_between_words() {
    let words = "пенициллин, йод; латекс\\новокаин ".repeat(12);
    let long = "x".repeat(150);
    for text in [words.as_str(), &long, "йод", "", &format!("йод {long} йод")] {
        let mut of = workitem();
        of.allergies = text.into();
        let all = of.attributes().unwrap();
        let told = all.text(tags::ALLERGIES).unwrap();
        assert!(
            told.split('\\').all(|value| value.chars().count() <= 64),
            "{told}"
        );
        let letters = |of: &str| of.replace([' ', '\\', '/'], "");
        assert_eq!(letters(told), letters(text));
    }
    let mut of = workitem();
    of.allergies = words.into();
    let all = of.attributes().unwrap();
    let told = all.text(tags::ALLERGIES).unwrap();
    assert!(
        told.starts_with("пенициллин, йод; латекс/новокаин пенициллин, йод;\\латекс/"),
        "{told}"
    );
}

#[test]
fn a_request_has_a_placer_number_that_is_one_and_codes_or_none() {
    let request = |of: &Workitem| -> Attributes {
        let all = of.attributes().unwrap();
        all.items(tags::REFERENCED_REQUEST_SEQUENCE)[0].clone()
    };
    let placer = tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST;
    let mut of = workitem();
    let without = request(&of);
    assert_eq!(without.get(placer), None);
    let codes = tags::REQUESTED_PROCEDURE_CODE_SEQUENCE;
    assert!(without.get(codes).is_some() && without.items(codes).is_empty());
    of.placer_number = "17-4".into();
    assert_eq!(request(&of).text(placer), Some("17-4"));
}

#[test]
fn a_task_that_was_taken_says_by_whom_and_since_when() {
    let at: chrono::DateTime<chrono::FixedOffset> = "2026-11-26T15:00:00+06:00".parse().unwrap();
    let by = Performer {
        user: "a.very.long.user.name".into(),
        name: "Б. Осмонова".into(),
        organisation: "006".into(),
    };
    let mut taken = workitem();
    taken.state = State::Canceled;
    taken.meant_for = Some(by.clone());
    taken.performed = Some(Performed {
        by,
        began_at: at,
        ended_at: Some(at),
        percent: Some(60),
    });
    let all = taken.attributes().unwrap();
    let [step] = all.items(tags::UNIFIED_PROCEDURE_STEP_PERFORMED_PROCEDURE_SEQUENCE) else {
        panic!("one step");
    };
    let [who] = step.items(tags::ACTUAL_HUMAN_PERFORMERS_SEQUENCE) else {
        panic!("one performer");
    };
    assert_eq!(who.text(tags::HUMAN_PERFORMER_NAME), Some("Б. Осмонова"));
    let [code] = who.items(tags::HUMAN_PERFORMER_CODE_SEQUENCE) else {
        panic!("one code");
    };
    assert_eq!(code.get(tags::LONG_CODE_VALUE).unwrap().vr, Vr::UC);
    let [progress] = all.items(tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE) else {
        panic!("one item");
    };
    let canceled = progress.text(tags::PROCEDURE_STEP_CANCELLATION_DATE_TIME);
    assert_eq!(canceled, Some("20261126150000+0600"));
    assert_eq!(progress.text(tags::PROCEDURE_STEP_PROGRESS), Some("60"));
    assert!(!format!("{taken:?}").contains("Жээнбеков"));
}

fn keys(of: &[(Tag, &str)]) -> Vec<Key> {
    let key = |(tag, text): &(Tag, &str)| Key::new(*tag, text).unwrap();
    of.iter().map(key).collect()
}

#[test]
fn a_search_that_names_an_examination_or_a_patient_is_about_that_one() {
    let examination = id("260060004327");
    let one = Some(WorklistSubject::Examination(examination));
    let task = Task::new(examination, 1, 2).unwrap().uid().unwrap();
    let request = |of: &[(Tag, &str)]| Key {
        tag: tags::REFERENCED_REQUEST_SEQUENCE,
        vr: Vr::SQ,
        matching: Matching::Sequence(keys(of)),
    };
    let number = PatientNumber::from_serial(1234).unwrap();
    let patient = PatientKey::Known(number);
    let patient_id = patient.to_string();
    for (keys, expected) in [
        (keys(&[(tags::SOP_INSTANCE_UID, task.as_str())]), one),
        (keys(&[(tags::SOP_INSTANCE_UID, "2.25.1")]), None),
        (
            vec![request(&[(tags::ACCESSION_NUMBER, "260060004327")])],
            one,
        ),
        (
            vec![request(&[(tags::REQUESTED_PROCEDURE_ID, "260060004327")])],
            one,
        ),
        (
            vec![request(&[(tags::ACCESSION_NUMBER, "2600600043*")])],
            None,
        ),
        (
            keys(&[(tags::PATIENT_ID, &patient_id)]),
            Some(WorklistSubject::Patient(patient)),
        ),
        (keys(&[(tags::PATIENT_ID, "")]), None),
        (keys(&[(tags::PATIENT_ID, "17")]), None),
    ] {
        assert_eq!(subject(&keys), expected, "{keys:?}");
    }
    let of = OrganisationCode::parse("006").unwrap();
    let label = worklist_label(of);
    assert_eq!(
        organisation(&keys(&[(tags::WORKLIST_LABEL, &label)])),
        Some(of)
    );
    for other in ["READING *", "READING 6", "006", ""] {
        let keys = keys(&[(tags::WORKLIST_LABEL, other)]);
        assert_eq!(organisation(&keys), None, "{other}");
    }
}
