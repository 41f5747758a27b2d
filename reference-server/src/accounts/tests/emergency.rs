//! Break glass: who may, for how long, and who judges it.

use super::*;
use crate::accounts::emergency::{Shown, Wanted};
use pacs_core::account::break_glass::{BreakGlassReason, Verdict};
use pacs_core::patient::{PatientKey, PatientNumber};

const JUDGED: (Verdict, &str) = (Verdict::Justified, "the patient was unconscious");

fn patient() -> PatientKey {
    PatientKey::Known(PatientNumber::from_serial(572).unwrap())
}

fn wanted(proof: &str) -> Wanted {
    Wanted {
        patient: patient(),
        reason: BreakGlassReason::Unconscious,
        explanation: "polytrauma, priors needed".to_owned(),
        proof: proof.to_owned(),
    }
}

async fn open(rig: &Rig, of: &SignedIn, proof: &str) -> Result<Shown, Refused> {
    let who = rig.who(of).await;
    let wanted = wanted(proof);
    rig.accounts.open_in_emergency(&who, &wanted, HERE).await
}

#[tokio::test]
async fn a_doctor_opens_one_patient_for_an_hour() {
    let rig = Rig::new();
    let doctor = rig.user("b.osmonova", "radiologist@006", true).await;
    let operator = rig.user("a.asanov", "operator@006", true).await;
    let nurse = rig.user("c.isakova", "radiologist@006", false).await;
    for (of, proof, why) in [
        (&operator, PASSWORD, Refused::NotPermitted),
        (&nurse, PASSWORD, Refused::NotPermitted),
        (&doctor, "wrong", Refused::WrongCredentials),
    ] {
        assert_eq!(open(&rig, of, proof).await.unwrap_err(), why);
    }
    let opened = open(&rig, &doctor, PASSWORD).await.unwrap();
    assert_eq!(opened.review_due, "2026-12-01".parse().unwrap());
    rig.pass(TimeDelta::minutes(29));
    let who = rig.who(&doctor).await;
    let open_now = async || rig.accounts.open_emergencies(&who).await.unwrap().len();
    assert_eq!(open_now().await, 1);

    rig.pass(TimeDelta::minutes(31));

    assert_eq!(open_now().await, 0, "after an hour");
    rig.accounts.sweep().await.unwrap();
    let trail = rig.accounts.trail();
    let told = trail.of_patients(&[patient()], None, 9).await.unwrap();
    let acts: Vec<_> = told.iter().map(|record| record.event.act).collect();
    assert_eq!(acts, [Act::BreakGlassStopped, Act::BreakGlassStarted]);
}

#[tokio::test]
async fn a_doctor_closes_what_is_open_and_has_no_more_than_a_few() {
    let rig = Rig::new();
    let doctor = rig.user("b.osmonova", "expert@national", true).await;
    for _ in 0..crate::limits::BREAK_GLASS_OPEN_PER_USER_MAX {
        open(&rig, &doctor, PASSWORD).await.unwrap();
    }
    let refused = open(&rig, &doctor, PASSWORD).await;
    assert_eq!(refused.unwrap_err(), Refused::NotPermitted);

    let who = rig.who(&doctor).await;
    rig.accounts.close_emergencies(&who, HERE).await.unwrap();

    assert_eq!(rig.accounts.open_emergencies(&who).await.unwrap().len(), 0);
    assert!(open(&rig, &doctor, PASSWORD).await.is_ok());
}

#[tokio::test]
async fn an_administrator_of_the_organisation_or_an_auditor_judges_it_and_nobody_their_own() {
    let rig = Rig::new();
    let doctor = rig.user("b.osmonova", "radiologist@006", true).await;
    let admin = rig.user("d.admin", "org_admin@006", false).await;
    let elsewhere = rig.user("e.admin", "org_admin@007", false).await;
    let auditor = rig.user("f.auditor", "auditor@national", false).await;
    let opened = open(&rig, &doctor, PASSWORD).await.unwrap();
    let judge = async |of: &SignedIn| {
        let who = rig.who(of).await;
        let judged = rig
            .accounts
            .review_emergency(&who, &opened.id, JUDGED, HERE);
        judged.await
    };
    assert_eq!(judge(&doctor).await.unwrap_err(), Refused::NotFound);
    assert_eq!(judge(&elsewhere).await.unwrap_err(), Refused::NotFound);
    let who = rig.who(&admin).await;
    let waiting = async || {
        let part = rig.accounts.emergencies_to_review(&who, (None, 9), HERE);
        part.await.unwrap().emergencies.len()
    };
    assert_eq!(waiting().await, 1);

    let done = judge(&admin).await.unwrap();

    assert_eq!(done.emergency.review.unwrap().by, admin.user.name);
    assert_eq!(waiting().await, 0);
    assert_eq!(judge(&auditor).await.unwrap_err(), Refused::Taken);
    let who = rig.who(&doctor).await;
    let refused = rig
        .accounts
        .emergencies_to_review(&who, (None, 9), HERE)
        .await;
    assert_eq!(refused.unwrap_err(), Refused::NotPermitted);
}

#[tokio::test]
async fn what_waits_to_be_judged_comes_in_parts() {
    let rig = Rig::new();
    let auditor = rig.user("f.auditor", "auditor@national", false).await;
    let mut opened = Vec::new();
    for (name, role) in [
        ("a.doctor", "radiologist@006"),
        ("b.doctor", "radiologist@001"),
        ("c.doctor", "radiologist@006"),
    ] {
        let doctor = rig.user(name, role, true).await;
        opened.push(open(&rig, &doctor, PASSWORD).await.unwrap().id);
    }
    let admin = rig.user("d.admin", "org_admin@006", false).await;
    for (of, expected) in [
        (&auditor, &opened[..]),
        (&admin, &[opened[0].clone(), opened[2].clone()]),
    ] {
        let who = rig.who(of).await;
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let part = (after.as_deref(), 1);
            let part = rig.accounts.emergencies_to_review(&who, part, HERE).await;
            let part = part.unwrap();
            assert!(part.emergencies.len() <= 1);
            seen.extend(part.emergencies.into_iter().map(|one| one.id));
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
}
