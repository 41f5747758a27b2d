//! The transitions: who, from where, on what condition, to where, with which effects.

use super::event::{Completion, Duplicate, Form, Rejection, ReportCheck, ReportFate};
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
const SENDING: [Actor; 3] = [
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
/// Those, and the device that says that it took a wrong entry of the worklist.
const MOVING: [Actor; 6] = [
    Actor::System,
    Actor::User(Role::Operator),
    Actor::User(Role::Radiographer),
    Actor::User(Role::Radiologist),
    Actor::User(Role::OrgAdmin),
    Actor::User(Role::ArchiveAdmin),
];
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
        Event::Acknowledge { .. } => &ACKNOWLEDGING,
        Event::Cancel { .. } | Event::Reopen => &CANCELLING,
        Event::Complete { .. } | Event::Discontinue { .. } => &AT_DEVICE,
        Event::Claim { .. }
        | Event::DismissLateImages { .. }
        | Event::Release { .. }
        | Event::Return { .. }
        | Event::Revise { .. }
        | Event::Sign(_)
        | Event::Withdraw { .. } => &READING,
        Event::Edit { .. } | Event::Reschedule => &EDITING,
        Event::Expire { .. } | Event::LockExpires | Event::MissImages => &SYSTEM,
        Event::ImagesArrive | Event::Start => &ARRIVING,
        Event::MoveImagesAway { .. } => &MOVING,
        Event::Reject { .. } => &REJECTING,
        // «Отправить в ОЗ» can be a policy.
        Event::Send { .. } => &SENDING,
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
        .or_else(|| reading(progress, event))
        .or_else(|| signed(progress, event))
        .or_else(|| wrong(progress, event, actor));
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

    /// Whether a signed report stands, be it that somebody works at the next one.
    #[must_use]
    pub const fn has_signed_report(self) -> bool {
        self.status.has_signed_report() || self.revision.is_some()
    }

    fn stays(self, effects: &'static [Effect]) -> Next {
        Ok((self, effects))
    }
}

/// T2, T3, T4, T8, T20: the order. `None` where the event is none of these from here.
fn order(at: &Progress, event: &Event) -> Option<Next> {
    /// What a device needs to make images under an order again.
    const ANEW: &[Effect] = &[
        Effect::AssignStep,
        Effect::AssignPlannedStudy,
        Effect::PublishWorklistItem,
    ];
    Some(match (at.status, event) {
        (Status::Registered, Event::Save(form)) => complete_form(form).and_then(|()| {
            let effects = &[
                Effect::AssignId,
                Effect::AssignPlannedStudy,
                Effect::PublishWorklistItem,
            ];
            at.to(Status::Scheduled, effects)
        }),
        // With images, another patient in the form would be another patient's name on them.
        (Status::Scheduled, Event::Edit { form, images }) => complete_form(form)
            .and_then(|()| guard(*images == 0, Guard::HasImages))
            .and_then(|()| at.to(Status::Scheduled, &[Effect::PublishWorklistItem])),
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
        (Status::Discontinued | Status::Rejected, Event::Reschedule) => {
            at.to(Status::Scheduled, ANEW)
        }
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
        // The device goes on with what it broke off.
        (Status::Discontinued, Event::Start) => {
            at.to(Status::InProgress, &[Effect::StartWorklistItem])
        }
        (Status::InProgress, Event::ImagesArrive) => at.stays(&[]),
        (Status::InProgress, Event::MissImages) => {
            let incomplete = Progress {
                incomplete: true,
                ..*at
            };
            incomplete.stays(&[Effect::NotifyOperator])
        }
        (Status::InProgress, Event::Complete { by, images_kept }) => complete(*by, *images_kept)
            .and_then(|()| {
                let complete = Progress {
                    incomplete: false,
                    ..*at
                };
                let effects = &[
                    Effect::RemoveWorklistItem,
                    Effect::NotifyAvailable,
                    Effect::QueueForReading,
                ];
                complete.to(Status::ImagesReceived, effects)
            }),
        (Status::InProgress, Event::Discontinue { .. }) => {
            at.to(Status::Discontinued, &[Effect::RemoveWorklistItem])
        }
        // No longer all of them are rejected.
        (Status::Rejected, Event::ImagesArrive) => {
            at.to(Status::InProgress, &[Effect::NotifyAvailable])
        }
        (_, Event::ImagesArrive) => late(at)?,
        (
            _,
            Event::DismissLateImages {
                is_author_or_supervisor,
                ..
            },
        ) if at.late_images => {
            let is_free = !at.has_signed_report() || *is_author_or_supervisor;
            guard(is_free, Guard::NotAuthor).and_then(|()| {
                let dealt_with = Progress {
                    late_images: false,
                    ..*at
                };
                dealt_with.stays(&[])
            })
        }
        _ => return None,
    })
}

/// Images that come late are kept and shown, and move the examination nowhere.
fn late(at: &Progress) -> Option<Next> {
    let effects: &[Effect] = match at.status {
        Status::ImagesReceived => &[Effect::NotifyAvailable, Effect::QueueForReading],
        Status::UnderReview | Status::Reported | Status::Sent | Status::Delivered => {
            &[Effect::NotifyAvailable, Effect::NotifyAuthor]
        }
        Status::Discontinued => &[Effect::NotifyAvailable, Effect::NotifyOperator],
        Status::Cancelled
        | Status::InProgress
        | Status::Registered
        | Status::Rejected
        | Status::Scheduled => return None,
    };
    let late = Progress {
        late_images: true,
        ..*at
    };
    Some(late.stays(effects))
}

fn complete(by: Completion, images_kept: u64) -> Result<(), TransitionError> {
    guard(images_kept > 0, Guard::NoImages)?;
    match by {
        Completion::Declared => Ok(()),
        Completion::Mpps { missing } => guard(missing == 0, Guard::ImagesMissing),
        Completion::QuietTime { has_open_step } => guard(!has_open_step, Guard::OpenStep),
    }
}

/// T9 to T11: reading.
fn reading(at: &Progress, event: &Event) -> Option<Next> {
    Some(match (at.status, event) {
        (
            Status::ImagesReceived,
            Event::Claim {
                is_locked,
                may_read,
                images_online,
            },
        ) => guard(*may_read, Guard::MayNotRead)
            .and_then(|()| guard(!is_locked, Guard::Locked))
            .and_then(|()| guard(*images_online > 0, Guard::NotOnline))
            .and_then(|()| at.to(Status::UnderReview, &[Effect::Lock])),
        (Status::UnderReview, Event::Release { holds_lock }) => {
            guard(*holds_lock, Guard::NotHolder).and_then(|()| released(at))
        }
        (Status::UnderReview, Event::LockExpires) => released(at),
        (Status::UnderReview, Event::Return { holds_lock, .. }) if at.revision.is_none() => {
            guard(*holds_lock, Guard::NotHolder).and_then(|()| {
                let effects = &[Effect::Unlock, Effect::NotifyOperator];
                at.to(Status::ImagesReceived, effects)
            })
        }
        (Status::UnderReview, Event::Sign(check)) => signable(at, check).and_then(|()| {
            let signed = Progress {
                late_images: false,
                ..without_revision(at)
            };
            signed.to(Status::Reported, &[Effect::StoreReport, Effect::Unlock])
        }),
        _ => return None,
    })
}

/// A revision that is given up leaves the signed report as it was; its author hears of it.
fn released(at: &Progress) -> Next {
    match at.revised_from {
        Some(before) => without_revision(at).to(before, &[Effect::Unlock, Effect::NotifyAuthor]),
        None => {
            let effects = &[Effect::Unlock, Effect::QueueForReading];
            at.to(Status::ImagesReceived, effects)
        }
    }
}

fn without_revision(at: &Progress) -> Progress {
    Progress {
        revision: None,
        revised_from: None,
        ..*at
    }
}

fn signable(at: &Progress, check: &ReportCheck) -> Result<(), TransitionError> {
    guard(check.holds_lock, Guard::NotHolder)?;
    guard(check.has_description, Guard::Description)?;
    guard(check.has_conclusion, Guard::Conclusion)?;
    guard(check.is_identity_confirmed, Guard::Identity)?;
    guard(check.is_resolved, Guard::Unresolved)?;
    guard(
        !at.late_images || check.has_seen_late_images,
        Guard::LateImages,
    )?;
    guard(check.is_signature_valid, Guard::Signature)
}

/// T12 to T15, and withdrawing: the signed report.
fn signed(at: &Progress, event: &Event) -> Option<Next> {
    Some(match (at.status, event) {
        (Status::Reported, Event::Send { recipients }) => guard(*recipients > 0, Guard::Recipient)
            .and_then(|()| at.to(Status::Sent, &[Effect::Deliver])),
        (Status::Sent, Event::Acknowledge { is_current_version }) => {
            guard(*is_current_version, Guard::OldVersion)
                .and_then(|()| at.to(Status::Delivered, &[]))
        }
        // The report that stands arrives while somebody works at the next one.
        (Status::UnderReview, Event::Acknowledge { is_current_version })
            if at.revised_from == Some(Status::Sent) =>
        {
            guard(*is_current_version, Guard::OldVersion).and_then(|()| {
                let arrived = Progress {
                    revised_from: Some(Status::Delivered),
                    ..*at
                };
                arrived.stays(&[])
            })
        }
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
        (
            Status::Reported | Status::Sent | Status::Delivered,
            Event::Withdraw {
                is_author_or_supervisor,
                has_second_person,
                ..
            },
        ) => guard(*is_author_or_supervisor, Guard::NotAuthor)
            .and_then(|()| guard(*has_second_person, Guard::SecondPerson))
            .and_then(|()| {
                let effects = &[Effect::WithdrawReport, Effect::QueueForReading];
                at.to(Status::ImagesReceived, effects)
            }),
        _ => return None,
    })
}

/// T16, T17, T19: images that turn out to be wrong.
fn wrong(at: &Progress, event: &Event, actor: Actor) -> Option<Next> {
    Some(match (at.status, event) {
        (
            Status::InProgress
            | Status::ImagesReceived
            | Status::UnderReview
            | Status::Reported
            | Status::Sent
            | Status::Delivered,
            Event::Reject {
                images_kept,
                rejection,
                ..
            },
        ) => {
            let is_radiographer = actor == Actor::User(Role::Radiographer);
            let may = !is_radiographer || *rejection == Rejection::Quality;
            guard(may, Guard::QualityOnly)
                .and_then(|()| guard(!at.has_signed_report(), Guard::ReportStands))
                .and_then(|()| guard(*images_kept == 0, Guard::NotAllRejected))
                .and_then(|()| rejected(at))
        }
        (Status::Rejected, Event::Restore { .. }) => match at.rejected_from {
            Some(Status::InProgress) => at.to(Status::InProgress, &[Effect::NotifyAvailable]),
            _ => at.to(
                Status::ImagesReceived,
                &[Effect::NotifyAvailable, Effect::QueueForReading],
            ),
        },
        // They were rejected, and the examination went on without them.
        (Status::Scheduled, Event::Restore { .. }) => {
            at.to(Status::InProgress, &[Effect::NotifyAvailable])
        }
        (Status::InProgress, Event::Restore { .. }) => at.stays(&[Effect::NotifyAvailable]),
        (_, Event::Restore { .. }) => late(at)?,
        (
            Status::Scheduled
            | Status::InProgress
            | Status::ImagesReceived
            | Status::UnderReview
            | Status::Reported
            | Status::Sent
            | Status::Delivered
            | Status::Discontinued
            | Status::Rejected,
            Event::MoveImagesAway {
                images_left,
                report,
                ..
            },
        ) => moved(at, *images_left, *report),
        _ => return None,
    })
}

fn rejected(at: &Progress) -> Next {
    // Whoever had it in work has it no longer.
    let from = if at.status == Status::UnderReview {
        Status::ImagesReceived
    } else {
        at.status
    };
    let rejected = Progress {
        status: Status::Rejected,
        rejected_from: Some(from),
        late_images: false,
        ..*at
    };
    rejected.stays(&[
        Effect::Unlock,
        Effect::RemoveWorklistItem,
        Effect::NotifyUnavailable,
    ])
}

/// Images go to another examination. One that lost all its own waits for them again.
fn moved(at: &Progress, images_left: u64, fate: ReportFate) -> Next {
    let is_settled = match fate {
        ReportFate::Nothing => !at.has_signed_report(),
        ReportFate::Stays => images_left > 0,
        ReportFate::MovesAlong | ReportFate::Withdrawn => at.has_signed_report(),
    };
    guard(is_settled, Guard::ReportStands)?;
    // Whether it is made again is then for those to say who order.
    let rests = matches!(
        at.status,
        Status::Discontinued | Status::Rejected | Status::Scheduled
    );
    let report_goes = matches!(fate, ReportFate::MovesAlong | ReportFate::Withdrawn);
    let status = if rests {
        at.status
    } else if images_left == 0 {
        Status::Scheduled
    } else if report_goes {
        Status::ImagesReceived
    } else {
        at.status
    };
    if status == at.status {
        let stays: &[Effect] = if at.has_signed_report() {
            &[Effect::NotifyUnavailable, Effect::NotifyAuthor]
        } else {
            &[Effect::NotifyUnavailable]
        };
        return at.stays(stays);
    }
    let left = Progress {
        late_images: at.late_images && images_left > 0,
        incomplete: false,
        ..without_revision(at)
    };
    left.to(status, effects_of_moving(status, fate))
}

const fn effects_of_moving(status: Status, fate: ReportFate) -> &'static [Effect] {
    use Effect::{
        AssignPlannedStudy, AssignStep, MoveReport, NotifyAuthor, NotifyUnavailable,
        PublishWorklistItem, QueueForReading, Unlock, WithdrawReport,
    };
    match (status, fate) {
        (Status::Scheduled, ReportFate::MovesAlong) => &[
            MoveReport,
            NotifyAuthor,
            Unlock,
            NotifyUnavailable,
            AssignStep,
            AssignPlannedStudy,
            PublishWorklistItem,
        ],
        (Status::Scheduled, ReportFate::Withdrawn) => &[
            WithdrawReport,
            NotifyAuthor,
            Unlock,
            NotifyUnavailable,
            AssignStep,
            AssignPlannedStudy,
            PublishWorklistItem,
        ],
        (Status::Scheduled, _) => &[
            Unlock,
            NotifyUnavailable,
            AssignStep,
            AssignPlannedStudy,
            PublishWorklistItem,
        ],
        (_, ReportFate::MovesAlong) => &[
            MoveReport,
            NotifyAuthor,
            Unlock,
            NotifyUnavailable,
            QueueForReading,
        ],
        (_, _) => &[
            WithdrawReport,
            NotifyAuthor,
            Unlock,
            NotifyUnavailable,
            QueueForReading,
        ],
    }
}
