//! Images that are taken out of sight, by whom, and brought back; what a crash leaves in between;
//! what comes again.

use crate::archived::{archive, deposit, may, open, send};
use crate::examinations::{act, new_for, reason, save};
use crate::follower::matcher;
use crate::matching::kept;
use crate::rig::{Rig, code, now, user};
use pacs_core::audit::{Act, Outcome};
use pacs_core::examination::progress::{Completion, ReportCheck};
use pacs_core::examination::reconcile::QueueReason;
use pacs_core::examination::{Event, Status};
use pacs_core::query::Matching;
use pacs_core::rejection::{Quality, Title};
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role};
use pacs_core::tag::{tags, vr_of};
use pacs_core::uid::{SeriesUid, SopInstanceUid, StudyUid};
use pacs_core::{ExaminationId, Key, Level, Query, Vr};
use pacs_store::index::memory::MemoryIndex;
use pacs_store::registry::examinations::{MatchState, Reader};
use pacs_store::registry::rejections::{
    NewRejection, Part, Rejection, RejectionSearch, RejectionState,
};
use pacs_store::registry::{Refusal, RegistryError, Stored};
use pacs_store::rejections::{Meant, RejectError, Rejections, Wanted};
use pacs_store::{Archive, DepositError};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) const STUDY: &str = "1.2.3";

fn study(text: &str) -> StudyUid {
    StudyUid::parse(text).unwrap()
}

pub(crate) fn study_of_images() -> StudyUid {
    study(STUDY)
}

pub(crate) fn instance(number: u32) -> SopInstanceUid {
    SopInstanceUid::parse(&format!("{STUDY}.1.{number}")).unwrap()
}

pub(crate) fn keeper() -> Agent {
    let grant = Grant::new(Role::ArchiveAdmin, Reach::National);
    Agent::new(AgentKind::User, "keeper", Grants::single(grant))
}

pub(crate) fn rejections(archive: &Archive) -> Rejections {
    Rejections::new(archive, (may(), may(), may()))
}

pub(crate) fn wanted(meant: Meant, title: Title) -> Wanted {
    Wanted {
        study: study(STUDY),
        meant,
        title,
        quality: None,
        reason: reason(),
        note: None,
        random: rand8(),
    }
}

/// Tells rejections of one moment apart.
pub(crate) fn rand8() -> [u8; 8] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

pub(crate) fn of_study(uid: &str) -> Key {
    Key {
        tag: tags::STUDY_INSTANCE_UID,
        vr: Vr::UI,
        matching: Matching::SingleValue(uid.to_owned()),
    }
}

/// The instances of the study that are in sight, and what the study says how many they are.
pub(crate) async fn visible(archive: &Archive) -> (Vec<String>, String) {
    let query = Query::new(Level::Study).with(of_study(STUDY));
    let permit = may::<pacs_core::access::Get>();
    let found = archive.select(&permit, &query).await.unwrap();
    let numbers = found.into_iter().map(|stored| {
        let uid = stored.instance.instance.as_str().to_owned();
        uid.rsplit('.').next().unwrap().to_owned()
    });
    let numbers: Vec<String> = numbers.collect();
    let tag = tags::NUMBER_OF_STUDY_RELATED_INSTANCES;
    let count = Key {
        tag,
        vr: vr_of(tag),
        matching: Matching::Universal,
    };
    let query = Query::new(Level::Study).with(of_study(STUDY)).with(count);
    let permit = may::<pacs_core::access::Find>();
    let found = archive.search(&permit, &query).await.unwrap();
    let mut found = found.into_iter();
    let count = found.next().map(|found| {
        let text = found.attributes.text(tag).unwrap_or_default();
        text.to_owned()
    });
    (numbers, count.unwrap_or_default())
}

/// An archive with three images of an examination, complete.
pub(crate) async fn rig_with_images() -> (Rig, Archive, tempfile::TempDir, ExaminationId) {
    let rig = Rig::on_disk().await;
    let id = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value
        .id;
    let (archive, folder) = archive(&rig).await;
    for number in 1..=3 {
        send(&archive, "NATHOS_CT1", STUDY, number, &id.to_string(), "").await;
    }
    let matcher = matcher(&archive);
    let mut cursor = matcher
        .cursor(pacs_store::index::ChangeNumber(0))
        .await
        .unwrap();
    cursor
        .advance(pacs_store::index::ChangeNumber(0))
        .await
        .unwrap();
    matcher.step(&mut cursor).await.unwrap();
    let event = Event::Complete {
        by: Completion::Declared,
        images_kept: 3,
    };
    let radiographer = user("rg", Role::Radiographer, "006");
    act(&rig.registry, &radiographer, id, event).await.unwrap();
    (rig, archive, folder, id)
}

async fn status(rig: &Rig, id: ExaminationId) -> (Status, bool) {
    let system = Agent::system("test");
    let reader = Reader::new(&system);
    let found = rig.registry.examination(&reader, id, now()).await.unwrap();
    (found.value.status(), found.value.progress.has_late_images())
}

/// The newest records of the audit trail: act, outcome, reason.
pub(crate) async fn told(rig: &Rig, count: usize) -> Vec<(Act, Outcome, String)> {
    let page = rig.registry.audit_trail().page(None, count).await.unwrap();
    let told = page.into_iter().map(|record| {
        let event = record.event;
        (event.act, event.outcome, event.reason.unwrap_or_default())
    });
    told.collect()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is one story, told in order")]
async fn what_is_rejected_is_out_of_sight_and_comes_back_with_all_counts_right() {
    let (rig, archive, _folder, id) = rig_with_images().await;
    let rejections = rejections(&archive);
    let radiologist = user("rl", Role::Radiologist, "006");

    let one = wanted(Meant::Instances(vec![instance(2)]), Title::Quality);
    let one = Wanted {
        quality: Some(Quality::MotionBlur),
        ..one
    };
    let first = rejections.reject(&radiologist, one, now()).await.unwrap();
    assert_eq!(first.value.state, RejectionState::Applied);
    assert_eq!(first.value.examination, Some(id));
    assert_eq!(
        visible(&archive).await,
        (vec!["1".into(), "3".into()], "2".into())
    );
    assert_eq!(
        status(&rig, id).await.0,
        Status::ImagesReceived,
        "some are left"
    );

    let all = wanted(Meant::Study, Title::WorklistEntry);
    let second = rejections.reject(&radiologist, all, now()).await.unwrap();
    assert_eq!(second.value.instances_count, 2);
    assert_eq!(visible(&archive).await, (vec![], String::new()));
    assert_eq!(status(&rig, id).await.0, Status::Rejected);
    let rejected = (
        Act::ImagesRejected,
        Outcome::Success,
        "worklist_entry".into(),
    );
    assert_eq!(told(&rig, 1).await, [rejected]);
    let system = Agent::system("test").national_licence().unwrap();
    let matched = rig.registry.study_match(&system, &study(STUDY)).await;
    let MatchState::Bound { flags, .. } = matched.unwrap().value.state else {
        panic!("it is bound");
    };
    assert_eq!(flags, [QueueReason::Unbound], "somebody has to look");

    let refused = rejections
        .restore(&radiologist, (&second.value.id, None), &reason(), now())
        .await;
    let refused = matches!(
        refused,
        Err(RejectError::Registry(RegistryError::Unlicensed(_)))
    );
    assert!(refused);
    let back = rejections
        .restore(&keeper(), (&second.value.id, None), &reason(), now())
        .await
        .unwrap();
    assert!(matches!(back.value.state, RejectionState::Restored(_)));
    // What another rejection hides stays hidden.
    assert_eq!(
        visible(&archive).await,
        (vec!["1".into(), "3".into()], "2".into())
    );
    assert_eq!(status(&rig, id).await, (Status::ImagesReceived, false));
    let matcher = matcher(&archive);
    let mut cursor = matcher
        .cursor(pacs_store::index::ChangeNumber(0))
        .await
        .unwrap();
    matcher.step(&mut cursor).await.unwrap();
    assert_eq!(
        status(&rig, id).await,
        (Status::ImagesReceived, false),
        "what is brought back does not come late"
    );
    let restored = (
        Act::ImagesRestored,
        Outcome::Success,
        "worklist_entry".into(),
    );
    assert!(told(&rig, 3).await.contains(&restored));

    let again = rejections
        .restore(&keeper(), (&second.value.id, None), &reason(), now())
        .await;
    let again = matches!(
        again,
        Err(RejectError::Registry(RegistryError::Refused(
            Refusal::TooLate
        )))
    );
    assert!(again, "it was done");
    rejections
        .restore(&keeper(), (&first.value.id, None), &reason(), now())
        .await
        .unwrap();
    assert_eq!(visible(&archive).await.1, "3");
}

#[tokio::test]
async fn who_may_not_reject_changes_nothing() {
    let (rig, archive, _folder, id) = rig_with_images().await;
    let rejections = rejections(&archive);
    let before = told(&rig, 1).await;
    for (agent, title) in [
        (user("rg", Role::Radiographer, "006"), Title::WorklistEntry),
        (user("rg", Role::Radiographer, "006"), Title::PatientSafety),
        (
            user("rl", Role::Radiologist, "006"),
            Title::RetentionExpired,
        ),
        (user("op", Role::Operator, "006"), Title::Quality),
        (user("rl", Role::Radiologist, "001"), Title::Quality),
        (
            Agent::device(
                &pacs_core::AeTitle::parse("NATHOS_CT1").unwrap(),
                code("006"),
            ),
            Title::Quality,
        ),
    ] {
        let refused = rejections
            .reject(&agent, wanted(Meant::Study, title), now())
            .await;
        let is_refused = matches!(
            refused,
            Err(RejectError::NotFound | RejectError::Registry(RegistryError::Unlicensed(_)))
        );
        assert!(is_refused, "{agent:?} {title:?} {refused:?}");
    }
    let unknown = Meant::Instances(vec![instance(1), instance(9)]);
    let unknown = wanted(unknown, Title::Quality);
    let refused = rejections.reject(&keeper(), unknown, now()).await;
    assert!(matches!(refused, Err(RejectError::NotFound)), "{refused:?}");
    let nothing = Meant::Series(SeriesUid::parse("1.2.3.9").unwrap());
    let nothing = wanted(nothing, Title::Quality);
    let refused = rejections.reject(&keeper(), nothing, now()).await;
    assert!(matches!(refused, Err(RejectError::NotFound)), "{refused:?}");

    assert_eq!(visible(&archive).await.1, "3");
    assert_eq!(status(&rig, id).await.0, Status::ImagesReceived);
    assert_eq!(told(&rig, 1).await, before);
}

#[tokio::test]
async fn images_of_a_signed_report_are_not_all_rejected() {
    let (rig, archive, _folder, id) = rig_with_images().await;
    let expert = user("ex", Role::Radiologist, "006");
    let claim = Event::Claim {
        is_locked: false,
        may_read: true,
        images_online: 3,
    };
    act(&rig.registry, &expert, id, claim).await.unwrap();
    let sign = Event::Sign(ReportCheck {
        has_description: true,
        has_conclusion: true,
        is_identity_confirmed: true,
        holds_lock: true,
        has_seen_late_images: true,
        is_resolved: true,
        is_signature_valid: true,
    });
    act(&rig.registry, &expert, id, sign).await.unwrap();
    let rejections = rejections(&archive);

    let refused = rejections
        .reject(&keeper(), wanted(Meant::Study, Title::PatientSafety), now())
        .await;

    let is_refused = matches!(
        refused,
        Err(RejectError::Registry(RegistryError::Refused(
            Refusal::Transition(_)
        )))
    );
    assert!(is_refused, "{refused:?}");
    assert_eq!(visible(&archive).await.1, "3");
    assert_eq!(
        rig.registry
            .rejections_of_study(&study(STUDY))
            .await
            .unwrap(),
        []
    );
}

/// Writes down what is wanted, and no more: as if the process ended there.
async fn order_only(rig: &Rig, title: Title) -> Stored<Rejection> {
    let series = SeriesUid::parse(&format!("{STUDY}.1")).unwrap();
    let new = NewRejection {
        study: study(STUDY),
        organisation: None,
        kinds: BTreeSet::new(),
        department: None,
        part: Part::Study,
        instances: (1..=3).map(|n| (instance(n), series.clone())).collect(),
        title,
        quality: None,
        reason: reason(),
        note: None,
        random: rand8(),
    };
    let turn = rig.registry.turn().await;
    let in_turn = (&turn, &kept(&[(STUDY, 0)]));
    rig.registry
        .order_rejection(in_turn, &keeper(), &new, now())
        .await
        .unwrap()
}

#[tokio::test]
async fn what_a_crash_leaves_between_the_steps_is_finished() {
    let (rig, archive, folder, id) = rig_with_images().await;
    let ordered = order_only(&rig, Title::PatientSafety).await;
    assert_eq!(visible(&archive).await.1, "3");
    archive.close().await;
    drop(archive);

    let archive = open(&rig, &folder, Arc::new(MemoryIndex::new())).await;
    let again = deposit(&archive, "NATHOS_CT1", (CT, "1.2.3.1.1"), Vec::new()).await;
    assert!(matches!(again, Err(DepositError::Rejected)), "{again:?}");
    let rejections = rejections(&archive);
    assert_eq!(rejections.finish().await.unwrap(), 1);
    assert_eq!(visible(&archive).await, (vec![], String::new()));
    assert_eq!(rejections.finish().await.unwrap(), 0);
    let done = rig
        .registry
        .rejection(&keeper(), &ordered.value.id)
        .await
        .unwrap();
    assert_eq!(done.value.state, RejectionState::Applied);
    assert_eq!(status(&rig, id).await.0, Status::Rejected);

    // The archive was told, and the registry not that it was.
    let back = rig
        .registry
        .order_restore(&keeper(), (&done.value.id, None), &reason(), now())
        .await
        .unwrap();
    let permit = may::<pacs_core::access::Hide>();
    let target = pacs_store::index::Target::Study(study(STUDY));
    assert_eq!(archive.restore(&permit, target).await.unwrap(), 3);
    archive.close().await;
    drop((rejections, archive));
    let archive = open(&rig, &folder, Arc::new(MemoryIndex::new())).await;
    assert!(matches!(back.value.state, RejectionState::Restoring(_)));
    let rejections = self::rejections(&archive);
    assert_eq!(rejections.finish().await.unwrap(), 1);
    assert_eq!(visible(&archive).await.1, "3");
    let done = rig
        .registry
        .rejection(&keeper(), &done.value.id)
        .await
        .unwrap();
    assert!(matches!(done.value.state, RejectionState::Restored(_)));
}

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

#[tokio::test]
async fn what_is_sent_again_follows_the_rule_of_its_title() {
    let (rig, archive, _folder, id) = rig_with_images().await;
    let rejections = rejections(&archive);
    let quality = wanted(Meant::Instances(vec![instance(1)]), Title::Quality);
    let quality = rejections.reject(&keeper(), quality, now()).await.unwrap();
    let safety = wanted(Meant::Instances(vec![instance(2)]), Title::PatientSafety);
    let safety = rejections.reject(&keeper(), safety, now()).await.unwrap();

    // It is kept, and the device hears so; nobody sees it.
    let before = told(&rig, 1).await;
    send(&archive, "NATHOS_CT1", STUDY, 1, &id.to_string(), "").await;
    assert_eq!(visible(&archive).await.0, ["3"]);
    assert_eq!(told(&rig, 1).await, before);
    // The other one is refused, whatever it holds.
    let again = deposit(&archive, "NATHOS_CT1", (CT, instance(2).as_str()), vec![1]).await;
    assert!(matches!(again, Err(DepositError::Rejected)), "{again:?}");

    for rejection in [&quality, &safety] {
        let at = (&rejection.value.id, Some(rejection.revision));
        rejections
            .restore(&keeper(), at, &reason(), now())
            .await
            .unwrap();
    }
    assert_eq!(visible(&archive).await.0, ["1", "2", "3"]);
    send(&archive, "NATHOS_CT1", STUDY, 2, &id.to_string(), "").await;
    assert_eq!(visible(&archive).await.1, "3");
}

#[tokio::test]
async fn rejections_of_an_organisation_are_listed_newest_first_for_those_who_judge_images() {
    let (rig, archive, _folder, _id) = rig_with_images().await;
    let rejections = rejections(&archive);
    let mut made = Vec::new();
    for (number, title) in [(1, Title::Quality), (2, Title::PatientSafety)] {
        let wanted = wanted(Meant::Instances(vec![instance(number)]), title);
        let at = now() + chrono::TimeDelta::seconds(i64::from(number));
        let rejected = rejections.reject(&keeper(), wanted, at).await.unwrap();
        made.push(rejected.value.id);
    }
    let listed = async |agent: &Agent, cursor: Option<&str>| {
        let here = RejectionSearch {
            organisation: Some(code("006")),
            ..RejectionSearch::default()
        };
        let page = rig.registry.rejections(agent, &here, (cursor, 1), now());
        let page = page.await.unwrap();
        let ids = page.rejections.into_iter().map(|found| found.value.id);
        (ids.collect::<Vec<_>>(), page.next)
    };

    let (first, next) = listed(&keeper(), None).await;
    assert_eq!(first, made[1..]);
    let (second, _) = listed(&keeper(), next.as_deref()).await;
    assert_eq!(second, made[..1]);
    let radiographer = user("rg", Role::Radiographer, "006");
    assert_eq!(listed(&radiographer, None).await.0, made[..1]);
    let operator = user("op", Role::Operator, "006");
    assert_eq!(listed(&operator, None).await.0, []);
}

#[tokio::test]
async fn rejections_are_found_by_examination_patient_and_day() {
    let (rig, archive, _folder, id) = rig_with_images().await;
    let rejections = rejections(&archive);
    let all = wanted(Meant::Study, Title::Quality);
    let rejected = rejections.reject(&keeper(), all, now()).await.unwrap();
    let patient = rejected.value.patient;
    assert!(patient.is_some());
    let today = now().date_naive();
    let tomorrow = today.succ_opt();
    let all = RejectionSearch {
        organisation: Some(code("006")),
        examination: Some(id),
        patient,
        from: Some(today),
        to: Some(today),
    };
    for (search, count) in [
        (all.clone(), 1),
        (
            RejectionSearch {
                from: tomorrow,
                to: None,
                ..all.clone()
            },
            0,
        ),
        (
            RejectionSearch {
                organisation: Some(code("001")),
                ..all.clone()
            },
            0,
        ),
        (
            RejectionSearch {
                examination: None,
                from: None,
                ..all
            },
            1,
        ),
    ] {
        let keeper = keeper();
        let page = rig.registry.rejections(&keeper, &search, (None, 9), now());
        assert_eq!(page.await.unwrap().rejections.len(), count, "{search:?}");
    }
}
