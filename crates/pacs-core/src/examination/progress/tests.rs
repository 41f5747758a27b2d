//! The transitions, each from every status, and the guards.

use super::*;
use crate::role::Role;
use proptest::prelude::*;

const EXPERT: Actor = Actor::User(Role::Expert);
const OPERATOR: Actor = Actor::User(Role::Operator);
const ARCHIVE_ADMIN: Actor = Actor::User(Role::ArchiveAdmin);
const DEVICE: Actor = Actor::User(Role::Device);

const STATUSES: [Status; 11] = [
    Status::Cancelled,
    Status::Delivered,
    Status::Discontinued,
    Status::ImagesReceived,
    Status::InProgress,
    Status::Registered,
    Status::Rejected,
    Status::Reported,
    Status::Scheduled,
    Status::Sent,
    Status::UnderReview,
];

fn reason() -> Reason {
    Reason::parse("a reason").unwrap()
}

const FORM: Form = Form {
    has_patient: true,
    has_body_part_and_kind: true,
    has_weight_if_needed: true,
    duplicate: Duplicate::No,
};

const CHECK: ReportCheck = ReportCheck {
    has_description: true,
    has_conclusion: true,
    is_identity_confirmed: true,
    is_resolved: true,
    is_signature_valid: true,
};

/// One event of each kind whose guards hold, with an actor who may.
fn events() -> Vec<(Event, Actor)> {
    vec![
        (Event::Save(FORM), OPERATOR),
        (Event::Edit, OPERATOR),
        (
            Event::Cancel {
                images: 0,
                reason: reason(),
            },
            OPERATOR,
        ),
        (Event::Start, DEVICE),
        (Event::ImagesArrive, Actor::System),
        (
            Event::Complete {
                by: Completion::QuietTime,
                images_kept: 1,
            },
            Actor::System,
        ),
        (Event::Discontinue { reason: reason() }, DEVICE),
        (Event::Reschedule, OPERATOR),
        (
            Event::Claim {
                is_locked: false,
                images_online: 1,
            },
            EXPERT,
        ),
        (Event::Release, EXPERT),
        (Event::Return { reason: reason() }, EXPERT),
        (Event::Sign(CHECK), EXPERT),
        (Event::Send { recipients: 1 }, EXPERT),
        (Event::Acknowledge, Actor::System),
        (
            Event::Revise {
                revision: Revision::Addendum,
                is_author_or_supervisor: true,
                reason: reason(),
            },
            EXPERT,
        ),
        (
            Event::Reject {
                images_kept: 0,
                reason: reason(),
            },
            EXPERT,
        ),
        (Event::Restore { reason: reason() }, ARCHIVE_ADMIN),
        (
            Event::MoveImagesAway {
                images_left: 0,
                author_agrees: true,
                reason: reason(),
            },
            OPERATOR,
        ),
        (Event::Expire { days: 30 }, Actor::System),
    ]
}

/// Where each event leads from, and to.
fn table(event: &Event) -> Vec<(Status, Status)> {
    use Status::*;
    match event {
        Event::Save(_) => vec![(Registered, Scheduled)],
        Event::Edit | Event::Expire { .. } => vec![(Scheduled, Scheduled)],
        Event::Cancel { .. } => vec![(Scheduled, Cancelled)],
        Event::Start => vec![(Scheduled, InProgress)],
        Event::ImagesArrive => vec![
            (Scheduled, InProgress),
            (InProgress, InProgress),
            (ImagesReceived, ImagesReceived),
            (UnderReview, UnderReview),
            (Reported, Reported),
            (Sent, Sent),
            (Delivered, Delivered),
            (Discontinued, Discontinued),
            (Rejected, Rejected),
        ],
        Event::Complete { .. } => vec![(InProgress, ImagesReceived)],
        Event::Discontinue { .. } => vec![(InProgress, Discontinued)],
        Event::Reschedule => vec![(Discontinued, Scheduled)],
        Event::Claim { .. } => vec![(ImagesReceived, UnderReview)],
        Event::Release | Event::Return { .. } => vec![(UnderReview, ImagesReceived)],
        Event::Sign(_) => vec![(UnderReview, Reported)],
        Event::Send { .. } => vec![(Reported, Sent)],
        Event::Acknowledge => vec![(Sent, Delivered)],
        Event::Revise { .. } => vec![
            (Reported, UnderReview),
            (Sent, UnderReview),
            (Delivered, UnderReview),
        ],
        Event::Reject { .. } => vec![
            (InProgress, Rejected),
            (ImagesReceived, Rejected),
            (UnderReview, Rejected),
        ],
        Event::Restore { .. } => vec![(Rejected, ImagesReceived)],
        Event::MoveImagesAway { .. } => vec![
            (InProgress, Scheduled),
            (ImagesReceived, Scheduled),
            (UnderReview, Scheduled),
            (Reported, Scheduled),
            (Sent, Scheduled),
            (Delivered, Scheduled),
            (Discontinued, Scheduled),
            (Rejected, Scheduled),
        ],
        Event::DismissLateImages { .. } | Event::Reopen => vec![],
    }
}

#[test]
fn every_event_leads_where_it_should_from_every_status_and_nowhere_else() {
    for (event, actor) in events() {
        let table = table(&event);
        for status in STATUSES {
            let to = table.iter().find(|(from, _)| *from == status);
            let got = Progress::at(status).apply(&event, actor);
            match to {
                Some((_, to)) => assert_eq!(got.unwrap().0.status(), *to, "{event:?} {status}"),
                None => assert_eq!(
                    got.unwrap_err(),
                    TransitionError::Status {
                        status,
                        event: event.name()
                    }
                ),
            }
        }
    }
}

#[test]
fn each_event_is_open_to_those_who_may_alone() {
    use Role::*;
    let every: Vec<Actor> = Role::ALL
        .into_iter()
        .map(Actor::User)
        .chain([Actor::System])
        .collect();
    for (event, _) in events() {
        let (from, _) = table(&event)[0];
        let may: Vec<&Actor> = every
            .iter()
            .filter(|actor| Progress::at(from).apply(&event, **actor).is_ok())
            .collect();
        let expected: &[Actor] = &match event.name() {
            "save" => [Operator, Radiographer, Radiologist, Referrer]
                .map(Actor::User)
                .to_vec(),
            "edit" | "reschedule" => [Operator, Radiographer, Radiologist]
                .map(Actor::User)
                .to_vec(),
            "cancel" => [Operator, OrgAdmin, Radiographer, Radiologist]
                .map(Actor::User)
                .to_vec(),
            "start" | "receive images" => vec![DEVICE, Actor::System],
            "complete" | "discontinue" => [Device, Operator, Radiographer, Radiologist]
                .map(Actor::User)
                .into_iter()
                .chain([Actor::System])
                .collect(),
            "claim" | "return" | "sign" | "revise" => {
                [Expert, Radiologist].map(Actor::User).to_vec()
            }
            "release" | "send" => vec![EXPERT, Actor::User(Radiologist), Actor::System],
            "acknowledge" => vec![Actor::User(Referrer), Actor::User(Service), Actor::System],
            "reject" => [ArchiveAdmin, Expert, Radiographer, Radiologist]
                .map(Actor::User)
                .to_vec(),
            "restore" => vec![ARCHIVE_ADMIN],
            "move images away" => [ArchiveAdmin, Operator, OrgAdmin, Radiographer, Radiologist]
                .map(Actor::User)
                .to_vec(),
            "expire" => vec![Actor::System],
            other => panic!("{other} has no row"),
        };
        assert_eq!(may, expected.iter().collect::<Vec<_>>(), "{event:?}");
    }
    assert!(Progress::open(EXPERT).is_err() && Progress::open(OPERATOR).is_ok());
}

fn refused(status: Status, event: &Event, actor: Actor) -> TransitionError {
    Progress::at(status).apply(event, actor).unwrap_err()
}

#[test]
fn a_form_that_lacks_something_is_not_saved() {
    let saved = |form| refused(Status::Registered, &Event::Save(form), OPERATOR);
    let form = |change: fn(&mut Form)| {
        let mut form = FORM;
        change(&mut form);
        saved(form)
    };
    assert_eq!(form(|f| f.has_patient = false), Guard::Patient.into());
    assert_eq!(
        form(|f| f.has_body_part_and_kind = false),
        Guard::BodyPartOrKind.into()
    );
    assert_eq!(
        form(|f| f.has_weight_if_needed = false),
        Guard::Weight.into()
    );
    assert_eq!(
        form(|f| f.duplicate = Duplicate::Yes),
        Guard::Duplicate.into()
    );
    let confirmed = Form {
        duplicate: Duplicate::Confirmed,
        ..FORM
    };
    let draft = Progress::open(OPERATOR).unwrap();
    assert!(draft.apply(&Event::Save(confirmed), OPERATOR).is_ok());
}

#[test]
fn a_report_that_lacks_something_is_not_signed() {
    let report = |change: fn(&mut ReportCheck)| {
        let mut check = CHECK;
        change(&mut check);
        refused(Status::UnderReview, &Event::Sign(check), EXPERT)
    };
    assert_eq!(
        report(|r| r.has_description = false),
        Guard::Description.into()
    );
    assert_eq!(
        report(|r| r.has_conclusion = false),
        Guard::Conclusion.into()
    );
    assert_eq!(
        report(|r| r.is_identity_confirmed = false),
        Guard::Identity.into()
    );
    assert_eq!(report(|r| r.is_resolved = false), Guard::Unresolved.into());
    assert_eq!(
        report(|r| r.is_signature_valid = false),
        Guard::Signature.into()
    );
}

/// Each of these events is refused for its guard.
fn assert_guarded(cases: &[(Status, Event, Actor, Guard)]) {
    for (status, event, actor, guard) in cases {
        assert_eq!(
            refused(*status, event, *actor),
            (*guard).into(),
            "{event:?}"
        );
    }
}

#[test]
fn orders_and_images_are_guarded() {
    assert_guarded(&[
        (
            Status::Scheduled,
            Event::Cancel {
                images: 1,
                reason: reason(),
            },
            OPERATOR,
            Guard::HasImages,
        ),
        (
            Status::InProgress,
            Event::Complete {
                by: Completion::Declared,
                images_kept: 0,
            },
            OPERATOR,
            Guard::NoImages,
        ),
        (
            Status::InProgress,
            Event::Complete {
                by: Completion::Mpps { missing: 1 },
                images_kept: 9,
            },
            DEVICE,
            Guard::ImagesMissing,
        ),
    ]);
}

#[test]
fn reading_and_reconciling_are_guarded() {
    assert_guarded(&[
        (
            Status::ImagesReceived,
            Event::Claim {
                is_locked: true,
                images_online: 1,
            },
            EXPERT,
            Guard::Locked,
        ),
        (
            Status::ImagesReceived,
            Event::Claim {
                is_locked: false,
                images_online: 0,
            },
            EXPERT,
            Guard::NotOnline,
        ),
        (
            Status::Reported,
            Event::Send { recipients: 0 },
            EXPERT,
            Guard::Recipient,
        ),
        (
            Status::Sent,
            Event::Revise {
                revision: Revision::Amendment,
                is_author_or_supervisor: false,
                reason: reason(),
            },
            EXPERT,
            Guard::NotAuthor,
        ),
        (
            Status::ImagesReceived,
            Event::Reject {
                images_kept: 1,
                reason: reason(),
            },
            EXPERT,
            Guard::NotAllRejected,
        ),
        (
            Status::Delivered,
            Event::MoveImagesAway {
                images_left: 1,
                author_agrees: false,
                reason: reason(),
            },
            OPERATOR,
            Guard::ReportStands,
        ),
        (
            Status::Scheduled,
            Event::Expire { days: 29 },
            Actor::System,
            Guard::TooEarly,
        ),
    ]);
}

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
    assert_eq!(effects, [Effect::AssignId, Effect::PublishWorklistItem]);
}

#[test]
fn a_revision_that_is_given_up_leaves_the_report_as_it_was() {
    let delivered = after(&whole_way());
    let (revise, _) = event("revise");
    let (revising, _) = delivered.apply(&revise, EXPERT).unwrap();
    assert_eq!(revising.revision(), Some(Revision::Addendum));
    let (again, _) = revising.apply(&Event::Release, Actor::System).unwrap();
    assert_eq!(again, delivered);

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
    assert!(
        revising
            .apply(&Event::Return { reason: reason() }, EXPERT)
            .is_err()
    );
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
        assert_eq!(effects, [Effect::NotifyAvailable]);
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
    let dismiss = Event::DismissLateImages { reason: reason() };
    assert_eq!(late.apply(&dismiss, EXPERT).unwrap().0, sent);
    assert!(sent.apply(&dismiss, EXPERT).is_err());

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
fn moved_images_leave_an_order_that_waits_for_its_own() {
    let reported = after(&whole_way()[..6]);
    let moved = |images_left| Event::MoveImagesAway {
        images_left,
        author_agrees: true,
        reason: reason(),
    };
    assert_eq!(reported.apply(&moved(3), OPERATOR).unwrap().0, reported);
    let (waiting, effects) = reported.apply(&moved(0), OPERATOR).unwrap();
    assert_eq!(waiting, Progress::at(Status::Scheduled));
    assert!(effects.contains(&Effect::PublishWorklistItem));
}

#[test]
fn images_without_an_order_make_an_examination() {
    let made = Progress::from_images(OPERATOR, 3).unwrap();
    assert_eq!(made.status(), Status::ImagesReceived);
    assert_eq!(
        Progress::from_images(OPERATOR, 0),
        Err(Guard::NoImages.into())
    );
    assert!(Progress::from_images(DEVICE, 3).is_err());
}

#[test]
fn a_reason_has_words_and_stays_out_of_logs() {
    assert_eq!(Reason::parse(" \n"), Err(ReasonError::Empty));
    assert_eq!(Reason::parse(&"я".repeat(1001)), Err(ReasonError::TooLong));
    let reason = Reason::parse(&"я".repeat(1000)).unwrap();
    assert!(!format!("{reason:?}").contains('я'));
}

proptest! {
    #[test]
    fn whatever_happens_a_signed_report_is_never_lost_without_consent(
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 0..60),
    ) {
        let all = events();
        let mut progress = Progress::open(OPERATOR).unwrap();
        for pick in picks {
            let (event, actor) = pick.get(&all);
            let Ok((next, _)) = progress.apply(event, *actor) else { continue };
            let stood = progress.status().has_signed_report() || progress.revision().is_some();
            let stands = next.status().has_signed_report() || next.revision().is_some();
            let consents = matches!(event, Event::MoveImagesAway { author_agrees: true, .. });
            prop_assert!(!stood || stands || consents, "{event:?}");
            let json = serde_json::to_string(&next).unwrap();
            prop_assert_eq!(serde_json::from_str::<Progress>(&json).unwrap(), next);
            progress = next;
        }
    }
}
