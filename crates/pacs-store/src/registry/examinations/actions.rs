//! What happens to examinations: one event, one row, one batch.

use super::super::announcements::announce_examination;
use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::document::{ExaminationEvent, Lock, Order};
use super::{Examination, Random, study_of};
use crate::limits::{EXAMINATION_EVENTS_MAX, REGISTRY_ATTEMPTS_MAX};
use crate::records::Revision;
use pacs_core::audit::Act;
use pacs_core::examination::progress::{Completion, Duplicate, Form};
use pacs_core::examination::{Actor, Effect, Event, Progress, Reason, Status, TransitionError};
use pacs_core::role::{Agent, AgentKind};
use pacs_core::uid::ClaimUid;
use pacs_core::{ExaminationId, Phi};

/// Something that is to happen to an examination.
#[derive(Debug, Clone)]
pub struct Action {
    /// What. Facts in it that the registry knows better (locks, bound studies, the form) are put
    /// right.
    pub event: Event,
    /// For [`Event::Edit`]: what the form says then.
    pub order: Option<Order>,
    /// What it must be at; `None`: whatever it is at.
    pub expected: Option<Revision>,
    /// For a new planned Study Instance UID, where one is owed.
    pub random: Random,
}

impl Action {
    fn happening<'a>(&'a self, event: &'a Event, at: Moment) -> Happening<'a> {
        Happening {
            event,
            order: self.order.as_ref(),
            claim: None,
            random: self.random,
            at,
        }
    }
}

/// What became of an examination, and what is owed to others: the registry has done what concerns
/// the examination itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acted {
    /// The examination.
    pub examination: Stored<Examination>,
    /// What is owed.
    pub effects: &'static [Effect],
}

impl Registry {
    /// Lets `agent` do something to an examination: by one of the roles held at the organisation
    /// that makes or orders it, if the rules of
    /// [`progress`](pacs_core::examination::progress) permit.
    ///
    /// # Errors
    /// [`Refusal::Transition`], [`RegistryError::Changed`], [`RegistryError`] otherwise. Nothing
    /// was done, but of [`RegistryError::Backend`] that is not known.
    pub async fn act_on_examination(
        &self,
        agent: &Agent,
        id: ExaminationId,
        action: &Action,
        at: Moment,
    ) -> Result<Acted, RegistryError> {
        self.act(agent, (id, None), action, at).await
    }

    /// The same, by somebody who says what they are to be known by as the one who has it in work:
    /// kept where the examination comes into their hands, in the same change.
    ///
    /// # Errors
    /// As [`Registry::act_on_examination`].
    pub async fn claim_examination(
        &self,
        agent: &Agent,
        (id, claim): (ExaminationId, &ClaimUid),
        action: &Action,
        at: Moment,
    ) -> Result<Acted, RegistryError> {
        self.act(agent, (id, Some(claim)), action, at).await
    }

    async fn act(
        &self,
        agent: &Agent,
        on: (ExaminationId, Option<&ClaimUid>),
        action: &Action,
        at: Moment,
    ) -> Result<Acted, RegistryError> {
        if let Some(order) = &action.order {
            order.check()?;
        }
        let _turn = self.turn().await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            match self.act_once(agent, on, action, at).await {
                Err(RegistryError::Changed) if action.expected.is_none() => {}
                other => return other,
            }
        }
        Err(RegistryError::Busy)
    }

    async fn act_once(
        &self,
        agent: &Agent,
        (id, claim): (ExaminationId, Option<&ClaimUid>),
        action: &Action,
        at: Moment,
    ) -> Result<Acted, RegistryError> {
        let before = self.examination_at(id).await?;
        // Who has nothing to do with it does not learn that it is there.
        let actors = actors(agent, &before.value, &action.event);
        if actors.is_empty() {
            return Err(RegistryError::NotFound {
                what: "examination",
            });
        }
        if action
            .expected
            .is_some_and(|expected| expected != before.revision)
        {
            return Err(RegistryError::Changed);
        }
        may_order(agent, &before.value, action)?;
        let event = self.known(agent, &before.value, action, at).await?;
        let mut batch = Batch::default();
        let happening = Happening {
            claim,
            ..action.happening(&event, at)
        };
        let (examination, effects) = self
            .add_happening(&mut batch, agent, &before, &happening)
            .await?;
        let mut record = agent_event(act_of(&event), agent, Some(before.value.performing), at);
        record.object.patient = Some(Phi::new(examination.patient));
        record.object.examination = Some(id);
        let revisions = self.commit(batch, record).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Ok(Acted {
            examination: Stored::of(examination, revision)?,
            effects,
        })
    }

    /// Adds to `batch` what `event` makes of an examination, the examination itself first.
    pub(in super::super) async fn add_step(
        &self,
        batch: &mut Batch,
        agent: &Agent,
        before: &Stored<Examination>,
        (event, action): (&Event, &Action),
        at: Moment,
    ) -> Result<(Examination, &'static [Effect]), RegistryError> {
        let happening = action.happening(event, at);
        self.add_happening(batch, agent, before, &happening).await
    }

    async fn add_happening(
        &self,
        batch: &mut Batch,
        agent: &Agent,
        before: &Stored<Examination>,
        happening: &Happening<'_>,
    ) -> Result<(Examination, &'static [Effect]), RegistryError> {
        let mut after = before.value.clone();
        let (row, effects) = happen(&mut after, agent, happening)?;
        let event = row.event.clone();
        let after = self
            .put_examination(batch, Some(before), after, vec![row])
            .await?;
        announce_examination(batch, &[], &after, effects)?;
        self.notify(batch, agent, &after, (&event, effects)).await?;
        Ok((after, effects))
    }

    /// The event, with the facts that the registry knows.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of events the few that matter here are named"
    )]
    async fn known(
        &self,
        agent: &Agent,
        examination: &Examination,
        action: &Action,
        at: Moment,
    ) -> Result<Event, RegistryError> {
        let lock = examination.lock.as_ref();
        let holds_lock = lock.is_some_and(|lock| lock.by == agent.name);
        let bound = u64::try_from(examination.studies.len()).unwrap_or(u64::MAX);
        let mut event = action.event.clone();
        match &mut event {
            Event::Claim { is_locked, .. } => {
                let assignment = self.assignment(examination).await?;
                assignment.take(&agent.name).map_err(Refusal::Transition)?;
                *is_locked = lock.is_some() && !holds_lock;
            }
            Event::Release { holds_lock: holds }
            | Event::Return {
                holds_lock: holds, ..
            } => {
                *holds = holds_lock;
            }
            Event::Sign(check) => check.holds_lock = holds_lock,
            Event::Cancel { images, .. } => *images = bound.max(*images),
            Event::Edit { form, images } => {
                let order = action.order.as_ref().unwrap_or(&examination.order);
                let patient = self.survivor(examination.patient).await?.value;
                let own = Some(examination.id);
                let known = self.form(&patient, order, own, at).await?;
                let duplicate = match (known.duplicate, form.duplicate) {
                    (Duplicate::Yes, Duplicate::Confirmed) => Duplicate::Confirmed,
                    (known, _) => known,
                };
                *form = Form { duplicate, ..known };
                *images = bound.max(*images);
            }
            Event::Save(_) => {
                let what = "event: an examination is ordered";
                return Err(Refusal::Unfit { what }.into());
            }
            _ => {}
        }
        Ok(event)
    }

    /// Adds to `batch` the examination, its keys and the rows of what happened.
    pub(in super::super) async fn put_examination(
        &self,
        batch: &mut Batch,
        before: Option<&Stored<Examination>>,
        mut examination: Examination,
        rows: Vec<ExaminationEvent>,
    ) -> Result<Examination, RegistryError> {
        let id = examination.id.to_string();
        let first = examination.events_count.saturating_add(1);
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        examination.events_count = examination.events_count.saturating_add(count);
        if batch.digests.is_none() {
            batch.main(&id, &examination, before)?;
        } else {
            batch.put(&id, &examination, before.map(|before| before.revision))?;
        }
        for (number, row) in (first..).zip(rows) {
            batch.put(&format!("{id}/{number:08}"), &row, None)?;
        }
        let had = before.map(|before| before.value.keys()).unwrap_or_default();
        self.reindex(batch, &had, &examination.keys(), &id).await?;
        Ok(examination)
    }

    /// What happened to an examination, oldest first; for those who see it.
    pub(super) async fn rows_of(
        &self,
        id: ExaminationId,
    ) -> Result<Vec<ExaminationEvent>, RegistryError> {
        let prefix = format!("{id}/");
        let rows = self.list::<ExaminationEvent>(&prefix, None, EXAMINATION_EVENTS_MAX);
        Ok(rows.await?.into_iter().map(|row| row.value).collect())
    }
}

/// Something that happens to an examination, as [`Action`] has it.
pub(super) struct Happening<'a> {
    pub(super) event: &'a Event,
    pub(super) order: Option<&'a Order>,
    pub(super) claim: Option<&'a ClaimUid>,
    pub(super) random: Random,
    pub(super) at: Moment,
}

/// Lets it happen, by one of the roles that `agent` has; gives the row of it.
pub(super) fn happen(
    examination: &mut Examination,
    agent: &Agent,
    happening: &Happening<'_>,
) -> Result<(ExaminationEvent, &'static [Effect]), Refusal> {
    let (event, at) = (happening.event, happening.at);
    let before = examination.progress;
    let mut readings = examination.readings();
    let actors = actors(agent, examination, event);
    let ((progress, effects), actor) =
        first_that_may(&actors, |actor| Ok((before.apply(event, actor)?, actor)))
            .map_err(Refusal::Transition)?;
    examination.progress = progress;
    examination.changed_at = at;
    if let (Event::Edit { .. }, Some(order)) = (event, happening.order) {
        examination.order = order.clone();
    }
    note_times(examination, event, before, at);
    let was_waiting = before.status() == Status::Scheduled && *event != Event::Reopen;
    if progress.status() == Status::Scheduled && !was_waiting {
        wait_anew(examination, at);
    }
    for effect in effects {
        settle(examination, *effect, agent, happening.random, at)?;
    }
    let lock = examination.lock.as_ref();
    let holder = (lock.map(|lock| lock.by.as_str()), happening.claim);
    let is_signed = matches!(event, Event::Sign(_));
    readings.follow(progress.status(), holder, is_signed, at);
    examination.readings = readings;
    let mut row = add_event(agent, actor, event.name(), reason_of(event), at);
    row.from = Some(before.status());
    row.to = progress.status();
    Ok((row, effects))
}

/// The archive itself, for `agent`: what follows of what somebody said.
pub(in super::super) fn as_system(agent: &Agent) -> Agent {
    Agent {
        kind: AgentKind::System,
        ..agent.clone()
    }
}

/// Refuses an order that becomes one of other images, or of another department, than whoever
/// changes it may order.
fn may_order(agent: &Agent, examination: &Examination, action: &Action) -> Result<(), Refusal> {
    let Some(order) = &action.order else {
        return Ok(());
    };
    let mut changed = examination.clone();
    changed.order = order.clone();
    if actors(agent, &changed, &action.event).is_empty() {
        let event = action.event.name();
        let actor = actors(agent, examination, &action.event).into_iter().next();
        let actor = actor.unwrap_or(Actor::System);
        return Err(Refusal::Transition(TransitionError::Actor { actor, event }));
    }
    Ok(())
}

/// As whom `agent` may do `event` to `examination`, by roles that are held for such work: whoever
/// ordered it decides about the order alone.
fn actors(agent: &Agent, examination: &Examination, event: &Event) -> Vec<Actor> {
    // Of what is restricted nobody else learns that it is there, by whatever they try.
    if examination.is_kept_from(agent) {
        return Vec::new();
    }
    let mut actors = agent.actors_at(examination.performing, examination.work());
    let is_of_order = matches!(
        event,
        Event::Acknowledge { .. }
            | Event::Cancel { .. }
            | Event::Edit { .. }
            | Event::Reopen
            | Event::Reschedule
    );
    if is_of_order {
        let ordering = agent.actors_at(examination.ordering, examination.ordered_work());
        actors.extend(ordering.into_iter().filter(|actor| *actor != Actor::System));
    }
    actors
}

/// What the first of `actors` who may do it makes of it; else why not, where somebody may, but not
/// now.
pub(super) fn first_that_may<T>(
    actors: &[Actor],
    step: impl Fn(Actor) -> Result<T, TransitionError>,
) -> Result<T, TransitionError> {
    let mut why = None;
    for actor in actors {
        match step(*actor) {
            Ok(done) => return Ok(done),
            Err(error @ TransitionError::Actor { .. }) => {
                why.get_or_insert(error);
            }
            Err(error) => {
                why = Some(error);
                break;
            }
        }
    }
    let event = "act on";
    let actor = Actor::System;
    Err(why.unwrap_or(TransitionError::Actor { actor, event }))
}

/// A row, without where it stood before and after.
pub(super) fn add_event(
    agent: &Agent,
    actor: Actor,
    event: &str,
    reason: Option<Reason>,
    at: Moment,
) -> ExaminationEvent {
    ExaminationEvent {
        from: None,
        to: Status::Registered,
        event: event.to_owned(),
        by: agent.name.clone(),
        role: if let Actor::User(role) = actor {
            Some(role)
        } else {
            None
        },
        reason,
        at,
        correlation: agent.correlation.clone(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of events the few that matter here are named"
)]
fn note_times(examination: &mut Examination, event: &Event, before: Progress, at: Moment) {
    match event {
        Event::Start => {
            examination.began_at.get_or_insert(at);
        }
        Event::ImagesArrive => {
            examination.first_image_at.get_or_insert(at);
            examination.last_image_at = Some(at);
        }
        Event::Complete { by, .. } => {
            let is_settled = matches!(
                by,
                Completion::Declared | Completion::Mpps { .. } | Completion::QuietTime { .. }
            );
            if is_settled && before.status() != examination.progress.status() {
                examination.received_at = Some(at);
            }
        }
        // What was rejected is there again, and its clocks go on from now.
        Event::Restore { .. } => {
            examination.first_image_at.get_or_insert(at);
            examination.last_image_at = Some(at);
        }
        _ => {}
    }
}

/// An examination waits for its images as if it were ordered now: what there was of it is of it no
/// longer, and devices are told of it again.
fn wait_anew(examination: &mut Examination, at: Moment) {
    examination.began_at = None;
    examination.first_image_at = None;
    examination.last_image_at = None;
    examination.received_at = None;
    let planned = examination.order.scheduled_at;
    examination.order.scheduled_at = planned.max(at.naive_local());
}

/// Does what an effect asks of the examination itself.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of effects the few that matter here are named"
)]
fn settle(
    examination: &mut Examination,
    effect: Effect,
    agent: &Agent,
    random: Random,
    at: Moment,
) -> Result<(), Refusal> {
    match effect {
        Effect::AssignPlannedStudy => examination.planned_study = study_of(random)?,
        Effect::AssignStep => {
            let next = examination
                .attempt
                .checked_add(1)
                .filter(|next| *next <= 99);
            let exhausted = Refusal::Exhausted { what: "steps" };
            examination.attempt = next.ok_or(exhausted)?;
        }
        Effect::Lock => {
            examination.lock = Some(Lock {
                by: agent.name.clone(),
                at,
            });
        }
        Effect::Unlock => examination.lock = None,
        // Those who read for the organisation see it from now on.
        Effect::QueueForReading => examination.pool = Some(examination.performing.to_string()),
        _ => {}
    }
    Ok(())
}

/// What the audit record calls an event.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of events the few that matter here are named"
)]
const fn act_of(event: &Event) -> Act {
    match event {
        Event::Cancel { .. } => Act::OrderCancelled,
        Event::Reject { .. } => Act::ImagesRejected,
        Event::Restore { .. } => Act::ImagesRestored,
        Event::MoveImagesAway { .. } => Act::ImagesChanged,
        Event::Revise { .. } => Act::ReportAmended,
        Event::Send { .. } => Act::ReportSent,
        Event::Sign(_) => Act::ReportSigned,
        Event::Withdraw { .. } => Act::ReportWithdrawn,
        _ => Act::OrderChanged,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of events the few that matter here are named"
)]
fn reason_of(event: &Event) -> Option<Reason> {
    match event {
        Event::Cancel { reason, .. }
        | Event::Discontinue { reason }
        | Event::DismissLateImages { reason, .. }
        | Event::MoveImagesAway { reason, .. }
        | Event::Reject { reason, .. }
        | Event::Restore { reason }
        | Event::Return { reason, .. }
        | Event::Revise { reason, .. }
        | Event::Withdraw { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}
