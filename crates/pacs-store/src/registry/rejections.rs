//! What was taken out of sight, by whom and why, and what was brought back.
//!
//! A rejection is two things: this document, and what the archive hides. The document comes first,
//! with the audit record and what the examination becomes, in one batch; then the archive hides;
//! then the document says so. In between the archive hides some instances after others while other
//! acts go on; what is counted then is counted as if all were hidden. What a crash leaves in
//! between is found by [`Registry::open_rejections`] and finished. An act without its record does
//! not happen.

mod belonging;
mod document;
mod listing;
mod looking;
mod notes;
mod turning;

pub use belonging::Belonging;
pub use document::{Part, Rejection, RejectionId, RejectionState, Turned};
pub(in crate::registry) use listing::Opened;
pub use listing::{RejectionPage, RejectionSearch};
pub use looking::RejectionCount;
pub use notes::{NotePage, NoteState, ReceivedNote, StoredNote};
pub(crate) use turning::Turning;

use super::announcements::announce_turned;
use super::batch::Batch;
use super::commit::agent_event;
use super::document::Document;
use super::examinations::{Action, Examination, KeptImages, MatchState, StudyMatch};
use super::{Moment, Refusal, Registry, RegistryError, Stored, Turn};
use crate::limits::{
    REGISTRY_ATTEMPTS_MAX, REJECTION_CHUNK_COUNT, REJECTION_INSTANCES_MAX, REJECTIONS_OF_STUDY_MAX,
};
use crate::records::{Kind, Revision};
use document::{Chunk, keys_of};
use pacs_core::audit::{Act, AuditEvent, StudyTouched};
use pacs_core::examination::reconcile::{Kind as ImageKind, QueueReason};
use pacs_core::examination::{Event, Reason, TransitionError};
use pacs_core::rejection::{Again, Images, Quality, Title, may_reject, may_restore};
use pacs_core::role::{Agent, Permission, Unlicensed};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{DepartmentCode, ExaminationId, OrganisationCode, Phi, SopInstanceUid};
use std::collections::BTreeSet;

/// Rejections of a study: its UID, `/`, the ID.
const OF_STUDY: Kind = Kind::new("rejection-of-study");
/// Rejections that the archive has not been told of to the end.
const OPEN: Kind = Kind::new("rejection-open");
/// Rejections whose instances are not taken again.
const REFUSING: Kind = Kind::new("rejection-refusing");

/// What is to be rejected.
#[derive(Debug, Clone)]
pub struct NewRejection {
    /// Of which study.
    pub study: StudyUid,
    /// Whose it is, where nobody has matched it yet.
    pub organisation: Option<OrganisationCode>,
    /// The kinds of its images; of none, nobody knows them.
    pub kinds: BTreeSet<ImageKind>,
    /// The department where they were made; `None`: nobody knows.
    pub department: Option<DepartmentCode>,
    /// What of it was meant.
    pub part: Part,
    /// Those of its instances that are in sight and meant, each with its series.
    pub instances: Vec<(SopInstanceUid, SeriesUid)>,
    /// Why.
    pub title: Title,
    /// What is wrong with them, where that is it.
    pub quality: Option<Quality>,
    /// Why, in words.
    pub reason: Reason,
    /// The note of a device that is followed.
    pub note: Option<SopInstanceUid>,
    /// Tells two of the same moment apart.
    pub random: [u8; 8],
}

impl NewRejection {
    /// Refuses what is too much, or nothing.
    fn check(&self) -> Result<(), Refusal> {
        if self.instances.is_empty() || self.instances.len() > REJECTION_INSTANCES_MAX {
            return Err(Refusal::Unfit { what: "instances" });
        }
        if self.quality.is_some() && self.title != Title::Quality {
            return Err(Refusal::Unfit { what: "quality" });
        }
        Ok(())
    }
}

impl Registry {
    /// Writes down that instances are rejected, with what the examinations become that have nothing
    /// in sight then; the archive has to be told then, and [`Self::finish_rejection`]. What stays
    /// in sight was counted in the turn: of the study, and of [`Belonging::beside`].
    ///
    /// # Errors
    /// [`RegistryError::Unlicensed`] for whoever may not; [`Refusal::Transition`] where a signed
    /// report stands; [`Refusal::Unfit`] for none or too many instances; [`RegistryError::Changed`]
    /// where whose the images are was changed since they were counted; [`RegistryError`].
    pub async fn order_rejection(
        &self,
        (_turn, kept): (&Turn<'_>, &KeptImages),
        agent: &Agent,
        new: &NewRejection,
        at: Moment,
    ) -> Result<Stored<Rejection>, RegistryError> {
        new.check()?;
        let matched = self.find::<StudyMatch>(new.study.as_str()).await?;
        let organisation = matched.as_ref().and_then(|found| found.value.organisation);
        let organisation = organisation.or(new.organisation);
        let images = Images::new(organisation, &new.kinds, new.department.as_ref());
        if !may_reject(agent, images, new.title) {
            return Err(unlicensed(Permission::ImageReject));
        }
        if self.rejections_of_study(&new.study).await?.len() >= REJECTIONS_OF_STUDY_MAX {
            return Err(Refusal::Exhausted { what: "rejections" }.into());
        }
        let id = RejectionId::new(at, new.random);
        let examination = matched.as_ref().and_then(|found| found.value.examination());
        let mut rejection = Rejection {
            id: id.clone(),
            study: new.study.clone(),
            organisation,
            kinds: new.kinds.clone(),
            department: new.department.clone(),
            examination,
            patient: None,
            part: new.part.clone(),
            instances_count: new.instances.len() as u64,
            title: new.title,
            quality: new.quality,
            reason: new.reason.clone(),
            by: agent.name.clone(),
            at,
            note: new.note.clone(),
            state: RejectionState::Ordered,
        };
        let mut batch = Batch::default();
        let mut others = Batch::default();
        if let Some(id) = examination {
            let found = self.read::<Examination>(&id.to_string()).await?;
            rejection.patient = Some(found.value.patient);
        }
        if let (Some(matched), Some(title)) = (&matched, new.title.of_progress()) {
            let event = Event::Reject {
                images_kept: 0,
                rejection: title,
                reason: new.reason.clone(),
            };
            for found in self.emptied(&matched.value, new, kept).await? {
                self.tell_examination(&mut others, agent, &found, &event, at)
                    .await?;
            }
        }
        batch.main(id.as_str(), &rejection, None)?;
        for (number, instances) in new.instances.chunks(REJECTION_CHUNK_COUNT).enumerate() {
            batch.put(&Chunk::key(&id, number), &Chunk::of(instances), None)?;
        }
        for (kind, key) in keys_of(&rejection) {
            batch.point(kind, &key, id.as_str(), None);
        }
        batch.changes.extend(others.changes);
        if let Some(matched) = &matched {
            self.tell_queue(&mut batch, matched, new, at).await?;
        }
        let instances = new.instances.iter().map(|(instance, _)| instance.clone());
        let instances: Vec<_> = instances.collect();
        let event = touched(Act::ImagesRejected, agent, &rejection, &instances, at);
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(rejection, revision)
    }

    /// Adds to `batch` what an examination becomes, where its rules know of it.
    async fn tell_examination(
        &self,
        batch: &mut Batch,
        agent: &Agent,
        found: &Stored<Examination>,
        event: &Event,
        at: Moment,
    ) -> Result<(), RegistryError> {
        let action = Action {
            event: event.clone(),
            order: None,
            expected: None,
            // None of these events gives a new Study Instance UID.
            random: [0; 16],
        };
        let told = self.add_step(batch, agent, found, (event, &action), at);
        match told.await {
            // It waits for images, or is over: the images go or come all the same.
            Err(RegistryError::Refused(Refusal::Transition(TransitionError::Status {
                ..
            }))) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// The examinations that a rejection takes something from, and leaves nothing in sight.
    async fn emptied(
        &self,
        matched: &StudyMatch,
        new: &NewRejection,
        kept: &KeptImages,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        let mut emptied = Vec::new();
        for id in hit(matched, new.instances.iter().map(|(_, series)| series)) {
            let found = self.read::<Examination>(&id.to_string()).await?;
            let (_, images_left) = self.left(&found.value, &[], kept).await?;
            if images_left == 0 {
                emptied.push(found);
            }
        }
        Ok(emptied)
    }

    /// What a rejection makes of the queue at once: a study whose images were made under another
    /// order is looked at by a person.
    async fn tell_queue(
        &self,
        batch: &mut Batch,
        matched: &Stored<StudyMatch>,
        new: &NewRejection,
        at: Moment,
    ) -> Result<(), RegistryError> {
        let mut after = matched.value.clone();
        if let MatchState::Bound { flags, .. } = &mut after.state
            && new.title == Title::WorklistEntry
            && !flags.contains(&QueueReason::Unbound)
        {
            flags.push(QueueReason::Unbound);
            after.decided_at = at;
        }
        self.put_match(batch, matched, &after).await
    }

    /// Whether nobody has to look at a study: nothing of it is in sight, and it was not made under
    /// another order.
    async fn is_out_of_sight(
        &self,
        study: &StudyUid,
        is_in_sight: bool,
    ) -> Result<bool, RegistryError> {
        if is_in_sight {
            return Ok(false);
        }
        let rejections = self.rejections_of_study(study).await?;
        let mut standing = rejections.iter().map(|one| &one.value);
        Ok(!standing.any(|one| one.is_standing() && one.title == Title::WorklistEntry))
    }

    async fn put_match(
        &self,
        batch: &mut Batch,
        before: &Stored<StudyMatch>,
        after: &StudyMatch,
    ) -> Result<(), RegistryError> {
        if before.value == *after {
            return Ok(());
        }
        let study = after.study.as_str();
        batch.put(study, after, Some(before.revision))?;
        let had = before.value.keys();
        self.reindex(batch, &had, &after.keys(), study).await
    }

    /// Writes down that a rejection is undone, with what the examination becomes; the archive has
    /// to be told then, and [`Self::finish_rejection`].
    ///
    /// # Errors
    /// [`RegistryError::Unlicensed`] for whoever may not; [`Refusal::TooLate`] where that was done;
    /// [`RegistryError::Changed`] where it is not at `expected`; [`RegistryError`].
    pub async fn order_restore(
        &self,
        agent: &Agent,
        (id, expected): (&RejectionId, Option<Revision>),
        reason: &Reason,
        at: Moment,
    ) -> Result<Stored<Rejection>, RegistryError> {
        let _turn = self.turn().await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            let before = self.rejection(agent, id).await?;
            if expected.is_some_and(|expected| expected != before.revision) {
                return Err(RegistryError::Changed);
            }
            match self.restore_once(agent, &before, reason, at).await {
                // The examination was changed in between.
                Err(RegistryError::Changed) => {}
                other => return other,
            }
        }
        Err(RegistryError::Busy)
    }

    async fn restore_once(
        &self,
        agent: &Agent,
        before: &Stored<Rejection>,
        reason: &Reason,
        at: Moment,
    ) -> Result<Stored<Rejection>, RegistryError> {
        let rejection = &before.value;
        if !may_restore(agent, rejection.organisation) {
            return Err(unlicensed(Permission::ImageRestore));
        }
        let is_standing = matches!(
            rejection.state,
            RejectionState::Ordered | RejectionState::Applied
        );
        let erasure = self.erasure_of_study(&rejection.study).await?;
        let is_erased = erasure.is_some_and(|erasure| erasure.value.covers(rejection.at));
        if !is_standing || is_erased {
            return Err(Refusal::TooLate.into());
        }
        let mut after = rejection.clone();
        after.state = RejectionState::Restoring(Turned {
            by: agent.name.clone(),
            at,
            reason: reason.clone(),
        });
        let mut batch = Batch::default();
        batch.main(after.id.as_str(), &after, Some(before))?;
        self.reindex(
            &mut batch,
            &keys_of(rejection),
            &keys_of(&after),
            after.id.as_str(),
        )
        .await?;
        let content = self.content_of(&after.id).await?;
        let (hidden, _) = self.hidden_by_others(rejection).await?;
        let mut others = Batch::default();
        let event = Event::Restore {
            reason: reason.clone(),
        };
        for id in self.revived(rejection, &content, &hidden).await? {
            let found = self.read::<Examination>(&id.to_string()).await?;
            self.tell_examination(&mut others, agent, &found, &event, at)
                .await?;
        }
        batch.changes.extend(others.changes);
        let instances: Vec<_> = content.into_iter().flat_map(|of| of.instances).collect();
        let event = touched(Act::ImagesRestored, agent, &after, &instances, at);
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }

    /// The examinations to which something of a rejection comes back that is not `hidden` by
    /// others: those that its images are of now, wherever they have gone meanwhile.
    async fn revived(
        &self,
        rejection: &Rejection,
        content: &[Chunk],
        hidden: &BTreeSet<SopInstanceUid>,
    ) -> Result<BTreeSet<ExaminationId>, RegistryError> {
        let Some(found) = self.find::<StudyMatch>(rejection.study.as_str()).await? else {
            return Ok(BTreeSet::new());
        };
        let (matched, mut revived) = (found.value, BTreeSet::new());
        for chunk in content {
            match chunk.series_of(|instance| !hidden.contains(instance)) {
                Some(series) => revived.extend(hit(&matched, &series)),
                // Of which series they are, nobody knew to write down: of the rest of the study.
                None => revived.extend(matched.examination()),
            }
        }
        Ok(revived)
    }

    /// Writes down that the archive did what was ordered, and whether somebody has to look at the
    /// study then. Whether anything of it is in sight was looked at in the turn.
    ///
    /// # Errors
    /// [`RegistryError::Changed`] where it was changed since; [`RegistryError`].
    pub async fn finish_rejection(
        &self,
        (_turn, is_in_sight): (&Turn<'_>, bool),
        before: &Stored<Rejection>,
    ) -> Result<Stored<Rejection>, RegistryError> {
        let mut after = before.value.clone();
        after.state = match after.state {
            RejectionState::Ordered => RejectionState::Applied,
            RejectionState::Restoring(turned) => RejectionState::Restored(turned),
            RejectionState::Applied | RejectionState::Restored(_) => return Ok(before.clone()),
        };
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            match self.finish_once(before, &after, is_in_sight).await {
                // Perhaps it was whose the study is.
                Err(RegistryError::Changed) => {}
                Err(error) => return Err(error),
                Ok(revision) => return Stored::of(after, revision),
            }
        }
        Err(RegistryError::Changed)
    }

    async fn finish_once(
        &self,
        before: &Stored<Rejection>,
        after: &Rejection,
        is_in_sight: bool,
    ) -> Result<Revision, RegistryError> {
        let mut batch = Batch::default();
        let id = after.id.as_str();
        batch.main(id, after, Some(before))?;
        let (had, has) = (keys_of(&before.value), keys_of(after));
        self.reindex(&mut batch, &had, &has, id).await?;
        announce_turned(&mut batch, after)?;
        if let Some(matched) = self.find::<StudyMatch>(after.study.as_str()).await? {
            let told = StudyMatch {
                is_out_of_sight: self.is_out_of_sight(&after.study, is_in_sight).await?,
                ..matched.value.clone()
            };
            self.put_match(&mut batch, &matched, &told).await?;
        }
        // No event tells of it: that it was ordered was told.
        let trail = self.audit_trail();
        let revisions = trail.commit_all(batch.changes, &[]).await?;
        self.inner.announced.notify_one();
        revisions.first().copied().ok_or(RegistryError::Changed)
    }

    /// The instances of a rejection.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn instances_of_rejection(
        &self,
        id: &RejectionId,
    ) -> Result<Vec<SopInstanceUid>, RegistryError> {
        let content = self.content_of(id).await?.into_iter();
        Ok(content.flat_map(|chunk| chunk.instances).collect())
    }

    async fn content_of(&self, id: &RejectionId) -> Result<Vec<Chunk>, RegistryError> {
        let prefix = format!("{id}/");
        let count_max = REJECTION_INSTANCES_MAX.div_ceil(REJECTION_CHUNK_COUNT);
        let chunks = self.list::<Chunk>(&prefix, None, count_max).await?;
        Ok(chunks.into_iter().map(|chunk| chunk.value).collect())
    }

    /// What other rejections of the study hide, and what of it is not taken again.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn hidden_by_others(
        &self,
        rejection: &Rejection,
    ) -> Result<(BTreeSet<SopInstanceUid>, BTreeSet<SopInstanceUid>), RegistryError> {
        let (mut hidden, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let all = self.rejections_of_study(&rejection.study).await?;
        for other in all.iter().map(|other| &other.value) {
            if other.id == rejection.id || !other.is_standing() {
                continue;
            }
            let instances = self.instances_of_rejection(&other.id).await?;
            if other.is_refusing() {
                refused.extend(instances.iter().cloned());
            }
            hidden.extend(instances);
        }
        Ok((hidden, refused))
    }

    /// Calls `each` with the instances that are not taken again: for the archive itself.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn each_refused(
        &self,
        mut each: impl FnMut(&[SopInstanceUid]),
    ) -> Result<(), RegistryError> {
        let mut after: Option<String> = None;
        loop {
            let page = self
                .records()
                .list(REFUSING, "", after.as_deref(), REJECTIONS_OF_STUDY_MAX)
                .await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.key.clone());
            for record in &page {
                let id = RejectionId::parse(&record.key)?;
                each(&self.instances_of_rejection(&id).await?);
            }
        }
    }
}

impl Rejection {
    /// Whether its instances are out of sight because of it.
    #[must_use]
    pub const fn is_standing(&self) -> bool {
        matches!(
            self.state,
            RejectionState::Ordered | RejectionState::Applied
        )
    }

    /// Whether its instances are not taken again.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.is_standing() && self.title.again() == Again::Refuse
    }
}

/// The examinations that images of these series are of.
fn hit<'a>(
    matched: &StudyMatch,
    series: impl IntoIterator<Item = &'a SeriesUid>,
) -> BTreeSet<ExaminationId> {
    let series = series.into_iter();
    series
        .filter_map(|series| matched.examination_of(series))
        .collect()
}

const fn unlicensed(permission: Permission) -> RegistryError {
    RegistryError::Unlicensed(Unlicensed { permission })
}

/// The event of turning instances: which, where it was a part of the study.
fn touched(
    act: Act,
    agent: &Agent,
    rejection: &Rejection,
    instances: &[SopInstanceUid],
    at: Moment,
) -> AuditEvent {
    let mut event = agent_event(act, agent, rejection.organisation, at);
    let is_part = rejection.part != Part::Study;
    event.object.patient = rejection.patient.map(Phi::new);
    event.object.examination = rejection.examination;
    event.object.studies = vec![StudyTouched {
        study: rejection.study.clone(),
        sop_class: None,
        instances_count: rejection.instances_count,
        instances: if is_part {
            instances.to_vec()
        } else {
            Vec::new()
        },
    }];
    event.reason = Some(rejection.title.name().to_owned());
    event
}

/// Documents of this family that are found by an ID.
fn damaged<D: Document>() -> RegistryError {
    RegistryError::Damaged { what: D::NAME }
}
