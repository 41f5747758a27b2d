//! Every act as message and as JSON, beside what stands in `tests/audit`; there an independent
//! reader compares the messages with the schema.

use super::*;
use crate::patient::{PatientNumber, TemporaryNumber};
use proptest::prelude::*;

const SOURCE: &str = "PACS";

fn uid<T>(text: &str, parse: impl Fn(&str) -> Result<T, crate::uid::UidError>) -> T {
    parse(text).unwrap()
}

fn patient(serial: u32) -> Phi<PatientKey> {
    let number = PatientNumber::from_serial(serial).unwrap();
    Phi::new(PatientKey::Known(number))
}

fn at() -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339("2026-11-26T09:30:00.250+06:00").unwrap()
}

fn doctor() -> Actor {
    Actor {
        roles: vec![Role::Radiologist, Role::Referrer],
        organisation: OrganisationCode::parse("006").ok(),
        session: Some("5f3a9c01".to_owned()),
        ..Actor::new(ActorKind::User, "b.osmonova")
    }
}

/// Says all that can be said.
fn full(act: Act) -> AuditEvent {
    let of = |instances_count, instances| StudyTouched {
        study: uid("2.25.7", StudyUid::parse),
        sop_class: Some(uid("1.2.840.10008.5.1.4.1.1.2", SopClassUid::parse)),
        instances_count,
        instances,
    };
    let unidentified = TemporaryNumber::from_serial(5).unwrap();
    AuditEvent {
        outcome: Outcome::Success,
        times: 40,
        from: Some(IpAddr::from([192, 0, 2, 17])),
        object: Object {
            patient: Some(patient(572)),
            merged_patient: Some(Phi::new(PatientKey::Unidentified(unidentified))),
            examination: ExaminationId::parse("26 006 000123 5").ok(),
            studies: vec![
                of(2, vec![uid("2.25.71", SopInstanceUid::parse)]),
                StudyTouched {
                    sop_class: None,
                    ..of(512, Vec::new())
                },
            ],
            studies_left_out: 3,
            query: Some(Phi::new(masked("ПИН 21502190099901"))),
            user: Some("a.asanov".to_owned()),
            node: Some("CT_OSH_01".to_owned()),
            report: Some("R-17".to_owned()),
            setting: Some("retention.ct".to_owned()),
        },
        purpose: Some(Purpose::Emergency),
        reason: Some("unconscious & <no> \"record\"".to_owned()),
        correlation: Some("9b2e".to_owned()),
        change: Some(ChangeDigests {
            before: None,
            after: Some(StateDigest([0xA5; 32])),
        }),
        ..AuditEvent::new(act, at(), doctor())
    }
}

/// Each act alone, each in full, and the ways in which one can end.
fn all() -> Vec<AuditEvent> {
    let alone = |act: &Act| AuditEvent::new(*act, at(), Actor::system("upkeep"));
    let mut events: Vec<AuditEvent> = Act::ALL.iter().map(alone).collect();
    events.extend(Act::ALL.iter().map(|act| full(*act)));
    for outcome in [
        Outcome::MinorFailure,
        Outcome::SeriousFailure,
        Outcome::MajorFailure,
    ] {
        events.push(AuditEvent {
            outcome,
            from: Some("2001:db8::5".parse().unwrap()),
            reason: Some("WRONG_CREDENTIALS".to_owned()),
            ..AuditEvent::new(Act::SignedIn, at(), Actor::nobody())
        });
    }
    events
}

fn lines(of: impl Fn(&AuditEvent) -> String) -> String {
    all().iter().map(|event| of(event) + "\n").collect()
}

fn compare(file: &str, expected: &str, found: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/audit/");
    if std::env::var_os("PACS_WRITE_FIXTURES").is_some() {
        std::fs::write(format!("{folder}{file}"), found).unwrap();
    }
    for ((expected, found), number) in expected.lines().zip(found.lines()).zip(1..) {
        assert_eq!(expected, found, "{file}, line {number}");
    }
    assert_eq!(expected.lines().count(), found.lines().count(), "{file}");
}

/// Where a change is meant, `PACS_WRITE_FIXTURES=1` writes the files anew.
#[test]
fn events_are_written_as_the_fixtures_have_them() {
    let messages = lines(|event| message(event, SOURCE));
    let json = lines(|event| serde_json::to_string(event).unwrap());

    compare(
        "messages.txt",
        include_str!("../../../../tests/audit/messages.txt"),
        &messages,
    );
    compare(
        "events.jsonl",
        include_str!("../../../../tests/audit/events.jsonl"),
        &json,
    );
}

#[test]
fn an_event_is_read_back_from_json_as_it_was() {
    for event in all() {
        let json = serde_json::to_string(&event).unwrap();
        let read: AuditEvent = serde_json::from_str(&json).unwrap();
        assert_eq!(read, event, "{json}");
    }
}

#[test]
fn json_that_is_no_event_is_refused() {
    let json = serde_json::to_string(&full(Act::PatientRead)).unwrap();
    for (from, to) in [
        ("patient_read", "patient_eaten"),
        ("P0000005724", "P0000005725"),
        ("\"act\"", "\"deed\""),
        ("+06:00", ""),
        ("a5a5", "A5a5"),
        ("\"reason\"", "\"more\":1,\"reason\""),
    ] {
        let wrong = json.replacen(from, to, 1);
        assert_ne!(wrong, json, "{from}");
        assert!(serde_json::from_str::<AuditEvent>(&wrong).is_err(), "{to}");
    }
}

#[test]
fn an_event_can_be_shown_without_saying_whose_data_it_is_about() {
    let mut event = full(Act::Queried);
    event.object.query = Some(Phi::new("CANARY".to_owned()));

    let shown = format!("{event:?}");

    assert!(
        !shown.contains("CANARY") && !shown.contains("P000000"),
        "{shown}"
    );
    assert!(message(&event, SOURCE).contains("Q0FOQVJZ"), "base64 of it");
}

#[test]
fn acts_have_codes_of_the_standard_and_names_of_their_own() {
    let mut names = std::collections::BTreeSet::new();
    for act in Act::ALL {
        let json = serde_json::to_string(act).unwrap();
        assert_eq!(json, format!("\"{}\"", act.name()));
        assert!(names.insert(json), "{act:?}");
        let (event, kind) = (act.event(), act.kind());
        assert!(("110100".."110115").contains(&event.value), "{act:?}");
        assert!(kind.is_none_or(|kind| ("110120".."110143").contains(&kind.value)));
        // Those that have no type in the standard are told by their event and action, or by ours.
        let is_own = *act == Act::PreambleReplaced;
        assert!(
            kind.is_some() || event.value != "110113" || is_own,
            "{act:?}"
        );
    }
    assert_eq!(Outcome::MajorFailure.indicator(), 12);
}

#[test]
fn what_is_too_long_is_cut_and_counted() {
    use crate::limits::{AUDIT_INSTANCES_MAX, AUDIT_STUDIES_MAX, AUDIT_TEXT_CHARS_MAX};
    let mut event = full(Act::Exported);
    let study = StudyTouched {
        instances: vec![uid("2.25.71", SopInstanceUid::parse); AUDIT_INSTANCES_MAX],
        instances_count: 1_000_000,
        ..event.object.studies.remove(0)
    };
    event.object.studies = vec![study; AUDIT_STUDIES_MAX + 5];
    event.reason = Some("ө".repeat(AUDIT_TEXT_CHARS_MAX + 9));
    event.object.studies_left_out = 0;

    let json = serde_json::to_string(&event).unwrap();
    let read: AuditEvent = serde_json::from_str(&json).unwrap();

    assert_eq!(read.object.studies.len(), AUDIT_STUDIES_MAX);
    assert_eq!(read.object.studies_left_out, 5);
    let listed = read
        .object
        .studies
        .iter()
        .map(|study| study.instances.len());
    assert_eq!(listed.sum::<usize>(), AUDIT_INSTANCES_MAX);
    let counts = read
        .object
        .studies
        .iter()
        .map(|study| study.instances_count);
    assert_eq!(counts.max(), Some(1_000_000));
    assert_eq!(read.reason.unwrap().chars().count(), AUDIT_TEXT_CHARS_MAX);
    assert!(json.len() < 700_000, "a record holds it: {}", json.len());
}

#[test]
fn pins_in_what_was_searched_are_masked_and_dates_are_not() {
    for (text, expected) in [
        ("21502190099901", "2•••••••••9901"),
        ("ПИН=2 1502 1900 99901.", "ПИН=2 •••• •••• •9901."),
        ("2-1502-1900-99901", "2-••••-••••-•9901"),
        ("215021900999019", "•••••••••••••••"),
        ("20260101-20261231", "20260101-20261231"),
        ("260060001235", "260060001235"),
        ("Osmonova 1990-01-01", "Osmonova 1990-01-01"),
        ("1.2.840.10008.5.1.4.31", "1.2.840.10008.5.1.4.31"),
        (
            "21502190099901 12902200099902",
            "•••••••••••••• ••••••••••••••",
        ),
        ("", ""),
    ] {
        assert_eq!(masked(text), expected);
    }
}

proptest! {
    /// Whatever stands around it.
    #[test]
    fn no_pin_survives(before in "[^0-9]{0,8}", after in "[^0-9]{0,8}", pin in "[12][0-9]{13}") {
        let masked = masked(&format!("{before}{pin}{after}"));
        prop_assert!(!masked.contains(&pin[..10]));
        prop_assert_eq!(masked.chars().filter(|c| *c == '•').count(), 9);
    }

    /// Text from outside makes no element and no attribute.
    #[test]
    fn no_text_breaks_out_of_a_message(text in any::<String>()) {
        let mut event = full(Act::NodeRefused);
        event.object.node = Some(format!("n{text}"));
        event.actor.name = text;
        let plain = message(&full(Act::NodeRefused), SOURCE);
        let count = |xml: &str, c| xml.matches(c).count();
        let told = message(&event, SOURCE);
        for c in ['<', '>', '"'] {
            prop_assert_eq!(count(&told, c), count(&plain, c));
        }
        prop_assert!(!told.chars().any(char::is_control));
    }
}
