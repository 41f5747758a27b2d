//! When examinations have all their images, and when some are missing, by a clock that is turned.

use crate::follower::{Centre, Sent, instance_of, matcher, sent};
use crate::matching::{kept, matcher as reconciles};
use crate::rig::{Rig, now, user};
use crate::steps::{begun_as, device, ended_with, step_of};
use pacs_core::examination::reconcile::{Kind, QueueReason};
use pacs_core::examination::{Event, Status};
use pacs_core::mpps::ProcedureStep;
use pacs_core::role::{Agent, Role};
use pacs_core::{ExaminationId, SopInstanceUid};
use pacs_store::matcher::Progressed;
use pacs_store::registry::examinations::{Action, Examination, MatchState, Reader};
use pacs_store::registry::steps::PerformedStep;

const NAME: &str = "Жээнбеков^Үсөн";

impl Centre {
    /// Looks how far all are, now.
    async fn progress(&self) -> Progressed {
        self.matcher.progress(self.now()).await.unwrap()
    }

    async fn begin_step(&self, uid: &str, examination: &Examination, study: &str) {
        let id = examination.id.to_string();
        let step = PerformedStep {
            begun_at: self.now(),
            changed_at: self.now(),
            step: begun_as(&id, study, "CT", NAME),
            ..step_of(uid, "006", &id)
        };
        let licence = device("006");
        let begun = self.rig.registry.begin_step(&licence, &step);
        begun.await.unwrap();
    }

    async fn end_step(&self, uid: &str, end: impl Fn(&ProcedureStep) -> ProcedureStep) {
        let registry = &self.rig.registry;
        let uid = SopInstanceUid::parse(uid).unwrap();
        let licence = device("006");
        let before = registry.step(&licence, &uid).await.unwrap();
        let next = PerformedStep {
            step: end(&before.value.step),
            changed_at: self.now(),
            ..before.value.clone()
        };
        let scheduled = next.step.scheduled();
        let studies: Vec<_> = scheduled.iter().map(|one| one.study.clone()).collect();
        let ids: Vec<_> = scheduled.iter().filter_map(|one| one.examination).collect();
        let beside = registry.studies_beside(&studies, &ids).await.unwrap();
        let may = crate::follower::may();
        let kept = self.archive.kept_images(&may, beside).await.unwrap();
        let changed = registry.change_step(&licence, &before, &next, (&kept, [7; 16]));
        changed.await.unwrap();
    }

    async fn status(&self, id: ExaminationId) -> Status {
        self.read(id).await.status()
    }
}

fn images(study: &str, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers
        .map(|number| instance_of(study, 1, number))
        .collect()
}

const COMPLETE: Progressed = Progressed {
    complete_count: 1,
    incomplete_count: 0,
    expired_count: 0,
    forgotten_count: 0,
    released_count: 0,
};

#[tokio::test]
async fn an_examination_is_complete_when_all_is_there_that_its_device_named() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    let digits = order.id.to_string();
    centre.begin_step("2.25.1", &order, "1.2.3").await;
    centre.send(sent("1.2.3", 1, &digits)).await;
    centre.step().await;
    // As long as the device goes on, however long it pauses.
    centre.pass(3_600);
    assert_eq!(centre.progress().await, Progressed::default());
    let all = images("1.2.3", 1..=3);
    centre
        .end_step("2.25.1", |step| ended_with(step, "COMPLETED", None, &all))
        .await;
    assert_eq!(centre.progress().await, Progressed::default());
    assert_eq!(centre.status(order.id).await, Status::InProgress);

    // The rest comes after the device said that it is done, and is not late.
    centre.send(sent("1.2.3", 2, &digits)).await;
    centre.step().await;
    centre.send(sent("1.2.3", 3, &digits)).await;
    assert_eq!(centre.progress().await, COMPLETE);
    assert_eq!(centre.status(order.id).await, Status::ImagesReceived);
    centre.step().await;
    assert!(!centre.read(order.id).await.progress.has_late_images());

    centre.pass(60);
    centre.send(sent("1.2.3", 4, &digits)).await;
    centre.step().await;
    let late = centre.read(order.id).await;
    assert_eq!(late.status(), Status::ImagesReceived);
    assert!(late.progress.has_late_images());
}

#[tokio::test]
async fn a_step_whose_images_went_elsewhere_holds_those_that_come_instead_no_longer() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    let digits = order.id.to_string();
    centre.begin_step("2.25.1", &order, "1.2.3").await;
    centre.send(sent("1.2.3", 1, &digits)).await;
    centre.step().await;
    let all = images("1.2.3", 1..=1);
    centre
        .end_step("2.25.1", |step| ended_with(step, "COMPLETED", None, &all))
        .await;
    assert_eq!(centre.progress().await, COMPLETE);
    let (licence, reason) = (reconciles(), crate::examinations::reason());
    let found = centre.found("1.2.3").await.unwrap();
    let kept = kept(&[("1.2.3", 1)]);
    let how = crate::matching::correcting(&licence, &kept, &reason, 3);
    let registry = &centre.rig.registry;
    registry.unbind_study(&how, &found.study).await.unwrap();
    assert_eq!(centre.status(order.id).await, Status::Scheduled);

    centre.send(sent("1.2.4", 1, &digits)).await;
    centre.step().await;
    centre.pass(10 * 60);
    assert_eq!(centre.progress().await, Progressed::default());
    centre.pass(30);
    assert_eq!(centre.progress().await, COMPLETE);
}

#[tokio::test]
async fn images_of_other_studies_do_not_count_and_missing_ones_are_told_after_half_an_hour() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    let digits = order.id.to_string();
    centre.begin_step("2.25.1", &order, "1.2.3").await;
    centre.send(sent("1.2.3", 1, &digits)).await;
    // Named by the device, and in a study that is of nobody.
    let elsewhere = Sent {
        name: "IVANOV^IVAN",
        ..sent("1.2.9", 2, "")
    };
    centre.send(elsewhere).await;
    centre.step().await;
    let named = [instance_of("1.2.3", 1, 1), instance_of("1.2.9", 1, 2)];
    centre
        .end_step("2.25.1", |step| ended_with(step, "COMPLETED", None, &named))
        .await;
    centre.pass(29 * 60);
    assert_eq!(centre.progress().await, Progressed::default());
    centre.pass(60);
    let missing = Progressed {
        incomplete_count: 1,
        ..Progressed::default()
    };
    assert_eq!(centre.progress().await, missing);
    let waiting = centre.read(order.id).await;
    assert_eq!(waiting.status(), Status::InProgress);
    assert!(waiting.progress.is_incomplete());
    // It is told once, and by whoever starts again too.
    centre.pass(3_600);
    assert_eq!(centre.progress().await, Progressed::default());
    let again = matcher(&centre.archive).progress(centre.now()).await;
    assert_eq!(again.unwrap(), Progressed::default());
}

#[tokio::test]
async fn an_examination_whose_device_tells_nothing_is_complete_when_nothing_more_comes() {
    let centre = Centre::over(Rig::on_disk().await).await;
    let order = centre.order().await;
    centre.send(sent("1.2.3", 1, &order.id.to_string())).await;
    centre.step().await;
    centre.pass(5 * 60);
    centre.send(sent("1.2.3", 2, &order.id.to_string())).await;
    centre.step().await;
    centre.pass(10 * 60);
    assert_eq!(centre.progress().await, Progressed::default());
    centre.pass(30);
    // Whoever starts again in between goes on.
    let again = matcher(&centre.archive).progress(centre.now()).await;
    assert_eq!(again.unwrap(), COMPLETE);
    assert_eq!(centre.status(order.id).await, Status::ImagesReceived);
    assert_eq!(centre.progress().await, Progressed::default());
}

#[tokio::test]
async fn x_ray_pictures_are_waited_for_two_minutes() {
    let centre = Centre::new().await;
    let mut new = crate::examinations::new_for(&centre.rig).await;
    new.order.kind = Kind::XRay;
    let saved = crate::examinations::save(&centre.rig.registry, &new, 1).await;
    let id = saved.unwrap().value.id;
    let digits = id.to_string();
    let picture = Sent {
        modality: "CR",
        ..sent("1.2.3", 1, &digits)
    };
    centre.send(picture).await;
    centre.step().await;
    centre.pass(120);
    assert_eq!(centre.progress().await, Progressed::default());
    centre.pass(30);
    assert_eq!(centre.progress().await, COMPLETE);
}

#[tokio::test]
async fn a_step_that_was_begun_and_forgotten_holds_nothing_for_ever() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    centre.begin_step("2.25.1", &order, "1.2.3").await;
    centre.send(sent("1.2.3", 1, &order.id.to_string())).await;
    centre.step().await;
    centre.pass(11 * 3_600);
    assert_eq!(centre.progress().await, Progressed::default());
    centre.pass(3_600);
    assert_eq!(centre.progress().await, COMPLETE);
}

#[tokio::test]
async fn an_order_without_images_expires_after_thirty_days_and_one_planned_later_does_not() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    let mut new = crate::examinations::new_for(&centre.rig).await;
    new.order.scheduled_at = order.order.scheduled_at + chrono::TimeDelta::days(20);
    let saved = crate::examinations::save(&centre.rig.registry, &new, 2).await;
    let later = saved.unwrap().value.id;
    let day = 24 * 3_600;
    centre.pass(30 * day);
    assert_eq!(centre.progress().await, Progressed::default());
    centre.pass(2 * 3_600);
    let expired = Progressed {
        expired_count: 1,
        ..Progressed::default()
    };
    assert_eq!(centre.progress().await, expired);
    assert!(centre.read(order.id).await.progress.is_expired());
    assert!(!centre.read(later).await.progress.is_expired());
    centre.pass(2 * 3_600);
    assert_eq!(centre.progress().await, Progressed::default());
}

#[tokio::test]
async fn a_wrong_entry_of_the_worklist_takes_its_images_back_and_lets_no_more_in() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    let planned = order.planned_study.as_str();
    let wrong = |step: &ProcedureStep| ended_with(step, "DISCONTINUED", Some("110514"), &[]);
    centre.begin_step("2.25.1", &order, planned).await;
    centre.send(sent(planned, 1, "")).await;
    centre.step().await;
    assert_eq!(centre.read(order.id).await.studies.len(), 1);

    centre.end_step("2.25.1", wrong).await;

    let found = centre.found(planned).await.unwrap();
    assert_eq!(found.waits_for(), [QueueReason::Unbound]);
    assert_eq!(found.not_of, [order.id]);
    let after = centre.read(order.id).await;
    assert_eq!(
        (after.status(), after.studies.len()),
        (Status::Scheduled, 0)
    );
    assert_ne!(after.planned_study, order.planned_study);
    assert_eq!(after.step().to_string(), format!("{}-02", order.id));
    // More of the same come, with the ID in it.
    centre.send(sent(planned, 2, &order.id.to_string())).await;
    centre.step().await;
    assert_eq!(centre.waits_for(planned).await, [QueueReason::Unbound]);
    // A person may say otherwise.
    let registry = &centre.rig.registry;
    let (licence, reason) = (reconciles(), crate::examinations::reason());
    let kept = kept(&[(planned, 2)]);
    let how = crate::matching::correcting(&licence, &kept, &reason, 3);
    let bound = registry.bind_study(&how, &found.study, order.id).await;
    assert!(bound.unwrap().value.examination().is_some());
    centre.send(sent(planned, 3, "")).await;
    centre.step().await;
    let rule = centre.state(planned).await.unwrap();
    assert!(matches!(rule, MatchState::Bound { rule: None, flags, .. } if flags.is_empty()));
}

#[tokio::test]
async fn a_wrong_entry_that_is_told_before_the_images_come_lets_none_in() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    let wrong = |step: &ProcedureStep| ended_with(step, "DISCONTINUED", Some("110514"), &[]);
    centre.begin_step("2.25.1", &order, "1.2.3").await;
    centre.end_step("2.25.1", wrong).await;
    assert_eq!(centre.status(order.id).await, Status::Scheduled);
    centre.send(sent("1.2.3", 1, &order.id.to_string())).await;
    centre.step().await;
    assert_eq!(centre.waits_for("1.2.3").await, [QueueReason::Unbound]);
    assert_eq!(centre.read(order.id).await.studies, []);
    // The right patient, in another study.
    centre.send(sent("1.2.4", 1, &order.id.to_string())).await;
    centre.step().await;
    let found = centre.found("1.2.4").await.unwrap();
    assert_eq!(found.examination(), Some(order.id));
    let system = Agent::system("test");
    let reader = Reader::new(&system);
    let rows = centre
        .rig
        .registry
        .examination_events(&reader, order.id, now());
    let events: Vec<_> = rows
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.event)
        .collect();
    assert_eq!(
        events,
        ["save", "start", "move images away", "receive images"]
    );
}

#[tokio::test]
async fn an_examination_that_a_device_began_and_sent_nothing_of_waits_again() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    centre.begin_step("2.25.1", &order, "1.2.3").await;
    centre.pass(11 * 3_600);
    assert_eq!(centre.progress().await, Progressed::default());
    centre.pass(2 * 3_600);
    let forgotten = Progressed {
        forgotten_count: 1,
        ..Progressed::default()
    };
    assert_eq!(centre.progress().await, forgotten);
    let again = centre.read(order.id).await;
    assert_eq!(again.status(), Status::Scheduled);
    assert_ne!(again.planned_study, order.planned_study);
    // Worklists show it as if it were ordered now.
    assert_eq!(again.began_at, None);
    assert_eq!(again.order.scheduled_at, centre.now().naive_local());
    assert_eq!(centre.progress().await, Progressed::default());
}

#[tokio::test]
async fn whoever_took_an_examination_and_left_holds_it_for_an_hour() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    centre.send(sent("1.2.3", 1, &order.id.to_string())).await;
    centre.step().await;
    centre.pass(3_600);
    assert_eq!(centre.progress().await, COMPLETE);
    let radiologist = user("r", Role::Radiologist, "006");
    let claim = Event::Claim {
        is_locked: false,
        may_read: true,
        images_online: 1,
    };
    let action = Action {
        event: claim,
        order: None,
        expected: None,
        random: [1; 16],
    };
    let registry = &centre.rig.registry;
    let taken = registry.act_on_examination(&radiologist, order.id, &action, centre.now());
    taken.await.unwrap();
    centre.pass(59 * 60);
    assert_eq!(centre.progress().await, Progressed::default());
    centre.pass(5 * 60);
    let released = Progressed {
        released_count: 1,
        ..Progressed::default()
    };
    assert_eq!(centre.progress().await, released);
    let free = centre.read(order.id).await;
    assert_eq!((free.status(), free.lock), (Status::ImagesReceived, None));
}

#[tokio::test]
async fn an_order_whose_images_were_anothers_is_listed_again() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    centre.send(sent("1.2.3", 1, &order.id.to_string())).await;
    centre.step().await;
    centre.pass(3 * 24 * 3_600);
    assert_eq!(centre.progress().await, COMPLETE);
    let (licence, reason) = (reconciles(), crate::examinations::reason());
    let kept = kept(&[("1.2.3", 1)]);
    let how = pacs_store::registry::examinations::Correcting {
        at: centre.now(),
        ..crate::matching::correcting(&licence, &kept, &reason, 3)
    };
    let study = crate::matching::study("1.2.3");
    let registry = &centre.rig.registry;
    registry.unbind_study(&how, &study).await.unwrap();
    let again = centre.read(order.id).await;
    assert_eq!(again.status(), Status::Scheduled);
    assert_eq!(again.order.scheduled_at, centre.now().naive_local());
    let times = [again.began_at, again.first_image_at, again.last_image_at];
    assert_eq!((times, again.received_at), ([None; 3], None));
}
