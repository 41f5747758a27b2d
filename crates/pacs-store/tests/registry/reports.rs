//! Reports: written as drafts, signed as versions, sent, opened, amended and added to.

use crate::examinations::{act, new_for, reason, system};
use crate::follower::{Centre, sent};
use crate::restricted::account;
use crate::rig::{Rig, code, now, user};
use chrono::TimeDelta;
use pacs_core::audit::{Act, Actor, AuditEvent};
use pacs_core::examination::progress::{Completion, Guard, Revision};
use pacs_core::examination::{Event, Status, TransitionError};
use pacs_core::report::{Language, ReportText};
use pacs_core::role::visibility::pools_of;
use pacs_core::role::{Agent, Licence, Role, duty::Reconcile};
use pacs_core::sender::own_report;
use pacs_core::{ExaminationId, OrganisationCode};
use pacs_store::registry::accounts::{AccountStore, User, put};
use pacs_store::registry::examinations::{Examination, NewExamination, Reader};
use pacs_store::registry::reports::{Recipients, ReportShown, ReportVersion, Revising, Signing};
use pacs_store::registry::{Moment, Refusal, Registry, RegistryError, Revision as State, Stored};
use std::collections::BTreeSet;

fn text(conclusion: &str) -> ReportText {
    ReportText {
        description: "Өпкө таза.".to_owned(),
        conclusion: conclusion.to_owned(),
        ..ReportText::empty(Language::Ky)
    }
}

fn expert() -> Agent {
    user("expert", Role::Expert, "006")
}

fn licence() -> Licence<Reconcile> {
    Agent::system("test").national_licence().unwrap()
}

async fn claim(registry: &Registry, agent: &Agent, id: ExaminationId) {
    let claim = Event::Claim {
        is_locked: false,
        may_read: true,
        images_online: 1,
    };
    act(registry, agent, id, claim).await.unwrap();
}

/// An examination with an image, ordered by 001 and made by 006, that the expert has in work.
async fn in_work(centre: &Centre) -> ExaminationId {
    let registry = &centre.rig.registry;
    let new = NewExamination {
        ordering: code("001"),
        ..new_for(&centre.rig).await
    };
    let id = {
        let licence = user("op", Role::Operator, "001").licence(code("001"));
        let licence = licence.unwrap();
        let ordered = registry.order_examination(&licence, &new, [1; 16], now());
        ordered.await.unwrap().value.id
    };
    let accession = id.to_string();
    centre.send(sent("1.2.3", 1, &accession)).await;
    centre.step().await;
    let complete = Event::Complete {
        by: Completion::Declared,
        images_kept: 1,
    };
    act(registry, &system(), id, complete).await.unwrap();
    claim(registry, &expert(), id).await;
    id
}

async fn draft(
    registry: &Registry,
    agent: &Agent,
    id: ExaminationId,
    (text, expected): (ReportText, Option<State>),
    at: Moment,
) -> Result<State, RegistryError> {
    let saved = registry.save_report_draft(agent, id, (&text, expected), at);
    saved.await.map(|saved| saved.revision)
}

async fn sign(
    registry: &Registry,
    agent: &Agent,
    id: ExaminationId,
    signing: Signing<'_>,
) -> Result<Stored<ReportVersion>, RegistryError> {
    registry.sign_report(agent, id, &signing, now()).await
}

async fn send(
    registry: &Registry,
    agent: &Agent,
    id: ExaminationId,
    (recipients, at): (Recipients<'_>, Moment),
) -> Result<Stored<Examination>, RegistryError> {
    registry.send_report(agent, id, &recipients, at).await
}

fn signing(draft: State, seed: u8) -> Signing<'static> {
    Signing {
        draft,
        author_name: "Сыноо Дарыгер",
        is_identity_confirmed: true,
        has_seen_late_images: false,
        is_proved: true,
        random: [[seed; 16], [seed.wrapping_add(1); 16]],
    }
}

const NOBODY: &BTreeSet<OrganisationCode> = &BTreeSet::new();

fn to_whoever_ordered() -> Recipients<'static> {
    Recipients {
        further: NOBODY,
        reason: None,
        expected: None,
    }
}

fn guard(of: &Result<impl std::fmt::Debug, RegistryError>) -> Guard {
    let Err(RegistryError::Refused(Refusal::Transition(TransitionError::Guard(guard)))) = of else {
        panic!("{of:?}");
    };
    *guard
}

async fn status(registry: &Registry, id: ExaminationId) -> Status {
    let system = Agent::system("test");
    let reader = Reader::new(&system);
    let found = registry.examination(&reader, id, now()).await;
    found.unwrap().value.status()
}

async fn read(
    registry: &Registry,
    agent: &Agent,
    id: ExaminationId,
) -> Result<ReportShown, RegistryError> {
    let pools = pools_of(&agent.grants, [code("001"), code("006")]);
    let pools: Vec<&str> = pools.iter().map(String::as_str).collect();
    let reader = Reader {
        pools: &pools,
        ..Reader::new(agent)
    };
    registry.report(&reader, id, now()).await
}

async fn versions(registry: &Registry, agent: &Agent, id: ExaminationId) -> Vec<u32> {
    let report = read(registry, agent, id).await;
    let versions = report.unwrap().versions.into_iter();
    versions.map(|version| version.value.number).collect()
}

/// Gives the expert an account.
async fn with_account(registry: &Registry, is_disabled: bool) {
    let accounts = AccountStore::new(registry.audit_trail());
    let event = AuditEvent::new(Act::UserChanged, now(), Actor::system("test"));
    let next = account("expert", is_disabled);
    let change = match accounts.get::<User>("expert").await.unwrap() {
        Some(known) => known.changed_to(&next),
        None => put("expert", &next, None),
    };
    accounts.commit(vec![change], &[event]).await.unwrap();
}

/// Writes and signs a version, the first or one that changes the one before.
async fn signed(
    registry: &Registry,
    id: ExaminationId,
    text: ReportText,
    seed: u8,
) -> ReportVersion {
    let expert = expert();
    let report = read(registry, &expert, id).await.unwrap();
    let state = report.draft.map(|draft| draft.revision);
    let state = draft(registry, &expert, id, (text, state), now()).await;
    let version = sign(registry, &expert, id, signing(state.unwrap(), seed)).await;
    version.unwrap().value
}

#[tokio::test]
async fn what_is_signed_is_owed_to_the_archive_and_delivered_when_it_is_opened() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let centre = Centre::over(rig).await;
        let registry = &centre.rig.registry;
        let id = in_work(&centre).await;
        let expert = expert();
        // A draft goes to nobody.
        let state = draft(registry, &expert, id, (text("Таза"), None), now()).await;
        state.unwrap();
        let early = send(registry, &expert, id, (to_whoever_ordered(), now())).await;
        assert!(matches!(
            early,
            Err(RegistryError::Refused(Refusal::Transition(_)))
        ));
        let first = signed(registry, id, text("Таза"), 1).await;
        assert_eq!((first.number, first.revision), (1, None));
        assert_eq!(status(registry, id).await, Status::Reported);
        let owed = registry
            .owed_report_documents(&licence(), 10)
            .await
            .unwrap();
        assert_eq!(owed.len(), 1);
        assert_eq!(owed[0].value, first);
        registry
            .note_report_document(&licence(), &first, now())
            .await
            .unwrap();
        let owed = registry
            .owed_report_documents(&licence(), 10)
            .await
            .unwrap();
        assert!(owed.is_empty());

        // Whoever ordered it has nothing before it is sent.
        let doctor = user("doctor", Role::Radiologist, "001");
        let unsent = read(registry, &doctor, id).await;
        assert!(matches!(unsent, Err(RegistryError::NotFound { .. })));
        let sent = send(registry, &expert, id, (to_whoever_ordered(), now())).await;
        assert_eq!(sent.unwrap().value.status(), Status::Sent);
        assert_eq!(versions(registry, &doctor, id).await, [1]);
        let inbox = registry.reports_sent_to(&doctor, code("001"), (None, 10));
        let inbox = inbox.await.unwrap();
        assert_eq!(inbox.deliveries.len(), 1);
        assert!(inbox.next.is_none() && inbox.deliveries[0].0.value.opened.is_none());
        for _ in 0..2 {
            let opened = registry.acknowledge_report(&doctor, (id, code("001")), now());
            let opened = opened.await.unwrap().value.opened.unwrap();
            assert_eq!((opened.by.as_str(), opened.version), ("doctor", 1));
        }
        assert_eq!(status(registry, id).await, Status::Delivered);
    }
}

#[tokio::test]
async fn an_amended_report_is_what_others_have_once_it_is_sent_and_its_author_answers_for_it() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let centre = Centre::over(rig).await;
        let registry = &centre.rig.registry;
        with_account(registry, false).await;
        let id = in_work(&centre).await;
        let (expert, other) = (expert(), user("other", Role::Expert, "006"));
        let doctor = user("doctor", Role::Radiologist, "001");
        let first = signed(registry, id, text("Таза"), 1).await;
        let sent = send(registry, &expert, id, (to_whoever_ordered(), now())).await;
        sent.unwrap();
        let opened = registry.acknowledge_report(&doctor, (id, code("001")), now());
        opened.await.unwrap();
        let why = reason();
        let revising = Revising {
            revision: Revision::Amendment,
            reason: &why,
            expected: None,
        };
        let refused = registry.revise_report(&other, id, &revising, now()).await;
        assert_eq!(guard(&refused), Guard::NotAuthor);
        let revised = registry.revise_report(&expert, id, &revising, now()).await;
        assert_eq!(revised.unwrap().value.status(), Status::UnderReview);
        let report = read(registry, &expert, id).await.unwrap();
        assert_eq!(report.draft.unwrap().value.text, first.text);
        let second = signed(registry, id, text("Түйүн 4 мм"), 3).await;
        assert_eq!(second.revision, Some(Revision::Amendment));
        assert_eq!((second.number, &second.series), (2, &first.series));
        assert_ne!(second.instance, first.instance);
        // The first version is what others have until the second is sent.
        assert_eq!(versions(registry, &doctor, id).await, [1]);
        let later = now() + TimeDelta::minutes(1);
        let sent = send(registry, &expert, id, (to_whoever_ordered(), later)).await;
        sent.unwrap();
        assert_eq!(versions(registry, &doctor, id).await, [1, 2]);
        let inbox = registry.reports_sent_to(&doctor, code("001"), (None, 10));
        let inbox = inbox.await.unwrap().deliveries;
        assert_eq!((inbox.len(), inbox[0].0.value.number), (1, 2));
        let opened = inbox[0].0.value.opened.as_ref().unwrap();
        assert_eq!(opened.version, 1, "the second is not opened yet");
        assert_eq!(status(registry, id).await, Status::Sent);

        // Where its author cannot sign in any more, somebody else answers for the report.
        with_account(registry, true).await;
        let revised = registry.revise_report(&other, id, &revising, now()).await;
        assert_eq!(revised.unwrap().value.status(), Status::UnderReview);
    }
}

#[tokio::test]
async fn nothing_is_signed_that_lacks_something_or_that_the_signer_did_not_see() {
    let centre = Centre::new().await;
    let registry = &centre.rig.registry;
    let id = in_work(&centre).await;
    let expert = expert();
    let nothing = sign(registry, &expert, id, signing(State(0), 1));
    assert_eq!(guard(&nothing.await), Guard::Description);
    let half = text("");
    let first = draft(registry, &expert, id, (half.clone(), None), now())
        .await
        .unwrap();
    let refused = sign(registry, &expert, id, signing(first, 1));
    assert_eq!(guard(&refused.await), Guard::Conclusion);
    // Two windows: the second does not overwrite what the first one wrote.
    let blind = draft(registry, &expert, id, (half.clone(), None), now()).await;
    assert!(matches!(blind, Err(RegistryError::Changed)));
    let whole = text("Таза");
    let state = draft(registry, &expert, id, (whole.clone(), Some(first)), now());
    let state = state.await.unwrap();
    let stale = sign(registry, &expert, id, signing(first, 1));
    assert!(matches!(stale.await, Err(RegistryError::Changed)));
    let right = signing(state, 1);
    for (wrong, missing) in [
        (
            Signing {
                is_identity_confirmed: false,
                ..right
            },
            Guard::Identity,
        ),
        (
            Signing {
                is_proved: false,
                ..right
            },
            Guard::Signature,
        ),
    ] {
        let refused = sign(registry, &expert, id, wrong).await;
        assert_eq!(guard(&refused), missing);
    }
    // Nobody else writes it, and nobody else reads the draft.
    let other = user("other", Role::Expert, "006");
    let theirs = draft(registry, &other, id, (whole.clone(), None), now()).await;
    assert_eq!(guard(&theirs), Guard::NotHolder);
    let seen = read(registry, &other, id).await;
    assert!(seen.unwrap().draft.is_none());
    let operator = user("op", Role::Operator, "006");
    let seen = read(registry, &operator, id).await;
    assert!(matches!(seen, Err(RegistryError::Unlicensed(_))));
    let stranger = user("stranger", Role::Expert, "001");
    let seen = read(registry, &stranger, id).await;
    assert!(matches!(seen, Err(RegistryError::NotFound { .. })));
    assert_eq!(status(registry, id).await, Status::UnderReview);
}

#[tokio::test]
async fn an_addendum_leaves_the_sections_as_they_were_signed() {
    let centre = Centre::new().await;
    let registry = &centre.rig.registry;
    let id = in_work(&centre).await;
    let expert = expert();
    let whole = text("Таза");
    let state = draft(registry, &expert, id, (whole.clone(), None), now())
        .await
        .unwrap();
    let signed = sign(registry, &expert, id, signing(state, 1));
    signed.await.unwrap();
    let why = reason();
    let revising = Revising {
        revision: Revision::Addendum,
        reason: &why,
        expected: None,
    };
    let revised = registry.revise_report(&expert, id, &revising, now());
    revised.await.unwrap();
    let report = read(registry, &expert, id).await;
    let state = report.unwrap().draft.unwrap().revision;
    let nothing = sign(registry, &expert, id, signing(state, 3));
    let nothing = nothing.await;
    assert!(
        matches!(
            &nothing,
            Err(RegistryError::Refused(Refusal::Unfit { what: "addendum" }))
        ),
        "{nothing:?}"
    );
    let changed = text("Башка");
    let refused = draft(registry, &expert, id, (changed.clone(), Some(state)), now()).await;
    assert!(matches!(
        refused,
        Err(RegistryError::Refused(Refusal::Unfit { what: "addendum" }))
    ));
    let added = ReportText {
        addendum: "2024-жылкы сүрөт менен салыштырылды".to_owned(),
        ..whole
    };
    let state = draft(registry, &expert, id, (added.clone(), Some(state)), now()).await;
    let second = sign(registry, &expert, id, signing(state.unwrap(), 3));
    let second = second.await.unwrap().value;
    assert_eq!(second.revision, Some(Revision::Addendum));
    assert!(second.reason.is_some());
}

#[tokio::test]
async fn whoever_writes_keeps_the_examination_in_work() {
    let centre = Centre::new().await;
    let registry = &centre.rig.registry;
    let id = in_work(&centre).await;
    let expert = expert();
    let (mut state, mut at) = (None, now());
    for minute in [10, 50, 90, 130] {
        at = now() + TimeDelta::minutes(minute);
        let saved = draft(registry, &expert, id, (text("Таза"), state), at).await;
        state = Some(saved.unwrap());
    }
    let system = Agent::system("test");
    let found = registry.examination(&Reader::new(&system), id, at).await;
    let ends = found.unwrap().value.lock_ends_at().unwrap();
    assert_eq!(ends, at + TimeDelta::minutes(60));
}

#[tokio::test]
async fn a_report_of_the_archive_is_no_image_that_came_late() {
    let centre = Centre::new().await;
    let registry = &centre.rig.registry;
    let id = in_work(&centre).await;
    signed(registry, id, text("Таза"), 1).await;
    centre.pass(3_600);
    let accession = id.to_string();
    let (own, late) = (own_report(code("006")), sent("1.2.3", 2, &accession));
    for (sender, is_late) in [(own.as_str(), false), (late.sender, true)] {
        let number = if is_late { 3 } else { 2 };
        let instance = crate::follower::Sent {
            sender,
            series: number,
            ..late
        };
        centre.send(instance).await;
        centre.step().await;
        let system = Agent::system("test");
        let found = registry.examination(&Reader::new(&system), id, now()).await;
        let found = found.unwrap().value;
        assert_eq!(found.progress.has_late_images(), is_late, "{sender}");
        assert_eq!(found.status(), Status::Reported);
    }
}

#[tokio::test]
async fn further_recipients_need_a_reason_and_have_to_be_there() {
    let centre = Centre::new().await;
    let registry = &centre.rig.registry;
    let id = in_work(&centre).await;
    let expert = expert();
    signed(registry, id, text("Таза"), 1).await;
    let why = reason();
    let nowhere = BTreeSet::from([code("099")]);
    let recipients = Recipients {
        further: &nowhere,
        reason: Some(&why),
        expected: None,
    };
    let refused = send(registry, &expert, id, (recipients, now())).await;
    assert!(
        matches!(refused, Err(RegistryError::NotFound { .. })),
        "{refused:?}"
    );
    let own = BTreeSet::from([code("006")]);
    let recipients = Recipients {
        further: &own,
        reason: None,
        expected: None,
    };
    let sent = send(registry, &expert, id, (recipients, now())).await;
    sent.unwrap();
    let report = read(registry, &expert, id).await;
    let deliveries = report.unwrap().deliveries.into_iter();
    let to: Vec<_> = deliveries.map(|sent| sent.value.organisation).collect();
    assert_eq!(to, [code("001"), code("006")]);
    // Its author is no proof that the organisation has it.
    let author = user("expert", Role::Radiologist, "001");
    let opened = registry.acknowledge_report(&author, (id, code("001")), now());
    opened.await.unwrap();
    assert_eq!(status(registry, id).await, Status::Sent);
}
