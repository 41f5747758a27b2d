//! Takes images out of sight for somebody who may, and brings them back.
//!
//! The registry is told first, with the audit record; then the archive, and then the registry that
//! it was done. The archive turns some instances at a time: whoever searches meanwhile may find
//! some of them, and whoever judges or counts takes what is written down as done.
//! [`Rejections::finish`] does what a crash, or a full disk, left undone: it is called when the
//! archive is opened and now and then. What several rejections hide comes back with the last of
//! them.

mod availability;
mod parts;
mod retention;

pub use availability::InstanceAvailability;

use crate::archive::Archive;
use crate::index::{IndexError, StoredInstance};
use crate::limits::REGISTRY_ATTEMPTS_MAX;
use crate::records::Revision;
use crate::registry::erasures::{Erasure, ErasureState, Ground};
use crate::registry::examinations::KeptImages;
use crate::registry::holds::Hold;
use crate::registry::rejections::{NewRejection, Rejection, RejectionId, RejectionState};
use crate::registry::{Moment, Registry, RegistryError, Stored};
use chrono::NaiveDate;
use pacs_core::access::{Find, Get, Hide};
use pacs_core::examination::Reason;
use pacs_core::rejection::{Quality, Title, may_hold, may_propose_erasing, may_see};
use pacs_core::retention::StudyFacts;
use pacs_core::role::Agent;
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{DepartmentCode, Level, OrganisationCode, Permit, Query, SopInstanceUid};
use parts::{asking_facts, facts_of, failed, meant, not_erased, of_study, targets};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Why nothing was rejected or brought back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RejectError {
    /// The index could not be asked.
    #[error("images could not be looked up")]
    Index(#[from] IndexError),
    /// It is to be erased, and is in sight, and its term is not over.
    #[error("the study is in sight, and its term is not over")]
    InSight,
    /// Bytes of what is erased are damaged, so that nothing proves what they are.
    #[error("bytes that are erased are damaged and were left")]
    NotDestroyed,
    /// Nothing of it, or not all that is named, is in sight; or it is not for whoever asks.
    #[error("there are no such images")]
    NotFound,
    /// The registry did not do it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// What of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// These instances.
    Instances(Vec<SopInstanceUid>),
    /// Those of these instances that are in sight.
    InstancesInSight(Vec<SopInstanceUid>),
    /// A series.
    Series(SeriesUid),
    /// All that is in sight.
    Study,
}

/// What the policy asks of a study.
struct Facts {
    modalities: Vec<String>,
    study_date: Option<NaiveDate>,
    born: Option<NaiveDate>,
}

/// What became of studies whose bytes were to be destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DestroyedStudies {
    /// Those whose bytes are gone.
    pub done_count: u64,
    /// Those whose bytes may still be there.
    pub waiting_count: u64,
}

/// What somebody wants to be rejected.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of which study.
    pub study: StudyUid,
    /// What of it.
    pub meant: Meant,
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

/// Rejects and brings back. Clones are the same.
#[derive(Debug, Clone)]
pub struct Rejections {
    archive: Archive,
    registry: Registry,
    hide: Permit<Hide>,
    find: Permit<Find>,
    get: Permit<Get>,
    /// One at a time: which instances one of them brings back depends on the others. No other act
    /// waits for it.
    turn: Arc<Mutex<()>>,
}

impl Rejections {
    /// Those of `archive`. There is to be one of them.
    #[must_use]
    pub fn new(
        archive: &Archive,
        (hide, find, get): (Permit<Hide>, Permit<Find>, Permit<Get>),
    ) -> Self {
        Self {
            archive: archive.clone(),
            registry: archive.registry(),
            hide,
            find,
            get,
            turn: Arc::default(),
        }
    }

    /// The same, for one request that is done once: see [`Registry::once`].
    #[must_use]
    pub fn through(&self, registry: Registry) -> Self {
        Self {
            registry,
            ..self.clone()
        }
    }

    /// Takes images out of sight. Where the archive could not do it now, the rejection stands as
    /// [`RejectionState::Ordered`], and [`Self::finish`] does it.
    ///
    /// # Errors
    /// [`RejectError`]; nothing was done, but of [`RegistryError::Backend`] that is not known.
    pub async fn reject(
        &self,
        agent: &Agent,
        wanted: Wanted,
        at: Moment,
    ) -> Result<Stored<Rejection>, RejectError> {
        let _turn = self.turn.lock().await;
        self.reject_in_turn(agent, wanted, at).await
    }

    async fn reject_in_turn(
        &self,
        agent: &Agent,
        wanted: Wanted,
        at: Moment,
    ) -> Result<Stored<Rejection>, RejectError> {
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            let new = self.measured(agent, &wanted).await?;
            let turn = self.registry.turn().await;
            let kept = self.staying(&new).await?;
            let in_turn = (&turn, &kept);
            match self
                .registry
                .order_rejection(in_turn, agent, &new, at)
                .await
            {
                // Whose the images are was changed since they were counted.
                Err(RegistryError::Changed) => {}
                ordered => {
                    let ordered = ordered?;
                    // What is written down is counted as if it were done (`Registry::turning`), so
                    // that nobody waits for the archive.
                    drop(turn);
                    return Ok(self.applied(ordered).await);
                }
            }
        }
        Err(RegistryError::Busy.into())
    }

    /// What is meant, as far as it is in sight.
    async fn measured(&self, agent: &Agent, wanted: &Wanted) -> Result<NewRejection, RejectError> {
        let mut visible = self.visible(&wanted.study).await?;
        // What an earlier one could not hide yet goes by that one.
        if let Some(turning) = self.registry.turning(&wanted.study).await? {
            visible.retain(|stored| !turning.going.contains(&stored.instance.instance));
        }
        let mut belonging = self.registry.belonging(&wanted.study).await?;
        if belonging.organisation.is_none() {
            // It has just come: it is of whoever sent its first image.
            (belonging.organisation, belonging.department) = self.sender_of(&visible).await?;
        }
        if belonging.kinds.is_empty() {
            let kinds = self.archive.kinds_of_images(&self.find, &wanted.study);
            belonging.kinds = kinds.await?;
        }
        // Whoever judges no such images there does not learn what is there.
        if !may_see(agent, belonging.images(), Title::Quality) {
            return Err(RejectError::NotFound);
        }
        let (part, instances) = meant(&wanted.meant, &visible)?;
        Ok(NewRejection {
            study: wanted.study.clone(),
            organisation: belonging.organisation,
            kinds: belonging.kinds,
            department: belonging.department,
            part,
            instances,
            title: wanted.title,
            quality: wanted.quality,
            reason: wanted.reason.clone(),
            note: wanted.note.clone(),
            random: wanted.random,
        })
    }

    /// What stays in sight of a study without what is to be rejected, and of what is of the same
    /// examinations.
    async fn staying(&self, new: &NewRejection) -> Result<KeptImages, RejectError> {
        let mut studies = self.registry.belonging(&new.study).await?.beside;
        studies.insert(new.study.clone());
        let mut kept = self.archive.kept_images(&self.find, studies).await?;
        for (_, series) in &new.instances {
            kept.remove_one(&new.study, series);
        }
        Ok(kept)
    }

    /// Undoes a rejection: its instances are in sight again, but for those that another one hides.
    ///
    /// # Errors
    /// As [`Self::reject`].
    pub async fn restore(
        &self,
        agent: &Agent,
        rejection: (&RejectionId, Option<Revision>),
        reason: &Reason,
        at: Moment,
    ) -> Result<Stored<Rejection>, RejectError> {
        let _turn = self.turn.lock().await;
        let ordered = self.registry.order_restore(agent, rejection, reason, at);
        let ordered = ordered.await?;
        Ok(self.applied(ordered).await)
    }

    /// An instance of a rejection, be it in sight or not, for whoever sees the rejection and is to
    /// judge it; the audit record has who looks.
    ///
    /// # Errors
    /// [`RejectError::NotFound`] also where it was erased; [`RejectError`].
    pub async fn look_at(
        &self,
        agent: &Agent,
        (id, instance): (&RejectionId, &SopInstanceUid),
        at: Moment,
    ) -> Result<StoredInstance, RejectError> {
        self.registry
            .look_at_rejected(agent, (id, instance), at)
            .await?;
        let kept = self.archive.kept_instance(&self.hide, instance).await?;
        kept.ok_or(RejectError::NotFound)
    }

    /// Proposes to erase a study: one that is out of sight, or whose term is over.
    ///
    /// # Errors
    /// [`RejectError::NotFound`] for whoever may not; [`RejectError::InSight`]; [`RejectError`].
    pub async fn propose_erasing(
        &self,
        agent: &Agent,
        study: &StudyUid,
        reason: &Reason,
        random: [u8; 8],
        at: Moment,
    ) -> Result<Stored<Erasure>, RejectError> {
        let _turn = self.turn.lock().await;
        let organisation = self.registry.belonging(study).await?.organisation;
        if !may_propose_erasing(agent, organisation) {
            return Err(RejectError::NotFound);
        }
        let rejections = self.registry.rejections_of_study(study).await?;
        let erasure = self.registry.erasure_of_study(study).await?;
        let is_erased = |at| erasure.as_ref().is_some_and(|one| one.value.covers(at));
        let has_rejections = rejections
            .iter()
            .any(|of| of.value.is_standing() && !is_erased(of.value.at));
        let facts = self.facts(study).await?;
        let ground = match &facts {
            None if has_rejections => Ground::Rejected,
            None => return Err(RejectError::NotFound),
            Some(facts) if self.is_term_over(organisation, facts, at).await? => Ground::TermOver,
            Some(_) => return Err(RejectError::InSight),
        };
        let proposed = self
            .registry
            .propose_erasure(agent, (study, ground), reason, random, at);
        Ok(proposed.await?)
    }

    /// Holds a study, in sight or not: nothing of it is erased until [`Registry::lift_hold`].
    ///
    /// # Errors
    /// [`RejectError::NotFound`] for whoever may not, or where there is no such study;
    /// [`RejectError`].
    pub async fn hold(
        &self,
        agent: &Agent,
        study: &StudyUid,
        reason: &Reason,
        random: [u8; 8],
        at: Moment,
    ) -> Result<Stored<Hold>, RejectError> {
        let _turn = self.turn.lock().await;
        let organisation = self.registry.belonging(study).await?.organisation;
        let is_known = self.facts(study).await?.is_some()
            || !self.registry.rejections_of_study(study).await?.is_empty();
        if !is_known || !may_hold(agent, organisation) {
            return Err(RejectError::NotFound);
        }
        let held = self
            .registry
            .place_hold(agent, (study, organisation), reason, random, at);
        Ok(held.await?)
    }

    /// Whether the term of a study is over, as the policy has it now.
    async fn is_term_over(
        &self,
        organisation: Option<OrganisationCode>,
        facts: &Facts,
        at: Moment,
    ) -> Result<bool, RejectError> {
        let (policy, _) = self.registry.retention().await?;
        let modalities: Vec<&str> = facts.modalities.iter().map(String::as_str).collect();
        let due_on = policy.due_on(&StudyFacts {
            organisation,
            modalities: &modalities,
            study_date: facts.study_date,
            born: facts.born,
        });
        Ok(due_on.is_some_and(|due_on| due_on <= at.date_naive()))
    }

    /// Makes erasures final whose time has come: what is in sight of them because its term is over
    /// is taken out of sight first. How many that were.
    ///
    /// # Errors
    /// The first [`RejectError`]; what failed is done another time, and all else was done.
    pub async fn finish_erasures(&self, random: [u8; 8], at: Moment) -> Result<u64, RejectError> {
        let system = Agent::system("erasing");
        let (mut count, mut failure) = (0_u64, None);
        for erasure in self.registry.open_erasures(&system).await? {
            match self.finish_erasure(&system, &erasure, random, at).await {
                Ok(true) => count = count.saturating_add(1),
                Ok(false) => {}
                Err(error) => {
                    let study = &erasure.value.study;
                    tracing::error!(%error, %study, "an erasure waits");
                    failure = failure.or(Some(error));
                }
            }
        }
        failure.map_or(Ok(count), Err)
    }

    /// Has the archive destroy the bytes of what is final. What cannot be destroyed now waits:
    /// where something of the study is in sight, since it was sent again, that has to be rejected
    /// first.
    ///
    /// # Errors
    /// [`RejectError`] where nobody knows what is to be destroyed.
    pub async fn destroy_erased(&self, at: Moment) -> Result<DestroyedStudies, RejectError> {
        let mut sum = DestroyedStudies::default();
        for erasure in self.registry.undone_erasures().await? {
            match self.destroy(&erasure, at).await {
                Ok(()) => sum.done_count = sum.done_count.saturating_add(1),
                Err(error) => {
                    let study = &erasure.value.study;
                    tracing::error!(%error, %study, "bytes of an erased study wait");
                    sum.waiting_count = sum.waiting_count.saturating_add(1);
                }
            }
        }
        Ok(sum)
    }

    async fn destroy(&self, erasure: &Stored<Erasure>, at: Moment) -> Result<(), RejectError> {
        // Nothing of it is brought back meanwhile.
        let _turn = self.turn.lock().await;
        let of = &erasure.value;
        self.registry.refuse_held(&of.study).await?;
        let erased = self.archive.erase(&self.hide, &of.study).await;
        let erased = erased.map_err(not_erased)?;
        if erased.destroyed.left_count > 0 {
            return Err(RejectError::NotDestroyed);
        }
        self.registry.note_destroyed(erasure, at).await?;
        let (versions, bytes) = (erased.versions_count, erased.destroyed.bytes);
        tracing::warn!(study = %of.study, versions, bytes, "the bytes of a study were destroyed");
        Ok(())
    }

    /// Makes one final, where its time has come and nothing speaks against it.
    async fn finish_erasure(
        &self,
        system: &Agent,
        erasure: &Stored<Erasure>,
        random: [u8; 8],
        at: Moment,
    ) -> Result<bool, RejectError> {
        let of = &erasure.value;
        if !matches!(&of.state, ErasureState::Agreed { not_before, .. } if at >= *not_before) {
            return Ok(false);
        }
        // Nothing of it is brought back meanwhile.
        let _turn = self.turn.lock().await;
        let rejections = self.registry.rejections_of_study(&of.study).await?;
        let is_coming_back = rejections
            .iter()
            .any(|one| matches!(one.value.state, RejectionState::Restoring(_)));
        let is_held = self.registry.hold_of_study(&of.study).await?.is_some();
        let facts = self.facts(&of.study).await?;
        let is_waiting = match (&facts, of.ground) {
            _ if is_coming_back || is_held => true,
            (None, _) => false,
            (Some(_), Ground::Rejected) => true,
            // The policy may have become another one since it was agreed to.
            (Some(facts), Ground::TermOver) => {
                !self.is_term_over(of.organisation, facts, at).await?
            }
        };
        if is_waiting {
            tracing::warn!(study = %of.study, "what is to be erased is to be kept now: it waits");
            return Ok(false);
        }
        if facts.is_some() {
            let wanted = Wanted {
                study: of.study.clone(),
                meant: Meant::Study,
                title: Title::RetentionExpired,
                quality: None,
                reason: of.reason.clone(),
                note: None,
                random,
            };
            self.reject_in_turn(system, wanted, at).await?;
        }
        self.registry.finish_erasure(erasure, at).await?;
        tracing::warn!(study = %of.study, erasure = %of.id, "a study is erased for good");
        Ok(true)
    }

    /// What the policy asks of a study that is in sight.
    async fn facts(&self, study: &StudyUid) -> Result<Option<Facts>, RejectError> {
        let query = asking_facts(Query::new(Level::Study).with(of_study(study)));
        let found = self.archive.search(&self.find, &query).await?;
        let first = found.into_iter().next();
        Ok(first.map(|found| facts_of(&found.attributes)))
    }

    /// Does what was ordered and not done; how much that was.
    ///
    /// # Errors
    /// The first [`RejectError`]; what failed is done another time, and all else was done.
    pub async fn finish(&self) -> Result<u64, RejectError> {
        let _turn = self.turn.lock().await;
        let (mut count, mut failure) = (0_u64, None);
        for open in self.registry.open_rejections().await? {
            match self.apply(&open).await {
                Ok(_) => count = count.saturating_add(1),
                Err(error) => {
                    tracing::error!(%error, rejection = %open.value.id, "a rejection waits");
                    failure = failure.or(Some(error));
                }
            }
        }
        failure.map_or(Ok(count), Err)
    }

    /// Does what is ordered; what is left where that fails is done another time.
    async fn applied(&self, ordered: Stored<Rejection>) -> Stored<Rejection> {
        match self.apply(&ordered).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, rejection = %ordered.value.id, "a rejection waits");
                ordered
            }
        }
    }

    /// Has the archive do what is ordered, some instances at a time; the turn of the registry is
    /// taken for the last step alone.
    async fn apply(&self, ordered: &Stored<Rejection>) -> Result<Stored<Rejection>, RejectError> {
        let rejection = &ordered.value;
        let instances = self.registry.instances_of_rejection(&rejection.id).await?;
        match &rejection.state {
            RejectionState::Ordered => {
                if rejection.is_refusing() {
                    self.archive.refuse(&self.hide, &instances, true);
                }
                let reason = format!("{} {}", rejection.title.name(), rejection.id);
                for target in targets(&rejection.study, &instances) {
                    let hidden = self.archive.hide(&self.hide, target, &reason);
                    hidden.await.map_err(failed)?;
                }
            }
            RejectionState::Restoring(_) => {
                let (hidden, refused) = self.registry.hidden_by_others(rejection).await?;
                let free: Vec<_> = instances.into_iter().collect();
                let taken_again: Vec<_> = free
                    .iter()
                    .filter(|uid| !refused.contains(*uid))
                    .cloned()
                    .collect();
                self.archive.refuse(&self.hide, &taken_again, false);
                let shown: Vec<_> = free
                    .into_iter()
                    .filter(|uid| !hidden.contains(uid))
                    .collect();
                for target in targets(&rejection.study, &shown) {
                    let restored = self.archive.restore(&self.hide, target);
                    restored.await.map_err(failed)?;
                }
            }
            RejectionState::Applied | RejectionState::Restored(_) => {}
        }
        let study = &rejection.study;
        let turn = self.registry.turn().await;
        let is_in_sight = self.archive.is_in_sight(&self.find, study).await?;
        let in_turn = (&turn, is_in_sight);
        let done = self.registry.finish_rejection(in_turn, ordered).await?;
        tracing::info!(
            rejection = %done.value.id,
            study = %done.value.study,
            instances = done.value.instances_count,
            is_standing = done.value.is_standing(),
            "images were turned"
        );
        Ok(done)
    }

    /// The organisation whose device sent the first of these, and the department of that.
    async fn sender_of(
        &self,
        instances: &[StoredInstance],
    ) -> Result<(Option<OrganisationCode>, Option<DepartmentCode>), RejectError> {
        let Some(first) = instances.first() else {
            return Ok((None, None));
        };
        let sender = &first.provenance.calling;
        let organisation = self.registry.organisation_of_sender(sender).await?;
        let department = self.registry.department_of_sender(sender, organisation);
        Ok((organisation, department.await?))
    }

    /// The instances of a study that are in sight.
    async fn visible(&self, study: &StudyUid) -> Result<Vec<StoredInstance>, RejectError> {
        let query = Query::new(Level::Study).with(of_study(study));
        let found = self.archive.select(&self.get, &query).await?;
        Ok(found.into_iter().collect())
    }
}
