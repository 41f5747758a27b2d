//! What is missing or in the way is named.

use super::*;

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
    assert_eq!(report(|r| r.holds_lock = false), Guard::NotHolder.into());
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
        (
            Status::InProgress,
            Event::Complete {
                by: Completion::QuietTime {
                    has_open_step: true,
                },
                images_kept: 9,
            },
            Actor::System,
            Guard::OpenStep,
        ),
        (
            Status::Scheduled,
            Event::Edit {
                form: FORM,
                images: 1,
            },
            OPERATOR,
            Guard::HasImages,
        ),
        (
            Status::Scheduled,
            Event::Edit {
                form: Form {
                    has_patient: false,
                    ..FORM
                },
                images: 0,
            },
            OPERATOR,
            Guard::Patient,
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
                may_read: true,
                images_online: 1,
            },
            EXPERT,
            Guard::Locked,
        ),
        (
            Status::ImagesReceived,
            Event::Claim {
                is_locked: false,
                may_read: true,
                images_online: 0,
            },
            EXPERT,
            Guard::NotOnline,
        ),
        (
            Status::ImagesReceived,
            Event::Claim {
                is_locked: false,
                may_read: false,
                images_online: 1,
            },
            EXPERT,
            Guard::MayNotRead,
        ),
        (
            Status::UnderReview,
            Event::Release { holds_lock: false },
            EXPERT,
            Guard::NotHolder,
        ),
        (
            Status::UnderReview,
            Event::Return {
                holds_lock: false,
                reason: reason(),
            },
            EXPERT,
            Guard::NotHolder,
        ),
    ]);
}

#[test]
fn signed_reports_are_guarded() {
    assert_guarded(&[
        (
            Status::Sent,
            Event::Acknowledge {
                is_current_version: false,
            },
            Actor::System,
            Guard::OldVersion,
        ),
        (
            Status::Sent,
            Event::Withdraw {
                is_author_or_supervisor: true,
                has_second_person: false,
                reason: reason(),
            },
            EXPERT,
            Guard::SecondPerson,
        ),
        (
            Status::Sent,
            Event::Withdraw {
                is_author_or_supervisor: false,
                has_second_person: true,
                reason: reason(),
            },
            EXPERT,
            Guard::NotAuthor,
        ),
    ]);
}

#[test]
fn rejecting_and_moving_are_guarded() {
    assert_guarded(&[
        (
            Status::Reported,
            Event::Reject {
                images_kept: 0,
                rejection: Rejection::Quality,
                reason: reason(),
            },
            EXPERT,
            Guard::ReportStands,
        ),
        (
            Status::ImagesReceived,
            Event::Reject {
                images_kept: 0,
                rejection: Rejection::WorklistEntry,
                reason: reason(),
            },
            Actor::User(Role::Radiographer),
            Guard::QualityOnly,
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
                rejection: Rejection::Quality,
                reason: reason(),
            },
            EXPERT,
            Guard::NotAllRejected,
        ),
    ]);
}

#[test]
fn moving_and_expiring_are_guarded() {
    assert_guarded(&[
        (
            Status::Delivered,
            Event::MoveImagesAway {
                images_left: 1,
                report: ReportFate::Nothing,
                reason: reason(),
            },
            OPERATOR,
            Guard::ReportStands,
        ),
        (
            Status::Delivered,
            Event::MoveImagesAway {
                images_left: 0,
                report: ReportFate::Stays,
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
