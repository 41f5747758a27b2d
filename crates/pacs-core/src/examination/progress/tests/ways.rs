//! Ways through the transitions.

use super::*;
use proptest::prelude::*;

/// The progress after these events; each of them must succeed.
fn after(events: &[(Event, Actor)]) -> Progress {
    let draft = Progress::open(OPERATOR).unwrap();
    events.iter().fold(draft, |progress, (event, actor)| {
        progress.apply(event, *actor).unwrap().0
    })
}

/// From the form to the delivered report.
fn whole_way() -> Vec<(Event, Actor)> {
    let names = [
        "save",
        "start",
        "receive images",
        "complete",
        "claim",
        "sign",
        "send",
        "acknowledge",
    ];
    let all = events();
    let of = |name: &&str| {
        let found = all.iter().find(|(event, _)| event.name() == *name);
        found.unwrap().clone()
    };
    names.iter().map(of).collect()
}

fn event(name: &str) -> (Event, Actor) {
    let mut all = events();
    all.retain(|(event, _)| event.name() == name);
    all.remove(0)
}

#[test]
fn an_examination_goes_the_whole_way() {
    assert_eq!(after(&whole_way()).status(), Status::Delivered);
    let (_, effects) = Progress::open(OPERATOR)
        .unwrap()
        .apply(&Event::Save(FORM), OPERATOR)
        .unwrap();
    let owed = [
        Effect::AssignId,
        Effect::AssignPlannedStudy,
        Effect::PublishWorklistItem,
    ];
    assert_eq!(effects, owed);
}

#[test]
fn a_revision_that_is_given_up_leaves_the_report_as_it_was() {
    let delivered = after(&whole_way());
    let (revise, _) = event("revise");
    let (revising, _) = delivered.apply(&revise, EXPERT).unwrap();
    assert_eq!(revising.revision(), Some(Revision::Addendum));
    let (again, effects) = revising.apply(&Event::LockExpires, Actor::System).unwrap();
    assert_eq!(again, delivered);
    assert!(effects.contains(&Effect::NotifyAuthor));

    // Signed, it has to be sent again.
    let (signed, effects) = revising.apply(&Event::Sign(CHECK), EXPERT).unwrap();
    assert_eq!(
        (signed.status(), signed.revision()),
        (Status::Reported, None)
    );
    assert!(effects.contains(&Effect::StoreReport));

    // And meanwhile the images stay.
    let (reject, _) = event("reject");
    assert_eq!(
        revising.apply(&reject, EXPERT),
        Err(Guard::ReportStands.into())
    );
    assert!(revising.apply(&event("return").0, EXPERT).is_err());

    // The version that stands may arrive while the next is written.
    let sent = after(&whole_way()[..7]);
    let (revising, _) = sent.apply(&revise, EXPERT).unwrap();
    let (revising, _) = revising
        .apply(&event("acknowledge").0, Actor::System)
        .unwrap();
    let (given_up, _) = revising.apply(&event("release").0, EXPERT).unwrap();
    assert_eq!(given_up.status(), Status::Delivered);
}

#[test]
fn what_is_rejected_comes_back_to_where_it_was() {
    let way = whole_way();
    for (steps, back) in [
        (3, Status::InProgress),
        (4, Status::ImagesReceived),
        // Whoever had it in work has it no longer.
        (5, Status::ImagesReceived),
    ] {
        let before = after(&way[..steps]);
        let (rejected, effects) = before.apply(&event("reject").0, EXPERT).unwrap();
        assert!(effects.contains(&Effect::NotifyUnavailable));
        let (restored, effects) = rejected.apply(&event("restore").0, ARCHIVE_ADMIN).unwrap();
        assert_eq!(restored.status(), back);
        assert!(effects.contains(&Effect::NotifyAvailable));
        let is_to_read = effects.contains(&Effect::QueueForReading);
        assert_eq!(is_to_read, back == Status::ImagesReceived);

        // Or it goes on with better ones.
        let (again, effects) = rejected.apply(&Event::Reschedule, OPERATOR).unwrap();
        assert_eq!(again.status(), Status::Scheduled);
        assert!(effects.contains(&Effect::AssignPlannedStudy));
        let (better, _) = rejected.apply(&Event::ImagesArrive, DEVICE).unwrap();
        assert_eq!(better.status(), Status::InProgress);
    }
}

#[test]
fn late_images_move_nothing_and_are_told_to_the_author() {
    let way = whole_way();
    let sent = after(&way[..7]);
    let (late, effects) = sent.apply(&Event::ImagesArrive, DEVICE).unwrap();
    assert_eq!(
        (late.status(), late.has_late_images()),
        (Status::Sent, true)
    );
    assert!(effects.contains(&Effect::NotifyAuthor));
    let dismiss = |is_author_or_supervisor| Event::DismissLateImages {
        is_author_or_supervisor,
        reason: reason(),
    };
    assert_eq!(late.apply(&dismiss(true), EXPERT).unwrap().0, sent);
    assert_eq!(
        late.apply(&dismiss(false), EXPERT),
        Err(Guard::NotAuthor.into())
    );
    assert!(late.apply(&dismiss(true), OPERATOR).is_err());
    assert!(sent.apply(&dismiss(true), EXPERT).is_err());

    // Nobody signs without having seen them.
    let in_work = after(&way[..5]);
    let (late, effects) = in_work.apply(&Event::ImagesArrive, DEVICE).unwrap();
    assert!(effects.contains(&Effect::NotifyAuthor));
    let unseen = ReportCheck {
        has_seen_late_images: false,
        ..CHECK
    };
    assert_eq!(
        late.apply(&Event::Sign(unseen), EXPERT),
        Err(Guard::LateImages.into())
    );
    assert!(
        !late
            .apply(&Event::Sign(CHECK), EXPERT)
            .unwrap()
            .0
            .has_late_images()
    );

    let unread = after(&way[..4]);
    let (_, effects) = unread.apply(&Event::ImagesArrive, DEVICE).unwrap();
    assert!(!effects.contains(&Effect::NotifyAuthor));
}

#[test]
fn an_expired_order_is_hidden_and_still_takes_images() {
    let scheduled = after(&whole_way()[..1]);
    let (expired, _) = scheduled
        .apply(&Event::Expire { days: 30 }, Actor::System)
        .unwrap();
    assert!(expired.is_expired() && expired.status() == Status::Scheduled);
    assert!(
        expired
            .apply(&Event::Expire { days: 31 }, Actor::System)
            .is_err()
    );
    assert_eq!(
        expired.apply(&Event::Reopen, OPERATOR).unwrap().0,
        scheduled
    );
    assert!(scheduled.apply(&Event::Reopen, OPERATOR).is_err());
    let (begun, _) = expired.apply(&Event::ImagesArrive, DEVICE).unwrap();
    assert!(begun.status() == Status::InProgress && !begun.is_expired());
}

#[test]
fn moved_images_take_the_report_along_or_have_it_withdrawn() {
    let reported = after(&whole_way()[..6]);
    let moved = |images_left, report| Event::MoveImagesAway {
        images_left,
        report,
        reason: reason(),
    };
    let (stays, effects) = reported
        .apply(&moved(3, ReportFate::Stays), OPERATOR)
        .unwrap();
    assert_eq!(stays, reported);
    assert!(effects.contains(&Effect::NotifyAuthor));
    for (fate, effect) in [
        (ReportFate::MovesAlong, Effect::MoveReport),
        (ReportFate::Withdrawn, Effect::WithdrawReport),
    ] {
        let (waiting, effects) = reported.apply(&moved(0, fate), OPERATOR).unwrap();
        assert_eq!(waiting, Progress::at(Status::Scheduled));
        // What is made next must not come under the UID that went away.
        assert!(effects.contains(&effect) && effects.contains(&Effect::AssignPlannedStudy));
        let (unread, effects) = reported.apply(&moved(3, fate), OPERATOR).unwrap();
        assert_eq!(unread.status(), Status::ImagesReceived);
        assert!(effects.contains(&effect) && effects.contains(&Effect::QueueForReading));
    }
}

#[test]
fn images_without_an_order_make_an_examination() {
    let (made, effects) = Progress::from_images(OPERATOR, 3).unwrap();
    assert_eq!(made.status(), Status::ImagesReceived);
    assert!(effects.contains(&Effect::AssignId) && effects.contains(&Effect::QueueForReading));
    assert_eq!(
        Progress::from_images(OPERATOR, 0),
        Err(Guard::NoImages.into())
    );
    assert!(Progress::from_images(DEVICE, 3).is_err());
}

#[test]
fn missing_images_are_shown_until_the_examination_is_complete() {
    let begun = after(&whole_way()[..2]);
    let (incomplete, effects) = begun.apply(&Event::MissImages, Actor::System).unwrap();
    assert!(incomplete.is_incomplete() && effects.contains(&Effect::NotifyOperator));
    let (complete, _) = incomplete
        .apply(&event("complete").0, Actor::System)
        .unwrap();
    assert!(!complete.is_incomplete());
}

#[test]
fn a_reason_has_words_and_stays_out_of_logs() {
    assert_eq!(Reason::parse(" \n"), Err(ReasonError::Empty));
    assert_eq!(Reason::parse(&"я".repeat(1001)), Err(ReasonError::TooLong));
    let reason = Reason::parse(&"я".repeat(1000)).unwrap();
    assert!(!format!("{reason:?}").contains('я'));
}

/// Events of every kind, guards that hold and guards that do not.
fn anything() -> impl Strategy<Value = (Event, Actor)> {
    let mut all = events();
    for report in [
        ReportFate::MovesAlong,
        ReportFate::Stays,
        ReportFate::Withdrawn,
    ] {
        for images_left in [0, 3] {
            let moved = Event::MoveImagesAway {
                images_left,
                report,
                reason: reason(),
            };
            all.push((moved, OPERATOR));
        }
    }
    proptest::sample::select(all)
}

proptest! {
    #[test]
    fn a_signed_report_ends_by_being_withdrawn_or_moved_alone(
        steps in 0_usize..9,
        walk in proptest::collection::vec(anything(), 0..40),
    ) {
        let mut progress = after(&whole_way()[..steps]);
        for (event, actor) in walk {
            let Ok((next, effects)) = progress.apply(&event, actor) else { continue };
            let ends = effects.contains(&Effect::WithdrawReport)
                || effects.contains(&Effect::MoveReport);
            if progress.has_signed_report() {
                prop_assert!(next.has_signed_report() != ends, "{event:?}");
            } else {
                prop_assert!(!ends, "{event:?}");
            }
            let json = serde_json::to_string(&next).unwrap();
            prop_assert_eq!(serde_json::from_str::<Progress>(&json).unwrap(), next);
            progress = next;
        }
    }
}
