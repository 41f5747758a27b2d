//! The transitions, each from every status, and the guards.

mod guards;
mod ways;

use super::*;
use crate::role::Role;

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
    holds_lock: true,
    has_seen_late_images: true,
    is_resolved: true,
    is_signature_valid: true,
};

/// One event of each kind whose guards hold, with an actor who may.
fn events() -> Vec<(Event, Actor)> {
    let mut events = events_until_images();
    events.extend(events_from_images());
    events
}

fn events_until_images() -> Vec<(Event, Actor)> {
    vec![
        (Event::Save(FORM), OPERATOR),
        (
            Event::Edit {
                form: FORM,
                images: 0,
            },
            OPERATOR,
        ),
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
                by: Completion::QuietTime {
                    has_open_step: false,
                },
                images_kept: 1,
            },
            Actor::System,
        ),
        (Event::Discontinue { reason: reason() }, DEVICE),
        (Event::Reschedule, OPERATOR),
    ]
}

fn events_from_images() -> Vec<(Event, Actor)> {
    vec![
        (
            Event::Claim {
                is_locked: false,
                may_read: true,
                images_online: 1,
            },
            EXPERT,
        ),
        (Event::Release { holds_lock: true }, EXPERT),
        (Event::LockExpires, Actor::System),
        (Event::MissImages, Actor::System),
        (
            Event::Return {
                holds_lock: true,
                reason: reason(),
            },
            EXPERT,
        ),
        (
            Event::Withdraw {
                is_author_or_supervisor: true,
                has_second_person: true,
                reason: reason(),
            },
            EXPERT,
        ),
        (Event::Sign(CHECK), EXPERT),
        (Event::Send { recipients: 1 }, EXPERT),
        (
            Event::Acknowledge {
                is_current_version: true,
            },
            Actor::System,
        ),
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
                rejection: Rejection::Quality,
                reason: reason(),
            },
            EXPERT,
        ),
        (Event::Restore { reason: reason() }, ARCHIVE_ADMIN),
        (
            Event::MoveImagesAway {
                images_left: 0,
                report: ReportFate::Nothing,
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
        Event::Edit { .. } | Event::Expire { .. } => vec![(Scheduled, Scheduled)],
        Event::Cancel { .. } => vec![(Scheduled, Cancelled)],
        Event::Start => vec![(Scheduled, InProgress), (Discontinued, InProgress)],
        Event::ImagesArrive => vec![
            (Scheduled, InProgress),
            (InProgress, InProgress),
            (ImagesReceived, ImagesReceived),
            (UnderReview, UnderReview),
            (Reported, Reported),
            (Sent, Sent),
            (Delivered, Delivered),
            (Discontinued, Discontinued),
            (Rejected, InProgress),
        ],
        Event::MissImages => vec![(InProgress, InProgress)],
        Event::Complete { .. } => vec![(InProgress, ImagesReceived)],
        Event::Discontinue { .. } => vec![(InProgress, Discontinued)],
        Event::Reschedule => vec![(Discontinued, Scheduled), (Rejected, Scheduled)],
        Event::Claim { .. } => vec![(ImagesReceived, UnderReview)],
        Event::Release { .. } | Event::LockExpires | Event::Return { .. } => {
            vec![(UnderReview, ImagesReceived)]
        }
        Event::Sign(_) => vec![(UnderReview, Reported)],
        Event::Send { .. } => vec![(Reported, Sent)],
        Event::Acknowledge { .. } => vec![(Sent, Delivered)],
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
        Event::Restore { .. } => vec![
            (Rejected, ImagesReceived),
            (Scheduled, InProgress),
            (InProgress, InProgress),
            (ImagesReceived, ImagesReceived),
            (UnderReview, UnderReview),
            (Reported, Reported),
            (Sent, Sent),
            (Delivered, Delivered),
            (Discontinued, Discontinued),
        ],
        Event::MoveImagesAway { .. } => vec![
            (Scheduled, Scheduled),
            (InProgress, Scheduled),
            (ImagesReceived, Scheduled),
            (UnderReview, Scheduled),
            (Discontinued, Discontinued),
            (Rejected, Rejected),
        ],
        Event::Withdraw { .. } => vec![
            (Reported, ImagesReceived),
            (Sent, ImagesReceived),
            (Delivered, ImagesReceived),
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
                None if status.has_signed_report() && got == Err(Guard::ReportStands.into()) => {}
                None => assert_eq!(
                    got,
                    Err(TransitionError::Status {
                        status,
                        event: event.name()
                    }),
                    "{event:?} {status}"
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
            "claim" | "release" | "return" | "sign" | "revise" | "withdraw the report" => {
                [Expert, Radiologist].map(Actor::User).to_vec()
            }
            "send" => vec![EXPERT, Actor::User(Radiologist), Actor::System],
            "acknowledge" => vec![Actor::User(Referrer), Actor::User(Service), Actor::System],
            "reject" => [ArchiveAdmin, Expert, Radiographer, Radiologist]
                .map(Actor::User)
                .to_vec(),
            "restore" => vec![ARCHIVE_ADMIN],
            "move images away" => [ArchiveAdmin, Operator, OrgAdmin, Radiographer, Radiologist]
                .map(Actor::User)
                .into_iter()
                .chain([Actor::System])
                .collect(),
            "expire" | "unlock" | "miss images" => vec![Actor::System],
            other => panic!("{other} has no row"),
        };
        assert_eq!(may, expected.iter().collect::<Vec<_>>(), "{event:?}");
    }
    assert!(Progress::open(EXPERT).is_err() && Progress::open(OPERATOR).is_ok());
}
