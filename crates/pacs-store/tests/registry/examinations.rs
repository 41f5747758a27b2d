//! Examinations: ordered with an ID of their own, changed by the rules, seen by those who may.

use crate::patients::{editing, zheenbekov};
use crate::rig::{Rig, code, now, user};
use chrono::TimeDelta;
use pacs_core::examination::progress::{Completion, Duplicate, Form};
use pacs_core::examination::reconcile::Kind;
use pacs_core::examination::{
    BodyPart, Effect, Event, Reason, Status, TransitionError, progress::Guard,
};
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role};
use pacs_core::{ExaminationId, OrganisationCode};
use pacs_store::registry::examinations::{
    Acted, Action, BodyRegion, Examination, NewExamination, Order, Reader, Scope,
};
use pacs_store::registry::patients::Alike;
use pacs_store::registry::{Moment, Refusal, Registry, RegistryError, Revision, Stored};
use std::collections::BTreeSet;

pub(crate) fn reason() -> Reason {
    Reason::parse("a reason").unwrap()
}

pub(crate) fn operator() -> Agent {
    user("op", Role::Operator, "006")
}

/// A CT of the head, planned for the hour.
pub(crate) fn order() -> Order {
    let json = serde_json::json!({
        "kind": "Ct",
        "regions": [{ "part": "69536005" }],
        "scheduled_at": "2026-11-26T13:00:00",
        "weight_tenths_kg": 705,
        "complaints": "головная боль",
    });
    serde_json::from_value(json).unwrap()
}

pub(crate) async fn new_for(rig: &Rig) -> NewExamination {
    let registered = rig
        .registry
        .register_patient(&editing(), zheenbekov(), Alike::Unknown, now())
        .await;
    NewExamination {
        patient: registered.unwrap().patient().value.key,
        ordering: code("006"),
        performing: code("006"),
        order: order(),
        is_meant_twice: true,
    }
}

pub(crate) async fn save(
    registry: &Registry,
    new: &NewExamination,
    number: u32,
) -> Result<Stored<Examination>, RegistryError> {
    let licence = operator().licence(new.ordering).unwrap();
    let mut random = [0; 16];
    random[..4].copy_from_slice(&number.to_be_bytes());
    registry
        .order_examination(&licence, new, random, now())
        .await
}

pub(crate) async fn act(
    registry: &Registry,
    agent: &Agent,
    id: ExaminationId,
    event: Event,
) -> Result<Acted, RegistryError> {
    let action = Action {
        event,
        order: None,
        expected: None,
        random: [9; 16],
    };
    registry.act_on_examination(agent, id, &action, now()).await
}

fn why(outcome: Result<impl std::fmt::Debug, RegistryError>) -> TransitionError {
    match outcome {
        Err(RegistryError::Refused(Refusal::Transition(why))) => why,
        other => panic!("{other:?} is not refused by the rules"),
    }
}

pub(crate) fn system() -> Agent {
    Agent::system("test")
}

/// Brings a scheduled examination to where it can be read.
pub(crate) async fn receive(registry: &Registry, id: ExaminationId) {
    let complete = Event::Complete {
        by: Completion::Declared,
        images_kept: 1,
    };
    for event in [Event::ImagesArrive, complete] {
        act(registry, &system(), id, event).await.unwrap();
    }
}

fn claim() -> Event {
    Event::Claim {
        is_locked: false,
        may_read: true,
        images_online: 1,
    }
}

#[tokio::test]
async fn a_saved_form_has_an_id_a_planned_study_and_a_row() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let new = new_for(&rig).await;
        let saved = save(&rig.registry, &new, 1).await.unwrap().value;

        assert_eq!(saved.id.to_string()[..11], *"26006000001");
        assert_eq!(saved.status(), Status::Scheduled);
        assert_eq!(saved.step().to_string(), format!("{}-01", saved.id));
        let uid = saved.planned_study.as_str().strip_prefix("2.25.").unwrap();
        let uuid = format!("{:032x}", uid.parse::<u128>().unwrap());
        assert!(uuid.as_bytes()[12] == b'4' && b"89ab".contains(&uuid.as_bytes()[16]));
        let operator = operator();
        let reader = Reader::new(&operator);
        let read = rig
            .registry
            .examination(&reader, saved.id, now())
            .await
            .unwrap();
        assert_eq!(read.value, saved);
        let rows = rig
            .registry
            .examination_events(&reader, saved.id, now())
            .await;
        let rows = rows.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].from, rows[0].to), (None, Status::Scheduled));
        assert_eq!(
            (rows[0].by.as_str(), rows[0].role),
            ("op", Some(Role::Operator))
        );
        let reconcile = operator.licence(code("006")).unwrap();
        let planned = rig
            .registry
            .examination_planned_as(&reconcile, &saved.planned_study)
            .await;
        assert_eq!(planned.unwrap().unwrap().value.id, saved.id);
        let of_patient = rig
            .registry
            .examinations_of_patient(&reader, saved.patient, now())
            .await;
        assert_eq!(of_patient.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_a_form_lacks_is_named_and_no_number_is_lost() {
    let rig = Rig::new().await;
    let good = new_for(&rig).await;
    let with = |change: fn(&mut NewExamination)| {
        let mut new = good.clone();
        change(&mut new);
        new
    };
    let no_weight = with(|new| new.order.weight_tenths_kg = None);
    assert_eq!(
        why(save(&rig.registry, &no_weight, 1).await),
        Guard::Weight.into()
    );
    let no_region = with(|new| new.order.regions.clear());
    let missing = why(save(&rig.registry, &no_region, 1).await);
    assert_eq!(missing, Guard::BodyPartOrKind.into());
    for wrong in [
        with(|new| new.order.complaints = "x".repeat(2_001)),
        with(|new| new.order.anamnesis = "x".repeat(4_001)),
        with(|new| new.order.weight_tenths_kg = Some(3_501)),
        with(|new| new.order.kind = Kind::Other("CT".into())),
        with(|new| new.order.ward = "a\nb".to_owned()),
    ] {
        let refused = save(&rig.registry, &wrong, 1).await;
        assert!(matches!(
            refused,
            Err(RegistryError::Refused(Refusal::Unfit { .. }))
        ));
    }
    let nowhere = with(|new| new.performing = OrganisationCode::parse("999").unwrap());
    let refused = save(&rig.registry, &nowhere, 1).await;
    assert!(matches!(refused, Err(RegistryError::NotFound { .. })));

    let first = save(&rig.registry, &good, 1).await.unwrap().value;
    assert_eq!(first.id.to_string()[5..11], *"000001");
    let twice = with(|new| new.is_meant_twice = false);
    assert_eq!(
        why(save(&rig.registry, &twice, 2).await),
        Guard::Duplicate.into()
    );
    let other = with(|new| {
        new.is_meant_twice = false;
        new.order.regions = vec![BodyRegion {
            part: BodyPart::parse("72696002").unwrap(),
            side: None,
        }];
    });
    save(&rig.registry, &other, 3).await.unwrap();
}

#[tokio::test]
async fn a_thousand_forms_saved_at_once_have_a_thousand_ids() {
    for (rig, count) in [(Rig::new().await, 1_000), (Rig::on_disk().await, 200)] {
        let mut new = new_for(&rig).await;
        // Of one kind the open ones of a patient are looked at each time.
        new.order.kind = Kind::XRay;
        let mut saving = tokio::task::JoinSet::new();
        for number in 0..count {
            let (registry, new) = (rig.registry.clone(), new.clone());
            saving.spawn(async move {
                let organisation = if number % 2 == 0 { "006" } else { "001" };
                let new = NewExamination {
                    performing: code(organisation),
                    ..new
                };
                save(&registry, &new, number).await.unwrap().value.id
            });
        }
        let ids = saving.join_all().await;
        let different: BTreeSet<_> = ids.iter().copied().collect();
        assert_eq!(different.len(), ids.len());
        for organisation in ["001", "006"] {
            let own = different
                .iter()
                .filter(|id| id.organisation() == code(organisation));
            let last = own.clone().next_back().unwrap().to_string();
            let half = count / 2;
            assert_eq!(own.count(), usize::try_from(half).unwrap());
            assert_eq!(last[5..11], format!("{half:06}"));
        }
    }
}

#[tokio::test]
async fn numbers_begin_again_with_the_year_at_the_place_of_the_archive() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let licence = operator().licence(code("006")).unwrap();
    let at = |text: &str| Moment::parse_from_rfc3339(text).unwrap();
    let mut ids = Vec::new();
    for (number, moment) in [
        at("2026-12-31T23:59:59+06:00"),
        at("2027-01-01T00:00:00+06:00"),
    ]
    .into_iter()
    .enumerate()
    {
        let random = [u8::try_from(number).unwrap(); 16];
        let saved = rig
            .registry
            .order_examination(&licence, &new, random, moment)
            .await;
        ids.push(saved.unwrap().value.id.to_string());
    }
    assert_eq!(
        [&ids[0][..11], &ids[1][..11]],
        ["26006000001", "27006000001"]
    );
}

#[tokio::test]
async fn of_a_hundred_who_claim_an_examination_one_has_it() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let new = new_for(&rig).await;
        let id = save(&rig.registry, &new, 1).await.unwrap().value.id;
        receive(&rig.registry, id).await;
        let mut claiming = tokio::task::JoinSet::new();
        for number in 0..100 {
            let registry = rig.registry.clone();
            claiming.spawn(async move {
                let reader = user(&format!("r{number}"), Role::Radiologist, "006");
                act(&registry, &reader, id, claim()).await
            });
        }
        let mut winners = Vec::new();
        for outcome in claiming.join_all().await {
            match outcome {
                Ok(acted) => winners.push(acted),
                Err(error) => {
                    let refused = why(Err::<(), _>(error));
                    assert!(
                        matches!(refused, TransitionError::Status { .. }),
                        "{refused:?}"
                    );
                }
            }
        }
        let [winner] = &winners[..] else {
            panic!("{} have it", winners.len());
        };
        let lock = winner.examination.value.lock.clone().unwrap();
        let other = user("somebody", Role::Radiologist, "006");
        let release = Event::Release { holds_lock: true };
        assert_eq!(
            why(act(&rig.registry, &other, id, release.clone()).await),
            Guard::NotHolder.into()
        );
        let holder = user(&lock.by, Role::Radiologist, "006");
        let released = act(&rig.registry, &holder, id, release).await.unwrap();
        assert_eq!(released.examination.value.lock, None);
        assert_eq!(released.examination.value.status(), Status::ImagesReceived);
    }
}

#[tokio::test]
async fn a_change_based_on_an_old_state_is_refused_and_each_step_leaves_a_row() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let saved = save(&rig.registry, &new, 1).await.unwrap();
    let id = saved.value.id;
    let form = Form {
        has_patient: true,
        has_body_part_and_kind: true,
        has_weight_if_needed: true,
        duplicate: Duplicate::No,
    };
    let edit = |expected: Revision, complaints: &str| {
        let mut order = order();
        complaints.clone_into(&mut order.complaints);
        let registry = rig.registry.clone();
        async move {
            let action = Action {
                event: Event::Edit { form, images: 0 },
                order: Some(order),
                expected: Some(expected),
                random: [0; 16],
            };
            registry
                .act_on_examination(&operator(), id, &action, now())
                .await
        }
    };
    let edited = edit(saved.revision, "кашель").await.unwrap();
    assert_eq!(edited.examination.value.order.complaints, "кашель");
    assert_eq!(edited.effects, [Effect::PublishWorklistItem]);
    let late = edit(saved.revision, "озноб").await;
    assert!(matches!(late, Err(RegistryError::Changed)));

    let cancel = || Event::Cancel {
        images: 0,
        reason: reason(),
    };
    let device = user("dev", Role::Device, "006");
    let refused = why(act(&rig.registry, &device, id, cancel()).await);
    assert!(matches!(refused, TransitionError::Actor { .. }));
    let stranger = user("op", Role::Operator, "001");
    let unseen = act(&rig.registry, &stranger, id, cancel()).await;
    assert!(matches!(unseen, Err(RegistryError::NotFound { .. })));
    let cancelled = act(&rig.registry, &operator(), id, cancel()).await.unwrap();
    assert_eq!(cancelled.examination.value.status(), Status::Cancelled);

    let (operator, at) = (operator(), now());
    let rows = rig
        .registry
        .examination_events(&Reader::new(&operator), id, at)
        .await;
    let rows: Vec<_> = rows
        .unwrap()
        .into_iter()
        .map(|row| (row.event, row.from, row.to, row.reason.is_some()))
        .collect();
    let scheduled = Some(Status::Scheduled);
    let expected = [
        ("save".to_owned(), None, Status::Scheduled, false),
        ("edit".to_owned(), scheduled, Status::Scheduled, false),
        ("cancel".to_owned(), scheduled, Status::Cancelled, true),
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn lists_give_every_examination_once_newest_first_to_those_who_see_it() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let new = new_for(&rig).await;
        let licence = operator().licence(code("006")).unwrap();
        let mut ids = Vec::new();
        for number in 0..7_u8 {
            let at = now() + TimeDelta::minutes(number.into());
            let saved = rig
                .registry
                .order_examination(&licence, &new, [number; 16], at)
                .await;
            ids.push(saved.unwrap().value.id);
        }
        receive(&rig.registry, ids[3]).await;
        ids.reverse();
        let list = async |agent: &Agent, scope: Scope, status: Option<Status>| {
            let reader = Reader::new(agent);
            let mut found = Vec::new();
            let mut cursor: Option<String> = None;
            loop {
                let page = rig
                    .registry
                    .examinations(&reader, (&scope, status), cursor.as_deref(), 2, now())
                    .await;
                let page = page.unwrap();
                assert!(page.examinations.len() <= 2);
                found.extend(page.examinations.into_iter().map(|e| e.value.id));
                cursor = page.next;
                if cursor.is_none() {
                    return found;
                }
            }
        };
        let own = || Scope::Performing(code("006"));
        assert_eq!(list(&operator(), own(), None).await, ids);
        let received = list(&operator(), own(), Some(Status::ImagesReceived)).await;
        assert_eq!(received, [ids[3]]);
        assert_eq!(
            list(&operator(), own(), Some(Status::Scheduled))
                .await
                .len(),
            6
        );
        assert_eq!(
            list(&operator(), Scope::Ordering(code("006")), None).await,
            ids
        );
        let stranger = user("op", Role::Operator, "001");
        let ministry = Grants::single(Grant::new(Role::MohAdmin, Reach::National));
        let ministry = Agent::new(AgentKind::User, "m", ministry);
        for agent in [&stranger, &ministry] {
            assert_eq!(list(agent, own(), None).await, []);
            let unseen = rig
                .registry
                .examination(&Reader::new(agent), ids[0], now())
                .await;
            assert!(matches!(unseen, Err(RegistryError::NotFound { .. })));
        }
        assert_eq!(list(&system(), own(), None).await, ids);
    }
}

#[tokio::test]
async fn a_device_sees_the_open_examinations_of_its_organisation_and_their_patients() {
    let rig = Rig::new().await;
    let mut new = new_for(&rig).await;
    let first = save(&rig.registry, &new, 1).await.unwrap().value.id;
    new.order.scheduled_at += TimeDelta::days(1);
    let second = save(&rig.registry, &new, 2).await.unwrap().value.id;
    new.performing = code("001");
    let elsewhere = save(&rig.registry, &new, 3).await.unwrap().value.id;
    let device = user("CT", Role::Device, "006");
    let licence = device.licence(code("006")).unwrap();
    let list = async |days: i64| {
        let from = now().naive_local();
        let window = (from, from + TimeDelta::days(days));
        let found = rig
            .registry
            .scheduled_examinations(&licence, code("006"), window, None, 9)
            .await;
        let found = found.unwrap();
        assert_eq!(found.next, None);
        for scheduled in &found.examinations {
            assert_eq!(scheduled.patient.value.particulars, zheenbekov());
        }
        found
            .examinations
            .into_iter()
            .map(|s| s.examination.value.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(1).await, [first]);
    assert_eq!(list(3).await, [first, second]);
    let cancel = Event::Cancel {
        images: 0,
        reason: reason(),
    };
    act(&rig.registry, &operator(), first, cancel)
        .await
        .unwrap();
    assert_eq!(list(3).await, [second]);
    let refused = rig
        .registry
        .scheduled_examination(&licence, elsewhere)
        .await;
    assert!(matches!(refused, Err(RegistryError::NotFound { .. })));
    let one = rig.registry.scheduled_examination(&licence, second).await;
    assert_eq!(one.unwrap().examination.value.id, second);
}
