//! When an examination has all its images, when some are missing, and when an order is too old.
//!
//! A device that tells of its steps (MPPS) says what there is to come; of others it is known by
//! their silence. All of it is computed from what is kept, at a time that is an argument: whoever
//! starts again goes on where they were.

use super::heads::of_study;
use super::{CURSOR, Matcher, MatcherError};
use crate::digest::Digester;
use crate::index::IndexError;
use crate::limits::{IMAGES_NOTED_EVERY_SECONDS, MISSING_LOOKED_FOR_MAX, VERSIONS_LOOKED_AT_MAX};
use crate::records::Revision;
use crate::registry::examinations::{Action, Examination, IDLE_FOR, StudyMatch};
use crate::registry::steps::PerformedStep;
use crate::registry::{Moment, RegistryError, Stored};
use chrono::TimeDelta;
use pacs_core::examination::progress::{Completion, ReportFate};
use pacs_core::examination::reconcile::Kind;
use pacs_core::examination::{Event, Reason};
use pacs_core::mpps::StepState;
use pacs_core::role::Agent;
use pacs_core::tag::tags;
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{ExaminationId, Level, OrganisationCode, SopInstanceUid};
use std::collections::{BTreeMap, BTreeSet};

/// How often it is looked which orders expire: they wait thirty days.
const EXPIRY_EVERY: TimeDelta = TimeDelta::hours(1);

/// How often it is looked who has had an examination in work for long.
const LOCKS_EVERY: TimeDelta = TimeDelta::minutes(5);

/// Why an examination waits again that a device began.
const NO_IMAGE: &str = "the device began, and no image came";

/// Days after which an order without images expires.
const EXPIRY_DAYS: i64 = 30;

/// What became of examinations in one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progressed {
    /// They have all their images.
    pub complete_count: u64,
    /// Images are missing that the device named.
    pub incomplete_count: u64,
    /// No image came for thirty days.
    pub expired_count: u64,
    /// A device began, and sent nothing: they wait for their images again.
    pub forgotten_count: u64,
    /// Whoever had them in work did nothing for an hour.
    pub released_count: u64,
}

/// What was seen of examinations in progress, so that nothing is counted twice for nothing.
#[derive(Debug, Default)]
pub(super) struct Watched {
    looked: BTreeMap<ExaminationId, Looked>,
    expiry_at: Option<Moment>,
    locks_at: Option<Moment>,
}

/// What the count of missing images rests on, and the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Looked {
    revision: Revision,
    told_at: Option<Moment>,
    kept_count: u64,
    missing_count: u64,
}

impl Matcher {
    /// Looks how far all examinations are that wait for images, at `at`. What cannot be read of one
    /// is told of, and keeps the others from nothing.
    ///
    /// # Errors
    /// [`MatcherError`] where records or index fail.
    pub async fn progress(&self, at: Moment) -> Result<Progressed, MatcherError> {
        let mut watched = self.watched.lock().await;
        let mut progressed = Progressed::default();
        let mut looked = BTreeMap::new();
        let organisations = self.registry.organisations().await?;
        let codes: Vec<OrganisationCode> = organisations.iter().map(|one| one.value.code).collect();
        for code in &codes {
            for found in self.registry.in_progress(*code).await? {
                let id = found.value.id;
                let before = watched.looked.get(&id).copied();
                let (event, now) = match self.look(&found, before, at).await {
                    Ok(seen) => seen,
                    Err(error) => {
                        skip(id, error)?;
                        continue;
                    }
                };
                looked.extend(now.map(|now| (id, now)));
                let Some(event) = event else { continue };
                let count = progressed.count_of(&event);
                if self.happens(&found, event, at).await? {
                    *count = count.saturating_add(1);
                }
            }
        }
        watched.looked = looked;
        let is_due = |last: Option<Moment>, every| {
            last.is_none_or(|last| at.signed_duration_since(last) >= every)
        };
        if is_due(watched.locks_at, LOCKS_EVERY) {
            for code in &codes {
                let released_count = self.release(*code, at).await?;
                let so_far = progressed.released_count;
                progressed.released_count = so_far.saturating_add(released_count);
            }
            watched.locks_at = Some(at);
        }
        if is_due(watched.expiry_at, EXPIRY_EVERY) {
            for code in codes {
                let expired_count = self.expire(code, at).await?;
                progressed.expired_count = progressed.expired_count.saturating_add(expired_count);
            }
            self.retry().await?;
            watched.expiry_at = Some(at);
        }
        Ok(progressed)
    }

    /// What happens to an examination in progress now, if something does.
    async fn look(
        &self,
        found: &Stored<Examination>,
        before: Option<Looked>,
        at: Moment,
    ) -> Result<(Option<Event>, Option<Looked>), MatcherError> {
        let examination = &found.value;
        let steps = self.steps_of(examination).await?;
        let seconds_since = |moment: Moment| at.signed_duration_since(moment).num_seconds();
        let last_image_at = examination.last_image_at;
        let times = self.limits.times;
        let goes_on = |step: &PerformedStep| {
            let last = last_image_at.map_or(step.changed_at, |last| last.max(step.changed_at));
            let is_forgotten = seconds_since(last) >= times.abandoned_seconds;
            step.step.state() == StepState::InProgress && !is_forgotten
        };
        if steps.iter().any(goes_on) {
            return Ok((None, None));
        }
        let ended = steps
            .iter()
            .filter(|step| step.step.state() == StepState::Completed);
        let told_at = ended.clone().map(|step| step.changed_at).max();
        let named = ended.flat_map(|step| step.step.instances());
        let named: BTreeSet<SopInstanceUid> =
            named.map(|made| made.reference.sop_instance).collect();
        if !named.is_empty() {
            let now = self.count(found, told_at, &named, before).await?;
            let is_late = told_at.is_some_and(|told| seconds_since(told) >= times.missing_seconds);
            let event = if now.missing_count == 0 && now.kept_count > 0 {
                Some(Event::Complete {
                    by: Completion::Mpps { missing: 0 },
                    images_kept: now.kept_count,
                })
            } else {
                (is_late && !examination.progress.is_incomplete()).then_some(Event::MissImages)
            };
            return Ok((event, Some(now)));
        }
        if last_image_at.is_none() && examination.studies.is_empty() {
            let began = examination.began_at.unwrap_or(examination.changed_at);
            let is_forgotten = seconds_since(began) >= times.abandoned_seconds;
            let event = is_forgotten.then(no_image).transpose()?;
            return Ok((event, None));
        }
        let quiet_seconds = match examination.order.kind {
            Kind::XRay => times.quiet_xray_seconds,
            Kind::Ct | Kind::Mr | Kind::Other(_) | _ => times.quiet_seconds,
        };
        let quiet_seconds = quiet_seconds.saturating_add(IMAGES_NOTED_EVERY_SECONDS);
        let is_quiet = last_image_at.is_some_and(|last| seconds_since(last) >= quiet_seconds);
        let images_kept = if is_quiet {
            let allotted = self.allotted(examination).await?;
            allotted
                .values()
                .fold(0_u64, |sum, count| sum.saturating_add(*count))
        } else {
            0
        };
        let by = Completion::QuietTime {
            has_open_step: false,
        };
        let event = (images_kept > 0).then_some(Event::Complete { by, images_kept });
        Ok((event, None))
    }

    /// The steps of an examination, as far as they are of its patient and kind, and nobody said
    /// that their images are not of it.
    async fn steps_of(
        &self,
        examination: &Examination,
    ) -> Result<Vec<PerformedStep>, MatcherError> {
        let mut steps = Vec::new();
        for step in self.registry.steps_of_examination(examination.id).await? {
            let step = step.value;
            let mut scheduled = step.step.scheduled().into_iter();
            let own = scheduled.find(|one| one.examination == Some(examination.id));
            let Some(own) = own else { continue };
            if self.is_elsewhere(examination.id, &own.study).await? {
                continue;
            }
            if self.registry.is_of(examination, &step, &own.study).await? {
                steps.push(step);
            }
        }
        Ok(steps)
    }

    /// Whether it is decided that a study is not of the examination.
    async fn is_elsewhere(
        &self,
        id: ExaminationId,
        study: &StudyUid,
    ) -> Result<bool, MatcherError> {
        match self.registry.study_match(&self.licence, study).await {
            Ok(found) => {
                let bound = found.value.examinations();
                let is_bound = bound.contains(&id);
                let is_decided = !bound.is_empty() || found.value.not_of.contains(&id);
                Ok(!is_bound && is_decided)
            }
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How many images are in sight, and how many of those that were named are not there.
    async fn count(
        &self,
        found: &Stored<Examination>,
        told_at: Option<Moment>,
        named: &BTreeSet<SopInstanceUid>,
        before: Option<Looked>,
    ) -> Result<Looked, MatcherError> {
        let allotted = self.allotted(&found.value).await?;
        let kept_count = allotted
            .values()
            .fold(0_u64, |sum, count| sum.saturating_add(*count));
        let mut now = Looked {
            revision: found.revision,
            told_at,
            kept_count,
            missing_count: 0,
        };
        let is_same = |before: &Looked| {
            let counted = Looked {
                missing_count: 0,
                ..*before
            };
            counted == now
        };
        if let Some(before) = before.filter(is_same) {
            return Ok(before);
        }
        let mut missing = named.clone();
        for study in &found.value.studies {
            let query = of_study(Level::Instance, study).returning(tags::SOP_INSTANCE_UID);
            for found in self.archive.search(&self.permits.find, &query).await? {
                let text = |tag| found.attributes.text(tag).unwrap_or_default();
                let series = SeriesUid::parse_legacy(text(tags::SERIES_INSTANCE_UID));
                let instance = SopInstanceUid::parse_legacy(text(tags::SOP_INSTANCE_UID));
                if let (Ok(series), Ok(instance)) = (series, instance)
                    && allotted.contains_key(&series)
                {
                    missing.remove(&instance);
                }
            }
        }
        // What was rejected came all the same.
        for instance in missing.clone().iter().take(MISSING_LOOKED_FOR_MAX) {
            let index = &self.archive.shared.index;
            let versions = match index.versions(instance, VERSIONS_LOOKED_AT_MAX).await {
                // Nobody knows which of so many the device means.
                Err(IndexError::TooMany { .. }) => continue,
                other => other?,
            };
            let of_it = versions.stored.first().is_some_and(|stored| {
                versions.is_hidden && found.value.studies.contains(&stored.instance.study)
            });
            if of_it {
                missing.remove(instance);
            }
        }
        now.missing_count = u64::try_from(missing.len()).unwrap_or(u64::MAX);
        Ok(now)
    }

    /// The series of an examination, each with its images in sight.
    async fn allotted(
        &self,
        examination: &Examination,
    ) -> Result<BTreeMap<SeriesUid, u64>, MatcherError> {
        let find = &self.permits.find;
        let kept = self
            .archive
            .kept_images(find, examination.studies.clone())
            .await?;
        let mut allotted = BTreeMap::new();
        for study in &examination.studies {
            let found = match self.registry.study_match(&self.licence, study).await {
                Ok(found) => Some(found.value),
                Err(RegistryError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            for (series, count) in kept.series_of(study).into_iter().flatten() {
                let of = |found: &StudyMatch| found.examination_of(series) == Some(examination.id);
                if found.as_ref().is_none_or(of) {
                    allotted.insert(series.clone(), *count);
                }
            }
        }
        Ok(allotted)
    }

    /// Lets it happen, unless something else happened to the examination first.
    async fn happens(
        &self,
        found: &Stored<Examination>,
        event: Event,
        at: Moment,
    ) -> Result<bool, MatcherError> {
        let action = Action {
            event,
            order: None,
            expected: Some(found.revision),
            random: planned_anew(found),
        };
        let agent = Agent::system(CURSOR);
        let id = found.value.id;
        let acted = self.registry.act_on_examination(&agent, id, &action, at);
        match acted.await {
            Ok(_) => Ok(true),
            Err(RegistryError::Changed | RegistryError::Refused(_)) => Ok(false),
            Err(error) => {
                skip(id, error.into())?;
                Ok(false)
            }
        }
    }

    /// Takes the examinations of an organisation from those who have done nothing with them.
    async fn release(&self, code: OrganisationCode, at: Moment) -> Result<u64, MatcherError> {
        let mut released_count = 0_u64;
        for found in self.registry.under_review(code).await? {
            let ends_at = found.value.lock_ends_at();
            let without_lock = || found.value.changed_at.checked_add_signed(IDLE_FOR);
            let is_idle = ends_at.or_else(without_lock).is_none_or(|ends| ends <= at);
            if is_idle && self.happens(&found, Event::LockExpires, at).await? {
                released_count = released_count.saturating_add(1);
            }
        }
        Ok(released_count)
    }

    /// Hides orders without images from worklists thirty days after the later of being ordered and
    /// being planned.
    async fn expire(&self, code: OrganisationCode, at: Moment) -> Result<u64, MatcherError> {
        let Some(before) = at.checked_sub_signed(TimeDelta::days(EXPIRY_DAYS)) else {
            return Ok(0);
        };
        let mut expired_count = 0_u64;
        for found in self.registry.overdue(code, before.naive_local()).await? {
            let created = found.value.created_at.naive_local();
            let waits_since = created.max(found.value.order.scheduled_at);
            let days = at
                .naive_local()
                .signed_duration_since(waits_since)
                .num_days();
            let Ok(days) = u32::try_from(days) else {
                continue;
            };
            if i64::from(days) >= EXPIRY_DAYS
                && self.happens(&found, Event::Expire { days }, at).await?
            {
                expired_count = expired_count.saturating_add(1);
            }
        }
        Ok(expired_count)
    }
}

impl Progressed {
    /// Where it is counted that an event happened.
    const fn count_of(&mut self, event: &Event) -> &mut u64 {
        if matches!(event, Event::Complete { .. }) {
            &mut self.complete_count
        } else if matches!(event, Event::MoveImagesAway { .. }) {
            &mut self.forgotten_count
        } else {
            &mut self.incomplete_count
        }
    }
}

/// Random enough for a new planned Study Instance UID: made of the one before, which was.
fn planned_anew(found: &Stored<Examination>) -> [u8; 16] {
    let mut digester = Digester::new();
    digester.update(found.value.planned_study.as_str().as_bytes());
    digester.update(found.value.step().to_string().as_bytes());
    let digest = digester.finish().0;
    let mut random = [0; 16];
    for (to, from) in random.iter_mut().zip(digest) {
        *to = from;
    }
    random
}

/// An examination waits for its images again.
fn no_image() -> Result<Event, MatcherError> {
    let reason = Reason::parse(NO_IMAGE);
    let reason = reason.map_err(|_| RegistryError::Damaged { what: "reason" })?;
    Ok(Event::MoveImagesAway {
        images_left: 0,
        report: ReportFate::Nothing,
        reason,
    })
}

/// Tells that something of an examination cannot be read; anything else is the caller's to tell.
fn skip(examination: ExaminationId, error: MatcherError) -> Result<(), MatcherError> {
    let is_of_it = matches!(
        error,
        MatcherError::Registry(RegistryError::Damaged { .. } | RegistryError::NotFound { .. })
    );
    if !is_of_it {
        return Err(error);
    }
    tracing::error!(%examination, %error, "it cannot be told how far an examination is");
    Ok(())
}
