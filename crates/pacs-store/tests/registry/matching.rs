//! Studies and examinations: bound by the rules, or by a person, and taken apart again.

use crate::examinations::{act, new_for, operator, reason, save};
use crate::rig::{Rig, code, now, user};
use pacs_core::ExaminationId;
use pacs_core::attributes::Attributes;
use pacs_core::examination::progress::Guard;
use pacs_core::examination::reconcile::{
    MatchingPolicy, Origin, QueueReason, Received, Rule, StudyHeader, Verdict, verdict,
};
use pacs_core::examination::{Event, Reason, Status};
use pacs_core::instance::Instance;
use pacs_core::role::{Agent, Licence, Role, duty::Reconcile};
use pacs_core::tag::{Tag, tags, vr_of};
use pacs_core::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};
use pacs_store::registry::examinations::{
    Correcting, KeptImages, MatchState, ReceivedStudy, StudyMatch,
};
use pacs_store::registry::{Refusal, RegistryError, Stored};
use std::collections::BTreeMap;

pub(crate) fn matcher() -> Licence<Reconcile> {
    Agent::system("matcher").national_licence().unwrap()
}

pub(crate) fn person() -> Licence<Reconcile> {
    operator().licence(code("006")).unwrap()
}

pub(crate) fn study(text: &str) -> StudyUid {
    StudyUid::parse(text).unwrap()
}

pub(crate) fn header(uid: &str, organisation: &str, texts: &[(Tag, &str)]) -> StudyHeader {
    let mut attributes = Attributes::default();
    let given = [
        (tags::MODALITY, "CT"),
        (tags::STUDY_DATE, "20261126"),
        (tags::STUDY_TIME, "121500"),
    ];
    for (tag, text) in given.iter().chain(texts) {
        attributes.insert_text(*tag, vr_of(*tag), *text);
    }
    let instance = Instance {
        study: study(uid),
        series: SeriesUid::parse("1.2.3.1").unwrap(),
        instance: SopInstanceUid::parse("1.2.3.1.1").unwrap(),
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
        attributes,
        head_bytes: 0,
    };
    StudyHeader::of(&instance, code(organisation))
}

/// One series of each of these studies, with so many images.
pub(crate) fn kept(studies: &[(&str, u64)]) -> KeptImages {
    let mut kept = KeptImages::new();
    for (uid, count) in studies {
        let series = SeriesUid::parse(&format!("{uid}.1")).unwrap();
        kept.insert(study(uid), BTreeMap::from([(series, *count)]));
    }
    kept
}

/// A correction by `licence`, at noon.
pub(crate) fn correcting<'a>(
    licence: &'a Licence<Reconcile>,
    kept: &'a KeptImages,
    reason: &'a Reason,
    random: u8,
) -> Correcting<'a> {
    Correcting {
        licence,
        kept,
        expected: None,
        reason,
        random: [random; 16],
        at: now(),
    }
}

/// Judges a study by what the registry proposes, and stores the verdict.
pub(crate) async fn judge(
    rig: &Rig,
    header: StudyHeader,
    organisation: &str,
    has_new_images: bool,
) -> Result<(Verdict, Stored<StudyMatch>), RegistryError> {
    let received_at = now();
    let uid = header.study.clone();
    let headers = [header];
    let candidates = rig
        .registry
        .candidates(
            &matcher(),
            &headers,
            code(organisation),
            received_at.naive_local(),
        )
        .await?;
    let known = rig.registry.study_match(&matcher(), &uid).await.ok();
    let judged = known.as_ref().map(|known| known.revision);
    let not_of = known.map(|known| known.value.not_of).unwrap_or_default();
    let received = Received {
        headers: &headers,
        origin: Origin::Device(code(organisation)),
        received_at: received_at.naive_local(),
        binding: None,
        not_of: &not_of,
        has_other_version: false,
        has_other_senders: false,
        has_more_headers: false,
    };
    let verdict = verdict(&received, &candidates, MatchingPolicy::default());
    let series = SeriesUid::parse(&format!("{}.1", uid.as_str())).unwrap();
    let news = has_new_images.then_some((series, received_at));
    let received = ReceivedStudy {
        study: uid,
        organisation: Some(code(organisation)),
        department: None,
        is_import: false,
        received_at,
        first_instance: SopInstanceUid::parse("1.2.3.1.1").unwrap(),
        witnesses: Vec::new(),
        has_more_headers: false,
        has_other_version: false,
        senders: vec!["NATHOS_CT1".to_owned()],
        news: news.into_iter().collect(),
        judged,
    };
    let turn = rig.registry.turn().await;
    let stored = rig
        .registry
        .store_verdict(&turn, &matcher(), (&received, &verdict), now())
        .await;
    Ok((verdict, stored?))
}

pub(crate) async fn waiting(rig: &Rig, organisation: &str) -> Vec<String> {
    let found = rig
        .registry
        .unmatched_studies(&matcher(), Some(code(organisation)), None, 9)
        .await
        .unwrap();
    assert_eq!(found.next, None);
    let studies = found.studies.into_iter();
    studies
        .map(|found| found.value.study.as_str().to_owned())
        .collect()
}

#[tokio::test]
async fn a_study_with_the_id_is_bound_once_and_moves_the_examination_on() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let id = save(&rig.registry, &new_for(&rig).await, 1)
            .await
            .unwrap()
            .value
            .id;
        let digits = id.to_string();
        let named = header("1.2.3", "006", &[(tags::ACCESSION_NUMBER, &digits)]);

        let (_, first) = judge(&rig, named.clone(), "006", true).await.unwrap();
        let (_, again) = judge(&rig, named.clone(), "006", false).await.unwrap();

        let bound = MatchState::Bound {
            examination: id,
            rule: Some(Rule::AccessionNumber),
            flags: vec![],
        };
        assert_eq!(first.value.state, bound);
        assert_eq!(again.revision, first.revision, "told twice, stored once");
        let licence = operator().licence(code("006")).unwrap();
        let read = rig
            .registry
            .scheduled_examination(
                &user("CT", Role::Device, "006")
                    .licence(code("006"))
                    .unwrap(),
                id,
            )
            .await;
        let examination = read.unwrap().examination.value;
        assert_eq!(examination.status(), Status::InProgress);
        assert_eq!(examination.studies, [study("1.2.3")]);
        assert_eq!(examination.first_image_at, Some(now()));
        assert_eq!(waiting(&rig, "006").await, [""; 0]);
        let (_, more) = judge(&rig, named, "006", true).await.unwrap();
        assert_eq!(more.value.state, bound);
        let planned = rig
            .registry
            .examination_planned_as(&licence, &examination.planned_study)
            .await;
        assert_eq!(planned.unwrap().unwrap().value.studies.len(), 1);
    }
}

#[tokio::test]
async fn a_study_with_the_planned_uid_or_of_a_known_patient_finds_its_order() {
    let rig = Rig::new().await;
    let saved = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value;
    let planned = header(saved.planned_study.as_str(), "006", &[]);
    let (verdict, _) = judge(&rig, planned, "006", true).await.unwrap();
    let rule = Rule::PlannedStudy;
    assert!(matches!(verdict, Verdict::Bound { rule: by, .. } if by == rule));

    let number = pacs_core::patient::PatientNumber::from_serial(1)
        .unwrap()
        .to_string();
    for (uid, tag, text, by) in [
        ("1.2.4", tags::PATIENT_ID, number.as_str(), Rule::Patient),
        (
            "1.2.5",
            tags::PATIENT_NAME,
            "ZHEENBEKOV^USON",
            Rule::NameAlike,
        ),
    ] {
        let likely = header(uid, "006", &[(tag, text), (tags::PATIENT_SEX, "M")]);
        let (_, stored) = judge(&rig, likely, "006", true).await.unwrap();
        let MatchState::Queued { suggestions, .. } = &stored.value.state else {
            panic!("{:?}", stored.value.state);
        };
        let found: Vec<_> = suggestions
            .iter()
            .map(|s| (s.examination, s.rule))
            .collect();
        assert_eq!(found, [(saved.id, by)], "{uid}");
    }
    assert_eq!(waiting(&rig, "006").await.len(), 2);
    assert_eq!(waiting(&rig, "001").await, [""; 0]);
}

#[tokio::test]
async fn the_id_of_another_organisation_binds_nothing_and_shows_nothing() {
    let rig = Rig::new().await;
    let id = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value
        .id;
    let digits = id.to_string();
    let named = header("1.2.3", "001", &[(tags::ACCESSION_NUMBER, &digits)]);
    let (_, stored) = judge(&rig, named, "001", true).await.unwrap();
    let queued = MatchState::Queued {
        reason: QueueReason::OtherOrg,
        suggestions: vec![],
    };
    assert_eq!(stored.value.state, queued);
    let uid = study("1.2.3");
    let unseen = rig.registry.study_match(&person(), &uid).await;
    assert!(matches!(unseen, Err(RegistryError::NotFound { .. })));
    let elsewhere = user("op", Role::Operator, "001")
        .licence(code("001"))
        .unwrap();
    let (kept, why) = (kept(&[("1.2.3", 1)]), reason());
    let how = correcting(&elsewhere, &kept, &why, 1);
    let bound = rig.registry.bind_study(&how, &uid, id).await;
    assert!(matches!(bound, Err(RegistryError::NotFound { .. })));
}

#[tokio::test]
async fn a_person_binds_postpones_and_unbinds_and_no_rule_binds_there_again() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let new = new_for(&rig).await;
        let saved = save(&rig.registry, &new, 1).await.unwrap().value;
        let id = saved.id;
        let other = save(&rig.registry, &new, 2).await.unwrap().value.id;
        let uid = study("1.2.3");
        let nameless = header("1.2.3", "006", &[]);
        judge(&rig, nameless, "006", true).await.unwrap();
        assert_eq!(waiting(&rig, "006").await, ["1.2.3"]);

        let until = now() + chrono::TimeDelta::hours(1);
        let (licence, why) = (person(), reason());
        let kept = kept(&[("1.2.3", 1)]);
        let how = |random| correcting(&licence, &kept, &why, random);
        let registry = &rig.registry;
        let postponed = registry.postpone_study(&how(1), &uid, until).await;
        assert_eq!(postponed.unwrap().value.postponed_until, Some(until));
        let bound = registry.bind_study(&how(2), &uid, id).await.unwrap().value;
        assert_eq!(bound.examination(), Some(id));
        assert_eq!(
            (bound.decided_by.as_str(), bound.postponed_until),
            ("op", None)
        );
        assert_eq!(waiting(&rig, "006").await, [""; 0]);
        let twice = registry.bind_study(&how(3), &uid, other).await;
        let taken = Refusal::Taken { what: "study" };
        assert!(matches!(twice, Err(RegistryError::Refused(why)) if why == taken));

        let unbind = async |random| registry.unbind_study(&how(random), &uid).await;
        let unbound = unbind(5).await.unwrap().value;
        assert_eq!(unbound.not_of, [id]);
        assert_eq!(waiting(&rig, "006").await, ["1.2.3"]);
        let reader = operator();
        let reader = pacs_store::registry::examinations::Reader::new(&reader);
        let read = rig
            .registry
            .examination(&reader, id, now())
            .await
            .unwrap()
            .value;
        assert_eq!(read.status(), Status::Scheduled);
        assert_eq!(read.studies, []);
        // Images may be under the former UID: a new step has a new one.
        assert_ne!(read.planned_study, saved.planned_study);
        assert_eq!(read.step().to_string(), format!("{id}-02"));
        assert!(unbind(6).await.is_err(), "it is not bound");

        let digits = id.to_string();
        let named = header("1.2.3", "006", &[(tags::ACCESSION_NUMBER, &digits)]);
        let (_, again) = judge(&rig, named, "006", true).await.unwrap();
        assert!(matches!(
            again.value.state,
            MatchState::Queued {
                reason: QueueReason::Unbound,
                ..
            }
        ));
    }
}

/// Lets an examination with images be read, and its report signed.
pub(crate) async fn report(rig: &Rig, id: ExaminationId) {
    let radiologist = user("r", Role::Radiologist, "006");
    let check = pacs_core::examination::progress::ReportCheck {
        has_description: true,
        has_conclusion: true,
        is_identity_confirmed: true,
        holds_lock: false,
        has_seen_late_images: true,
        is_resolved: true,
        is_signature_valid: true,
    };
    let complete = Event::Complete {
        by: pacs_core::examination::progress::Completion::Declared,
        images_kept: 1,
    };
    act(&rig.registry, &Agent::system("t"), id, complete)
        .await
        .unwrap();
    let claim = Event::Claim {
        is_locked: true,
        may_read: true,
        images_online: 1,
    };
    act(&rig.registry, &radiologist, id, claim).await.unwrap();
    act(&rig.registry, &radiologist, id, Event::Sign(check))
        .await
        .unwrap();
}

#[tokio::test]
async fn images_of_a_signed_report_do_not_leave_it_unseen() {
    let rig = Rig::new().await;
    let id = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value
        .id;
    let digits = id.to_string();
    let named = header("1.2.3", "006", &[(tags::ACCESSION_NUMBER, &digits)]);
    judge(&rig, named, "006", true).await.unwrap();
    report(&rig, id).await;

    let (licence, why) = (person(), reason());
    let kept = kept(&[("1.2.3", 1)]);
    let how = correcting(&licence, &kept, &why, 1);
    let refused = rig.registry.unbind_study(&how, &study("1.2.3")).await;
    let why = Refusal::Transition(Guard::ReportStands.into());
    assert!(matches!(refused, Err(RegistryError::Refused(found)) if found == why));
    let still = rig
        .registry
        .study_match(&person(), &study("1.2.3"))
        .await
        .unwrap();
    assert_eq!(still.value.examination(), Some(id));
}
