//! Patients: one row a person, found however they are spelled, changed with a history, merged and
//! taken apart again.

use crate::rig::{Rig, code, now, user};
use chrono::{NaiveDate, TimeDelta};
use pacs_core::Pin;
use pacs_core::audit::Act;
use pacs_core::examination::Reason;
use pacs_core::patient::{Document, Identifier, PatientKey, PatientNumber, Sex};
use pacs_core::role::duty::{PatientEdit, PatientMerge, PatientSearch};
use pacs_core::role::{Licence, Role};
use pacs_store::registry::patients::{
    Alike, Card, Identity, Particulars, Patient, PatientQuery, PersonName, Rank, Registered, What,
};
use pacs_store::registry::{Refusal, RegistryError, Stored};
use std::sync::Arc;

const PIN: &str = "20101199099907";

fn today() -> NaiveDate {
    now().date_naive()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn pin(text: &str) -> Pin {
    Pin::parse(text, today()).unwrap()
}

fn name(family: &str, given: &str, patronymic: &str) -> PersonName {
    PersonName {
        family: family.to_owned(),
        given: given.to_owned(),
        patronymic: patronymic.to_owned(),
    }
}

pub(crate) fn zheenbekov() -> Particulars {
    Particulars {
        name: name("Жээнбеков", "Үсөн", "Өмүрбекович"),
        birth_date: Some(day("1990-01-01")),
        sex: Some(Sex::Male),
        pin: Some(pin(PIN)),
        documents: vec![Document::parse("KGZ", "ID", "1234567").unwrap()],
        cards: vec![Card {
            organisation: code("006"),
            number: "17".to_owned(),
        }],
        ..Particulars::default()
    }
}

pub(crate) fn foreigner(family: &str, given: &str, number: &str) -> Particulars {
    Particulars {
        name: name(family, given, ""),
        documents: vec![Document::parse("UZB", "AB", number).unwrap()],
        ..Particulars::default()
    }
}

pub(crate) fn editing() -> Licence<PatientEdit> {
    user("op", Role::Operator, "006")
        .licence(code("006"))
        .unwrap()
}

pub(crate) fn searching() -> Licence<PatientSearch> {
    user("op", Role::Operator, "006")
        .licence(code("006"))
        .unwrap()
}

pub(crate) fn merging() -> Licence<PatientMerge> {
    user("adm", Role::OrgAdmin, "006")
        .licence(code("006"))
        .unwrap()
}

fn reason() -> Reason {
    Reason::parse("the same person").unwrap()
}

pub(crate) async fn register(rig: &Rig, particulars: Particulars) -> Stored<Patient> {
    let registered = rig
        .registry
        .register_patient(&editing(), particulars, Alike::Unknown, now())
        .await;
    registered.unwrap().patient().clone()
}

async fn find(rig: &Rig, words: &str, birth_date: Option<NaiveDate>) -> Vec<(PatientKey, Rank)> {
    let query = PatientQuery::parse(words, birth_date, code("006"));
    let found = rig
        .registry
        .find_patients(&searching(), &query, 20, now())
        .await;
    let found = found.unwrap();
    assert!(!found.has_more);
    let patients = found.patients.into_iter();
    patients
        .map(|found| (found.patient.value.key, found.rank))
        .collect()
}

#[tokio::test]
async fn a_patient_gets_a_number_and_is_found_by_each_identifier() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let patient = register(&rig, zheenbekov()).await;
        let number = PatientNumber::from_serial(1).unwrap();
        assert_eq!(patient.value.key, PatientKey::Known(number));
        assert_eq!(patient.value.registered_for, Some(code("006")));
        for text in [
            PIN,
            "2 0101 1990 99907",
            "KGZ-ID1234567",
            "17",
            "P0000000013",
        ] {
            let text = if text.starts_with('P') {
                number.to_string()
            } else {
                text.to_owned()
            };
            let found = find(&rig, &text, None).await;
            assert_eq!(found, [(patient.value.key, Rank::Exact)], "{text}");
        }
        // A number of another hospital's card is another number.
        let elsewhere = PatientQuery::parse("17", None, code("001"));
        let found = rig
            .registry
            .find_patients(&searching(), &elsewhere, 9, now())
            .await;
        assert_eq!(found.unwrap().patients, []);
        assert_eq!(find(&rig, "21502190099901", None).await, []);
    }
}

#[tokio::test]
async fn a_name_is_found_in_any_script_order_and_spelling() {
    let rig = Rig::new().await;
    let first = register(&rig, zheenbekov()).await.value.key;
    let second = register(&rig, foreigner("Объедков", "Фёдор", "7654321"))
        .await
        .value
        .key;
    for (words, key, rank) in [
        ("Жээнбеков Үсөн", first, Rank::Exact),
        ("усон жээнбеков", first, Rank::Exact),
        ("ZHEENBEKOV USON", first, Rank::Exact),
        ("Жээн", first, Rank::Begins),
        ("zheen uson", first, Rank::Begins),
        ("Jeenbekov Uson", first, Rank::Sounds),
        ("Женбеков", first, Rank::Sounds),
        ("Жээнбеков Усон уулу", first, Rank::Exact),
        ("Obiedkov Fedor", second, Rank::Sounds),
        ("федор", second, Rank::Exact),
    ] {
        assert_eq!(find(&rig, words, None).await, [(key, rank)], "{words}");
    }
    assert_eq!(find(&rig, "Жээнбеков Фёдор", None).await, []);
    assert_eq!(find(&rig, "Иванов", None).await, []);
    let born = Some(day("1990-01-01"));
    let likely = find(&rig, "Жэнбеков Усен", born).await;
    assert_eq!(likely, [(first, Rank::Similar)]);
    assert_eq!(find(&rig, "Жээнбеков", Some(day("1990-01-02"))).await, []);

    let short = PatientQuery::parse("Ж", None, code("006"));
    let refused = rig
        .registry
        .find_patients(&searching(), &short, 9, now())
        .await;
    assert!(matches!(
        refused,
        Err(RegistryError::Refused(Refusal::Unfit { .. }))
    ));
}

#[tokio::test]
async fn a_thousand_who_register_one_patient_at_once_get_one() {
    for (rig, count) in [(Rig::new().await, 1_000), (Rig::on_disk().await, 1_000)] {
        let registry = Arc::new(rig.registry.clone());
        let mut registering = tokio::task::JoinSet::new();
        for _ in 0..count {
            let registry = Arc::clone(&registry);
            registering.spawn(async move {
                let registered = registry
                    .register_patient(&editing(), zheenbekov(), Alike::Unknown, now())
                    .await;
                registered.unwrap()
            });
        }
        let outcomes = registering.join_all().await;
        let new = |outcome: &&Registered| matches!(outcome, Registered::New(_));
        assert_eq!(outcomes.iter().filter(new).count(), 1);
        let first = outcomes[0].patient();
        assert!(outcomes.iter().all(|outcome| outcome.patient() == first));
        assert_eq!(find(&rig, "Жээнбеков", None).await.len(), 1);
        let other = register(&rig, foreigner("Каримов", "Али", "1111111")).await;
        let second = PatientNumber::from_serial(2).unwrap();
        assert_eq!(other.value.key, PatientKey::Known(second));
    }
}

#[tokio::test]
async fn somebody_of_the_same_birthday_and_sound_is_looked_at_first() {
    let rig = Rig::new().await;
    let first = register(&rig, zheenbekov()).await.value.key;
    let alike = Particulars {
        name: name("Zheenbekov", "Uson", ""),
        birth_date: Some(day("1990-01-01")),
        ..Particulars::default()
    };
    let refused = rig
        .registry
        .register_patient(&editing(), alike.clone(), Alike::Unknown, now())
        .await;
    let refused = refused;
    let why = Refusal::Alike {
        patients: vec![first],
    };
    assert!(matches!(refused, Err(RegistryError::Refused(found)) if found == why));
    let another = rig
        .registry
        .register_patient(&editing(), alike, Alike::IsAnother, now())
        .await;
    assert!(matches!(another.unwrap(), Registered::New(_)));
}

#[tokio::test]
async fn somebody_without_a_name_gets_a_temporary_number_and_is_nobody_else() {
    let rig = Rig::new().await;
    let register = || {
        let (licence, organisation) = (editing(), code("006"));
        let registry = rig.registry.clone();
        async move {
            let sex = Some(Sex::Female);
            let registered = registry
                .register_unidentified(&licence, organisation, sex, now())
                .await;
            registered.unwrap()
        }
    };
    let (one, two) = (register().await, register().await);

    assert!(matches!(one.value.key, PatientKey::Unidentified(_)));
    assert_ne!(one.value.key, two.value.key);
    let latin = one.value.particulars.latin_name().person_name();
    assert_eq!(latin, "UNKNOWN^261126-1200 006");
    // It is given an identity by a merge, not by a change.
    let given = Particulars {
        identity: Identity::Declared,
        ..zheenbekov()
    };
    let at = (one.value.key, one.revision);
    let refused = rig
        .registry
        .change_patient(&editing(), at, given, None, now())
        .await;
    assert!(matches!(
        refused,
        Err(RegistryError::Refused(Refusal::Unfit { .. }))
    ));
}

#[tokio::test]
async fn a_change_stands_in_the_history_and_moves_the_keys() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let patient = register(&rig, zheenbekov()).await;
        let key = patient.value.key;
        let mut changed = zheenbekov();
        changed.name.family = "  Асанов ".to_owned();
        changed.documents.clear();
        let change = |expected, particulars| {
            let registry = rig.registry.clone();
            async move {
                let why = Some(reason());
                let at = (key, expected);
                registry
                    .change_patient(&editing(), at, particulars, why, now())
                    .await
            }
        };
        let present = change(patient.revision, changed.clone()).await.unwrap();

        let late = change(patient.revision, zheenbekov()).await;
        assert!(matches!(late, Err(RegistryError::Changed)));
        assert_eq!(present.value.particulars.name.family, "Асанов");
        assert_eq!(find(&rig, "Жээнбеков", None).await, []);
        assert_eq!(find(&rig, "KGZ-ID1234567", None).await, []);
        assert_eq!(find(&rig, "Asanov", None).await, [(key, Rank::Exact)]);
        // The same again is no change.
        let same = change(present.revision, present.value.particulars.clone()).await;
        assert_eq!(same.unwrap().revision, present.revision);

        let history = rig.registry.patient_history(&searching(), key, now()).await;
        let history = history.unwrap();
        let what: Vec<_> = history.iter().map(|entry| entry.what).collect();
        assert_eq!(what, [What::Registered, What::Changed]);
        assert_eq!(history[1].by, "op");
        assert_eq!(history[1].reason, Some(reason()));
        assert_eq!(history[1].before, Some(zheenbekov()));
    }
}

#[tokio::test]
async fn an_identifier_is_one_patients() {
    let rig = Rig::new().await;
    register(&rig, zheenbekov()).await;
    let other = register(&rig, foreigner("Каримов", "Али", "1111111")).await;
    let mut thief = other.value.particulars.clone();
    thief.pin = Some(pin(PIN));
    let at = (other.value.key, other.revision);
    let refused = rig
        .registry
        .change_patient(&editing(), at, thief.clone(), None, now())
        .await;
    let refused = refused;
    assert!(matches!(
        refused,
        Err(RegistryError::Refused(Refusal::Taken { .. }))
    ));
    let both = rig
        .registry
        .register_patient(&editing(), thief, Alike::Unknown, now())
        .await;
    let both = both;
    assert!(matches!(
        both,
        Err(RegistryError::Refused(Refusal::SeveralPatients))
    ));
}

#[tokio::test]
async fn two_patients_are_merged_and_for_ninety_days_taken_apart() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let survivor = register(&rig, zheenbekov()).await;
        let temporary = rig
            .registry
            .register_unidentified(&editing(), code("006"), None, now())
            .await
            .unwrap();
        let (into, gone) = (survivor.value.key, temporary.value.key);
        let merge = |survivor, loser| {
            let registry = rig.registry.clone();
            async move {
                registry
                    .merge_patients(&merging(), survivor, loser, reason(), now())
                    .await
            }
        };
        let backwards = merge((gone, temporary.revision), (into, survivor.revision)).await;
        assert!(matches!(
            backwards,
            Err(RegistryError::Refused(Refusal::Unfit { .. }))
        ));
        let merged = merge((into, survivor.revision), (gone, temporary.revision)).await;
        let merged = merged.unwrap();
        assert_eq!(merged.value.aliases, [gone]);
        let shown = rig
            .registry
            .patient(&searching(), gone, now())
            .await
            .unwrap();
        assert_eq!(shown.value.key, into);
        assert_eq!(find(&rig, "UNKNOWN", None).await, [(into, Rank::Exact)]);
        let again = merge((into, merged.revision), (gone, temporary.revision)).await;
        assert!(again.is_err());

        let unmerge = |at| {
            let registry = rig.registry.clone();
            async move {
                registry
                    .unmerge_patient(&merging(), gone, reason(), at)
                    .await
            }
        };
        let late = unmerge(now() + TimeDelta::days(91)).await;
        assert!(matches!(
            late,
            Err(RegistryError::Refused(Refusal::TooLate))
        ));
        let apart = unmerge(now() + TimeDelta::days(90)).await.unwrap();
        assert_eq!(apart.value.aliases, []);
        assert_eq!(apart.value.particulars, survivor.value.particulars);
        let shown = rig
            .registry
            .patient(&searching(), gone, now())
            .await
            .unwrap();
        assert_eq!(shown.value.particulars, temporary.value.particulars);
        let history = rig
            .registry
            .patient_history(&searching(), into, now())
            .await;
        let what: Vec<_> = history.unwrap().iter().map(|entry| entry.what).collect();
        let expected = [What::Registered, What::Absorbed(gone), What::Released(gone)];
        assert_eq!(what, expected);
    }
}

/// The records about a patient, by their places behind `first`, and the number that the patient had
/// gone into at each, read in parts.
async fn about(
    (rig, first): (&Rig, u64),
    patient: PatientKey,
    part: usize,
) -> Vec<(u64, Option<PatientKey>)> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = rig.registry.audit_page(Some(patient), (before, part)).await;
        let page = page.unwrap();
        assert!(page.records.len() <= part);
        let records = page.records.into_iter();
        all.extend(records.map(|one| (one.record.number - first, one.while_merged_into)));
        before = page.next;
        if before.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn what_is_on_record_of_a_patient_follows_merges_and_tells_those_apart_that_were_undone() {
    let rig = Rig::new().await;
    let minute = |count| now() + TimeDelta::minutes(count);
    let trail = rig.registry.audit_trail();
    let first = trail.anchor().await.unwrap().map_or(0, |last| last.number);
    let rig = (&rig, first);
    // Records 1 and 2.
    let survivor = register(rig.0, zheenbekov()).await;
    let temporary = rig
        .0
        .registry
        .register_unidentified(&editing(), code("006"), None, now())
        .await
        .unwrap();
    let (into, gone) = (survivor.value.key, temporary.value.key);
    let look = async |patient, at| {
        let licence = searching();
        let looked = rig.0.registry.patient(&licence, patient, at);
        looked.await.unwrap();
    };
    look(into, minute(1)).await; // 3
    look(gone, minute(2)).await; // 4
    let licence = merging();
    let pair = ((into, survivor.revision), (gone, temporary.revision));
    let merged = rig
        .0
        .registry
        .merge_patients(&licence, pair.0, pair.1, reason(), minute(3));
    merged.await.unwrap(); // 5
    look(gone, minute(4)).await; // 6, of the survivor

    let all: Vec<_> = (1..=6).rev().map(|number| (number, None)).collect();
    for (patient, part) in [(into, 99), (gone, 99), (into, 1), (gone, 4)] {
        assert_eq!(about(rig, patient, part).await, all, "{patient} {part}");
    }

    let undone = rig
        .0
        .registry
        .unmerge_patient(&licence, gone, reason(), minute(5));
    undone.await.unwrap(); // 7
    look(into, minute(6)).await; // 8
    look(gone, minute(7)).await; // 9
    let of_one: Vec<_> = [8, 7, 6, 5, 3, 1].map(|number| (number, None)).into();
    let of_other: Vec<_> = [9, 7, 6, 5, 4, 2]
        .map(|number| (number, (number == 6).then_some(into)))
        .into();
    for part in [99, 1, 2] {
        assert_eq!(about(rig, into, part).await, of_one, "{part}");
        assert_eq!(about(rig, gone, part).await, of_other, "{part}");
    }
    let nobody = PatientKey::Known(PatientNumber::from_serial(987_654).unwrap());
    assert_eq!(about(rig, nobody, 9).await, []);
}

#[tokio::test]
async fn a_patient_is_not_merged_into_itself_nor_taken_out_of_nobody() {
    let rig = Rig::new().await;
    let patient = register(&rig, zheenbekov()).await;
    let at = (patient.value.key, patient.revision);
    let merged = rig
        .registry
        .merge_patients(&merging(), at, at, reason(), now())
        .await;
    assert!(matches!(
        merged,
        Err(RegistryError::Refused(Refusal::Unfit { .. }))
    ));
    let apart = rig
        .registry
        .unmerge_patient(&merging(), at.0, reason(), now())
        .await;
    assert!(matches!(
        apart,
        Err(RegistryError::Refused(Refusal::NotMerged))
    ));
}

#[tokio::test]
async fn whoever_reads_or_searches_stands_in_the_audit_trail_without_the_pin() {
    let rig = Rig::new().await;
    let patient = register(&rig, zheenbekov()).await.value.key;
    find(&rig, PIN, None).await;
    rig.registry
        .patient(&searching(), patient, now())
        .await
        .unwrap();

    let trail = rig.registry.audit_trail().page(None, 3).await.unwrap();
    let acts: Vec<_> = trail.iter().map(|record| record.event.act).collect();
    assert_eq!(acts, [Act::PatientRead, Act::Queried, Act::PatientCreated]);
    let query = trail[1].event.object.query.as_ref().unwrap().reveal();
    assert!(query.contains("9907") && !query.contains(PIN), "{query}");
    let of_patient = rig
        .registry
        .audit_trail()
        .of_patients(&[patient], None, 9)
        .await;
    assert_eq!(of_patient.unwrap().len(), 2);
}

#[tokio::test]
async fn what_names_nobody_or_cannot_be_sent_is_refused_by_name() {
    let rig = Rig::new().await;
    type Change = fn(&mut Particulars);
    let changes: [(&str, Change); 7] = [
        ("name", |p| p.name.family = " ".to_owned()),
        ("name", |p| p.name.given = "a^b".to_owned()),
        ("name", |p| p.name.family = "x".repeat(65)),
        ("latin name", |p| p.latin = Some(name("Жээнбеков", "", ""))),
        ("citizenship", |p| p.citizenship = Some("KG".to_owned())),
        ("identifiers", |p| p.former_pins = vec![pin(PIN)]),
        ("date of birth or an identifier", |p| {
            (p.birth_date, p.pin) = (None, None);
            p.documents.clear();
        }),
    ];
    for (part, change) in changes {
        let mut particulars = zheenbekov();
        change(&mut particulars);
        let refused = rig
            .registry
            .register_patient(&editing(), particulars, Alike::Unknown, now())
            .await;
        let refused = refused;
        let why = Refusal::Unfit { what: part };
        assert!(
            matches!(&refused, Err(RegistryError::Refused(found)) if *found == why),
            "{part}: {refused:?}"
        );
    }
    let debug = format!("{:?}", register(&rig, zheenbekov()).await);
    assert!(
        !debug.contains("Жээнбеков") && !debug.contains("9907"),
        "{debug}"
    );
    let identifier = Identifier::Pin(pin(PIN));
    assert!(!format!("{:?}", PatientQuery::Identifier(identifier)).contains("9907"));
}
