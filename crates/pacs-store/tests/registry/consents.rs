//! What patients agreed to, and who sees what by it.

use crate::examinations::{new_for, reason, save};
use crate::patients::{editing, foreigner, merging, register, searching};
use crate::rig::{Rig, code, now, user};
use chrono::{TimeDelta, Utc};
use pacs_core::audit::Act;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, Role};
use pacs_core::{ExaminationId, OrganisationCode};
use pacs_store::registry::consents::{Consent, ConsentId, Ground, NewConsent};
use pacs_store::registry::examinations::Reader;
use pacs_store::registry::{Moment, Refusal, Registry, RegistryError, Stored};

fn after(days: i64) -> Moment {
    now().checked_add_signed(TimeDelta::days(days)).unwrap()
}

fn to_001(until: Moment) -> NewConsent {
    NewConsent {
        to: code("001"),
        until,
        ground: Ground::Agreement,
        reference: "форма 4711".to_owned(),
    }
}

async fn give(registry: &Registry, patient: PatientKey, until: Moment) -> Stored<Consent> {
    let (licence, new) = (editing(), to_001(until));
    let given = registry.record_consent(&licence, patient, &new, now());
    given.await.unwrap()
}

/// Whether somebody sees an examination then, alone and among those of its patient.
async fn sees(
    registry: &Registry,
    who: &Agent,
    of: (ExaminationId, PatientKey),
    at: Moment,
) -> bool {
    let reader = Reader::new(who);
    let alone = registry.examination(&reader, of.0, at).await;
    let listed = registry.examinations_of_patient(&reader, of.1, at).await;
    let listed = !listed.unwrap().is_empty();
    assert_eq!(alone.is_ok(), listed);
    listed
}

fn refused(given: Result<Stored<Consent>, RegistryError>, what: &str) {
    let is_meant = matches!(
        given,
        Err(RegistryError::Refused(Refusal::Unfit { what: found })) if found == what
    );
    assert!(is_meant, "{what}");
}

#[tokio::test]
async fn what_a_patient_agreed_to_opens_what_is_there_until_it_ends_or_is_withdrawn() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let registry = &rig.registry;
        let new = new_for(&rig).await;
        let examination = save(registry, &new, 1).await.unwrap().value;
        let of = (examination.id, examination.patient);
        let there = user("there", Role::Radiologist, "001");
        let device = user("KRKL_CT1", Role::Device, "001");
        assert!(!sees(registry, &there, of, now()).await);

        let short = give(registry, of.1, after(1)).await;
        let long = give(registry, of.1, after(30)).await;
        assert!(sees(registry, &there, of, now()).await);
        assert!(sees(registry, &there, of, after(30)).await);
        assert!(!sees(registry, &there, of, after(31)).await, "it is over");
        assert!(
            !sees(registry, &device, of, now()).await,
            "for people alone"
        );

        let withdraw = |id: ConsentId| {
            let registry = registry.clone();
            async move {
                let licence = editing();
                let withdrawn = registry.withdraw_consent(&licence, (of.1, id), reason(), now());
                withdrawn.await
            }
        };
        withdraw(long.value.id).await.unwrap();
        assert!(
            sees(registry, &there, of, after(1)).await,
            "the other holds"
        );
        assert!(!sees(registry, &there, of, after(2)).await);
        withdraw(short.value.id).await.unwrap();
        assert!(!sees(registry, &there, of, now()).await);
        let twice = withdraw(short.value.id).await;
        assert!(matches!(
            twice,
            Err(RegistryError::Refused(Refusal::TooLate))
        ));

        let licence = searching();
        let all = registry.consents_of_patient(&licence, of.1, now());
        let all = all.await.unwrap().into_iter().map(|one| one.value);
        let holds: Vec<_> = all.map(|one| (one.id, one.holds(now()))).collect();
        assert_eq!(holds, [(short.value.id, false), (long.value.id, false)]);
        let trail = registry.audit_trail().after(0, 100).await.unwrap();
        let told = trail
            .iter()
            .filter(|record| record.event.act == Act::PatientChanged);
        let told: Vec<_> = told
            .filter_map(|record| record.event.reason.clone())
            .collect();
        let expected = [
            format!("CONSENT_GIVEN {} 001", short.value.id),
            format!("CONSENT_GIVEN {} 001", long.value.id),
            format!("CONSENT_WITHDRAWN {} 001", long.value.id),
            format!("CONSENT_WITHDRAWN {} 001", short.value.id),
        ];
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn a_consent_goes_with_the_patient_and_says_for_whom_how_long_and_on_which_ground() {
    let rig = Rig::new().await;
    let registry = &rig.registry;
    let new = new_for(&rig).await;
    let examination = save(registry, &new, 1).await.unwrap().value;
    let other = register(&rig, foreigner("Осмонов", "Нур", "7654321")).await;
    let given = give(registry, other.value.key, after(1)).await;
    let there = user("there", Role::Radiologist, "001");
    let of = (examination.id, examination.patient);
    assert!(
        !sees(registry, &there, of, now()).await,
        "of another patient"
    );
    let (licence, elsewhere) = (editing(), (of.1, given.value.id));
    let withdrawn = registry.withdraw_consent(&licence, elsewhere, reason(), now());
    assert!(matches!(
        withdrawn.await,
        Err(RegistryError::NotFound { .. })
    ));

    let patient = registry.patient(&searching(), of.1, now()).await.unwrap();
    let pair = ((of.1, patient.revision), (other.value.key, other.revision));
    let merging = merging();
    let merged = registry.merge_patients(&merging, pair.0, pair.1, reason(), now());
    merged.await.unwrap();
    assert!(sees(registry, &there, of, now()).await, "they are one");

    let licence = editing();
    let record = async |new: NewConsent| registry.record_consent(&licence, of.1, &new, now()).await;
    for until in [now(), after(5 * 366 + 1)] {
        refused(record(to_001(until)).await, "term");
    }
    for reference in [String::new(), "a\nb".to_owned(), "x".repeat(129)] {
        let new = NewConsent {
            reference,
            ..to_001(after(1))
        };
        refused(record(new).await, "reference");
    }
    let nowhere = NewConsent {
        to: code("999"),
        ..to_001(after(1))
    };
    let unknown = record(nowhere).await;
    assert!(matches!(unknown, Err(RegistryError::NotFound { .. })));
}

#[test]
fn the_id_of_a_consent_is_read_as_it_is_written_and_in_no_other_way() {
    let key = "P0000005724/00000012";
    let id = ConsentId::of_key(key).unwrap();
    assert_eq!(id.to_string(), "P0000005724.12");
    assert_eq!(ConsentId::parse("P0000005724.12"), Some(id));
    for wrong in [
        "P0000005724.012",
        "P0000005724",
        "P0000005724.",
        "P0000005724.-1",
        "1.12",
    ] {
        assert_eq!(ConsentId::parse(wrong), None, "{wrong}");
    }
    assert!(ConsentId::of_key("P0000005724").is_err());
}

/// That it is noted for searches until when it holds.
#[tokio::test]
async fn what_is_known_of_a_study_says_until_when_the_patient_agreed() {
    let (rig, _archive, _folder, id) = crate::rejections::rig_with_images().await;
    let registry = &rig.registry;
    let licence = Agent::system("test").national_licence().unwrap();
    let study = crate::rejections::study_of_images();
    let ties = async || -> Vec<(OrganisationCode, chrono::DateTime<Utc>)> {
        let known = registry.known_study(&licence, &study).await.unwrap();
        known.unwrap().bound.unwrap().tied_until
    };
    assert_eq!(ties().await, []);
    let reader = Agent::system("test");
    let examination = registry.examination(&Reader::new(&reader), id, now()).await;
    let patient = examination.unwrap().value.patient;

    give(registry, patient, after(30)).await;
    give(registry, patient, after(1)).await;

    assert_eq!(ties().await, [(code("001"), after(30).with_timezone(&Utc))]);
}
