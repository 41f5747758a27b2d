//! The transitions: who, from where, on what condition, to where, with which effects.

use super::event::{Completion, Duplicate, Form, ReportCheck};
use super::{Actor, Effect, Event, Guard, Progress, Status, TransitionError};
use crate::role::Role;

/// An order that waited so long without images is hidden from worklists.
const EXPIRY_DAYS: u32 = 30;

const fn users<const N: usize>(roles: [Role; N]) -> [Actor; N] {
    let mut actors = [Actor::System; N];
    let mut at = 0;
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "at < N"
    )]
    while at < N {
        actors[at] = Actor::User(roles[at]);
        at += 1;
    }
    actors
}

/// Those who order.
pub(super) const ORDERING: [Actor; 4] = users([
    Role::Operator,
    Role::Radiographer,
    Role::Radiologist,
    Role::Referrer,
]);
const EDITING: [Actor; 3] = users([Role::Operator, Role::Radiographer, Role::Radiologist]);
const CANCELLING: [Actor; 4] = users([
    Role::Operator,
    Role::Radiographer,
    Role::Radiologist,
    Role::OrgAdmin,
]);
/// Those who decide whose images are whose.
pub(super) const RECONCILING: [Actor; 5] = users([
    Role::Operator,
    Role::Radiographer,
    Role::Radiologist,
    Role::OrgAdmin,
    Role::ArchiveAdmin,
]);
const READING: [Actor; 2] = users([Role::Expert, Role::Radiologist]);
const RELEASING: [Actor; 3] = [
    Actor::System,
    Actor::User(Role::Expert),
    Actor::User(Role::Radiologist),
];
const REJECTING: [Actor; 4] = users([
    Role::Radiographer,
    Role::Radiologist,
    Role::Expert,
    Role::ArchiveAdmin,
]);
const RESTORING: [Actor; 1] = users([Role::ArchiveAdmin]);
const ACKNOWLEDGING: [Actor; 3] = [
    Actor::System,
    Actor::User(Role::Referrer),
    Actor::User(Role::Service),
];
const AT_DEVICE: [Actor; 5] = [
    Actor::System,
    Actor::User(Role::Device),
    Actor::User(Role::Operator),
    Actor::User(Role::Radiographer),
    Actor::User(Role::Radiologist),
];
const ARRIVING: [Actor; 2] = [Actor::System, Actor::User(Role::Device)];
const SYSTEM: [Actor; 1] = [Actor::System];

/// Whether `actor` is one of `permitted`.
pub(super) fn permit(
    actor: Actor,
    permitted: &[Actor],
    event: &'static str,
) -> Result<(), TransitionError> {
    if permitted.contains(&actor) {
        Ok(())
    } else {
        Err(TransitionError::Actor { actor, event })
    }
}

const fn permitted(event: &Event) -> &'static [Actor] {
    match event {
        Event::Acknowledge => &ACKNOWLEDGING,
        Event::Cancel { .. } => &CANCELLING,
        Event::Complete { .. } | Event::Discontinue { .. } => &AT_DEVICE,
        Event::Claim { .. }
        | Event::DismissLateImages { .. }
        | Event::Return { .. }
        | Event::Revise { .. }
        | Event::Sign(_) => &READING,
        Event::Edit | Event::Reschedule => &EDITING,
        Event::Expire { .. } => &SYSTEM,
        Event::ImagesArrive | Event::Start => &ARRIVING,
        Event::MoveImagesAway { .. } => &RECONCILING,
        Event::Reject { .. } => &REJECTING,
        // «Отправить в ОЗ» can be a policy.
        Event::Release | Event::Send { .. } => &RELEASING,
        Event::Reopen => &CANCELLING,
        Event::Restore { .. } => &RESTORING,
        Event::Save(_) => &ORDERING,
    }
}

type Next = Result<(Progress, &'static [Effect]), TransitionError>;

/// What `progress` becomes.
pub(super) fn apply(progress: &Progress, event: &Event, actor: Actor) -> Next {
    permit(actor, permitted(event), event.name())?;
    let step = order(progress, event)
        .or_else(|| images(progress, event))
        .or_else(|| report(progress, event))
        .or_else(|| reconciliation(progress, event));
    step.unwrap_or(Err(TransitionError::Status {
        status: progress.status,
        event: event.name(),
    }))
}

fn guard(holds: bool, otherwise: Guard) -> Result<(), TransitionError> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

impl Progress {
    /// The same, at another status. What it was rejected from or expired for is over.
    fn to(self, status: Status, effects: &'static [Effect]) -> Next {
        let next = Self {
            status,
            rejected_from: None,
            expired: false,
            ..self
        };
        Ok((next, effects))
    }

    fn stays(self, effects: &'static [Effect]) -> Next {
        Ok((self, effects))
    }
}

/// T2, T3, T4, T8, T20: the order. `None` where the event is none of these from here.
fn order(at: &Progress, event: &Event) -> Option<Next> {
    Some(match (at.status, event) {
        (Status::Registered, Event::Save(form)) => complete_form(form).and_then(|()| {
            at.to(
                Status::Scheduled,
                &[Effect::AssignId, Effect::PublishWorklistItem],
            )
        }),
        (Status::Scheduled, Event::Edit) => at.stays(&[Effect::PublishWorklistItem]),
        (Status::Scheduled, Event::Cancel { images, .. }) => guard(*images == 0, Guard::HasImages)
            .and_then(|()| at.to(Status::Cancelled, &[Effect::RemoveWorklistItem])),
        (Status::Scheduled, Event::Expire { days }) if !at.expired => {
            guard(*days >= EXPIRY_DAYS, Guard::TooEarly).map(|()| {
                let expired = Progress {
                    expired: true,
                    ..*at
                };
                (expired, &[Effect::RemoveWorklistItem][..])
            })
        }
        (Status::Scheduled, Event::Reopen) if at.expired => {
            at.to(Status::Scheduled, &[Effect::PublishWorklistItem])
        }
        (Status::Discontinued, Event::Reschedule) => at.to(
            Status::Scheduled,
            &[Effect::AssignStep, Effect::PublishWorklistItem],
        ),
        _ => return None,
    })
}

fn complete_form(form: &Form) -> Result<(), TransitionError> {
    guard(form.has_patient, Guard::Patient)?;
    guard(form.has_body_part_and_kind, Guard::BodyPartOrKind)?;
    guard(form.has_weight_if_needed, Guard::Weight)?;
    guard(form.duplicate != Duplicate::Yes, Guard::Duplicate)
}

/// T5, T6, T7, T18: the images.
fn images(at: &Progress, event: &Event) -> Option<Next> {
    Some(match (at.status, event) {
        (Status::Scheduled, Event::Start | Event::ImagesArrive) => {
            at.to(Status::InProgress, &[Effect::StartWorklistItem])
        }
        (Status::InProgress, Event::ImagesArrive) => at.stays(&[]),
        (Status::InProgress, Event::Complete { by, images_kept }) => complete(*by, *images_kept)
            .and_then(|()| {
                let effects = &[
                    Effect::RemoveWorklistItem,
                    Effect::NotifyAvailable,
                    Effect::QueueForReading,
                ];
                at.to(Status::ImagesReceived, effects)
            }),
        (Status::InProgress, Event::Discontinue { .. }) => {
            at.to(Status::Discontinued, &[Effect::RemoveWorklistItem])
        }
        // They are kept and shown whatever the examination has come to, and move it nowhere.
        (
            Status::ImagesReceived
            | Status::UnderReview
            | Status::Reported
            | Status::Sent
            | Status::Delivered
            | Status::Discontinued
            | Status::Rejected,
            Event::ImagesArrive,
        ) => {
            let late = Progress {
                late_images: true,
                ..*at
            };
            let is_signed = at.status.has_signed_report() || at.revision.is_some();
            let effects: &[Effect] = if is_signed {
                &[Effect::NotifyAvailable, Effect::NotifyAuthor]
            } else {
                &[Effect::NotifyAvailable]
            };
            Ok((late, effects))
        }
        (_, Event::DismissLateImages { .. }) if at.late_images => {
            let dealt_with = Progress {
                late_images: false,
                ..*at
            };
            Ok((dealt_with, &[]))
        }
        _ => return None,
    })
}

fn complete(by: Completion, images_kept: u64) -> Result<(), TransitionError> {
    guard(images_kept > 0, Guard::NoImages)?;
    let is_missing = matches!(by, Completion::Mpps { missing: 1.. });
    guard(!is_missing, Guard::ImagesMissing)
}

/// T9 to T15: the report.
fn report(at: &Progress, event: &Event) -> Option<Next> {
    Some(match (at.status, event) {
        (
            Status::ImagesReceived,
            Event::Claim {
                is_locked,
                images_online,
            },
        ) => guard(!is_locked, Guard::Locked)
            .and_then(|()| guard(*images_online > 0, Guard::NotOnline))
            .and_then(|()| at.to(Status::UnderReview, &[Effect::Lock])),
        // A revision that is given up leaves the signed report as it was.
        (Status::UnderReview, Event::Release) if at.revision.is_some() => {
            let before = at.revised_from.unwrap_or(Status::Reported);
            without_revision(at).to(before, &[Effect::Unlock])
        }
        (Status::UnderReview, Event::Release) => at.to(
            Status::ImagesReceived,
            &[Effect::Unlock, Effect::QueueForReading],
        ),
        (Status::UnderReview, Event::Return { .. }) if at.revision.is_none() => at.to(
            Status::ImagesReceived,
            &[Effect::Unlock, Effect::NotifyOperator],
        ),
        (Status::UnderReview, Event::Sign(check)) => signable(check).and_then(|()| {
            let signed = Progress {
                late_images: false,
                ..without_revision(at)
            };
            signed.to(Status::Reported, &[Effect::StoreReport, Effect::Unlock])
        }),
        (Status::Reported, Event::Send { recipients }) => guard(*recipients > 0, Guard::Recipient)
            .and_then(|()| at.to(Status::Sent, &[Effect::Deliver])),
        (Status::Sent, Event::Acknowledge) => at.to(Status::Delivered, &[]),
        (
            Status::Reported | Status::Sent | Status::Delivered,
            Event::Revise {
                revision,
                is_author_or_supervisor,
                ..
            },
        ) => guard(*is_author_or_supervisor, Guard::NotAuthor).and_then(|()| {
            let revised = Progress {
                revision: Some(*revision),
                revised_from: Some(at.status),
                ..*at
            };
            revised.to(Status::UnderReview, &[Effect::Lock])
        }),
        _ => return None,
    })
}

fn without_revision(at: &Progress) -> Progress {
    Progress {
        revision: None,
        revised_from: None,
        ..*at
    }
}

fn signable(check: &ReportCheck) -> Result<(), TransitionError> {
    guard(check.has_description, Guard::Description)?;
    guard(check.has_conclusion, Guard::Conclusion)?;
    guard(check.is_identity_confirmed, Guard::Identity)?;
    guard(check.is_resolved, Guard::Unresolved)?;
    guard(check.is_signature_valid, Guard::Signature)
}

/// T16, T17, T19: images that turn out to be wrong.
fn reconciliation(at: &Progress, event: &Event) -> Option<Next> {
    Some(match (at.status, event) {
        (
            Status::InProgress | Status::ImagesReceived | Status::UnderReview,
            Event::Reject { images_kept, .. },
        ) => guard(at.revision.is_none(), Guard::ReportStands)
            .and_then(|()| guard(*images_kept == 0, Guard::NotAllRejected))
            .map(|()| {
                // Whoever had it in work has it no longer.
                let from = if at.status == Status::UnderReview {
                    Status::ImagesReceived
                } else {
                    at.status
                };
                let rejected = Progress {
                    status: Status::Rejected,
                    rejected_from: Some(from),
                    ..*at
                };
                (rejected, &[Effect::Unlock, Effect::NotifyUnavailable][..])
            }),
        (Status::Rejected, Event::Restore { .. }) => {
            let back = at.rejected_from.unwrap_or(Status::ImagesReceived);
            at.to(back, &[Effect::NotifyAvailable])
        }
        (
            Status::InProgress
            | Status::ImagesReceived
            | Status::UnderReview
            | Status::Reported
            | Status::Sent
            | Status::Delivered
            | Status::Discontinued
            | Status::Rejected,
            Event::MoveImagesAway {
                images_left,
                author_agrees,
                ..
            },
        ) => {
            let stands = at.status.has_signed_report() || at.revision.is_some();
            guard(!stands || *author_agrees, Guard::ReportStands)
                .and_then(|()| moved(at, *images_left))
        }
        _ => return None,
    })
}

/// An examination that lost all its images waits for its own.
fn moved(at: &Progress, images_left: u64) -> Next {
    if images_left > 0 {
        return at.stays(&[Effect::NotifyUnavailable]);
    }
    let without = Progress {
        late_images: false,
        ..without_revision(at)
    };
    let effects = &[
        Effect::Unlock,
        Effect::NotifyUnavailable,
        Effect::AssignStep,
        Effect::PublishWorklistItem,
    ];
    without.to(Status::Scheduled, effects)
}
